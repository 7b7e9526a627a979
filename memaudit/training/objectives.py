"""What a network is trained for: the next token (recurrent or transformer), or tokens hidden from it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit.models.body_head import split_head
from memaudit.training.batches import IGNORED, Batch

MaskRule = Literal["80/10/10", "mask"]


class TrainingObjective(Protocol):
    """A loss on batches; what it carries from batch to batch is part of a checkpoint."""

    carried: tuple[Tensor, ...]
    masked: bool
    """Whether the targets are tokens of the row itself, hidden from the model."""

    def loss(self, batch: Batch, random: np.random.Generator) -> tuple[Tensor, int]:
        """Return the summed cross-entropy in nats and the number of tokens it is over."""


class RecurrentObjective:
    """Next token of a recurrent network, whose state is carried over batches that continue each other."""

    masked = False

    def __init__(self, module: Any) -> None:
        self.module = module
        self.carried: tuple[Tensor, ...] = ()

    def loss(self, batch: Batch, random: np.random.Generator) -> tuple[Tensor, int]:  # noqa: ARG002
        """Return the summed cross-entropy in nats of the targets, and their number."""
        inputs, targets = tensors(self.module, batch.inputs, batch.targets)
        state = tuple(part.detach() for part in self.carried) if batch.continues else ()
        hidden, self.carried = self.module(inputs, state or None)
        return summed_cross_entropy(self.module.head(hidden), targets), batch.tokens


class CausalObjective:
    """Next token of a causal transformer; rows are padded on the right, where no target looks."""

    masked = False

    def __init__(self, module: Any) -> None:
        self.module = module
        self.carried: tuple[Tensor, ...] = ()

    def loss(self, batch: Batch, random: np.random.Generator) -> tuple[Tensor, int]:  # noqa: ARG002
        """Return the summed cross-entropy in nats of the targets, and their number."""
        inputs, targets = tensors(self.module, batch.inputs, batch.targets)
        return summed_cross_entropy(self.module(input_ids=inputs).logits, targets), batch.tokens


class MaskedObjective:
    """Tokens hidden from a masked transformer (Devlin et al. 2019).

    Args:
        module: A ``transformers`` masked language model.
        mask_id: The token that hides another.
        ordinary: Ids that a hidden token may be replaced by: all but the special ones.
        rate: Share of the tokens of each row that is hidden.
        rule: See `corrupt`.
    """

    masked = True

    def __init__(
        self, module: nn.Module, mask_id: int, ordinary: NDArray[np.int64], rate: float, rule: MaskRule
    ) -> None:
        self.module, self.mask_id, self.ordinary = module, mask_id, ordinary
        self.body, self.head, _ = split_head(module)
        self.rate, self.rule = rate, rule
        self.carried: tuple[Tensor, ...] = ()

    def loss(self, batch: Batch, random: np.random.Generator) -> tuple[Tensor, int]:
        """Return the summed cross-entropy in nats of the hidden tokens, and their number."""
        hidden = corrupt(batch, self.mask_id, self.ordinary, random, rate=self.rate, rule=self.rule)
        inputs, targets = tensors(self.module, hidden.inputs, hidden.targets)
        filled = np.arange(batch.targets.shape[1]) <= _last_target(batch)[:, None]
        (attention,) = tensors(self.module, filled.astype(np.int64))
        states = self.body(input_ids=inputs, attention_mask=attention).last_hidden_state
        learned = targets != IGNORED
        return summed_cross_entropy(self.head(states[learned]), targets[learned]), hidden.tokens


def corrupt(
    batch: Batch,
    mask_id: int,
    ordinary: NDArray[np.int64],
    random: np.random.Generator,
    *,
    rate: float = 0.15,
    rule: MaskRule = "80/10/10",
) -> Batch:
    """Hide tokens of a batch; only they stay targets.

    Each row loses exactly round(rate x n) of its n tokens, at least one, drawn without replacement: a row
    never teaches nothing, and the loss varies less than if each token were hidden on its own account.
    Padding and special tokens (targets `IGNORED`) are never chosen.

    Args:
        batch: Targets are the tokens themselves, `IGNORED` at padding and special tokens.
        mask_id: The token that hides another.
        ordinary: Ids that may replace a token.
        random: Source of all draws.
        rate: Share of the tokens to hide, in (0, 1].
        rule: ``80/10/10`` writes the mask for 80% of the chosen, an ordinary token drawn at random for 10%,
            and leaves 10% as they are; ``mask`` writes the mask for all.
    """
    eligible = batch.targets != IGNORED
    wanted = np.maximum(1, np.rint(rate * eligible.sum(axis=1)))[:, None]
    order = np.argsort(np.where(eligible, random.random(eligible.shape), 2.0), axis=1)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None, :], axis=1)
    chosen = eligible & (place < wanted)
    inputs = np.where(chosen, mask_id, batch.inputs)
    if rule == "80/10/10":
        draw = random.random(chosen.shape)
        inputs = np.where(chosen & (draw >= 0.9), batch.inputs, inputs)
        replaced = chosen & (draw >= 0.8) & (draw < 0.9)
        inputs[replaced] = random.choice(ordinary, int(replaced.sum()))
    return Batch(inputs, np.where(chosen, batch.targets, IGNORED))


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over targets that are not `IGNORED` of -log p(target), in nats."""
    return cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def tensors(module: nn.Module, *arrays: NDArray[Any]) -> list[Tensor]:
    """Return the arrays as tensors on the device of ``module``."""
    device = next(module.parameters()).device
    return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]


def _last_target(batch: Batch) -> NDArray[np.int64]:
    """Return the place of the last token of each row."""
    learned = batch.targets != IGNORED
    last: NDArray[np.int64] = learned.shape[1] - 1 - np.argmax(learned[:, ::-1], axis=1)
    return np.where(learned.any(axis=1), last, 0)
