"""Keys and values of texts of unequal length in one buffer, where texts are read on without copying any.

A `transformers` cache that grows is copied whole at every token. Here every text ends at the same slot of a buffer
with room to go on, so all go on together however far each has come; what stands before a shorter text is hidden by
the mask that every family knows from padding on the left.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from memaudit.models.caches import cache_of, is_plain, reading_on

Ids = NDArray[np.int64]
PROBE = 8
"""Tokens of the texts on which a family's cache is tried."""


@dataclass(frozen=True, slots=True)
class SlotShape:
    """What one slot holds in every layer, keys and values alike."""

    layers: int
    heads: int
    width: int
    dtype: torch.dtype
    device: torch.device

    @property
    def bytes(self) -> int:
        """Bytes of one slot of one text."""
        return 2 * self.layers * self.heads * self.width * self.dtype.itemsize


class Slots:
    """Keys and values of texts that all end at slot ``end``.

    Args:
        shape: What a slot holds.
        texts: Keys and values of every text, shape [layers, 2, heads, length, width]; or the number of empty texts.
        room: Slots after the end.
    """

    def __init__(self, shape: SlotShape, texts: Sequence[Tensor] | int, room: int) -> None:
        count = texts if isinstance(texts, int) else len(texts)
        lengths = np.zeros(count, np.int64) if isinstance(texts, int) else np.array([t.shape[3] for t in texts])
        self.end = int(lengths.max(initial=0))
        self.starts = self.end - lengths
        size = shape.layers, 2, count, shape.heads, self.end + room, shape.width
        self._buffer = torch.empty(size, dtype=shape.dtype, device=shape.device)
        for row, text in enumerate([] if isinstance(texts, int) else texts):
            start = int(self.starts[row])
            self._buffer[:, :, row, :, :start] = 0  # hidden, but what is hidden must be a number
            self._buffer[:, :, row, :, start : self.end] = text

    def text(self, row: int, end: int) -> Tensor:
        """Return a copy of the keys and values of one text up to slot ``end``."""
        return self._buffer[:, :, row, :, int(self.starts[row]) : end].clone()

    def read(self, body: Any, ids: Ids, lengths: Ids | None = None) -> Tensor:
        """Read the next ids of the first n texts into the slots after the end, which stays where it is.

        Args:
            body: Called as any `transformers` body.
            ids: Shape [n, t].
            lengths: How many of the t ids are meant, shape [n]; by default all.

        Returns:
            Hidden states [n, t, d].
        """
        count, end = len(ids), self.end + ids.shape[1]
        layers: Any = [_Slot(k[:count, :, :end], v[:count, :, :end], self.end) for k, v in self._buffer]
        device = self._buffer.device
        slots, starts = np.arange(end), self.starts[:count, None]
        last = np.full((count, 1), end - 1) if lengths is None else self.end + lengths[:, None] - 1
        given: dict[str, Tensor] = {}
        if starts.any() or (last < end - 1).any():
            shown = (starts <= slots) & (slots <= last)
            given["attention_mask"] = torch.from_numpy(shown.astype(np.int64)).to(device)
            if "position_ids" in inspect.signature(body.forward).parameters:
                places = np.minimum(slots[self.end :], last) - starts
                given["position_ids"] = torch.from_numpy(places).to(device)
        new = torch.from_numpy(ids).to(device)
        states: Tensor = body(
            input_ids=new, **reading_on(body, Cache(layers=layers)), use_cache=True, **given
        ).last_hidden_state
        return states


@torch.no_grad()
def slot_shape(body: Any, vocabulary: int, device: torch.device) -> SlotShape | None:
    """Return what a slot of this family holds, or None where a short text shows that it cannot be read by slots.

    Args:
        body: Called as any `transformers` body.
        vocabulary: Ids that it knows.
        device: Where it computes.
    """
    ids = torch.randint(vocabulary, (2, PROBE), generator=torch.Generator().manual_seed(0)).to(device)
    try:
        whole = body(input_ids=ids, use_cache=True)
        cache, expected = cache_of(whole), whole.last_hidden_state
        if not is_plain(cache) or any(layer.keys.device != device for layer in cache.layers):
            return None
        kinds = {
            (*(tensor.shape[1::2]), tensor.dtype) for layer in cache.layers for tensor in (layer.keys, layer.values)
        }
        if len(kinds) != 1:
            return None
        [(heads, width, dtype)] = kinds
        shape = SlotShape(len(cache.layers), heads, width, dtype, device)
        halves = _read_in_pieces(body, shape, ids.cpu().numpy(), expected)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return None
    tolerance = 1e-4 if expected.dtype in (torch.float32, torch.float64) else 5e-2
    near = torch.allclose(halves, expected, rtol=0, atol=tolerance * max(1.0, float(expected.abs().max())))
    return shape if near else None


def _read_in_pieces(body: Any, shape: SlotShape, ids: Ids, expected: Tensor) -> Tensor:
    """Return ``expected`` with all states but the first few read by slots: unequal texts, read on and on."""
    states = expected.clone()
    known = 2, 4
    read = []
    for row, length in enumerate(known):
        slots = Slots(shape, 1, length)
        slots.read(body, ids[row : row + 1, :length])
        read.append(slots.text(0, length))
    slots = Slots(shape, read, 4)
    first, counts = np.zeros((2, 3), np.int64), np.array([3, 2])
    for row, (length, count) in enumerate(zip(known, counts, strict=True)):
        first[row, :count] = ids[row, length : length + count]
    hidden = slots.read(body, first, counts)
    for row, (length, count) in enumerate(zip(known, counts, strict=True)):
        states[row, length : length + count] = hidden[row, :count]
        read[row] = slots.text(row, slots.end + int(count))
    slots = Slots(shape, read, 2)
    for step in range(2):
        places = [length + int(count) + step for length, count in zip(known, counts, strict=True)]
        hidden = slots.read(body, ids[[0, 1], places][:, None])
        slots.end += 1
        states[[0, 1], places] = hidden[:, 0]
    return states


class _Slot(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer of `Slots` as a model sees it: views that end where the new tokens will."""

    def __init__(self, keys: Tensor, values: Tensor, end: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.end = keys, values, end
        self._both = keys, values
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put the new keys and values in their place; return all."""
        keys, values = self._both
        keys[:, :, self.end :] = key_states
        values[:, :, self.end :] = value_states
        self.end = keys.shape[2]
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        """Return how many slots are filled, hidden ones included."""
        return self.end
