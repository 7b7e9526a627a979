"""Do documents of one side have a larger mean than those of the other? Valid too where the sides vary unequally."""

from __future__ import annotations

import itertools
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
NEAR = 0.025
"""Standard errors within which hits that were drawn count as a tie: the side of many windows moves t that little, and
what decides is how many hits the other one has."""
_NODES, _WEIGHTS = (np.polynomial.legendre.leggauss(24)[i] for i in (0, 1))
_NODES = (_NODES + 1) / 2
"""Correlations between 0 and 1 at which integrals over them are taken (Gauss & Legendre)."""
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
    permutations whose statistic is at least the observed one; ties count (Phipson & Smyth 2010). Where there are no
    more than B ways to choose one side, all are tried, and p is their share.

    With few hits, asymptotics are far away: a side without any has no variance. Where ``windows`` are given,

    - the variance of a side is no less than hits of the common rate p have, of documents of m windows that are
      correlated by rho: p (1 - p) (1 + (m - 1) rho) / m each, p and rho being estimated of both sides together;
    - where the sides' documents do not have the same windows, hits are drawn B times from this model too (a parametric
      bootstrap of a beta-binomial), the same statistic is taken, and p is the larger one of the two.

    Args:
        train_values: Document means, shape [documents] or [documents, metrics].
        heldout_values: The same for held-out documents.
        seed: Fixes the permutations.
        permutations: B; the smallest possible p is 1 / (B + 1), or that of the share of one split in all.
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
        p = share_as_large(_permuted(Moments.of_values(values, len(sides[0])), permutations, rng), alternative)
        return [float(share) for share in p]
    sizes = [np.asarray(side, np.int64) for side in windows]
    moments = Moments.of_hits(values, np.concatenate(sizes), len(sides[0]))
    t = _permuted(moments, permutations, rng)
    p = share_as_large(t, alternative)
    if not same_windows(*sizes):
        for metric in np.flatnonzero((moments.rate > 0) & (moments.rate < 1)):
            drawn = np.append(t[0, metric], draw_statistics(moments.of_metric(int(metric)), sizes, permutations, rng))[
                :, None
            ]
            p[metric] = max(p[metric], share_as_large(drawn, alternative, NEAR)[0])
    return [float(share) for share in p]


@dataclass(frozen=True, slots=True)
class Moments:
    """What Welch's t of any split is made of: a row of terms for each document, to be summed over a side."""

    table: FloatArray
    """Shape [documents, 3 x metrics + 1]: x, x^2 and x weighted by what it tells of the rate, a block of metrics each;
    then 1 / m of the document's windows."""
    first: int
    """Documents of the first side; they come first."""
    rate: FloatArray
    """Of hits, over both sides, shape [metrics]; 0 for other values."""
    correlation: FloatArray
    """Of hits within documents, in [0, 1], shape [metrics]."""

    @classmethod
    def of_values(cls, values: FloatArray, first: int) -> Moments:
        """Return the moments of any values, centred and scaled: neither changes t."""
        centred = values - values.mean(axis=0)
        largest = np.abs(centred).max(axis=0)
        # Where all values are equal, rounding alone would make them differ.
        scale = np.where(largest > _DUST * np.abs(values).max(axis=0), largest, np.inf)
        none = np.zeros(values.shape[1])
        return cls(_columns(centred / scale, np.zeros(values.shape), np.zeros((len(values), 1))), first, none, none)

    @classmethod
    def of_hits(cls, shares: FloatArray, windows: NDArray[np.int64], first: int) -> Moments:
        """Return the moments of shares of hits among windows."""
        m = windows[:, None]
        rough = _weights(m, _correlations(shares, windows, shares.mean(axis=0)))
        rho = _correlations(shares, windows, (rough * shares).sum(axis=0))
        weights = _weights(m, rho)
        return cls(_columns(shares, weights, 1 / m), first, (weights * shares).sum(axis=0), rho)

    def welch(self, ours: FloatArray, theirs: FloatArray) -> FloatArray:
        """Return t, shape [splits, metrics], of sums of columns over both sides, each of shape [splits, columns]."""
        metrics = len(self.rate)
        sizes = self.first, len(self.table) - self.first
        means = [side[:, :metrics] / n for side, n in zip((ours, theirs), sizes, strict=True)]
        variance: FloatArray = np.zeros_like(means[0])
        rate = np.clip((ours + theirs)[:, 2 * metrics : -1], 0.0, 1.0)
        for side, n, mean in zip((ours, theirs), sizes, means, strict=True):
            spread = side[:, metrics : 2 * metrics] - mean**2 * n
            least = (1 - self.correlation) * side[:, -1:] + self.correlation * n
            least = rate * (1 - rate) * least
            variance = (
                variance + np.maximum(np.where(spread > _DUST * n, spread, 0.0) / max(n - 1, 1) * n, least) / n**2
            )
        difference = means[0] - means[1]
        difference = np.where(np.abs(difference) > _DUST, difference, 0.0)
        t: FloatArray = difference / np.sqrt(np.where(variance > 0, variance, _DUST**4))
        return t

    def of_metric(self, metric: int) -> Moments:
        """Return the moments of one metric."""
        kept = [metric, len(self.rate) + metric, 2 * len(self.rate) + metric, -1]
        return Moments(self.table[:, kept], self.first, self.rate[[metric]], self.correlation[[metric]])


