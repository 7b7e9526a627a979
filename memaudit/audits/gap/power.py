"""How often a gap run would end in *found* or in *no evidence*, by the true gap.

Simulated is the whole decision: the test of old items against new ones, the gap in log odds, and the controls against
each other, which by their level hold back one run in a hundred where there are two of them or more. Drawn are the mean
scores of all models on either side, which are jointly normal with the covariances that the items have (central limit
theorem); the quantile of Welch's t is Student's. A gap is made by turning results of the model on old items, and their
variance changes with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from memaudit.metrics.gap import UNSEEN
from memaudit.records import FloatArray

POWER = 0.8
GAPS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
"""True gaps, as shares, for which a report states the probabilities."""
REPLICATES = 5000
_SEED = 20_263
_Bools = NDArray[np.bool_]
_STEPS = 12
Judge = Callable[[bool, bool, bool, float | None], str]
"""The verdict by whether the test rejects, whether the log odds stand, whether the controls are alike, and the smallest
gap that is found."""


@dataclass(frozen=True, slots=True)
class GapPoint:
    """How likely the verdicts are where the true gap is this one."""

    gap: float
    found: float
    no_evidence: float


@dataclass(frozen=True, slots=True)
class GapPower:
    """What the verdict would be, by the true gap."""

    minimum_detectable_gap: float | None
    """The smallest that is found with a probability of `POWER`; None where there is none, or nothing is known of it."""
    verdicts: list[GapPoint]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Items of one side: the model, then its controls."""

    items: int
    means: FloatArray
    covariance: FloatArray
    """Of single items, shape [models, models]."""

    @classmethod
    def of(cls, scores: FloatArray) -> _Side:
        return cls(scores.shape[1], scores.mean(axis=1), np.atleast_2d(np.cov(scores)))

    def moved(self, by: float) -> _Side | None:
        """Return the side with so much more of the model's items right; None where there are not enough to turn."""
        mean = float(self.means[0])
        room = 1 - mean if by > 0 else mean
        turned = abs(by) / room if room > 0 else math.inf if by else 0.0
        if turned > 1:
            return None
        covariance, means = self.covariance.copy(), self.means.copy()
        kept, to = 1 - turned, float(by > 0)
        # Of a score that is replaced by 0 or 1 with probability ``turned``.
        means[0] = kept * mean + turned * to
        covariance[0, 0] = kept * (covariance[0, 0] + mean**2) + turned * to - means[0] ** 2
        covariance[0, 1:] *= kept
        covariance[1:, 0] *= kept
        return _Side(self.items, means, covariance)


def power_of(old: FloatArray, new: FloatArray, alpha: float, rivals: float, judge: Judge) -> GapPower:
    """Return the power of the verdict about items like these.

    Args:
        old: Scores in [0, 1] of old items, shape [1 + controls, items], two items or more; the model comes first.
        new: Those of new items.
        alpha: Level of the test.
        rivals: Probability that the controls differ from each other by chance.
        judge: The decision.
    """
    sides = _Side.of(old), _Side.of(new)
    weights = _contrast(len(old))
    if not sum(float(weights @ side.covariance @ weights) for side in sides) > 1e-12:
        return GapPower(None, [])
    measured = float(weights @ (sides[0].means - sides[1].means))
    rng = np.random.default_rng(_SEED)
    normal = rng.standard_normal((2, REPLICATES, len(old)))
    alike = rng.random(REPLICATES) >= rivals

    def at(gap: float, least: float | None) -> tuple[float, float] | None:
        moved = sides[0].moved(gap - measured)
        if moved is None:
            return None
        rejects, stands = _tested((moved, sides[1]), normal, alpha)
        cases, counts = np.unique(np.stack([rejects, stands, alike]), axis=1, return_counts=True)
        told = [judge(bool(case[0]), bool(case[1]), bool(case[2]), least) for case in cases.T]
        found, nothing = (
            float(counts[[verdict == wanted for verdict in told]].sum() / REPLICATES)
            for wanted in ("found", "no-evidence")
        )
        return found, nothing

    least = _least(lambda gap: at(gap, None), measured, sides[0])
    points = [GapPoint(gap, *chances) for gap in GAPS if (chances := at(gap, least)) is not None]
    return GapPower(least, points)


def _least(at: Callable[[float], tuple[float, float] | None], measured: float, old: _Side) -> float | None:
    """Return the smallest gap that is found with probability `POWER`: between 0 and what old items have room for."""
    low, high = 0.0, measured + (1 - float(old.means[0])) * (1 - 1e-9)
    most = at(high) if high > 0 else None
    if most is None or most[0] < POWER:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        found = at(middle)
        low, high = (low, middle) if found is not None and found[0] >= POWER else (middle, high)
    return high


def _tested(
    sides: tuple[_Side, _Side], normal: FloatArray, alpha: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether the test rejects and whether the gap in log odds lies above 0, replicate by replicate."""
    weights = _contrast(len(sides[0].means))
    means = [s.means + z @ _root(s.covariance / s.items).T for s, z in zip(sides, normal, strict=True)]
    # As `gap_test` guards its p: without spread on either side there would be nothing to divide by.
    spreads = [float(weights @ s.covariance @ weights) + UNSEEN / (s.items - 1) for s in sides]
    parts = [spread / s.items for spread, s in zip(spreads, sides, strict=True)]
    freedom = sum(parts) ** 2 / sum(p**2 / (s.items - 1) for p, s in zip(parts, sides, strict=True))
    t = (means[0] - means[1]) @ weights / math.sqrt(sum(parts))
    rejects = 1 - stdtr(freedom, t) <= alpha
    odds, variance = 0.0, np.zeros(len(t))
    for side, mean in zip(sides, means, strict=True):
        share = (np.clip(mean, 0, 1) * side.items + 1) / (side.items + 2)
        sign = 1 if side is sides[0] else -1
        odds = odds + sign * np.log(share / (1 - share)) @ weights
        slopes = weights / (share * (1 - share))
        variance += np.einsum("ri,ij,rj->r", slopes, side.covariance, slopes) / (side.items + 2)
    return rejects, odds - float(ndtri(1 - alpha)) * np.sqrt(variance) > 0


def _contrast(models: int) -> FloatArray:
    """Return the weights that make scores the model's less the mean of its controls', shape [models]."""
    return np.array([1.0] + [-1 / (models - 1)] * (models - 1))


def _root(covariance: FloatArray) -> FloatArray:
    """Return a square root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root: FloatArray = vectors * np.sqrt(np.maximum(values, 0))
    return root
