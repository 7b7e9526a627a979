"""Tests of ranks and of pairs by permutation, and the correction for the number of tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from memaudit.records import FloatArray
from memaudit.stats.two_sides import CHUNK, check_finite

MIN_NORMAL = 50
"""Documents a side from which on the rank sum is taken as normal."""
MAX_ENUMERATED = 13
"""Pairs up to which all 2**pairs signs are tried."""


def smallest_p(documents: int, others: int) -> float:
    """Return the smallest p that a permutation test of two sides can give: one of all ways to choose the first side."""
    return 1 / math.comb(documents + others, documents)


def fewest_documents(alpha: float) -> int:
    """Return how many documents each side needs at least, so that a permutation test can reject at ``alpha``.

    The smallest p of n documents a side is 1 / C(2n, n): 3 for a level of .05.
    """
    documents = 1
    while smallest_p(documents, documents) > alpha:
        documents += 1
    return documents


def rank_test(members: ArrayLike, heldout: ArrayLike, *, seed: int, permutations: int = 9999) -> float | None:
    """Test whether members score higher than held-out documents: Mann & Whitney (1947), one-sided.

    Where a side has fewer than `MIN_NORMAL` documents or scores are tied, documents are permuted and
    p = (k + 1) / (B + 1); else it is the normal approximation with its correction for continuity. Exact where a
    coin decided which documents are members.

    Args:
        members: One finite score a document, higher for what looks seen.
        heldout: The same for held-out documents.
        seed: Fixes the permutations.
        permutations: B.

    Returns:
        The p-value, never 0; None where one side has no document.
    """
    ours, theirs = np.asarray(members, dtype=np.float64), np.asarray(heldout, dtype=np.float64)
    if not len(ours) or not len(theirs):
        return None
    ranks, tied = midranks(np.concatenate([ours, theirs]))
    mine, m, n = ranks[: len(ours)], len(ours), len(theirs)
    if tied or min(m, n) < MIN_NORMAL:
        return _exchangeable(ranks, m, seed, permutations)
    above = float(mine.sum()) - m * (m + 1) / 2 - m * n / 2
    p = float(ndtr(-(above - 0.5) / math.sqrt(m * n * (m + n + 1) / 12)))
    return max(p, float(np.finfo(np.float64).tiny))


def midranks(values: FloatArray) -> tuple[FloatArray, bool]:
    """Return the ranks of finite values from 1, tied ones sharing their mean, and whether any are tied."""
    check_finite(values)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks, len(counts) < len(values)


def sign_flip_test(differences: ArrayLike, *, seed: int, permutations: int = 9999) -> float | None:
    """Test whether paired differences have a mean above 0, where either sign of each would be as likely.

    Up to `MAX_ENUMERATED` pairs all signs are tried and p is the share of sums that reach the observed one, itself
    among them; for more p = (k + 1) / (B + 1) of random signs. Ties count.

    Args:
        differences: One finite difference a pair.
        seed: Fixes the signs.
        permutations: B.

    Returns:
        The p-value, never 0; None without a pair.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        return None
    steps = _whole_numbers(values)
    # A sum with signs reaches the observed one where the differences whose sign is turned sum to nothing or less.
    # Each was rounded by half a step at most.
    slack = len(values) / 2
    if len(values) <= MAX_ENUMERATED:
        every = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((every @ steps <= slack).mean())
    rng, at_least = np.random.default_rng(seed), 0
    chunk = max(1, CHUNK // len(values))
    for start in range(0, permutations, chunk):
        rows = min(chunk, permutations - start)
        bits = np.frombuffer(rng.bytes(rows * -(-len(values) // 8)), np.uint8).reshape(rows, -1)
        turned = np.unpackbits(bits, axis=1, count=len(values))
        at_least += int((turned @ steps <= slack).sum())
    return (at_least + 1) / (permutations + 1)


def _whole_numbers(values: FloatArray) -> FloatArray:
    """Return values as whole numbers so small that float64 holds any sum of them exactly, in whatever order added."""
    check_finite(values)
    resolution = 2.0 ** (52 - len(values).bit_length())
    scale = np.abs(values).max(axis=0)
    steps: FloatArray = np.rint(values / np.where(scale > 0, scale, 1) * resolution)
    return steps


def _exchangeable(values: FloatArray, first: int, seed: int, permutations: int) -> float:
    """Return how often ``first`` of the values, drawn without replacement, sum to what the first ones do, or more.

    Not studentised: exact where values are exchangeable. Sums are formed of whole numbers, so that p depends neither
    on the order of summation nor on the machine.
    """
    steps = _whole_numbers(values)
    observed, at_least = steps[:first].sum(), 0
    for chosen in _splits(len(values), first, seed, permutations):
        # Each value was rounded by half a step at most, so truly equal sums differ by at most this much.
        at_least += int((chosen @ steps >= observed - first).sum())
    return (at_least + 1) / (permutations + 1)


def _splits(count: int, first: int, seed: int, permutations: int) -> Iterator[FloatArray]:
    """Yield splits at random, a row each with 1 for the ``first`` of ``count`` values that are drawn and else 0."""
    if permutations * count <= CHUNK:
        yield np.unpackbits(_few_splits(count, first, seed, permutations), axis=1, count=count).astype(np.float64)
        return
    rng, chunk = np.random.default_rng(seed), max(1, CHUNK // count)
    for start in range(0, permutations, chunk):
        yield _drawn(rng, min(chunk, permutations - start), count, first)


@lru_cache(maxsize=8)
def _few_splits(count: int, first: int, seed: int, permutations: int) -> NDArray[np.uint8]:
    """Return splits as bits: the scores of one audit are all tested by the same, and drawing takes most of the time."""
    return np.packbits(_drawn(np.random.default_rng(seed), permutations, count, first).astype(np.bool_), axis=1)


def _drawn(rng: np.random.Generator, rows: int, count: int, first: int) -> FloatArray:
    chosen = np.zeros((rows, count))
    chosen[:, :first] = 1
    return rng.permuted(chosen, axis=1, out=chosen)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number so that the family-wise error is kept (Holm 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return [float(p) for p in adjusted]
