"""Do documents of one side have a larger mean than those of the other? Valid too where the sides vary unequally."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, gammaln

from memaudit.records import FloatArray

Alternative = Literal["greater", "two-sided"]
CHUNK = 4_000_000
"""Largest number of permuted entries in memory at a time."""
_DUST = 1e-12
"""What rounding may leave of a sum that is 0."""
_TIE = 1e-9
"""By how much equal values of a statistic may differ."""
_LEAST_CORRELATION = 1e-4
"""Below which hits of a document are drawn as independent."""
_MOST_CORRELATION = 0.999


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

    The documents are permuted and their difference is studentised (Welch's t). So the test is exact where documents are
    exchangeable, and asymptotically still valid where only the means are equal (Janssen 1997): shares of hits among 25
    windows vary less than hits of one window do. All metrics share the permutations. p = (k + 1) / (B + 1) with k the
    permutations whose statistic is at least the observed one; ties count (Phipson & Smyth 2010).

    With few hits, asymptotics are far away: a side without any has no variance. Where ``windows`` are given,

    - the variance of a side is no less than hits of the common rate p have, of documents of m windows that are
      correlated by rho: p (1 - p) (1 + (m - 1) rho) / m each, p and rho being estimated of both sides together;
    - where the sides' documents do not have the same windows, hits are drawn B times from this model too (a parametric
      bootstrap of a beta-binomial), the same statistic is taken, and p is the larger one of the two.

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
    sides = [_as_table(side) for side in (train_values, heldout_values)]
    if not all(map(len, sides)):
        return [None] * max(side.shape[1] for side in sides)
    values, rng = np.concatenate(sides), np.random.default_rng(seed)
    check_finite(values)
    if windows is None:
        p = _share_as_large(_permuted(_Moments.of_values(values, len(sides[0])), permutations, rng), alternative)
        return [float(share) for share in p]
    sizes = [np.asarray(side, np.int64) for side in windows]
    moments = _Moments.of_hits(values, np.concatenate(sizes), len(sides[0]))
    t = _permuted(moments, permutations, rng)
    p = _share_as_large(t, alternative)
    if not _alike(*sizes):
        for metric in np.flatnonzero((moments.rate > 0) & (moments.rate < 1)):
            drawn = _drawn(moments, int(metric), sizes, permutations, rng)
            p[metric] = max(p[metric], _share_as_large(np.append(t[0, metric], drawn)[:, None], alternative)[0])
    return [float(share) for share in p]


@dataclass(frozen=True, slots=True)
class _Moments:
    """What Welch's t of any split is made of: a row of terms for each document, to be summed over a side.

    The columns are blocks of one column a metric: x, x^2 and, of hits, the variance within the document, x and 1
    weighted by what they tell of p; then 1 / m, and whether the document has several windows.
    """

    table: FloatArray
    """Shape [documents, columns]."""
    first: int
    """Documents of the first side; they come first."""
    metrics: int
    rate: FloatArray
    """Of hits, over both sides, shape [metrics]; empty for other values."""
    correlation: FloatArray
    """Of hits within documents, in [0, 1], shape [metrics]."""

    @classmethod
    def of_values(cls, values: FloatArray, first: int) -> _Moments:
        """Return the moments of any values, centred and scaled: neither changes t."""
        centred = values - values.mean(axis=0)
        largest = np.abs(centred).max(axis=0)
        # Where all values are equal, rounding alone would make them differ.
        scale = np.where(largest > _DUST * np.abs(values).max(axis=0), largest, np.inf)
        scaled = centred / scale
        return cls(np.concatenate([scaled, scaled**2], axis=1), first, values.shape[1], np.empty(0), np.empty(0))

    @classmethod
    def of_hits(cls, shares: FloatArray, windows: ArrayLike, first: int) -> _Moments:
        """Return the moments of shares of hits among windows."""
        m = np.asarray(windows, np.float64)[:, None]
        ones = np.ones_like(shares)
        rough = _hit_columns(shares, m, ones).sum(axis=0)[None]
        weights = m / (1 + (m - 1) * _model(rough, shares.shape[1])[1])
        table = _hit_columns(shares, m, weights)
        rate, correlation = _model(table.sum(axis=0)[None], shares.shape[1])
        return cls(table, first, shares.shape[1], rate[0], correlation[0])

    def welch(self, ours: FloatArray, theirs: FloatArray, metrics: int) -> FloatArray:
        """Return t, shape [splits, metrics], of sums of columns over both sides, each of shape [splits, columns]."""
        sizes = self.first, len(self.table) - self.first
        means = [side[:, :metrics] / n for side, n in zip((ours, theirs), sizes, strict=True)]
        variance: FloatArray = np.zeros_like(means[0])
        model = _model(ours + theirs, metrics) if len(self.rate) else None
        for side, n, mean in zip((ours, theirs), sizes, means, strict=True):
            spread = side[:, metrics : 2 * metrics] - mean**2 * n
            of_mean = np.where(spread > _DUST * n, spread, 0.0) / max(n - 1, 1) / n
            if model is not None:
                rate, rho = model
                least = rate * (1 - rate) * ((1 - rho) * side[:, -2:-1] + rho * n) / n**2
                of_mean = np.maximum(of_mean, least)
            variance = variance + of_mean
        difference = means[0] - means[1]
        difference = np.where(np.abs(difference) > _DUST, difference, 0.0)
        t: FloatArray = difference / np.sqrt(np.where(variance > 0, variance, _DUST**4))
        return t


def _hit_columns(shares: FloatArray, windows: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the columns of `_Moments` for shares of shape [rows, metrics], windows of shape [rows, 1]."""
    # x (1 - x) m / (m - 1) has the mean p (1 - p) (1 - rho), whatever m > 1 is.
    within = shares * (1 - shares) * np.where(windows > 1, windows / np.maximum(windows - 1, 1), 0.0)
    several = (windows > 1).astype(np.float64)
    return np.concatenate([shares, shares**2, within, weights * shares, weights, 1 / windows, several], axis=1)


