"""Tests by permutation: two sides, ranks, pairs; and the correction for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from memaudit.records import FloatArray

Alternative = Literal["greater", "two-sided"]
FEWEST_NORMAL = 50
"""Documents a side from which on the rank sum is taken as normal."""
MOST_ENUMERATED = 13
"""Pairs up to which all 2**pairs signs are tried."""
_CHUNK = 4_000_000
"""Largest number of permuted entries in memory at a time."""
_DUST = 1e-12
"""What rounding may leave of a sum that is 0, in units of the largest value."""
_TIE = 1e-9
"""By how much equal values of a statistic may differ."""


def permutation_test(
    train_values: ArrayLike,
    heldout_values: ArrayLike,
    *,
    seed: int,
    permutations: int = 9999,
    alternative: Alternative = "greater",
    windows: tuple[ArrayLike, ArrayLike] | None = None,
) -> list[float | None]:
    """Test whether train documents have a larger mean than held-out documents.

    The sides are permuted and their difference is studentised (Welch's t), so that the test is exact where documents
    are exchangeable, and asymptotically still valid where only the means are equal (Janssen 1997; Chung & Romano
    2013): shares of hits among 25 windows vary less than those of one window. All metrics share the permutations.
    p = (k + 1) / (B + 1) with k the permutations whose statistic is at least the observed one; ties count (Phipson &
    Smyth 2010).

    Few hits tell little of their variance, none nothing. So where ``windows`` are given, the variance of a side is taken
    to be no less than that of hits of the common mean p, of documents with m windows and a correlation rho:
    p (1 - p) (1 + (m - 1) rho) / m each.

    Args:
        train_values: Document means, shape [documents] or [documents, metrics].
        heldout_values: The same for held-out documents.
        seed: Fixes the permutations.
        permutations: B; the smallest possible p is 1 / (B + 1).
        alternative: ``greater``, or ``two-sided`` for a difference of either sign.
        windows: How many windows each document of both sides has, where the values are shares of hits among them.

    Returns:
        One p-value per metric (a list of one for a single metric); None where one side has no document.
    """
    train, heldout = (_as_table(side) for side in (train_values, heldout_values))
    if not len(train) or not len(heldout):
        return [None] * max(train.shape[1], heldout.shape[1])
    values = np.concatenate([train, heldout])
    check_finite(values)
    sizes = None if windows is None else np.concatenate([np.asarray(side, np.float64) for side in windows])
    pooled = _Pooled(values, len(train), sizes)
    t = pooled.statistics(permutations, np.random.default_rng(seed))
    t = np.abs(t) if alternative == "two-sided" else t
    at_least = (t >= t[0] - _TIE * np.maximum(1.0, np.abs(t[0]))).sum(axis=0)  # itself among them: the + 1
    return [float(count / (permutations + 1)) for count in at_least]


class _Pooled:
    """The documents of both sides, and Welch's t of any split of them."""

    def __init__(self, values: FloatArray, first: int, windows: FloatArray | None) -> None:
        mean = values.mean(axis=0)
        centred = values - mean
        # Where all values are equal, rounding alone would make them differ.
        scale = np.maximum(np.abs(centred).max(axis=0), _DUST * np.abs(values).max(axis=0))
        centred = centred / np.where(scale > 0, scale, 1.0)
        self.first, self.metrics = first, values.shape[1]
        self.within = self.between = np.zeros(self.metrics)
        inverse = np.zeros((len(values), 1))
        if windows is not None:
            inverse = 1 / windows[:, None]
            variance = mean * (1 - mean) / np.where(scale > 0, scale, 1.0) ** 2
            rho = correlation(values, windows)
            self.within, self.between = variance * (1 - rho), variance * rho
        self.table = np.concatenate([centred, centred**2, inverse], axis=1)
        self.totals = self.table.sum(axis=0)

    def statistics(self, permutations: int, rng: np.random.Generator) -> FloatArray:
        """Return t as observed, then of every permutation: [1 + B, metrics]."""
        documents = len(self.table)
        chunk = max(1, _CHUNK // documents)
        t = np.empty((1 + permutations, self.metrics))
        for start in range(0, 1 + permutations, chunk):
            chosen = np.zeros((min(chunk, 1 + permutations - start), documents))
            chosen[:, : self.first] = 1
            moved = chosen[1:] if start == 0 else chosen
            rng.permuted(moved, axis=1, out=moved)
            t[start : start + len(chosen)] = self._welch(chosen @ self.table)
        return t

    def _welch(self, sums: FloatArray) -> FloatArray:
        m, others = self.metrics, len(self.table) - self.first
        rest = self.totals - sums
        difference = sums[:, :m] / self.first - rest[:, :m] / others
        variance = self._variance(sums, self.first) + self._variance(rest, others)
        difference = np.where(np.abs(difference) > _DUST, difference, 0.0)
        t: FloatArray = difference / np.sqrt(np.where(variance > 0, variance, _DUST**4))
        return t

    def _variance(self, sums: FloatArray, documents: int) -> FloatArray:
        """Return the variance of the mean of a side, shape [B, metrics], of sums of its rows of the table."""
        m = self.metrics
        spread = sums[:, m : 2 * m] - sums[:, :m] ** 2 / documents
        spread = np.where(spread > _DUST * documents, spread, 0.0) / max(documents - 1, 1) * documents
        least = self.within * sums[:, 2 * m :] + self.between * documents
        larger: FloatArray = np.maximum(spread, least) / documents**2
        return larger


def correlation(shares: FloatArray, windows: FloatArray) -> FloatArray:
    """Return the correlation within documents of hits, in [0, 1], shape [metrics]: 0 where no document has two windows.

    Of p (1 - p), the variance of a hit, 1 - rho lies within documents: m x (1 - x) / (m - 1) estimates it without bias.

    Args:
        shares: Of hits, shape [documents, metrics].
        windows: Of each document.
    """
    several = windows > 1
    mean = shares.mean(axis=0)
    variance = mean * (1 - mean)
    if not several.any():
        return np.zeros(len(variance))
    x, m = shares[several], windows[several, None]
    within = (m * x * (1 - x) / (m - 1)).mean(axis=0)
    rho: FloatArray = np.clip(1 - within / np.where(variance > 0, variance, 1.0), 0.0, 1.0)
    return np.where(variance > 0, rho, 0.0)


def fewest_documents(alpha: float) -> int:
    """Return how many documents each side needs at least, so that a permutation test can reject at ``alpha``.

    The smallest p of n documents a side is 1 / C(2n, n): 3 for a level of .05.
    """
    documents = 1
    while 1 / math.comb(2 * documents, documents) > alpha:
        documents += 1
    return documents


def rank_test(members: ArrayLike, heldout: ArrayLike, *, seed: int, permutations: int = 9999) -> float | None:
    """Test whether members score higher than held-out documents: Mann & Whitney (1947), one-sided.

    Where a side has fewer than `FEWEST_NORMAL` documents or scores are tied, documents are permuted and
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
    if tied or min(m, n) < FEWEST_NORMAL:
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

    Up to `MOST_ENUMERATED` pairs all signs are tried and p is the share of sums that reach the observed one, itself
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
    if len(values) <= MOST_ENUMERATED:
        every = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((every @ steps <= slack).mean())
    rng, at_least = np.random.default_rng(seed), 0
    chunk = max(1, _CHUNK // len(values))
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


def check_finite(values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("values must be finite: leave out documents without a value")


def _as_table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


def _exchangeable(values: FloatArray, first: int, seed: int, permutations: int) -> float:
    """Return how often ``first`` of the values, drawn without replacement, sum to what the first ones do, or more.

    Not studentised: exact where values are exchangeable. Sums are formed of whole numbers, so that p depends neither
    on the order of summation nor on the machine.
    """
    steps = _whole_numbers(values)
    observed, rng, at_least = steps[:first].sum(), np.random.default_rng(seed), 0
    chunk = max(1, _CHUNK // len(values))
    for start in range(0, permutations, chunk):
        chosen = np.zeros((min(chunk, permutations - start), len(values)))
        chosen[:, :first] = 1
        rng.permuted(chosen, axis=1, out=chosen)
        # Each value was rounded by half a step at most, so truly equal sums differ by at most this much.
        at_least += int((chosen @ steps >= observed - first).sum())
    return (at_least + 1) / (permutations + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number so that the family-wise error is kept (Holm 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return [float(p) for p in adjusted]
