"""A second module over the same weights, so that a model in somebody's hands is read without being touched.

The twin shares every tensor and nothing else: it is in evaluation mode while the original goes on training, and what
is done to its structure (adapters merged, halves cut apart) the original never sees.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


def twin_of(module: Any) -> Any:
    """Return a copy of a module in evaluation mode whose parameters and buffers are the memory of the original's.

    Hooks stay, as they may be part of what it computes; those of the backward pass are left out. So is whatever a
    trainer put in the place of ``forward`` (mixed precision, a fused loss): it may hold on to the original module, and
    a model that is saved and loaded has it no longer.
    """
    memo: dict[int, Any] = {}
    for one in module.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            memo[id(getattr(one, name))] = copy.copy(getattr(one, name))
        for name in ("_backward_hooks", "_backward_pre_hooks"):
            memo[id(getattr(one, name))] = type(getattr(one, name))()
    for tensor in _tensors(module):
        memo[id(tensor)] = _shared(tensor)
    twin = copy.deepcopy(module, memo)
    for one in twin.modules():
        if "_hf_hook" not in vars(one):  # of `accelerate`, which moves inputs to the weights
            vars(one).pop("forward", None)
    return twin.eval()


def _tensors(module: Any) -> Iterator[Tensor]:
    for one in module.modules():
        yield from (
            tensor for held in (one._parameters, one._buffers) for tensor in held.values() if tensor is not None
        )


def _shared(tensor: Tensor) -> Tensor:
    """Return another parameter or buffer over the same memory; of a class that we do not know, itself."""
    if type(tensor) is nn.Parameter:
        return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
    return tensor.detach() if type(tensor) is Tensor else tensor
