"""Masks that old releases of transformers saved as tensors, and that newer ones make for themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from memaudit.models.loading.stored import LazyTensor

_FILL = re.compile(r"(.*\.)?(attn|attention)\.masked_bias")
_MASK = re.compile(r"(.*\.)?(attn|attention)\.bias")


def old_masks(names: Iterable[str], weights: Mapping[str, LazyTensor | Tensor]) -> list[str]:
    """Return which tensors are causal masks, or the one value that masked scores were set to; told by their values.

    Args:
        names: Of tensors that a module has no place for.
        weights: All that there are.
    """
    return [name for name in names if name in weights and _is_mask(name, weights[name][...])]


def _is_mask(name: str, tensor: Tensor) -> bool:
    if _FILL.fullmatch(name):
        return tensor.numel() == 1 and float(tensor) <= -1e4
    if not _MASK.fullmatch(name) or tensor.dim() != 4 or tensor.shape[:2] != (1, 1):
        return False
    mask = tensor[0, 0]
    causal = mask.shape[0] == mask.shape[1] and bool(torch.eq(mask, mask.tril().ne(0)).all())
    return causal and bool(mask.diagonal().all())
