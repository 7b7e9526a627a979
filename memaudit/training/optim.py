"""Optimisers and learning-rate schedule: Muon for hidden matrices beside AdamW for everything else."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

OptimizerName = Literal["muon", "adamw"]


def split_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return (hidden matrices, all others) of the trained parameters.

    Hidden matrices are the two-dimensional weights between hidden states, which Muon is meant for (Jordan
    et al. 2024). The others are embeddings, the output head, and vectors (biases, norms).
    """
    outer = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    outer.add(id(_head(module).weight))
    hidden: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for weight in module.parameters():
        if weight.requires_grad:
            (hidden if weight.ndim == 2 and id(weight) not in outer else others).append(weight)
    return hidden, others


def build_optimizers(
    module: nn.Module, name: OptimizerName, learning_rate: float, weight_decay: float
) -> list[Optimizer]:
    """Return the optimisers that together train every parameter once.

    One learning rate serves both: Muon's orthogonal update is scaled to the root mean square that AdamW's
    has (Liu et al. 2025). Weight decay is for matrices; biases and norms have none.
    """
    hidden, others = split_parameters(module)
    optimizers: list[Optimizer] = []
    if name == "muon" and hidden:
        optimizers.append(
            torch.optim.Muon(hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        )
        hidden = []
    matrices = hidden + [weight for weight in others if weight.ndim > 1]
    vectors = [weight for weight in others if weight.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": decay}
        for weights, decay in ((matrices, weight_decay), (vectors, 0.0))
        if weights
    ]
    optimizers.append(torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True))
    return optimizers


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at ``step`` of ``steps``: linear up, then linear to zero.

    Args:
        step: Steps already made, from 0 to ``steps`` - 1.
        steps: Steps of the whole training.
        warmup: Share of the steps on the way up, in [0, 1).

    Returns:
        A factor in (0, 1]; it would reach 0 at step ``steps``, which is never made.
    """
    rising = max(1, round(warmup * steps))
    return min((step + 1) / rising, (steps - step) / max(1, steps - rising), 1.0)


def _head(module: nn.Module) -> nn.Module:
    output = getattr(module, "get_output_embeddings", None)
    head = output() if output else module.head
    if not isinstance(head, nn.Module):
        raise TypeError(f"{type(module).__name__} has no output head")
    return head