def _columns(values: FloatArray, weights: FloatArray, inverse: FloatArray) -> FloatArray:
    return np.concatenate([values, values**2, weights * values, inverse], axis=1)


def _weights(windows: NDArray[np.int64], rho: FloatArray) -> FloatArray:
    """Return what each share of hits tells of the rate: shape [documents, metrics], columns that sum to 1."""
    told = windows / (1 + (windows - 1) * rho)
    weights: FloatArray = told / told.sum(axis=0)
    return weights


def _correlations(shares: FloatArray, windows: NDArray[np.int64], rate: FloatArray) -> FloatArray:
    """Return the correlation of hits within documents by metric: 0 where each has one window, or where all are alike.

    It is the mean of its posterior where hits are beta-binomial of the given rate and all correlations were as likely:
    few hits leave it large, as do documents of many windows without the hits that the rate has others have.

    Args:
        shares: Of hits, shape [documents, metrics].
        windows: Of each document.
        rate: Of hits, shape [metrics].
    """
    found = np.zeros(len(rate))
    several = windows > 1
    for metric in np.flatnonzero((rate > 0) & (rate < 1)) if several.any() else ():
        m = windows[several]
        hits = np.rint(shares[several, metric] * m).astype(np.int64)
        outcomes, counts = np.unique(m * (m.max() + 1) + hits, return_counts=True)
        trials, k = np.divmod(outcomes, m.max() + 1)
        spread = 1 / _NODES - 1
        a, b = rate[metric] * spread, (1 - rate[metric]) * spread
        logs = counts @ (betaln(a + k[:, None], b + (trials - k)[:, None]) - betaln(a, b))
        posterior = np.exp(logs - logs.max()) * _WEIGHTS
        found[metric] = posterior @ _NODES / posterior.sum()
    return found


def _permuted(moments: Moments, permutations: int, rng: np.random.Generator) -> FloatArray:
    """Return t as observed, then of every permutation: [1 + B, metrics]; of all splits, if they are no more than B."""
    documents, first = len(moments.table), moments.first
    total = moments.table.sum(axis=0)
    if (splits := math.comb(documents, first)) <= permutations:
        every = np.zeros((splits, documents))
        for row, places in zip(every, itertools.combinations(range(documents), first), strict=True):
            row[list(places)] = 1  # the first split is the observed one
        ours = every @ moments.table
        return moments.welch(ours, total - ours)
    chunk = max(1, CHUNK // documents)
    t = np.empty((1 + permutations, len(moments.rate)))
    for start in range(0, 1 + permutations, chunk):
        chosen = np.zeros((min(chunk, 1 + permutations - start), documents))
        chosen[:, :first] = 1
        moved = chosen[1:] if start == 0 else chosen
        rng.permuted(moved, axis=1, out=moved)
        ours = chosen @ moments.table
        t[start : start + len(chosen)] = moments.welch(ours, total - ours)
    return t


def draw_statistics(
    moments: Moments, windows: list[NDArray[np.int64]], draws: int, rng: np.random.Generator
) -> FloatArray:
    """Return t of hits drawn from the model of a metric, shape [draws]: how many documents get how many hits."""
    rate, rho = float(moments.rate[0]), float(moments.correlation[0])
    total = sum(float((side / (1 + (side - 1) * rho)).sum()) for side in windows)
    sums = []
    for side in windows:
        of_side = np.zeros((draws, moments.table.shape[1]))
        for m, documents in zip(*np.unique(side, return_counts=True), strict=True):
            counts = rng.multinomial(documents, beta_binomial(int(m), rate, rho), size=draws)
            shares = (np.arange(m + 1) / m)[:, None]
            weights = np.full_like(shares, m / (1 + (m - 1) * rho) / total)
            of_side += counts @ _columns(shares, weights, np.full_like(shares, 1 / m))
        sums.append(of_side)
    return moments.welch(sums[0], sums[1])[:, 0]


def beta_binomial(trials: int, rate: float, rho: float) -> FloatArray:
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


def share_as_large(t: FloatArray, alternative: Alternative, near: float = 0.0) -> FloatArray:
    """Return the share of rows of t that reach the first one, itself among them, shape [metrics]."""
    t = np.abs(t) if alternative == "two-sided" else t
    share: FloatArray = (t >= t[0] - near - _TIE * np.maximum(1.0, np.abs(t[0]))).mean(axis=0)
    return share


def same_windows(ours: ArrayLike, theirs: ArrayLike) -> bool:
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
