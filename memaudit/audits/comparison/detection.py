"""One detector's answer, and the controls that decide whether it is admissible.

A detector gives every document a score, higher for what looks seen. Members are tested against held-out documents,
and the answer counts as evidence only where three controls hold: text alone does not tell the sides apart (C1), the
model does so better than a model that saw neither side (C2), and held-out text does not differ from itself (C3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

import memaudit.stats as stats
from memaudit.audits.comparison.nulls import CONFOUNDED, OF_TEXT, passes_null
from memaudit.findings import Control
from memaudit.metrics.roc import Auc, auc, auc_difference, cohens_d
from memaudit.records import FloatArray
from memaudit.runs.measured_lines import SideFields
from memaudit.runs.options import DetectorOptions
from memaudit.runs.parts import BlindBaseline
from memaudit.runs.plans import MeasuredPlan
from memaudit.stats import rounding

HALVES_LEVEL = 0.01
"""Level of the test of held-out text against itself: one run in a hundred is held back for nothing."""
MIN_HALVES = 20
"""Held-out documents from which on their halves are compared."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How large an effect is, with a 95% interval where there is one."""

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """What one detector says; `admissible`: whether it may be evidence."""

    name: str
    """Stable, for programs: ``min-k``."""
    label: str
    definition: str
    """Formula and source, in a sentence."""
    p_value: float | None
    """One-sided; None where the test could not be run."""
    reason: str
    """Why there is no p-value, else what kind of test it is of."""
    effect: Effect
    members: int
    heldout: int
    undefined: int = 0
    """Documents without a score: too short."""
    effect_size: float | None = None
    """Cohen's d of the scores."""
    controls: list[Control] = field(default_factory=list)
    """Of this detector; exact tests that need no held-out text have none."""
    null_correlations: tuple[tuple[str, float], ...] = ()
    """Of its scores with those of each null model, by its name, documents of one side among each other."""

    @property
    def admissible(self) -> bool:
        """Whether its p-value may count as evidence: it has one, and no control failed."""
        return self.p_value is not None and all(control.passed is not False for control in self.controls)


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """One score of all documents, undefined ones left out; pairs keep their order."""

    members: FloatArray
    heldout: FloatArray

    @staticmethod
    def of(records: Sequence[SideFields], values: Sequence[float | None]) -> Sides:
        """Return the values of records with a ``member`` flag by side."""
        kept = [(bool(r["member"]), value) for r, value in zip(records, values, strict=True) if value is not None]
        sides = ([value for member, value in kept if member is side] for side in (True, False))
        members, heldout = (np.array(side, np.float64) for side in sides)
        return Sides(members, heldout)


def compare(
    records: Sequence[SideFields],
    values: Sequence[float | None],
    nulls: Mapping[str, Sequence[float | None]],
    *,
    name: str,
    label: str,
    definition: str,
    plan: MeasuredPlan,
) -> Detection:
    """Test members against held-out documents by one score, and run the controls on it.

    Args:
        records: One a document, with ``member`` and ``document``.
        values: The model's score of each; None where it is undefined.
        nulls: The same score by models that never saw a document, by their names.
        name: Of the detection, with ``label`` and ``definition``.
        label: As reports call it.
        definition: Formula and source.
        plan: Of the run: ``membership`` holds the options, ``blind`` what
            `memaudit.audits.comparison.blind_baseline` found of these documents, where it was asked.
    """
    options, blind = plan["membership"], plan.get("blind")
    sides = Sides.of(records, values)
    p_value, test = _test(records, values, sides, options)
    area = auc(sides.members, sides.heldout)
    first = blind_control(blind)
    if first.passed is None and blind is not None and not options["randomised"]:
        # Too few texts to tell, and nobody drew the sides by lot: what cannot be checked does not count as checked.
        first = Control(first.name, False, first.detail)
    controls = [first, _null_control(records, values, nulls, options["alpha"], options["seed"])]
    controls.append(_halves_control(sides.heldout, options["seed"]))
    return Detection(
        name=name,
        label=label,
        definition=definition,
        p_value=p_value,
        reason=test,
        effect=Effect("AUC", None) if area is None else Effect("AUC", **asdict(area)),
        members=len(sides.members),
        heldout=len(sides.heldout),
        undefined=sum(value is None for value in values),
        effect_size=cohens_d(sides.members, sides.heldout),
        controls=controls,
        null_correlations=_null_correlations(records, values, nulls),
    )


