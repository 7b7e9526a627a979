"""What results with dates say about a performance gap: the verdict, the checks of its assumption, the report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import memaudit.stats as stats
from memaudit.audits.gap.items import Compared, compared
from memaudit.audits.gap.power import GapPower, power_of
from memaudit.audits.gap.results import Results
from memaudit.audits.gap.section import LIMITS, Outcome, Rival, gap_section
from memaudit.findings import Control
from memaudit.metrics.gap import FEWEST, Gap, gap_test, log_odds_gap, performance_gap
from memaudit.runs import parts, reports
from memaudit.runs.options import GapOptions
from memaudit.runs.plans import GapPlan
from memaudit.runs.report_parts import Verdict, report_head
from memaudit.runs.reports import GapReport
from memaudit.runs.schema import as_record
from memaudit.stats.rounding import correlation, p_equals, points, points_between

EXIT_CODES = {"no-evidence": 0, "found": 1, "inconclusive": 3}
CONTROLS_LEVEL = 0.01
"""Level, Holm-adjusted, at which controls must not differ from each other: one run in a hundred is held back."""


def conclude(plan: GapPlan, results: Results) -> GapReport:
    """Return the report: the same plan and results give the same report.

    Args:
        plan: As `memaudit.audits.gap.run` makes it.
        results: Of the files that the plan names.
    """
    options = plan["options"]
    items = compared(results, options)
    outcome = judge(items, options)
    headline = _headline(options["model"], outcome)
    return {
        **report_head(plan),
        "kind": "gap",
        "verdict": outcome.verdict,
        "exit_code": EXIT_CODES[outcome.verdict],
        "headline": headline,
        "reasons": outcome.reasons,
        "controls": [as_record(control, parts.Control) for control in outcome.controls],
        "limits": list(LIMITS),
        "options": options,
        "corpus": {
            "specs": plan["results"]["specs"],
            "units": f"items with results of {len(items.names):,} models",
            "sha256": _digest(plan["results"]["files"]),
        },
        "results": plan["results"],
        "items": _counts(results, items),
        "gap": None if outcome.gap is None else as_record(outcome.gap, reports.Gap),
        "p_value": outcome.p_value,
        "minimum_detectable_gap": outcome.power.minimum_detectable_gap,
        "verdicts": [as_record(point, reports.GapPoint) for point in outcome.power.verdicts],
        "sections": [as_record(gap_section(items, outcome, options, headline), parts.Section)],
    }


def judge(items: Compared, options: GapOptions) -> Outcome:
    """Return what a comparison comes to."""
    sides = items.sides(0, items.others)
    found = performance_gap(*sides)
    p_value = gap_test(*sides, seed=options["seed"], permutations=options["permutations"])
    power, rivals = _power(items, found, options), _rivals(items, options)
    controls = [_scale_control(items, p_value, options["alpha"]), _rivals_control(rivals)]
    verdict, reasons = decide(found, p_value, power.minimum_detectable_gap, controls, options)
    return Outcome(found, p_value, power, rivals, controls, verdict, reasons)


def _counts(results: Results, items: Compared) -> reports.GapItems:
    return {
        "read": len(results.items),
        "old": int(items.old.sum()),
        "new": int((~items.old).sum()),
        "across": items.across,
        "missing": items.missing,
    }


def decide(
    found: Gap | None,
    p_value: float | None,
    least: float | None,
    controls: Sequence[Control],
    options: GapOptions,
) -> tuple[Verdict, list[str]]:
    """Return the verdict and why.

    - found: the test rejects and no control failed.
    - no-evidence: it does not, a gap of ``least_gap`` would have been seen, and no control failed.
    - inconclusive: anything else.
    """
    if found is None or p_value is None:
        return "inconclusive", [f"fewer than {FEWEST} items that can be compared before or after the cutoff"]
    failed = [f"{control.name}: {control.detail}" for control in controls if control.passed is False]
    tested = f"one-sided {p_equals(p_value)} {'<=' if p_value <= options['alpha'] else '>'} {options['alpha']:g}"
    if failed:
        return "inconclusive", [*failed, tested]
    if p_value <= options["alpha"]:
        return "found", [tested]
    if least is None:
        nothing = "the models answer alike on every item: the power is unknown"
        return "inconclusive", [tested, "no gap would be found with power .8" if found.standard_error else nothing]
    power = f"a gap of {points(least, sign=False)} points would be found with power .8"
    if least > options["least_gap"]:
        return "inconclusive", [
            tested,
            f"only {power}; --least-gap asks for {points(options['least_gap'], sign=False)}",
        ]
    return "no-evidence", [tested, power]


def _power(items: Compared, found: Gap | None, options: GapOptions) -> GapPower:
    """Return what the verdict would be by the true gap."""
    if found is None:
        return GapPower(None, [])

    def judge(rejects: bool, stands: bool, alike: bool, least: float | None) -> str:
        checks = [Control("odds", stands or not rejects, ""), Control("rivals", alike, "")]
        return decide(found, 0.0 if rejects else 1.0, least, checks, options)[0]

    rivals = CONTROLS_LEVEL if len(items.others) > 1 else 0.0
    return power_of(items.scores[:, items.old], items.scores[:, ~items.old], options["alpha"], rivals, judge)


def _headline(model: str, outcome: Outcome) -> str:
    found = outcome.gap
    if found is None:
        return "Too few items before or after the cutoff to compare"
    interval = "" if found.low is None or found.high is None else f" {points_between(found.low, found.high)}"
    more = "more" if found.estimate >= 0 else "less"
    said = {
        "found": "evidence that old items are easier for it than their difficulty explains",
        "no-evidence": "no evidence above the null at this power",
        "inconclusive": "inconclusive",
    }[outcome.verdict]
    return (
        f"On new items {model} loses {points(abs(found.estimate), sign=False)} points {more} than its controls:"
        f" gap {points(found.estimate)}{interval}, {p_equals(outcome.p_value or 1.0)}; {said}"
    )


def _scale_control(items: Compared, p_value: float | None, alpha: float) -> Control:
    """Return whether the gap stands on the scale of log odds too: a strong control loses fewer points than a weak one.

    Without it a middling model beside controls near 100% shows a gap in points whenever items get harder. The error
    rate is kept if difficulty moves all models alike on either scale.
    """
    name = "the gap in log odds"
    odds = log_odds_gap(items.scores[:, items.old], items.scores[:, ~items.old], 1 - 2 * alpha)
    if p_value is None or odds is None or odds.low is None:
        return Control(name, None, "too few items")
    detail = f"{correlation(odds.estimate)}, at least {correlation(odds.low)}"
    if p_value > alpha:
        return Control(name, True, f"{detail}; there is no gap in points that it could contradict")
    return Control(name, odds.low > 0, f"{detail}, must be above 0: choose controls about as able as the model")


def _rivals(items: Compared, options: GapOptions) -> list[Rival]:
    """Return every control against the other ones."""
    tested = []
    # Two controls make one comparison, whichever of them is taken for the model.
    for place in items.others if len(items.others) > 2 else items.others[: len(items.others) - 1]:
        sides = items.sides(place, [other for other in items.others if other != place])
        found = performance_gap(*sides)
        p = gap_test(*sides, seed=options["seed"], permutations=options["permutations"], alternative="two-sided")
        if found is not None and p is not None:
            tested.append((items.names[place], found, p))
    adjusted = stats.holm([p for *_, p in tested])
    return [Rival(*rival, p) for rival, p in zip(tested, adjusted, strict=True)]


def _rivals_control(rivals: Sequence[Rival]) -> Control:
    name = "controls against each other"
    if not rivals:
        return Control(name, None, "there is one control, or too few items: nothing to compare it with")
    worst = min(rivals, key=lambda rival: rival.p_holm)
    detail = f"{worst.name}: gap {points(worst.gap.estimate)}, {p_equals(worst.p_holm)} after Holm"
    return Control(name, worst.p_holm > CONTROLS_LEVEL, f"{detail}, must be above {CONTROLS_LEVEL:g}")


def _digest(files: Sequence[parts.FileDigest]) -> str:
    """Return what identifies all files together, and of one file its own digest."""
    digests = [file["sha256"] for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
