"""Words cut out of folded text, and their hashes: one-to-one for up to eight bytes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, load_word, lowest_bit, span_mask

Bytes = NDArray[np.uint8]
Int32s = NDArray[np.int32]
Hashes = NDArray[np.uint64]

_FIRST_EIGHT = np.array([(1 << 8 * min(k, 8)) - 1 for k in range(17)], np.uint64)
_NEXT_EIGHT = np.array([(1 << 8 * max(k - 8, 0)) - 1 for k in range(17)], np.uint64)
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(0xBF58476D1CE4E5B9)


@njit(cache=True, nogil=True)
def find_edges(buffer: Bytes, used: int, edges: Int32s) -> int:
    """Fill ``edges`` with the start and the end of every word, by turns; return the number of words."""
    found, open_word = 0, np.uint64(0)
    for start in range(0, used + 1, BLOCK):
        inside = span_mask(buffer, start, 1, 255)
        changes = inside ^ (inside << np.uint64(1) | open_word)
        open_word = inside >> np.uint64(63)
        while changes:
            edges[found] = start + lowest_bit(changes)
            found += 1
            changes &= changes - np.uint64(1)
    return found // 2


@njit(cache=True, nogil=True)
def hash_spans(buffer: Bytes, edges: Int32s, words: int, hashes: Hashes, first: int) -> None:
    """Write the hash of every word: one-to-one for up to eight bytes, mixed as in splitmix64, never 0."""
    for word in range(words):
        start = edges[2 * word]
        length = edges[2 * word + 1] - start
        if length <= 16:
            mixed = (load_word(buffer, start) & _FIRST_EIGHT[length]) * _A
            following = (load_word(buffer, start + 8) & _NEXT_EIGHT[length]) * _C
            mixed = (mixed ^ mixed >> np.uint64(32) ^ following) * _B
        else:
            mixed = np.uint64(length)
            for k in range(0, length, 8):
                part = load_word(buffer, start + k) & _FIRST_EIGHT[min(length - k, 8)]
                mixed = (mixed ^ part * _B) * _A
                mixed ^= mixed >> np.uint64(32)
        mixed = (mixed ^ mixed >> np.uint64(29)) * _C
        mixed ^= mixed >> np.uint64(32)
        hashes[first + word] = mixed if mixed else _C