def _test(
    records: Sequence[SideFields],
    values: Sequence[float | None],
    sides: Sides,
    options: DetectorOptions,
) -> tuple[float | None, str]:
    """Return the p-value and which test gave it, or None and why there is none."""
    if options["paired"]:
        scored = [{}, {}]  # type: list[dict[str, float]]
        for record, value in zip(records, values, strict=True):
            if value is not None:
                scored[not record["member"]][record["document"]] = value
        differences = [value - scored[1][key] for key, value in scored[0].items() if key in scored[1]]
        if not differences:
            return None, "no pair of documents has both scores"
        p = stats.sign_flip_test(differences, seed=options["seed"])
        return p, f"sign-flip test of {len(differences):,} pairs"
    if not len(sides.members) or not len(sides.heldout):
        return None, "no document with a score on one side"
    p = stats.rank_test(sides.members, sides.heldout, seed=options["seed"])
    return p, "rank test (Mann-Whitney)" + (", exact: membership was randomised" if options["randomised"] else "")


def blind_control(blind: BlindBaseline | None) -> Control:
    """Return the control C1 as every detector of documents carries it."""
    name = "text alone (C1)"
    reason = "not run" if blind is None else blind.get("reason")
    if blind is None or reason:
        return Control(name, None, reason or "")
    sets = blind["features"]
    worst = max(sets, key=lambda s: s["auc"]["low"])
    shown = (
        f"{worst['name']}: AUC {rounding.auc(worst['auc']['estimate'])}, at least {rounding.auc(worst['auc']['low'])}"
    )
    return Control(name, not blind["confounded"], f"{shown}; may be up to {CONFOUNDED}")


def _null_control(
    records: Sequence[SideFields],
    values: Sequence[float | None],
    nulls: Mapping[str, Sequence[float | None]],
    alpha: float,
    seed: int,
) -> Control:
    """Return the control C2: no null model separates the sides, and the model does so better than each."""
    name = "null model (C2)"
    details, passed = [], True
    for model, scores in nulls.items():
        both = [i for i, pair in enumerate(zip(values, scores, strict=True)) if None not in pair]
        kept = [records[i] for i in both]
        ours, theirs = (Sides.of(kept, [column[i] for i in both]) for column in (values, scores))
        area = auc(theirs.members, theirs.heldout)
        lift = auc_difference((ours.members, ours.heldout), (theirs.members, theirs.heldout))
        if area is None or lift is None:
            continue
        p = stats.rank_test(theirs.members, theirs.heldout, seed=seed) if model in OF_TEXT else None
        passed &= bool(passes_null(model, area.low, lift.p_value, 1.0 if p is None else p, alpha))
        above = f"the model is {rounding.gain(lift.estimate)} above ({rounding.p_equals(lift.p_value)})"
        details.append(f"{model}: {_shown(area)}, {above}")
    return Control(name, passed if details else None, "; ".join(details) or "no null model scored these documents")


def _null_correlations(
    records: Sequence[SideFields],
    values: Sequence[float | None],
    nulls: Mapping[str, Sequence[float | None]],
) -> tuple[tuple[str, float], ...]:
    """Return how normal scores with these ranks would be correlated: 2 sin(pi r / 6) of Spearman's r (Pearson 1907)."""
    found = []
    for name, scores in nulls.items():
        both = [i for i, pair in enumerate(zip(values, scores, strict=True)) if None not in pair]
        kept = [records[i] for i in both]
        ours, theirs = (Sides.of(kept, [column[i] for i in both]) for column in (values, scores))
        covariance, variances = 0.0, [0.0, 0.0]
        for pair in ((ours.members, theirs.members), (ours.heldout, theirs.heldout)):
            ranks = [stats.midranks(side)[0] / (len(side) + 1) for side in pair if len(side)]
            if ranks:
                centred = [rank - rank.mean() for rank in ranks]
                covariance += float(centred[0] @ centred[1])
                variances = [v + float(c @ c) for v, c in zip(variances, centred, strict=True)]
        if all(variances):
            found.append((name, 2 * math.sin(math.pi / 6 * covariance / math.sqrt(variances[0] * variances[1]))))
    return tuple(found)


def _halves_control(heldout: FloatArray, seed: int) -> Control:
    """Return the control C3: the first half of the held-out documents against the second, in the order read."""
    name = "held-out against held-out (C3)"
    if len(heldout) < MIN_HALVES:
        return Control(name, None, f"{len(heldout)} held-out documents are too few to compare halves")
    halves = heldout[: len(heldout) // 2], heldout[len(heldout) // 2 :]
    tails = [stats.rank_test(*sides, seed=seed) for sides in (halves, halves[::-1])]
    p = min(1.0, 2 * min(tail for tail in tails if tail is not None))
    return Control(name, p > HALVES_LEVEL, f"{rounding.p_equals(p)} two-sided, must be above {HALVES_LEVEL}")


def _shown(area: Auc) -> str:
    return f"AUC {rounding.auc_with(area.estimate, area.low, area.high)}"
