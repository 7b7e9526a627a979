"""Filters and hash tables of 64-bit keys, made once and asked billions of times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Slots(NamedTuple):
    """A hash table from keys to ids, open addressing with linear probing."""

    keys: NDArray[np.uint64]
    ids: NDArray[np.int32]
    """-1: the slot is free."""
    bits: int


def fill_filter(keys: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Return a filter of ``2**bits`` bits in which the bit of every key is set."""
    places = (keys * _SPREAD) >> np.uint64(64 - bits)
    flags = np.zeros(1 << bits, dtype=np.uint8)
    flags[places] = 1
    return np.packbits(flags, bitorder="little").view(np.uint64)


def fill_table(keys: NDArray[np.uint64]) -> Slots:
    """Return the table from each of these different keys to its place."""
    bits = max(4, int(2 * len(keys)).bit_length())
    slots = Slots(np.zeros(1 << bits, np.uint64), np.full(1 << bits, -1, np.int32), bits)
    _insert(keys, slots)
    return slots


@njit(cache=True, nogil=True)
def _insert(keys: NDArray[np.uint64], slots: Slots) -> None:
    last = len(slots.keys) - 1
    for i in range(len(keys)):
        slot = np.int64((keys[i] * _SPREAD) >> np.uint64(64 - slots.bits))
        while slots.ids[slot] >= 0:
            slot = (slot + 1) & last
        slots.keys[slot] = keys[i]
        slots.ids[slot] = i


@njit(cache=True, nogil=True, forceinline=True)
def lookup(slots: Slots, key: np.uint64) -> int:
    """Return the place of a key, -1 if it is none of the table."""
    last = len(slots.keys) - 1
    slot = np.int64((key * _SPREAD) >> np.uint64(64 - slots.bits))
    while slots.ids[slot] >= 0 and slots.keys[slot] != key:
        slot = (slot + 1) & last
    return int(slots.ids[slot])


@njit(cache=True, nogil=True, forceinline=True)
def passes(bits_set: NDArray[np.uint64], bits: int, key: np.uint64) -> bool:
    """Return whether the bit of a key is set in a filter: True for its keys, and for few others."""
    bit = (key * _SPREAD) >> np.uint64(64 - bits)
    return bool((bits_set[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1))
