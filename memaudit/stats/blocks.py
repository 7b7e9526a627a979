"""Blocks of a text: how far hits depend on their neighbours, and what blocks of one side show beside those of another.

Windows of one work are no sample: they overlap, and hits come in stretches, a quotation that everybody knows as a rule.
So a work is cut into blocks that are longer than such stretches, and blocks are what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from memaudit.records import FloatArray
from memaudit.stats.rates import Interval, clopper_pearson, effective_size
from memaudit.stats.two_sides import permutation_test

PAGE = 250
"""Tokens of a page: the smallest block. It is longer than a prefix and its suffix, which neighbouring windows share."""
_QUIET = 5
"""Lags in a row that must lie within the band (Politis & White 2004)."""
MOST_LEFT = 0.4
"""Largest correlation of neighbouring blocks that is allowed for: what a work that is known in half of its chapters
has by being known is no dependence of hits that come by chance."""
_MORE_LEFT = 0.3
"""How much larger it may be where control works alone vary."""


def block_means(values: ArrayLike, count: int) -> FloatArray:
    """Return the means of so many blocks of equal length; a value may lie in two of them.

    Args:
        values: In the order of the text, shape [n], n >= 1. Reversed values give reversed means.
        count: Blocks, in [1, n].
    """
    found = np.asarray(values, dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(found)])
    bounds = np.arange(count + 1) * len(found) / count
    means: FloatArray = np.diff(np.interp(bounds, np.arange(len(sums)), sums)) * (count / len(found))
    return np.clip(means, found.min(), found.max())


def page_means(values: ArrayLike, stride: int) -> FloatArray:
    """Return the means of pages of about `PAGE` tokens, of windows that begin ``stride`` tokens apart."""
    windows = len(np.asarray(values))
    return block_means(values, max(1, min(windows, windows * stride // PAGE)))


def correlation_at(series: Sequence[FloatArray], lag: int) -> float | None:
    """Return the correlation of values that lie so far apart, pooled over series.

    Each series is centred on its own mean: a work that is known throughout has another mean and no dependence for that.
    Series that do not vary tell nothing. None where none does.
    """
    centred = [values - values.mean() for values in series if len(values) > 1 and np.ptp(values) > 0]
    pairs = sum(max(len(c) - lag, 0) for c in centred)
    if not pairs:
        return None
    spread = math.fsum(float(c @ c) for c in centred) / sum(map(len, centred))
    return math.fsum(float(c[: len(c) - lag] @ c[lag:]) for c in centred if len(c) > lag) / pairs / spread


def reach_of_dependence(series: Sequence[FloatArray]) -> int:
    """Return the distance up to which values are positively correlated: Politis & White (2004), pooled over series.

    It is the smallest lag whose next five all lie below 2 sqrt(log10(n) / n), n being the values of all series that
    vary; half of the longest series where there is none, 0 where no series varies. Stretches that are far from each
    other make for negative correlations, which add nothing to the variance of a mean.
    """
    varying = [values for values in series if len(values) > 1 and np.ptp(values) > 0]
    lags, quiet = max(map(len, varying), default=0) // 2, 0
    if not lags:
        return 0
    total = sum(map(len, varying))
    band = 2 * math.sqrt(math.log10(total) / total)
    for lag in range(1, lags + 1):
        quiet = quiet + 1 if (correlation_at(varying, lag) or 0.0) < band else 0
        if quiet == _QUIET:
            return lag - _QUIET
    return lags - quiet


def left_between_blocks(ours: Sequence[FloatArray], theirs: Sequence[FloatArray]) -> float:
    """Return the correlation of neighbouring blocks that is to be allowed for: in [0, 0.4], to 0.7 as theirs vary.

    One over the mean number of blocks is added, for centring takes as much away (Kendall 1954). So are two standard
    errors of a correlation, 1 / sqrt(blocks), as far as it is the other side that varies: what varies on ours alone
    may be what is looked for.

    Args:
        ours: Means of the blocks of each work.
        theirs: Those of the control works.
    """
    varying = [values for values in (*ours, *theirs) if len(values) > 1 and np.ptp(values) > 0]
    found = correlation_at(varying, 1)
    if found is None:
        return 0.0
    blocks = sum(map(len, varying))
    spreads = [math.fsum(float(values.var()) * len(values) for values in side) for side in (ours, theirs)]
    theirs_vary = spreads[1] / sum(spreads)
    unsure = 2 / math.sqrt(blocks) * theirs_vary
    return min(max(found + len(varying) / blocks + unsure, 0.0), MOST_LEFT + _MORE_LEFT * theirs_vary)


def block_test(
    ours: ArrayLike, theirs: ArrayLike, *, correlation: float = 0.0, seed: int, permutations: int = 9999
) -> list[float]:
    """Test whether blocks of one side have a larger mean than those of the other. p is the larger one of two.

    - Blocks are permuted with Welch's t (Janssen 1997, `permutation_test`): exact where they are exchangeable.
    - Student's t with as many degrees of freedom as the side of fewer blocks has, which is conservative where the
      sides vary unequally (Ibragimov & Mueller 2016). Its variance is Welch's or the pooled one, whichever is larger,
      times (1 + r) / (1 - r) for neighbours that are correlated by r, as those of a first-order autoregression are.
      Where a side has one block, which tells nothing of its variance, p of the permutation is multiplied by that.

    Args:
        ours: Means of blocks, shape [blocks] or [blocks, cases].
        theirs: The same of the other side.
        correlation: r, of neighbouring blocks, in [0, 1).
        seed: Fixes the permutations.
        permutations: As of `permutation_test`.

    Returns:
        One-sided p, one for every case.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (ours, theirs)]
    # Sorted, for the order in which blocks are given must not change what is drawn.
    one, other = (np.sort(side[:, None] if side.ndim == 1 else side, axis=0) for side in sides)
    exact = np.array(permutation_test(one, other, seed=seed, permutations=permutations), dtype=np.float64)
    n, m = len(one), len(other)
    factor = (1 + correlation) / (1 - correlation)
    if min(n, m) < 2:
        return [float(p) for p in np.minimum(exact * factor, 1.0)]
    spreads = one.var(axis=0, ddof=1), other.var(axis=0, ddof=1)
    pooled = ((n - 1) * spreads[0] + (m - 1) * spreads[1]) / (n + m - 2)
    error = np.sqrt(factor * np.maximum(spreads[0] / n + spreads[1] / m, pooled * (1 / n + 1 / m)))
    difference = one.mean(axis=0) - other.mean(axis=0)
    t = np.divide(difference, error, out=np.where(difference > 0, np.inf, 0.0), where=error > 0)
    return [float(p) for p in np.maximum(exact, stdtr(min(n, m) - 1, -t))]


