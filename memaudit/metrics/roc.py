"""How well a score separates members from documents that were never seen: AUC, its interval, and the ROC curve.

Scores are higher for what looks seen. The area under the curve (AUC) is the share of pairs of a member and a held-out
document in which the member scores higher, ties as half; .5 is guessing. Its variance is that of DeLong, DeLong &
Clarke-Pearson (1988), which assumes no distribution: each document's *placement* is the share of the other side that it
beats (a member) or is beaten by (a held-out one), and documents are what varies. Undefined values are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, gammaln, logit, ndtr, ndtri, xlog1py, xlogy

from memaudit.records import FloatArray
from memaudit.stats import midranks

MAX_POINTS = 200
"""Points of a ROC curve that are kept for a graph."""
MIN_ABOVE = 10
"""A rate at a false positive rate is reported only where at least so many held-out documents may pass."""
_LEAST_WEIGHT, _HALVINGS = 1e-12, 50
_ROUNDING = 1e-12
"""Placements that differ by less are equal: those of n documents differ by 1 / (2 n) at least."""


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve with a two-sided interval, all in [0, 1]."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AucDifference:
    """How much larger the AUC of one scorer is than that of another, in [-1, 1], with a two-sided interval."""

    estimate: float
    low: float
    high: float
    p_value: float
    """One-sided: the first is no better than the second."""


@dataclass(frozen=True, slots=True)
class RateAt:
    """Share of members that score above all but a share of the held-out documents."""

    fpr: float
    """The share of held-out documents that may pass, at most."""
    tpr: float
    low: float
    high: float
    hits: int
    members: int


@dataclass(frozen=True, slots=True, eq=False)
class _Placements:
    """Of every document; the mean of either side is the AUC."""

    members: FloatArray
    heldout: FloatArray

    @property
    def variance(self) -> float:
        """Of the mean; 0 where the placements of neither side differ."""
        return sum(float(side.var(ddof=1)) / len(side) for side in (self.members, self.heldout))


def auc(members: ArrayLike, heldout: ArrayLike, confidence: float = 0.95) -> Auc | None:
    """Return the AUC with its interval, or None where one side has fewer than two documents.

    The interval is DeLong's on the scale of log odds, which keeps it within [0, 1] and its coverage near the ends.
    Without variance (the sides do not overlap, or all scores are the same) it is an exact, conservative one: see
    `_of_equal_pairs`.
    """
    placements = _placements(members, heldout)
    if placements is None:
        return None
    estimate = float(placements.members.mean())
    if placements.variance < _ROUNDING**2:
        share = _of_equal_pairs(placements, confidence)
        # In this form rounding cannot put the estimate outside of its interval, nor that outside of [0, 1].
        return Auc(estimate, share * estimate, estimate + (1 - share) * (1 - estimate))
    reach = _quantile(confidence) * math.sqrt(placements.variance) / (estimate * (1 - estimate))
    centre = float(logit(estimate))
    # Beyond 700 the exponential overflows, and the limit is 0 or 1 to the last digit.
    low, high = (1 / (1 + math.exp(min(700.0, -(centre + step)))) for step in (-reach, reach))
    return Auc(estimate, low, high)


def auc_covariance(members: ArrayLike, heldout: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the AUCs of several scorers of the same documents and DeLong's covariance matrix of them.

    Args:
        members: Scores by each scorer, shape [scorers, members], at least two of each.
        heldout: The same of held-out documents, shape [scorers, heldout].

    Returns:
        Shapes [scorers] and [scorers, scorers].
    """
    sides = zip(np.asarray(members, np.float64), np.asarray(heldout, np.float64), strict=True)
    placed = [placements for ours, theirs in sides if (placements := _placements(ours, theirs))]
    above, below = (np.array([getattr(p, side) for p in placed]) for side in ("members", "heldout"))
    covariance: FloatArray = np.cov(above) / above.shape[1] + np.cov(below) / below.shape[1]
    return above.mean(axis=1), covariance


