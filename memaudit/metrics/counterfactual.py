"""Counterfactual memorization: what models know of a text that saw it, and others that did not (Zhang et al. 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from memaudit.records import FloatArray

MAX_EXACT = 10_000
"""Ways to choose the models that saw a text; where there are more, so many are drawn."""
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactual:
    """Of every text, shape [documents] each."""

    inside: FloatArray
    """Mean score by the models that were trained on it."""
    outside: FloatArray
    """Mean score by the others."""
    error: FloatArray
    """Standard error of inside - outside; NaN where either side is a single model."""
    p_value: FloatArray
    """One-sided, by permuting which models saw the text."""

    @property
    def memorization(self) -> FloatArray:
        """Return inside - outside."""
        return self.inside - self.outside


def assign(documents: int, models: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which model is trained on which document, shape [models, documents].

    Every document is seen by equally many models, ``share`` of them rounded, at least one and not all.

    Raises:
        ValueError: Fewer than two models.
    """
    if models < 2:
        raise ValueError("one model has no counterpart")
    seen = min(max(round(share * models), 1), models - 1)
    row = np.arange(models) < seen
    table = np.random.default_rng(seed).permuted(np.tile(row, (documents, 1)), axis=1)
    return np.ascontiguousarray(table.T)


def counterfactual(scores: FloatArray, member: NDArray[np.bool_], seed: int = 0) -> Counterfactual:
    """Return in-minus-out memorization: mem(x) = mean over models with x of s(x) - mean over models without x of s(x).

    Its standard error is that of a difference of two means, sqrt(s_in^2 / k + s_out^2 / (m - k)). Its p-value is the
    share of all ways to choose k of the m models whose difference is at least the observed one; at most `MAX_EXACT`
    ways are counted, else as many are drawn and p = (count + 1) / (draws + 1).

    Args:
        scores: Shape [models, documents].
        member: Whether the model was trained on the document, same shape; equally many models a document.
        seed: Fixes the ways that are drawn.
    """
    models = len(scores)
    counts = member.sum(axis=0)
    if counts.size and (counts.min() != counts.max() or not 0 < counts[0] < models):
        raise ValueError("every document must be seen by the same number of models, by some and not by all")
    seen = int(counts[0]) if counts.size else 1
    inside, inner = _moments(scores, member)
    outside, outer = _moments(scores, ~member)
    error = np.sqrt(inner / seen + outer / (models - seen))
    return Counterfactual(inside, outside, error, _p_values(scores, member, seen, seed))


def smallest_p(models: int, seen: int) -> float:
    """Return the smallest p-value that `counterfactual` can give."""
    return 1 / min(math.comb(models, seen), MAX_EXACT)


def mean_interval(
    values: FloatArray,
    seed: int,
    groups: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
    replicates: int = 2000,
) -> tuple[float, float]:
    """Return the interval of a mean by the Bayesian bootstrap (Rubin 1981).

    Args:
        values: Shape [documents].
        seed: Fixes the weights.
        groups: Number of the group of each document; those of a group (copies of one text) have one weight.
        confidence: Coverage.
        replicates: Resamples.
    """
    _, place = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    sizes, sums = np.bincount(place), np.bincount(place, values)
    rng = np.random.default_rng(seed)
    means = np.empty(replicates)
    step = max(1, _CHUNK // len(sizes))
    for first in range(0, replicates, step):
        weights = rng.standard_exponential((min(step, replicates - first), len(sizes)))
        means[first : first + len(weights)] = weights @ sums / (weights @ sizes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _moments(scores: FloatArray, chosen: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return mean and unbiased variance of the chosen scores of every column; the variance of one is NaN."""
    count = chosen.sum(axis=0)
    mean = np.where(chosen, scores, 0).sum(axis=0) / count
    squares = np.where(chosen, (scores - mean) ** 2, 0).sum(axis=0)
    degrees = (count - 1).astype(np.float64)
    return mean, np.divide(squares, degrees, out=np.full(len(count), np.nan), where=degrees > 0)


def _p_values(scores: FloatArray, member: NDArray[np.bool_], seen: int, seed: int) -> FloatArray:
    models, documents = scores.shape
    exact = math.comb(models, seen) <= MAX_EXACT
    ways = _all_ways(models, seen) if exact else assign(MAX_EXACT - 1, models, seen / models, seed).T
    at_least = np.empty(documents)
    observed = np.where(member, scores, 0).sum(axis=0)
    step = max(1, _CHUNK // len(ways))
    for first in range(0, documents, step):
        part = slice(first, first + step)
        sums = ways.astype(np.float64) @ scores[:, part]
        # Equal sums may differ by the rounding of their order.
        slack = 1e-9 * (1 + np.abs(scores[:, part]).sum(axis=0))
        at_least[part] = (sums >= observed[part] - slack).sum(axis=0)
    return at_least / len(ways) if exact else (at_least + 1) / (len(ways) + 1)


def _all_ways(models: int, seen: int) -> NDArray[np.bool_]:
    ways = np.zeros((math.comb(models, seen), models), np.bool_)
    for row, chosen in zip(ways, combinations(range(models), seen), strict=True):
        row[list(chosen)] = True
    return ways