def _model(sums: FloatArray, metrics: int) -> tuple[FloatArray, FloatArray]:
    """Return the rate of hits and their correlation within documents, both [splits, metrics], of sums over both sides.

    The correlation is 0 where it shows nowhere: with no hit, with nothing but hits, with one window a document.
    """
    within, weighted, weights = (sums[:, i * metrics : (i + 1) * metrics] for i in (2, 3, 4))
    rate = np.clip(weighted / weights, 0.0, 1.0)
    expected = rate * (1 - rate) * sums[:, -1:]
    rho = np.where(expected > 0, np.clip(1 - within / np.where(expected > 0, expected, 1.0), 0.0, 1.0), 0.0)
    return rate, rho


def _permuted(moments: _Moments, permutations: int, rng: np.random.Generator) -> FloatArray:
    """Return t as observed, then of every permutation: [1 + B, metrics]."""
    documents = len(moments.table)
    total = moments.table.sum(axis=0)
    chunk = max(1, CHUNK // documents)
    t = np.empty((1 + permutations, moments.metrics))
    for start in range(0, 1 + permutations, chunk):
        chosen = np.zeros((min(chunk, 1 + permutations - start), documents))
        chosen[:, : moments.first] = 1
        moved = chosen[1:] if start == 0 else chosen
        rng.permuted(moved, axis=1, out=moved)
        ours = chosen @ moments.table
        t[start : start + len(chosen)] = moments.welch(ours, total - ours, moments.metrics)
    return t


def _drawn(
    moments: _Moments,
    metric: int,
    windows: list[NDArray[np.int64]],
    draws: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return t of hits drawn from the model of one metric, shape [draws]: how many documents get how many hits."""
    rate, rho = float(moments.rate[metric]), float(moments.correlation[metric])
    sums = []
    for side in windows:
        of_side = np.zeros((draws, 7))
        for m, documents in zip(*np.unique(side, return_counts=True), strict=True):
            shares = (np.arange(m + 1) / m)[:, None]
            weights = np.full_like(shares, m / (1 + (m - 1) * rho))
            counts = rng.multinomial(documents, _beta_binomial(int(m), rate, rho), size=draws)
            of_side += counts @ _hit_columns(shares, np.full_like(shares, m), weights)
        sums.append(of_side)
    return moments.welch(sums[0], sums[1], 1)[:, 0]


def _beta_binomial(trials: int, rate: float, rho: float) -> FloatArray:
    """Return the probability of 0 to ``trials`` hits whose correlation is ``rho``."""
    hits = np.arange(trials + 1)
    ways = gammaln(trials + 1) - gammaln(hits + 1) - gammaln(trials - hits + 1)
    if rho < _LEAST_CORRELATION:
        logs = ways + hits * math.log(rate) + (trials - hits) * math.log1p(-rate)
    else:
        spread = 1 / min(rho, _MOST_CORRELATION) - 1
        a, b = rate * spread, (1 - rate) * spread
        logs = ways + betaln(hits + a, trials - hits + b) - betaln(a, b)
    weights = np.exp(logs)
    probabilities: FloatArray = weights / weights.sum()
    return probabilities


def _share_as_large(t: FloatArray, alternative: Alternative) -> FloatArray:
    """Return the share of rows of t that reach the first one, itself among them, shape [metrics]."""
    t = np.abs(t) if alternative == "two-sided" else t
    share: FloatArray = (t >= t[0] - _TIE * np.maximum(1.0, np.abs(t[0]))).mean(axis=0)
    return share


def _alike(ours: ArrayLike, theirs: ArrayLike) -> bool:
    """Whether both sides have the same shares of documents with each number of windows."""
    counts = [dict(zip(*np.unique(side, return_counts=True), strict=True)) for side in (ours, theirs)]
    n, m = (sum(side.values()) for side in counts)
    return counts[0].keys() == counts[1].keys() and all(counts[0][k] * m == counts[1][k] * n for k in counts[0])


def check_finite(values: FloatArray) -> None:
    """Refuse values that are no numbers.

    Raises:
        ValueError: There is one.
    """
    if not np.isfinite(values).all():
        raise ValueError("values must be finite: leave out documents without a value")


def _as_table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table
