"""The verdict of a membership run, from what its detectors and controls say."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import memaudit.stats as stats
from memaudit.audits.comparison.detection import Detection, Effect, blind_control
from memaudit.findings import Control
from memaudit.runs.options import Levels
from memaudit.runs.parts import BlindBaseline
from memaudit.runs.report_parts import ConfoundedVerdict
from memaudit.stats.rounding import auc_with, p_equals, significant

EXIT_CODES = {"found": 1, "no-evidence": 0, "inconclusive": 3, "confounded": 3}
MIN_REJECTED = 1e-3
"""p-values below are shown by their power of ten."""


@dataclasses.dataclass(frozen=True, slots=True)
class PowerPoint:
    """How likely the verdicts are where the primary detector has an AUC and the others are uninformative."""

    auc: float
    found: float
    """At least."""
    no_evidence: float
    """At most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Power:
    """What the verdict would be, by the AUC of the primary detector: see `memaudit.audits.comparison.power`."""

    members: int
    heldout: int
    level: float
    """Of one test: that of Holm's strictest step."""
    minimum_detectable_auc: float | None
    """The smallest that is found with a probability of .8, tests and controls together."""
    sentence: str
    verdicts: list[PowerPoint] = dataclasses.field(default_factory=list)
    about: str = ""
    """What the probabilities are of, and what they assume."""


def decide(
    detections: Sequence[Detection],
    adjusted: Mapping[str, float | None],
    first: Detection,
    controls: Sequence[Control],
    power: Power,
    blind: BlindBaseline | None,
    options: Levels,
) -> tuple[ConfoundedVerdict, list[str]]:
    """Return the verdict and why.

    - confounded: the sides differ by their text alone, and no p-value is evidence of anything.
    - found: an admissible detector rejects at the family-wise level.
    - no-evidence: none rejects, the primary one would have found an AUC of ``options["detectable"]``, and every
      control of the instrument passed.
    - inconclusive: anything else.
    """
    alpha = options["alpha"]
    if blind is not None and blind.get("confounded"):
        detail = blind_control(blind).detail
        reason = f"suspects and held-out items differ by their text alone ({detail}): no p-value is evidence"
        return "confounded", [reason, "compare with items of the same source and time, or run the order test alone"]
    rejecting = [d for d in detections if rejects(adjusted[d.name], alpha)]
    if speaking := [d for d in rejecting if d.admissible]:
        return "found", [_said(d, adjusted[d.name]) for d in speaking]
    reasons = [f"{_said(d, adjusted[d.name])}, but is not admissible: {_failing(d)}" for d in rejecting]
    reasons += [
        f"the control '{c.name}' {'could not be run' if c.passed is None else 'failed'}: {c.detail}"
        for c in controls
        if not c.passed
    ]
    least = power.minimum_detectable_auc
    if first.p_value is None:
        reasons.append(f"{first.label} (primary) ran no test: {first.reason}")
    elif first.effect.name != "AUC":
        reasons.append(f"{first.label} (primary): {p_equals(first.p_value)}; by itself it cannot show absence")
    elif least is None or least > options["detectable"]:
        reasons.append(f"too few documents: {power.sentence}; {options['detectable']:g} must be detectable")
    if reasons:
        return "inconclusive", reasons
    return "no-evidence", [
        f"no evidence above the null at this power: {power.sentence}",
        f"none of {len(detections)} declared detectors rejects at a family-wise level of {alpha:g}",
    ]


def adjusted_by_holm(detections: Sequence[Detection]) -> dict[str, float | None]:
    """Return Holm's p-values over the declared family: a test that could not be run keeps its place in it."""
    holm = stats.holm([1.0 if d.p_value is None else d.p_value for d in detections])
    return {d.name: None if d.p_value is None else p for d, p in zip(detections, holm, strict=True)}


def rejects(p_value: float | None, alpha: float) -> bool:
    """Whether a test that was made rejects at this level."""
    return p_value is not None and p_value <= alpha


def _said(detection: Detection, adjusted: float | None) -> str:
    size = "" if detection.effect.estimate is None else f"{shown_size(detection.effect)}, "
    return f"{detection.label}: {size}{p_equals(adjusted)} (Holm)"


def shown_size(effect: Effect) -> str:
    """Return an effect in a sentence: ``AUC 0.612 [0.540, 0.683]``, ``+0.21 nats a document over the mean order``."""
    if effect.name == "AUC":
        return f"AUC {shown_interval(effect)}"
    return f"{shown_interval(effect)} {effect.name}"


def shown_interval(effect: Effect) -> str:
    """Return the size of an effect with its limits; empty where there is none."""
    if effect.estimate is None:
        return ""
    if effect.name == "AUC":
        return auc_with(effect.estimate, effect.low, effect.high)
    shown = significant(effect.estimate, sign=True)
    if effect.low is None or effect.high is None:
        return shown
    return f"{shown} [{significant(effect.low, sign=True)}, {significant(effect.high, sign=True)}]"


def _failing(detection: Detection) -> str:
    return "; ".join(f"{c.name}: {c.detail}" for c in detection.controls if c.passed is False)
