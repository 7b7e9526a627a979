"""Dose and response: how many copies make half of the documents hits, and whether more copies do more.

The model is P(hit) = 1 / (1 + exp(-b (log2 copies - log2 ED50))), b >= 0: a logistic curve in the doublings of the
dose. ED50 is fitted by maximum likelihood; its interval holds every ED50 that a likelihood ratio test does not
reject, b being what suits it best (profile likelihood; Wilks 1938). The values not rejected form an interval, and
unlike that of the delta method it holds where hits and misses are separated and the slope has no finite estimate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import expit, ndtri

from memaudit.records import FloatArray

FAR = 20.0
"""Doublings beyond the doses that were given within which limits are looked for."""
_NEAR = 1e-6
_STEPS = 200


@dataclass(frozen=True, slots=True)
class MedianDose:
    """Copies at which half of the documents are hits (ED50)."""

    estimate: float | None
    """None where the data only bound it, or not even that; ``note`` then says why."""
    low: float | None
    """Limits of the interval; None where it is open."""
    high: float | None
    slope: float | None
    """Log-odds a doubling of the copies; None where it has no finite estimate."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Counts:
    """Documents and hits of every dose."""

    x: FloatArray
    """log2 copies, ascending."""
    documents: FloatArray
    hits: FloatArray

    def log_likelihood(self, logits: FloatArray) -> float:
        missed = self.documents - self.hits
        return -float((self.hits * np.logaddexp(0, -logits) + missed * np.logaddexp(0, logits)).sum())

    def profile(self, centre: float) -> float:
        """Return the largest log-likelihood of any slope b >= 0 with ED50 at ``centre`` (log2 copies)."""
        distance = self.x - centre

        def uphill(slope: float) -> float:
            return float((distance * (self.hits - self.documents * expit(slope * distance))).sum())

        if uphill(0.0) <= 0:
            return self.log_likelihood(np.zeros_like(distance))
        above, below = distance > 0, distance < 0
        if (self.hits[above] == self.documents[above]).all() and not self.hits[below].any():
            return -float(self.documents[distance == 0].sum()) * math.log(2)
        steep = 1.0
        while uphill(steep) > 0:
            steep *= 2
        return self.log_likelihood(brentq(uphill, 0.0, steep) * distance)


def median_dose(copies: ArrayLike, hits: ArrayLike, confidence: float = 0.95) -> MedianDose:
    """Return the copies at which half of the documents are hits, with a profile likelihood interval.

    Where all misses lie at fewer copies than all hits, ED50 is between two doses: their geometric mean is the
    estimate, and they are the interval (wider, if they have too few documents for it).

    Args:
        copies: Of each document, at least 1: a dose of 0 has no place on the scale of doublings. Shape [documents].
        hits: Whether each is a hit, or the share of its windows that are, in [0, 1]. Shape [documents].
        confidence: Coverage of the interval, in (0, 1).
    """
    given, shares = np.asarray(copies, np.float64), np.asarray(hits, np.float64)
    if given.shape != shares.shape or not (given >= 1).all() or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError("every document needs at least 1 copy and a share of hits in [0, 1]")
    if not len(given):
        return MedianDose(None, None, None, None, "no document was planted")
    x, place = np.unique(np.log2(given), return_inverse=True)
    counts = _Counts(x, np.bincount(place).astype(np.float64), np.bincount(place, shares).astype(np.float64))
    slack = float(ndtri((1 + confidence) / 2)) ** 2 / 2
    if not counts.hits.any():
        low, _ = _limits(counts, x[-1] + 1, slack)
        return MedianDose(None, low, None, None, f"no document is a hit: above the {2 ** x[-1]:g} copies of the most")
    if (counts.hits == counts.documents).all():
        _, high = _limits(counts, x[0] - 1, slack)
        return MedianDose(
            None, None, high, None, f"every document is a hit: below the {2 ** x[0]:g} copies of the least"
        )
    if len(x) == 1:
        return MedianDose(None, None, None, None, "all documents have one dose")
    return _fitted(counts, slack)


def _fitted(counts: _Counts, slack: float) -> MedianDose:
    """Fit data that hold hits and misses at two doses or more."""
    last_miss = float(counts.x[counts.hits < counts.documents].max())
    first_hit = float(counts.x[counts.hits > 0].min())
    if last_miss < first_hit:
        centre = (last_miss + first_hit) / 2
        low, high = _limits(counts, centre, slack)
        note = f"every document is a hit from {2**first_hit:g} copies on, and none with fewer"
        return MedianDose(2**centre, low, high, None, note)
    if last_miss == first_hit:
        share = float((counts.hits / counts.documents)[counts.x == first_hit][0])
        low, high = _limits(counts, first_hit + (-_NEAR if share >= 0.5 else _NEAR), slack)
        return MedianDose(
            2**first_hit, low, high, None, f"{2**first_hit:g} copies is the only dose of both hits and misses"
        )
    # The likelihood is concave, so the slope of its maximum has the sign of this covariance.
    if (counts.hits * (counts.x - np.average(counts.x, weights=counts.documents))).sum() <= 1e-9:
        return MedianDose(None, None, None, None, "hits do not grow more frequent with copies")
    offset, slope = _maximum(counts)
    centre = -offset / slope
    if not counts.x[0] - FAR < centre < counts.x[-1] + FAR:
        return MedianDose(None, None, None, slope, "hits hardly grow more frequent with copies")
    low, high = _limits(counts, centre, slack)
    inside = counts.x[0] <= centre <= counts.x[-1]
    return MedianDose(2**centre, low, high, slope, "" if inside else "extrapolated beyond the doses")


def _maximum(counts: _Counts) -> tuple[float, float]:
    """Return offset and slope of the logits of most likelihood, by Newton's method; they must be finite."""
    middle, scale = float(counts.x.mean()), float(counts.x.std())
    design = np.stack([np.ones_like(counts.x), (counts.x - middle) / scale])
    found, best = np.zeros(2), counts.log_likelihood(np.zeros_like(counts.x))
    for _ in range(_STEPS):
        fitted = expit(found @ design)
        gradient = design @ (counts.hits - counts.documents * fitted)
        curvature = (design * (counts.documents * fitted * (1 - fitted))) @ design.T
        step = np.linalg.solve(curvature, gradient)
        while (likelihood := counts.log_likelihood((found + step) @ design)) < best and np.abs(step).max() > 1e-12:
            step /= 2
        found, best = found + step, max(best, likelihood)
        if np.abs(step).max() < 1e-10:
            break
    slope = float(found[1]) / scale
    return float(found[0]) - slope * middle, slope


def _limits(counts: _Counts, inside: float, slack: float) -> tuple[float | None, float | None]:
    """Return the smallest and the largest ED50, in copies, that the data do not reject.

    Args:
        counts: The data.
        inside: log2 of an ED50 of the largest likelihood.
        slack: How much less log-likelihood is not rejected.
    """
    floor = counts.profile(inside) - slack
    ends = counts.x[0] - FAR, counts.x[-1] + FAR

    def spare(centre: float) -> float:
        return counts.profile(centre) - floor

    low, high = (2 ** brentq(spare, end, inside) if spare(end) < 0 else None for end in ends)
    return low, high


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return Spearman's correlation of ranks, ties sharing their mean rank; None where one side is constant.

    Args:
        first: Shape [documents]; infinities have ranks too.
        second: Shape [documents].
    """
    ranks = [_mean_ranks(np.asarray(values, np.float64)) for values in (first, second)]
    if any(not len(r) or r.min() == r.max() for r in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _mean_ranks(values: FloatArray) -> FloatArray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts - 1) / 2)[place]
    return ranks
