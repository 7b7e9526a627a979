"""Verdicts with a first look in bf16, where the processor multiplies bf16 faster than fp32.

A bf16 copy of the weights throws out windows at a token that another one beats by more than a margin; whatever it
leaves is decided in fp32. The margin is measured, not proven: 3 times the largest difference between the logits of
the two on calibration windows, where twice the difference is what can turn the order of two logits round.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from memaudit.errors import InputError, ModelError
from memaudit.models.products import inference
from memaudit.models.screening import Agrees, Reader, is_choice, is_within, matched_lengths
from memaudit.models.torch_scores import HEAD_ROWS, check_finite
from memaudit.models.transformer import CausalTransformer
from memaudit.records import Window

CALIBRATION = 8
"""Windows on which the margin is measured."""
SAFETY = 3.0
"""Margin in units of the largest difference seen."""


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


class BfloatScreen:
    """Tells which windows are k-extractable: bf16 throws out, fp32 decides on the rest.

    Where a window differs is not reported: bf16 may see a difference late, or look over a first one.

    Args:
        model: In fp32.
        calibration: Windows like those to be judged; the first `CALIBRATION` with a suffix are read in both types.

    Raises:
        InputError: No window to calibrate on.
        ModelError: The device has no fast bf16, the model is not in fp32, or its family has no plain cache.
    """

    engine: str
    """What multiplies bf16: ``AMX``, ``AVX-512 BF16``, or the name of the GPU."""
    margin: float
    """Difference of logits beyond which bf16 is believed."""
    rechecked: int = 0
    """Windows that the last call of `verdicts` read in fp32."""

    def __init__(self, model: CausalTransformer, calibration: Sequence[Window]) -> None:
        weights = next(model.module.parameters())
        engine = fast_bf16(weights.device)
        if engine is None:
            raise ModelError(f"the device {weights.device} has no fast bf16", "screen in fp32 instead")
        if weights.dtype != torch.float32:
            raise ModelError(f"the model is in {weights.dtype}, not in fp32", "load it with --dtype float32")
        self.engine = engine
        self.model = model
        module = copy.deepcopy(model.module).to(torch.bfloat16)
        self.rough = CausalTransformer(module, model.tokenizer, family=model.family)
        asked = [window for window in calibration if len(window.suffix)][:CALIBRATION]
        self.margin = SAFETY * self._largest_difference(asked)
        self._reader = _reader(self.rough, partial(is_within, margin=self.margin))

    @inference()
    def verdicts(self, windows: Sequence[Window]) -> NDArray[np.bool_]:
        """Return whether greedy decoding in fp32 gives the whole suffix, shape [windows]; False for an empty one.

        Raises:
            InputError: A window is longer than the model's context, or nothing precedes its suffix.
            ModelError: A logit that was looked at is NaN or infinite.
        """
        prefixes, suffixes = self.model.prefixes(windows), [window.suffix for window in windows]
        lengths = np.array([len(suffix) for suffix in suffixes], np.int32)
        agreed = matched_lengths(self._reader, prefixes, suffixes)
        left = np.flatnonzero((agreed == lengths) & (lengths > 0)).tolist()
        found = np.zeros(len(windows), bool)
        found[left] = self.model.screen([windows[i] for i in left]) == lengths[left]
        self.rechecked = len(left)
        return found

    @inference()
    def _largest_difference(self, windows: Sequence[Window]) -> float:
        """Return the largest difference of a logit in bf16 from that in fp32, over the suffixes of ``windows``."""
        if not windows:
            raise InputError("no window to calibrate bf16 on", "give at least one window with a suffix")
        exact, rough = _reader(self.model), _reader(self.rough)
        largest = 0.0
        for prefix, window in zip(self.model.prefixes(windows), windows, strict=True):
            text = np.concatenate([prefix, window.suffix[:-1]])[None]
            hidden = [torch.split(r.read(text)[0][0, len(prefix) - 1 :], HEAD_ROWS) for r in (exact, rough)]
            for states, rounded in zip(*hidden, strict=True):
                difference = exact.head(states) - rough.head(rounded)
                check_finite(difference)
                largest = max(largest, float(difference.abs().max()))
        return largest


def _reader(model: CausalTransformer, agrees: Agrees = is_choice) -> Reader:
    reader = model.reader(agrees)
    if reader is None:
        raise ModelError(f"a {model.family} model has no cache that a screen can use", "screen in fp32 instead")
    return reader