def series_test(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Test whether works have a larger mean than control works, each being one of a small sample.

    t = (mean - mean of the controls) / (s sqrt(1/n + 1/m)) with the m controls' s and m - 1 degrees of freedom: for one
    work, Crawford & Howell (1998).

    Returns:
        One-sided p; None for fewer than two control works.
    """
    m = len(theirs)
    if m < 2 or not ours:
        return None
    error = float(np.std(theirs, ddof=1)) * math.sqrt(1 / len(ours) + 1 / m)
    difference = float(np.mean(ours)) - float(np.mean(theirs))
    if error == 0:
        return 0.0 if difference > 0 else 1.0
    return float(stdtr(m - 1, -difference / error))


def differ_test(groups: Sequence[FloatArray], *, seed: int, permutations: int = 999) -> float | None:
    """Test whether means of groups of blocks differ, by permuting blocks among them.

    Args:
        groups: Means of the blocks of each work.
        seed: Fixes the permutations.
        permutations: B; p = (k + 1) / (B + 1).

    Returns:
        p; None for fewer than two groups.
    """
    if len(groups) < 2:
        return None
    sizes = np.array([len(group) for group in groups])
    owner = np.repeat(np.arange(len(groups)), sizes)
    places = np.eye(len(groups))[owner] / sizes
    values = np.sort(np.concatenate(groups))  # the order of groups and blocks changes nothing that is drawn
    centre = values.mean()
    observed = float(sum(size * (group.mean() - centre) ** 2 for size, group in zip(sizes, groups, strict=True)))
    drawn = np.random.default_rng(seed).permuted(np.tile(values, (permutations, 1)), axis=1)
    spread = ((drawn @ places - centre) ** 2) @ sizes
    return (int((spread >= observed * (1 - 1e-9) - 1e-15).sum()) + 1) / (permutations + 1)


def share_interval(
    values: ArrayLike, stride: int, block_tokens: int | None = None, confidence: float = 0.95
) -> Interval | None:
    """Return the interval of the mean of values in [0, 1] that depend on their neighbours.

    Blocks are the sample (`mean_interval`), which are all alike where there is no hit: then blocks are counted.

    Args:
        values: Of windows in the order of the text.
        stride: Tokens between the starts of windows.
        block_tokens: Length of a block; None: that of `block_length` for these values.
        confidence: Coverage of the two-sided interval.

    Returns:
        None where there is no window.
    """
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        return None
    pages = page_means(found, stride)
    length = block_length([pages]) if block_tokens is None else block_tokens
    count = max(1, min(len(pages), len(found) * stride // length))
    return mean_interval(block_means(found, count), len(pages), confidence)


def mean_interval(blocks: FloatArray, pages: int, confidence: float = 0.95) -> Interval | None:
    """Return the interval of the mean of blocks: Clopper & Pearson with the effective size of Korn & Graubard (1998).

    Args:
        blocks: Means of blocks, each in [0, 1]; None is returned without one.
        pages: Of all blocks: no more of them are independent.
        confidence: Coverage, two-sided.
    """
    if not len(blocks):
        return None
    size = effective_size(blocks, max(pages, len(blocks)))
    return clopper_pearson(min(max(float(blocks.mean()), 0.0), 1.0) * size, size, confidence)


def block_length(pages: Sequence[FloatArray]) -> int:
    """Return how many tokens a block has that neighbours hardly depend on: twice the reach of dependence, or a page.

    Args:
        pages: Means of the pages of each work.
    """
    return PAGE * max(1, 2 * reach_of_dependence(pages))


def blocks_needed(blocks: int, alpha: float) -> int:
    """Return how many blocks the other side needs, so that a permutation of blocks can reject at ``alpha``."""
    others = 1
    while math.comb(blocks + others, others) * alpha < 1:
        others += 1
    return others
