"""How often a membership run would end in *found* or in *no evidence*, by the AUC that its primary detector has.

Simulated is the whole decision: the rank test at its step of Holm, the paired test against every null model (C2), text
alone (C1), held-out text against itself (C3), and the other detectors of the family, which see nothing here and may not
speak. So *found* is said at least as often as stated, where others see something too. `decide` gives every verdict.

What is drawn are the statistics: the AUCs of the primary score and of the same score by the null models, which are
jointly normal in large samples, with the variances that U-statistics have in finite ones (Hoeffding 1948). Scores are
taken for normal, with equal variances on both sides; those of a null model are correlated with the primary ones as they
are in the run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri, owens_t

from memaudit.audits.comparison.detection import HALVES_LEVEL, MIN_HALVES, Detection, Effect
from memaudit.audits.comparison.nulls import CONFOUNDED, passes_null
from memaudit.audits.comparison.verdict import Power, PowerPoint, decide
from memaudit.findings import Control
from memaudit.records import FloatArray
from memaudit.runs.options import Levels
from memaudit.runs.parts import BlindBaseline, FeatureSet
from memaudit.stats.rounding import auc, significant, stated

POWER = 0.8
AREAS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
"""AUCs for which a report states the probabilities."""
ABOUT = (
    "How often this verdict would be given with this many documents, by the true AUC of the primary detector;"
    " the other detectors are taken to be uninformative, scores normal, null models as similar to the model as observed"
)
REPLICATES = 5000
"""Their standard error is 0.7 of a point at most."""
_SEED = 20_261
_STEPS = 12
"""Halvings of the range in which the smallest AUC lies: to .0001."""
_BEYOND = 0.9999
_SMALLEST = 1e-12
"""Variance of a difference of scores that are the same."""
_REACH = float(ndtri(0.975))
_FOLDED = math.sqrt(2)
"""By how much more an AUC of text alone varies than DeLong says: see `memaudit.audits.comparison.blind_baseline`."""
_Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Design:
    """All that the probabilities of the verdict depend on, beside the AUC."""

    members: int
    heldout: int
    family: int
    """Declared detections, the primary one among them."""
    alpha: float
    detectable: float
    correlations: tuple[tuple[str, float], ...]
    """Of the primary score with that of each null model, by its name, within a side."""
    text: bool | None
    """Outcome of C1 where it was not sampled: see `kinds`."""
    kinds: int
    """Kinds of features that C1 looked at; 0 where it could not be asked."""
    asked: bool
    """Whether the run has controls of its sides at all."""
    sound: bool
    """Whether the controls of the instrument passed."""


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """What is drawn once, so that all AUCs meet the same luck; a row is a replicate."""

    areas: FloatArray
    """Standard normal, shape [replicates, 1 + null models]."""
    others: FloatArray
    """p-values of the other detectors, shape [replicates, family - 1]."""
    text: _Bools
    halves: _Bools


def power_of(
    first: Detection,
    family: int,
    controls: Sequence[Control],
    blind: BlindBaseline | None,
    options: Levels,
) -> Power:
    """Return the power of the verdict where only the primary detector is informative.

    Args:
        first: The primary detection.
        family: How many were declared.
        controls: Of the instrument alone: they are taken as they came out.
        blind: What text alone says of these documents.
        options: ``alpha`` and ``detectable`` of the run.
    """
    text = next((control.passed for control in first.controls if control.name.endswith("(C1)")), None)
    told = blind is not None and not blind.get("reason")
    design = Design(
        members=first.members,
        heldout=first.heldout,
        family=family,
        alpha=options["alpha"],
        detectable=options["detectable"],
        correlations=tuple((name, round(r, 2)) for name, r in first.null_correlations),
        text=None if told else text,
        kinds=len(blind["features"]) if told and blind is not None else 0,
        asked=blind is not None,
        sound=all(control.passed for control in controls),
    )
    return power_of_design(design, first.effect.name == "AUC")


@lru_cache(maxsize=64)
def power_of_design(design: Design, by_area: bool = True) -> Power:
    """Return the power of the verdict under a design; None and no points where a side has fewer than two documents.

    Args:
        design: Of the run.
        by_area: Whether the primary detector has an AUC at all.
    """
    level = design.alpha / design.family
    counts = f"{design.members:,} suspects against {design.heldout:,} held-out items"
    least, points = None, []
    if by_area and min(design.members, design.heldout) > 1:
        drawn = _draw(design)
        least = _least(design, drawn)
        without = Power(design.members, design.heldout, level, least, "")
        points = [PowerPoint(area, *_probabilities(design, drawn, area, without)) for area in AREAS]
    sentence = f"{counts}: no AUC would be found with a power of {stated(POWER)}"
    if least is not None:
        sentence = (
            f"{counts}: an AUC of {auc(least)} would be found with a power of {stated(POWER)}, by the primary detector"
            f" alone (its test at the level {significant(level)}, and its controls)"
        )
    return Power(design.members, design.heldout, level, least, sentence, points, ABOUT)


def _least(design: Design, drawn: _Drawn) -> float | None:
    """Return the smallest AUC that is found with probability `POWER`."""
    nothing = Power(design.members, design.heldout, design.alpha, None, "")

    def found(area: float) -> bool:
        return _probabilities(design, drawn, area, nothing)[0] >= POWER

    low, high = 0.5, _BEYOND
    if not found(high):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _draw(design: Design) -> _Drawn:
    rng = np.random.default_rng(_SEED)
    areas = rng.standard_normal((REPLICATES, 1 + len(design.correlations)))
    others = rng.random((REPLICATES, design.family - 1))
    halves = 2 * ndtr(-np.abs(rng.standard_normal(REPLICATES))) > HALVES_LEVEL
    error = _FOLDED * math.sqrt(_covariances(design, 0.5)[0][0, 0])
    text = _lower(0.5 + error * rng.standard_normal((REPLICATES, design.kinds)), error) <= CONFOUNDED
    return _Drawn(areas, others, np.logical_and.reduce(text, axis=1), halves)


def _lower(areas: FloatArray, error: float) -> FloatArray:
    """Return the lower 95% limits of AUCs with this standard error, as `memaudit.metrics.roc.auc` does."""
    inside = np.clip(areas, 1e-9, 1 - 1e-9)
    limits: FloatArray = expit(logit(inside) - _REACH * error / (inside * (1 - inside)))
    return limits


def _covariances(design: Design, area: float) -> tuple[FloatArray, FloatArray]:
    """Return the covariances of the AUCs, of the primary score first, and what DeLong's estimator is on average.

    With s of one pair of documents and c of two pairs that share one, an AUC of m times n documents has the variance
    [s + (m - 1) c + (n - 1) c] / (m n) (Hoeffding 1948; of two scores likewise), and DeLong's estimator exceeds it by
    (s - 2 c) / (m n) on average. For normal scores s and c are probabilities of two normal variables, in closed form
    by Owen's T (1956).
    """
    count, h = 1 + len(design.correlations), float(ndtri(area))
    to_primary = np.array([1.0, *(correlation for _, correlation in design.correlations)])
    pair, shared = np.empty((2, count, count))
    for i in range(count):
        for j in range(count):
            r = to_primary[i] * to_primary[j] if i != j else 1.0
            for table, rho in ((pair, r), (shared, r / 2)):
                table[i, j] = _joint(h if 0 in (i, j) else 0.0, h if i == j == 0 else 0.0, rho)
    pairs = design.members * design.heldout
    covariance = (pair + (design.members + design.heldout - 2) * shared) / pairs
    return covariance, covariance + (pair - 2 * shared) / pairs


def _joint(h: float, k: float, rho: float) -> float:
    """Return P(X < h, Y < k) - P(X < h) P(Y < k) of standard normal X and Y, where k is h or 0."""
    if rho >= 1:
        return float(ndtr(min(h, k)) - ndtr(h) * ndtr(k))
    if k == 0:
        return float(owens_t(h, rho / math.sqrt(1 - rho**2)))
    return float(ndtr(h) - 2 * owens_t(h, math.sqrt((1 - rho) / (1 + rho))) - ndtr(h) ** 2)


def _probabilities(design: Design, drawn: _Drawn, area: float, power: Power) -> tuple[float, float]:
    """Return the probabilities of *found* and of *no evidence* where the primary detector has this AUC."""
    covariance, estimated = _covariances(design, area)
    expected = np.array([area] + [0.5] * len(design.correlations))
    areas = expected + drawn.areas @ np.linalg.cholesky(covariance).T
    rejects, others = _holm_rejects(np.column_stack([_rank_p(design, areas[:, 0]), drawn.others]), design.alpha)
    null = np.ones(len(areas), np.bool_)
    for j, (name, _) in enumerate(design.correlations, start=1):
        error = math.sqrt(max(estimated[0, 0] + estimated[j, j] - 2 * estimated[0, j], _SMALLEST))
        lift = ndtr(-(areas[:, 0] - areas[:, j]) / error)
        low, own = _lower(areas[:, j], math.sqrt(estimated[j, j])), _rank_p(design, areas[:, j])
        null &= passes_null(name, low, lift, own, design.alpha)
    cases, counts = np.unique(np.stack([rejects, others, null, drawn.text, drawn.halves]), axis=1, return_counts=True)
    told = [_verdict(design, power, *map(bool, case)) for case in cases.T]
    found, nothing = (
        float(counts[[v == verdict for v in told]].sum() / len(areas)) for verdict in ("found", "no-evidence")
    )
    return found, nothing


def _rank_p(design: Design, areas: FloatArray) -> FloatArray:
    """Return p of the rank test, by the normal approximation with its correction for continuity."""
    m, n = design.members, design.heldout
    p: FloatArray = ndtr(-(m * n * (areas - 0.5) - 0.5) / math.sqrt(m * n * (m + n + 1) / 12))
    return p


def _holm_rejects(p_values: FloatArray, alpha: float) -> tuple[_Bools, _Bools]:
    """Return whether Holm's procedure rejects the first test of every row, and whether it rejects another one."""
    order = np.argsort(p_values, axis=1)
    steps = np.take_along_axis(p_values, order, axis=1) * np.arange(p_values.shape[1], 0, -1)
    rejected = np.empty(p_values.shape, np.bool_)
    np.put_along_axis(rejected, order, np.logical_and.accumulate(steps <= alpha, axis=1), axis=1)
    return rejected[:, 0], np.logical_or.reduce(rejected[:, 1:], axis=1)


