"""A mean over trainings that differ in their seed alone: an interval that knows of other seeds and other documents.

All trainings were asked the same documents, so their errors hang together, and a meta-analysis of independent studies
(DerSimonian & Laird 1986, with Hartung & Knapp 2001 for few studies too) takes for agreement what is one lot of
documents. The right design is that of several readers of the same cases (Obuchowski & Rockette 1995): with S trainings,
MS the variance of their estimates and C the mean covariance of two of them over D documents, the mean has the variance
MS / S + max(C, 0). Its half-width is

    reach^2 = t(S - 1)^2 MS / S + t(D - 1)^2 max(C, 0):

each part with Student's quantile of its own, their squares added (Howe 1974; MOVER, Zou & Donner 2008). One
quantile with the degrees of freedom of Satterthwaite, as Hillis (2014) gives them, takes three trainings that agree by
chance at their word: `benchmarks/replicates_coverage.py`.

Undefined values are None.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, stdtrit

from memaudit.metrics.roc import auc, auc_covariance
from memaudit.records import FloatArray
from memaudit.stats import clopper_pearson

_ROUNDING = 1e-12
FEWEST = 3
"""Trainings: the spread of two hardly predicts a third."""


@dataclass(frozen=True, slots=True)
class OverTrainings:
    """A mean over trainings, in [0, 1]."""

    trainings: int
    mean: float
    low: float
    """Interval of the mean over all seeds and all documents of this kind."""
    high: float
    between: float
    """Standard deviation between seeds, what documents do to the estimates taken off; 0 where they explain it all."""
    least: float
    """Of the trainings that were made."""
    most: float


@dataclass(frozen=True, slots=True)
class _Spread:
    mean: float
    reach: float
    between: float


def rate_over_trainings(means: ArrayLike, windows: int, confidence: float = 0.95) -> OverTrainings | None:
    """Return the mean rate of several trainings over the same documents.

    The interval is Clopper & Pearson's (1934) of n* trials, as Korn & Graubard (1998) form them for any design:
    n* = p (1 - p) (t(D - 1) / reach)^2, at most all answers, and the documents where nothing varies.

    Args:
        means: Share of hits of each document by each training, shape [trainings, documents].
        windows: Of all documents, asked of each training.
        confidence: Coverage.

    Returns:
        None with fewer than `FEWEST` trainings or two documents.
    """
    table = np.asarray(means, dtype=np.float64)
    if len(table) < FEWEST or table.shape[1] < 2:
        return None
    documents = table.shape[1]
    estimates = table.mean(axis=1)
    found = _spread(estimates, np.cov(table) / documents, documents, confidence)
    trials = float(documents)
    if found.reach > 0:
        quantile = float(stdtrit(documents - 1, (1 + confidence) / 2))
        trials = found.mean * (1 - found.mean) * (quantile / found.reach) ** 2
    trials = min(trials, float(len(table) * windows))
    interval = clopper_pearson(min(found.mean * trials, trials), trials, confidence)
    assert interval is not None
    return _over(estimates, found, interval.low, interval.high)


def auc_over_trainings(members: ArrayLike, heldout: ArrayLike, confidence: float = 0.95) -> OverTrainings | None:
    """Return the mean AUC of several trainings over the same documents, its interval formed on log odds.

    Args:
        members: Score of each member by each training, higher for what looks seen, shape [trainings, members].
        heldout: The same of held-out documents.
        confidence: Coverage.

    Returns:
        None with fewer than `FEWEST` trainings, or two documents on a side.
    """
    ours, theirs = np.asarray(members, dtype=np.float64), np.asarray(heldout, dtype=np.float64)
    if len(ours) < FEWEST or min(ours.shape[1], theirs.shape[1]) < 2:
        return None
    estimates, covariance = auc_covariance(ours, theirs)
    found = _spread(estimates, covariance, min(ours.shape[1], theirs.shape[1]), confidence)
    if found.reach < _ROUNDING or not 0 < found.mean < 1:
        alone = auc(ours[0], theirs[0], confidence)  # no training and no document differs from another
        assert alone is not None
        return _over(estimates, found, alone.low, alone.high)
    centre, step = float(logit(found.mean)), found.reach / (found.mean * (1 - found.mean))
    return _over(estimates, found, float(expit(centre - step)), float(expit(centre + step)))


def _spread(estimates: FloatArray, covariance: FloatArray, documents: int, confidence: float) -> _Spread:
    """Return the half-width of the interval of the mean, and the deviation between seeds.

    Args:
        estimates: Shape [trainings].
        covariance: Of their errors over documents, shape [trainings, trainings].
        documents: Of the smaller side.
        confidence: Coverage.
    """
    count = len(estimates)
    own = float(np.trace(covariance)) / count
    shared = (float(covariance.sum()) - own * count) / (count * (count - 1))
    square = float(estimates.var(ddof=1))
    quantiles = stdtrit(np.array([count - 1, documents - 1]), (1 + confidence) / 2) ** 2
    reach = math.sqrt(quantiles[0] * square / count + quantiles[1] * max(shared, 0.0))
    own_alone = square - (own - shared)
    between = math.sqrt(own_alone) if own_alone > _ROUNDING else 0.0
    return _Spread(float(estimates.mean()), reach, between)


def _over(estimates: FloatArray, found: _Spread, low: float, high: float) -> OverTrainings:
    least, most = float(estimates.min()), float(estimates.max())
    return OverTrainings(len(estimates), found.mean, low, high, found.between, least, most)