def auc_difference(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], confidence: float = 0.95
) -> AucDifference | None:
    """Return how much better the first of two scorers of the same documents separates the sides (paired DeLong).

    Where the scorers' placements differ by the same amount everywhere there is no variance. No difference then has
    p = 1. One of the same sign in all of k = min(members, held-out) independent pairs has the sign test's p = 2**-k.

    Args:
        first: Scores of the members and of the held-out documents.
        second: The same by the other scorer, of the same documents in the same order.
        confidence: Coverage of the interval.
    """
    ours, theirs = _placements(*first), _placements(*second)
    if ours is None or theirs is None:
        return None
    if (len(ours.members), len(ours.heldout)) != (len(theirs.members), len(theirs.heldout)):
        raise ValueError("both scorers must score the same documents")
    lift = _Placements(ours.members - theirs.members, ours.heldout - theirs.heldout)
    estimate, variance = float(lift.members.mean()), lift.variance
    if variance < _ROUNDING**2:
        share = _of_equal_pairs(lift, confidence)
        low, high = estimate - (1 - share) * (1 + estimate), estimate + (1 - share) * (1 - estimate)
        pairs = min(len(lift.members), len(lift.heldout))
        # Never 0: no more than 1,000 halvings.
        p_value = 1.0 if estimate < _ROUNDING else 0.5 ** min(pairs, 1000)
        return AucDifference(estimate, max(-1.0, low), min(1.0, high), p_value)
    error = math.sqrt(variance)
    reach = _quantile(confidence) * error
    p_value = max(float(ndtr(-estimate / error)), float(np.finfo(np.float64).tiny))
    return AucDifference(estimate, max(-1.0, estimate - reach), min(1.0, estimate + reach), p_value)


