"""Each operation on 64 bytes against a loop over them."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, compress_block, fold_block, lowest_bit, span_mask

Bytes = NDArray[np.uint8]


@njit
def compressed(source: Bytes, at: int, target: Bytes, to: int, kept: np.uint64) -> int:
    return compress_block(source, at, target, to, kept)


@njit
def folded(source: Bytes, at: int, target: Bytes, to: int) -> np.uint64:
    return fold_block(source, at, target, to)


@njit
def masked(source: Bytes, at: int, first: np.uint8, last: np.uint8) -> np.uint64:
    return span_mask(source, at, first, last)


@njit
def lowest(word: np.uint64) -> int:
    return lowest_bit(word)


def random_bytes(seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, 3 * BLOCK, dtype=np.uint8)


MASKS = [0, 2**64 - 1, 1, 1 << 63, 0xFF00FF00FF00FF00, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA, 0x8001F00F00000080]


@pytest.mark.parametrize("density", [1, 2, 3])
def test_the_bytes_whose_bit_is_set_close_ranks(density: int) -> None:
    rng = random.Random(density)
    spread = [rng.getrandbits(64) & (rng.getrandbits(64) if density > 1 else ~0) for _ in range(300)]
    for number, mask in enumerate([*MASKS, *spread, *(2**64 - 1 - mask for mask in spread)]):
        source, target, at, to = random_bytes(number), random_bytes(7), number % BLOCK, number % 50
        before = target.copy()
        end = compressed(source, at, target, to, np.uint64(mask))
        kept = [source[at + k] for k in range(BLOCK) if mask >> k & 1]
        assert target[to:end].tolist() == kept
        assert target[:to].tolist() == before[:to].tolist()
        assert target[to + BLOCK :].tolist() == before[to + BLOCK :].tolist()


def test_letters_and_digits_are_folded() -> None:
    source, target = np.arange(256, dtype=np.uint8), np.full(256, 7, np.uint8)
    letters = [int(folded(source, at, target, at)) for at in range(0, 256, BLOCK)]
    assert [bytes([b]).isalpha() for b in range(256)] == [letters[b // BLOCK] >> b % BLOCK & 1 for b in range(256)]
    assert target.tolist() == [ord(chr(b).lower()) if b < 128 and chr(b).isalnum() else 0 for b in range(256)]


@pytest.mark.parametrize("span", [(0, 0), (0, 255), (9, 13), (128, 255), (255, 255), (0x7F, 8)])
def test_bytes_of_a_span_are_marked(span: tuple[int, int]) -> None:
    source = random_bytes(1)
    mask = int(masked(source, 5, np.uint8(span[0]), np.uint8(span[1])))
    first, last = span
    inside = {*range(first, last + 1)} if first <= last else {*range(first, 256), *range(last + 1)}
    assert [mask >> k & 1 for k in range(BLOCK)] == [int(source[5 + k]) in inside for k in range(BLOCK)]


def test_lowest_bit() -> None:
    assert [lowest(np.uint64(1 << k)) for k in range(64)] == list(range(64))
    assert [lowest(np.uint64(mask)) for mask in (0, 6, 2**64 - 1)] == [64, 1, 0]
