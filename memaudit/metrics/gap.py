"""A performance gap: does a model lose more on new items than models that had no part in the old ones?

The statistic is a difference in differences over items. Of every item only e = model - mean of the controls is kept,
so that an item that is hard for all says nothing; old items are compared with new ones. Undefined values are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from memaudit.records import FloatArray

UNSEEN = 0.5
"""Squares of differences, which lie in [-1, 1], that a side is taken to hold beside those that were drawn."""
FEWEST = 2
"""Items of a side: one has no variance."""
_CHUNK = 4_000_000
"""Largest number of counts in memory at a time."""


@dataclass(frozen=True, slots=True)
class Gap:
    """How much more a model loses than its controls, in shares (.1 is ten points) or log odds."""

    estimate: float
    low: float | None
    """95% interval (Welch); None where no item differs from another."""
    high: float | None
    standard_error: float
    old: int
    """Items."""
    new: int


def item_differences(model: ArrayLike, controls: ArrayLike) -> FloatArray:
    """Return e = model - mean of the controls for every item.

    Args:
        model: Score of each item in [0, 1], shape [items].
        controls: The same of each control, shape [controls, items]; at least one.
    """
    differences: FloatArray = np.asarray(model, np.float64) - np.asarray(controls, np.float64).mean(axis=0)
    return differences


def performance_gap(old: ArrayLike, new: ArrayLike, confidence: float = 0.95) -> Gap | None:
    """Return mean(old) - mean(new) of item differences with its interval (Welch 1947).

    Args:
        old: Differences of items that the model may have seen, shape [items].
        new: Those of items that it cannot have seen.
        confidence: Coverage of the interval.

    Returns:
        None if a side has fewer than `FEWEST` items.
    """
    sides = np.asarray(old, np.float64), np.asarray(new, np.float64)
    if min(map(len, sides)) < FEWEST:
        return None
    parts = [float(side.var(ddof=1)) / len(side) for side in sides]
    estimate, error = float(sides[0].mean() - sides[1].mean()), math.sqrt(sum(parts))
    if error == 0:
        return Gap(estimate, None, None, 0.0, len(sides[0]), len(sides[1]))
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Gap(estimate, estimate - reach, estimate + reach, error, len(sides[0]), len(sides[1]))


def gap_test(
    old: ArrayLike,
    new: ArrayLike,
    *,
    seed: int,
    permutations: int = 9999,
    alternative: Literal["greater", "two-sided"] = "greater",
) -> float | None:
    """Test whether old items have the larger differences, by permuting which items are old.

    The statistic is Welch's t, so the test is exact where dates are exchangeable, and asymptotically still valid
    where only the means are equal and the variances are not (Janssen 1997): accuracies near 0 or 1 vary less.
    p = (k + 1) / (B + 1), ties count. Only how often each value falls on either side matters, and that is drawn.

    Asymptotically is not at 30 items of accuracy .9: few of them separate the model from its controls, and the rare
    ones that would are missing from the mean and the variance at once. So p is not below that of Welch's test with
    `UNSEEN` added to the squares of either side: as an item that was not drawn would, the half of one being Jeffreys'
    prior of a rare event. Where items vary more than that it changes nothing.

    Args:
        old: Differences of old items, shape [items].
        new: Of new ones.
        seed: Fixes the permutations.
        permutations: B.
        alternative: ``greater`` or ``two-sided``.

    Returns:
        None if a side has fewer than `FEWEST` items.
    """
    sides = [np.asarray(side, np.float64) for side in (old, new)]
    if min(map(len, sides)) < FEWEST:
        return None
    # Means of thirds and sevenths: values that are equal on paper become equal here.
    values, place = np.unique(np.concatenate(sides).round(9), return_inverse=True)
    everything = np.bincount(place, minlength=len(values))
    observed = np.bincount(place[: len(sides[0])], minlength=len(values))
    (found,) = _welch(observed[None], everything, values)
    rng, at_least = np.random.default_rng(seed), 0
    chunk = max(1, _CHUNK // len(values))
    for start in range(0, permutations, chunk):
        drawn = rng.multivariate_hypergeometric(
            everything, len(sides[0]), size=min(chunk, permutations - start), method="marginals"
        )
        t = _welch(drawn, everything, values)
        t, bound = (np.abs(t), abs(found)) if alternative == "two-sided" else (t, found)
        slack = 1e-9 * max(1.0, abs(bound)) if math.isfinite(bound) else 0.0
        at_least += int((t >= bound - slack).sum())
    return max((at_least + 1) / (permutations + 1), _guarded_p(sides, alternative))


def _guarded_p(sides: Sequence[FloatArray], alternative: Literal["greater", "two-sided"]) -> float:
    """Return the p-value of Welch's test, `UNSEEN` added to the sum of squares of each side."""
    parts = [((len(side) - 1) * float(side.var(ddof=1)) + UNSEEN) / (len(side) - 1) / len(side) for side in sides]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, sides, strict=True))
    t = float(sides[0].mean() - sides[1].mean()) / math.sqrt(sum(parts))
    return 2 * float(stdtr(freedom, -abs(t))) if alternative == "two-sided" else float(stdtr(freedom, -t))


def _welch(counts: NDArray[np.int64], everything: NDArray[np.int64], values: FloatArray) -> FloatArray:
    """Return Welch's t of one side against the rest, for each row of counts of the values on that side."""
    means, errors = [], []
    for side in (counts, everything - counts):
        n = side.sum(axis=1)
        mean = side @ values / n
        means.append(mean)
        # Of the spread itself: a difference of large squares would leave dust where all values are equal.
        spread = (side * (values[None, :] - mean[:, None]) ** 2).sum(axis=1)
        errors.append(np.where(spread > 1e-12, spread, 0.0) / (n - 1) / n)
    difference, error = means[0] - means[1], np.sqrt(errors[0] + errors[1])
    difference = np.where(np.abs(difference) > 1e-12, difference, 0.0)
    t = difference / np.where(error > 0, error, 1.0)
    without_spread = np.where(difference > 0, np.inf, np.where(difference < 0, -np.inf, 0.0))
    return np.where(error > 0, t, without_spread)


def log_odds_gap(old: ArrayLike, new: ArrayLike, confidence: float = 0.95) -> Gap | None:
    """Return the gap on the scale of log odds: there 95% to 92% is as large a step as 50% to 38%.

    One right and one wrong item are added to each side, so that accuracies of 0 and 1 stay finite (Agresti & Coull
    1998). The interval is that of the delta method over items, whose results of several models hang together.

    Args:
        old: Scores of old items in [0, 1], shape [1 + controls, items]; the model comes first.
        new: Those of new items.
        confidence: Coverage of the interval.

    Returns:
        None if a side has fewer than `FEWEST` items.
    """
    sides = [np.asarray(side, np.float64) for side in (old, new)]
    if min(side.shape[1] for side in sides) < FEWEST:
        return None
    odds, variance = [], 0.0
    for side in sides:
        scores = np.column_stack([side, np.zeros(len(side)), np.ones(len(side))])
        share = scores.mean(axis=1)
        odds.append(np.log(share / (1 - share)))
        influence = (scores - share[:, None]) / (share * (1 - share))[:, None]
        variance += float(item_differences(influence[0], influence[1:]).var(ddof=1)) / scores.shape[1]
    drops = odds[0] - odds[1]
    estimate, error = float(drops[0] - drops[1:].mean()), math.sqrt(variance)
    reach = float(ndtri((1 + confidence) / 2)) * error
    return Gap(estimate, estimate - reach, estimate + reach, error, sides[0].shape[1], sides[1].shape[1])