def roc_points(members: ArrayLike, heldout: ArrayLike, most: int = MAX_POINTS) -> list[tuple[float, float]]:
    """Return (false positive rate, true positive rate) from (0, 0) to (1, 1); empty where a side is empty.

    All points lie on the curve. Where there are more corners than ``most``, those stay that are spread evenly over the
    curve, and evenly over the logarithm of the false positive rate: a graph of either scale shows them.
    """
    ours, theirs = _finite(members), _finite(heldout)
    if not len(ours) or not len(theirs):
        return []
    thresholds = np.unique(np.concatenate([ours, theirs]))[::-1]
    counts = [np.concatenate([[0], len(s) - np.searchsorted(np.sort(s), thresholds)]) for s in (theirs, ours)]
    fpr, tpr = counts[0] / len(theirs), counts[1] / len(ours)
    # Where the curve goes on straight up or straight on there is no corner.
    flat, steep = np.diff(counts[1]) == 0, np.diff(counts[0]) == 0
    straight = np.concatenate([[False], (flat[:-1] & flat[1:]) | (steep[:-1] & steep[1:]), [False]])
    fpr, tpr = fpr[~straight], tpr[~straight]
    if len(fpr) > most:
        even = np.linspace(0, len(fpr) - 1, most // 2).astype(np.int64)
        targets = np.geomspace(1 / len(theirs), 1, most // 2)
        kept = np.union1d(even, np.searchsorted(fpr, targets, side="right") - 1)
        fpr, tpr = fpr[kept], tpr[kept]
    return [(float(x), float(y)) for x, y in zip(fpr, tpr, strict=True)]


def tpr_at(members: ArrayLike, heldout: ArrayLike, fpr: float, confidence: float = 0.95) -> RateAt | None:
    """Return the true positive rate where at most a share ``fpr`` of the held-out documents passes.

    None where fewer than `MIN_ABOVE` held-out documents may pass (1% needs 1,000 of them): the threshold would be
    the place of a handful, and the rate read there noise.

    The interval knows that both sides are samples, as that of Linnet (1987) does, and assumes no distribution. How many
    of n held-out documents lie above the threshold that a share f of all such documents passes is binomial (n, f). For
    every such number J that threshold lies between the J-th and the next lower held-out score, above which h members
    are found, and the rate has the distribution Beta(h + 1/2, members - h + 1/2) (Jeffreys; Brown, Cai & DasGupta
    2001). The limits are quantiles of these distributions together, each weighed by the probability of its J.
    """
    ours, theirs = _finite(members), _finite(heldout)
    # 10 of 10,000 at 0.1%, however 0.001 is rounded.
    allowed = math.floor(len(theirs) * fpr * (1 + 1e-9))
    if allowed < MIN_ABOVE or not len(ours):
        return None
    passing = _passing(ours, theirs)
    hits = int(passing[allowed + 1])
    low, high = _limits_at(passing, fpr, len(ours), confidence)
    tpr = hits / len(ours)
    low, high = (low if hits else 0.0), (high if hits < len(ours) else 1.0)
    return RateAt(fpr, tpr, min(low, tpr), max(high, tpr), hits, len(ours))


def _passing(members: FloatArray, heldout: FloatArray) -> NDArray[np.int64]:
    """Return how many members lie above the J-th highest held-out score, for J from 0 (none) to n + 1 (all)."""
    falling = np.concatenate([[np.inf], np.sort(heldout)[::-1], [-np.inf]])
    return len(members) - np.searchsorted(np.sort(members), falling, side="right")


def _limits_at(passing: NDArray[np.int64], fpr: float, members: int, confidence: float) -> tuple[float, float]:
    n = len(passing) - 2
    above = np.arange(n + 1)
    weights = np.exp(
        gammaln(n + 1)
        - gammaln(above + 1)
        - gammaln(n - above + 1)
        + xlogy(above, fpr)
        + xlog1py(n - above, -min(fpr, 1.0))
    )
    # The threshold lies anywhere between two scores: of the members between them, none or all are above.
    counts = np.bincount(passing[:-1], weights, members + 1) + np.bincount(passing[1:], weights, members + 1)
    hits = np.flatnonzero(counts > _LEAST_WEIGHT * counts.sum())
    shares = counts[hits] / counts[hits].sum()

    def quantile(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = float(shares @ betainc(hits + 0.5, members - hits + 0.5, middle))
            low, high = (middle, high) if below < share else (low, middle)
        return (low + high) / 2

    return quantile((1 - confidence) / 2), quantile((1 + confidence) / 2)


def cohens_d(members: ArrayLike, heldout: ArrayLike) -> float | None:
    """Return the difference of means in pooled standard deviations; None without variance or two documents a side."""
    ours, theirs = _finite(members), _finite(heldout)
    if min(len(ours), len(theirs)) < 2:
        return None
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (ours, theirs))
    deviation = math.sqrt(squares / (len(ours) + len(theirs) - 2))
    difference = float(ours.mean() - theirs.mean())
    # Equal values have a variance of rounding alone.
    scale = max(float(np.abs(side).max()) for side in (ours, theirs))
    return difference / deviation if deviation > 1e-12 * scale else None


def _placements(members: ArrayLike, heldout: ArrayLike) -> _Placements | None:
    """Return the placements by ranks, which takes n log n; None where a side has fewer than two documents."""
    ours, theirs = _finite(members), _finite(heldout)
    if min(len(ours), len(theirs)) < 2:
        return None
    ranks, _ = midranks(np.concatenate([ours, theirs]))
    # A rank among all less the rank among one's own counts the other side below, ties as half.
    above = (ranks[: len(ours)] - midranks(ours)[0]) / len(theirs)
    below = 1 - (ranks[len(ours) :] - midranks(theirs)[0]) / len(ours)
    return _Placements(above, below)


def _of_equal_pairs(placements: _Placements, confidence: float) -> float:
    """Return how large a share of pairs is sure to be like those observed, where all of them were alike.

    k = min(members, held-out) pairs share no document. That all are alike has probability q**k where a share q is, so
    q is at least (1 - confidence) / 2 to the power of 1 / k; of the other pairs nothing is known.
    """
    pairs = min(len(placements.members), len(placements.heldout))
    return float(((1 - confidence) / 2) ** (1 / pairs))


def _quantile(confidence: float) -> float:
    return float(ndtri((1 + confidence) / 2))


def _finite(values: ArrayLike | Sequence[float]) -> FloatArray:
    scores = np.asarray(values, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite: leave out documents without one")
    return scores
