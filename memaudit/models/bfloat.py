"""How far greedy decoding follows a text, with a first look in bf16 where that is quicker than fp32.

A bf16 copy of the weights settles the windows that differ at a token which another one beats by more than a margin,
all tokens before it leading by more. Fp32 reads the others: those with a near tie, and every window that is matched to
its end, so that nothing is called reproduced on bf16's word. The margin is measured, not proven: 3 times the largest
difference between the logits of the two on calibration windows, where twice the difference is what can turn the order
of two logits round.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from memaudit.models.body_head import split_head
from memaudit.models.memory import free_bytes
from memaudit.models.parts import in_parts
from memaudit.models.products import onednn_product
from memaudit.models.screening import READ_TOKENS, Reader, is_clear, matched_and_sure, matched_lengths
from memaudit.models.torch_scores import HEAD_ROWS, check_finite
from memaudit.records import TokenIds

CALIBRATION = 8
"""Windows on which margin and speed are measured."""
ENOUGH = 32
"""Windows from which on a copy of the weights and its calibration are worth it."""
SAFETY = 3.0
"""Margin in units of the largest difference seen."""
WORTH = 1.25
"""How much quicker than fp32 the copy must read."""
ROOM = 0.25
"""Share of the free memory that the copy may take."""


def fast_bf16(device: torch.device) -> str | None:
    """Return the name of what multiplies bf16 on this device faster than fp32, or None if nothing does."""
    if device.type == "cuda":
        name: str = torch.cuda.get_device_name(device)
        return name if torch.cuda.is_bf16_supported(including_emulation=False) else None
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    # torch names these without promise: where one is gone, its instructions count as missing.
    for name, asks in ("AMX", "_is_amx_tile_supported"), ("AVX-512 BF16", "_is_avx512_bf16_supported"):
        if getattr(torch.cpu, asks, bool)():
            return name
    return None


def can_look(module: Any) -> bool:
    """Return whether a bf16 copy of a module may be quicker: plain fp32, a device with bf16, and room for it."""
    weights = next(module.parameters())
    if in_parts(module) or getattr(module, "quantization_method", None) is not None:
        return False
    if weights.dtype != torch.float32 or fast_bf16(weights.device) is None:
        return False
    size = sum(parameter.numel() for parameter in module.parameters()) * torch.bfloat16.itemsize
    return bool(size <= ROOM * free_bytes(weights.device))


class FirstLook:
    """A bf16 copy of a model, and how much of it is believed.

    Args:
        module: In fp32; see `can_look`.
        exact: What reads it.
        prefixes: Of windows like those to be judged; the first `CALIBRATION` are read in both types.
        suffixes: Of the same windows, none of them empty.

    Raises:
        ModelError: A logit is NaN or infinite.
    """

    margin: float
    """Difference of logits beyond which bf16 is believed."""
    speed: float
    """Times as quick as fp32 that it read the calibration windows."""

    def __init__(self, module: Any, exact: Reader, prefixes: Sequence[TokenIds], suffixes: Sequence[TokenIds]) -> None:
        body, head, _ = split_head(_packed(_rounded(module)))
        self._exact, rough = exact, replace(exact, body=body, head=head)
        largest, seconds = 0.0, np.zeros(2)
        for prefix, suffix in list(zip(prefixes, suffixes, strict=True))[:CALIBRATION]:
            (found, expected), took = _both(rough, exact, prefix, suffix)
            largest, seconds = max(largest, _largest_difference(rough, exact, found, expected)), seconds + took
        self.margin, self.speed = SAFETY * largest, float(seconds[1] / seconds[0])
        self._rough = replace(rough, judge=partial(is_clear, margin=self.margin))
        self.looked = self.rechecked = 0

    @property
    def pays(self) -> bool:
        """Whether it saved time so far: what it left to fp32 was read twice."""
        return self.speed >= WORTH and self.rechecked / max(1, self.looked) < 1 - 1 / self.speed

    def matched(self, prefixes: Sequence[TokenIds], suffixes: Sequence[TokenIds]) -> NDArray[np.int32]:
        """Return how many suffix tokens greedy decoding in fp32 gives before its first difference, shape [windows]."""
        found, sure = matched_and_sure(self._rough, prefixes, suffixes)
        lengths = np.array([len(suffix) for suffix in suffixes], np.int32)
        again = np.flatnonzero(~sure | ((found == lengths) & (lengths > 0))).tolist()
        found[again] = matched_lengths(self._exact, [prefixes[i] for i in again], [suffixes[i] for i in again])
        self.looked += len(lengths)
        self.rechecked += len(again)
        return found


class _Packed(nn.Module):
    """A linear layer whose weight lies as oneDNN multiplies by it, a tenth to a half quicker than by a plain one."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, READ_TOKENS["cpu"])
        self.bias = bias

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows [.., inputs] times the weight, plus the bias."""
        return onednn_product(rows, self.weight, self.bias)


def _rounded(module: Any) -> Any:
    """Return a bf16 copy of a module, for which each tensor is converted by itself: no second copy in fp32 is made."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            rounded = tensor.detach().to(torch.bfloat16)
            memo[id(tensor)] = nn.Parameter(rounded) if isinstance(tensor, nn.Parameter) else rounded
    return copy.deepcopy(module, memo)


def _packed(module: Any) -> Any:
    """Return a module that is ours with its linear layers packed, on a processor."""
    if next(module.parameters()).device.type != "cpu":
        return module
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                setattr(parent, name, _Packed(layer.weight.data, layer.bias))
            elif type(layer) is Conv1D:
                setattr(parent, name, _Packed(layer.weight.data.t().contiguous(), layer.bias))
    return module


def _both(rough: Reader, exact: Reader, prefix: TokenIds, suffix: TokenIds) -> tuple[list[Tensor], NDArray[np.float64]]:
    """Return the hidden states that predict a suffix, in either type, and the seconds that the whole text took."""
    text, states, seconds = np.concatenate([prefix, suffix[:-1]])[None], [], []
    for reader in (rough, exact):
        start = perf_counter()
        hidden = reader.read(text)[0][0, len(prefix) - 1 :]
        hidden.sum().item()  # an accelerator is done only then
        seconds.append(perf_counter() - start)
        states.append(hidden)
    return states, np.array(seconds)


def _largest_difference(rough: Reader, exact: Reader, found: Tensor, expected: Tensor) -> float:
    largest = 0.0
    for rounded, states in zip(torch.split(found, HEAD_ROWS), torch.split(expected, HEAD_ROWS), strict=True):
        difference = exact.head(states) - rough.head(rounded)
        check_finite(difference)
        largest = max(largest, float(difference.abs().max()))
    return largest