_NO_FEATURES: list[FeatureSet] = [{"name": "", "auc": {"estimate": 0.5, "low": 0.5, "high": 0.5}}]


def _verdict(design: Design, power: Power, rejects: bool, others: bool, null: bool, text: bool, halves: bool) -> str:
    """Return what `decide` says of one outcome of the tests and controls."""
    sampled = Control("text alone (C1)", text if design.kinds else design.text, "")
    third = Control("held-out (C3)", halves if design.heldout >= MIN_HALVES else None, "")
    second = Control("null model (C2)", null if design.correlations else None, "")
    effect = Effect("AUC", 0.5)
    first = Detection("primary", "", "", 0.5, "", effect, design.members, design.heldout)
    first = dataclasses.replace(first, controls=[sampled, second, third])
    silent = Control("uninformative", False, "")
    other = dataclasses.replace(first, name="others", controls=[silent])
    p_values = {"primary": 0.0 if rejects else 1.0, "others": 0.0 if others else 1.0}
    controls = [Control("instrument", design.sound, "")] + ([sampled, third] if design.asked else [])
    blind: BlindBaseline | None = None
    if design.kinds:
        blind = {"features": _NO_FEATURES, "confounded": not text, "words": [], "left_out": {}, "reason": ""}
    options: Levels = {"alpha": design.alpha, "detectable": design.detectable}
    return decide([first, other], p_values, first, controls, power, blind, options)[0]
