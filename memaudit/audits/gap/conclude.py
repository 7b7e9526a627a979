"""What results with dates say about a performance gap: the verdict, the checks of its assumption, the report."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.documents import bounds, mean_share
from memaudit.audits.gap.power import GapPower, power_of
from memaudit.audits.gap.results import Results
from memaudit.findings import Control
from memaudit.metrics.gap import (
    FEWEST,
    Gap,
    gap_test,
    item_differences,
    log_odds_gap,
    performance_gap,
)
from memaudit.records import FloatArray
from memaudit.runs.files import strict_json
from memaudit.runs.provenance import provenance_of
from memaudit.sections import ABOUT_DOCUMENTS, Column, Graph, Section, Series, Table, Value

EXIT_CODES = {"no-evidence": 0, "found": 1, "inconclusive": 3}
CONTROLS_LEVEL = 0.01
"""Level, Holm-adjusted, at which controls must not differ from each other: one run in a hundred is held back."""
SIDES = ("old", "new")
MAX_LINES = 4
"""Controls that the graph tells apart, beside the model and their mean."""
METHOD = (
    "Items dated up to the cutoff are old, later ones new; a month or year across it is left out, as are items that"
    " lack the result of one of the models. Of every item e = model - mean of the controls is kept, and the gap is"
    " the mean of e on old items less that on new ones: what the model loses beyond what its controls lose. One-sided"
    " permutation test of which items are old ({permutations:,} permutations, Welch's t as the statistic, Janssen"
    " 1997): exact where dates are exchangeable, whatever all models find harder. 95% interval of Welch 1947. The item"
    " is the unit. The smallest detectable gap would be found with power .8 at the level {alpha:g}: the test and the"
    " checks are simulated with items like these."
)
LIMITS = (
    ABOUT_DOCUMENTS.format(units="items"),
    "A gap says that the old items are easier for this model than the controls explain, not why: text about them, or a"
    " kind of item that it was tuned for, does the same as the items themselves.",
    "A control that saw the old items too hides the gap; one that saw the new ones makes it.",
    "No evidence of a gap is no evidence that the items were not seen: a model may know them and answer no better.",
)


@dataclass(frozen=True, slots=True)
class Compared:
    """The items that every model has a result of."""

    names: list[str]
    """The model, then its controls."""
    scores: FloatArray
    """Shape [1 + controls, items]."""
    old: NDArray[np.bool_]
    years: NDArray[np.int64]
    across: int
    """Items left out because their date may be on either side of the cutoff."""
    missing: int
    """Items left out because a model has no result of them."""

    def sides(self, model: int, against: Sequence[int] = ()) -> tuple[FloatArray, FloatArray]:
        """Return old and new scores of a model, less the mean of others."""
        values = item_differences(self.scores[model], self.scores[list(against)]) if against else self.scores[model]
        return values[self.old], values[~self.old]

    @property
    def others(self) -> range:
        """The places of the controls."""
        return range(1, len(self.names))


def conclude(plan: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Return the report: the same plan and results give the same report.

    Args:
        plan: As `memaudit.audits.gap.run` makes it.
        results: Of the files that the plan names.
    """
    options = plan["options"]
    items = compared(results, options)
    sides = items.sides(0, items.others)
    found = performance_gap(*sides)
    p_value = gap_test(*sides, seed=options["seed"], permutations=options["permutations"])
    power = _power(items, found, options)
    least = power.minimum_detectable_gap
    rivals = _rivals(items, options)
    controls = [_scale_control(items, p_value, options["alpha"]), _rivals_control(rivals)]
    verdict, reasons = decide(found, p_value, least, controls, options)
    headline = _headline(options["model"], found, p_value, verdict)
    section = Section(
        name="gap",
        title="Performance gap",
        summary=headline,
        method=METHOD.format(**options),
        tables=[*_tables(items, found, p_value, least, rivals, options), _checks(controls), *_verdicts(power)],
        graphs=[_graph(items)],
        notes=_notes(items, options),
    )
    report = {
        "schema_version": 1,
        "kind": "gap",
        "complete": True,
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "headline": headline,
        "reasons": reasons,
        "controls": [dataclasses.asdict(control) for control in controls],
        "limits": list(LIMITS),
        "options": options,
        "corpus": {
            "specs": plan["results"]["specs"],
            "units": _units(items),
            "sha256": _digest(plan["results"]["files"]),
        },
        "results": plan["results"],
        "items": {
            "read": len(results.items),
            "old": int(items.old.sum()),
            "new": int((~items.old).sum()),
            "across": items.across,
            "missing": items.missing,
        },
        "gap": None if found is None else dataclasses.asdict(found),
        "p_value": p_value,
        **dataclasses.asdict(power),
        "sections": [dataclasses.asdict(section)],
        "provenance": provenance_of(plan),
    }
    made: dict[str, Any] = json.loads(strict_json(report))
    return made


def compared(results: Results, options: Mapping[str, Any]) -> Compared:
    """Return the items that are on one side of the cutoff and that every model has a result of."""
    names = [options["model"], *options["controls"]]
    cutoff = datetime.date.fromisoformat(options["cutoff"])
    kept, across, missing = [], 0, 0
    for item in results.items.values():
        side = item.period.side(cutoff)
        if side is None:
            across += 1
        elif any(name not in item.scores for name in names):
            missing += 1
        else:
            kept.append((side == "old", item.period.first.year, [item.scores[name] for name in names]))
    return Compared(
        names,
        np.array([scores for *_, scores in kept], np.float64).reshape(-1, len(names)).T,
        np.array([old for old, *_ in kept], np.bool_),
        np.array([year for _, year, _ in kept], np.int64),
        across,
        missing,
    )


def decide(
    found: Gap | None,
    p_value: float | None,
    least: float | None,
    controls: Sequence[Control],
    options: Mapping[str, Any],
) -> tuple[str, list[str]]:
    """Return the verdict and why.

    - found: the test rejects and no control failed.
    - no-evidence: it does not, a gap of ``least_gap`` would have been seen, and no control failed.
    - inconclusive: anything else.
    """
    if found is None or p_value is None:
        return "inconclusive", [f"fewer than {FEWEST} items that can be compared before or after the cutoff"]
    failed = [f"{control.name}: {control.detail}" for control in controls if control.passed is False]
    tested = f"one-sided p = {p_value:.3g} {'<=' if p_value <= options['alpha'] else '>'} {options['alpha']:g}"
    if failed:
        return "inconclusive", [*failed, tested]
    if p_value <= options["alpha"]:
        return "found", [tested]
    if least is None:
        nothing = "the models answer alike on every item: nothing is known of power"
        return "inconclusive", [tested, "no gap would be found with power .8" if found.standard_error else nothing]
    power = f"a gap of {_points(least)} points would be found with power .8"
    if least > options["least_gap"]:
        return "inconclusive", [tested, f"only {power}; --least-gap asks for {_points(options['least_gap'])}"]
    return "no-evidence", [tested, power]


def _power(items: Compared, found: Gap | None, options: Mapping[str, Any]) -> GapPower:
    """Return what the verdict would be by the true gap."""
    if found is None:
        return GapPower(None, [])

    def judge(rejects: bool, stands: bool, alike: bool, least: float | None) -> str:
        checks = [Control("odds", stands or not rejects, ""), Control("rivals", alike, "")]
        return decide(found, 0.0 if rejects else 1.0, least, checks, options)[0]

    rivals = CONTROLS_LEVEL if len(items.others) > 1 else 0.0
    return power_of(items.scores[:, items.old], items.scores[:, ~items.old], options["alpha"], rivals, judge)


def _verdicts(power: GapPower) -> list[Table]:
    if not power.verdicts:
        return []
    columns = [Column("True gap, points"), Column("Found", "share"), Column("No evidence", "share")]
    rows: list[list[Value]] = [[_points(point.gap), point.found, point.no_evidence] for point in power.verdicts]
    return [Table("How often the verdict would be given about items like these, by the true gap", columns, rows)]


def _headline(model: str, found: Gap | None, p_value: float | None, verdict: str) -> str:
    if found is None:
        return "Too few items before or after the cutoff to compare"
    interval = "" if found.low is None or found.high is None else f" [{_signed(found.low)}, {_signed(found.high)}]"
    more = "more" if found.estimate >= 0 else "less"
    said = {
        "found": "evidence that old items are easier for it than their difficulty explains",
        "no-evidence": "no evidence above the null at this power",
        "inconclusive": "inconclusive",
    }[verdict]
    return (
        f"On new items {model} loses {_points(abs(found.estimate))} points {more} than its controls:"
        f" gap {_signed(found.estimate)}{interval}, p = {p_value or 1:.3g}; {said}"
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
    detail = f"{odds.estimate:+.2f}, at least {odds.low:+.2f}"
    if p_value > alpha:
        return Control(name, True, f"{detail}; there is no gap in points that it could contradict")
    return Control(name, odds.low > 0, f"{detail}, must be above 0: choose controls about as able as the model")


def _rivals(items: Compared, options: Mapping[str, Any]) -> list[tuple[str, Gap, float, float]]:
    """Return every control against the other ones: name, gap, two-sided p and its Holm adjustment."""
    rivals = []
    # Two controls make one comparison, whichever of them is taken for the model.
    for place in items.others if len(items.others) > 2 else items.others[: len(items.others) - 1]:
        sides = items.sides(place, [other for other in items.others if other != place])
        found = performance_gap(*sides)
        p = gap_test(*sides, seed=options["seed"], permutations=options["permutations"], alternative="two-sided")
        if found is not None and p is not None:
            rivals.append((items.names[place], found, p))
    adjusted = stats.holm([p for *_, p in rivals])
    return [(*rival, p) for rival, p in zip(rivals, adjusted, strict=True)]


def _rivals_control(rivals: Sequence[tuple[str, Gap, float, float]]) -> Control:
    name = "controls against each other"
    if not rivals:
        return Control(name, None, "there is one control, or too few items: nothing to compare it with")
    worst = min(rivals, key=lambda rival: rival[3])
    detail = f"{worst[0]}: gap {_signed(worst[1].estimate)}, p = {worst[3]:.3g} after Holm"
    return Control(name, worst[3] > CONTROLS_LEVEL, f"{detail}, must be above {CONTROLS_LEVEL:g}")


def _tables(
    items: Compared,
    found: Gap | None,
    p_value: float | None,
    least: float | None,
    rivals: Sequence[tuple[str, Gap, float, float]],
    options: Mapping[str, Any],
) -> list[Table]:
    naive = performance_gap(*items.sides(0))
    naive_p = gap_test(*items.sides(0), seed=options["seed"], permutations=options["permutations"])
    columns = [Column("Comparison"), Column("Points"), Column("95% interval"), Column("p", "number")]
    rows: list[list[Value]] = [
        ["Gap: the model's loss less that of its controls", *_shown(found), p_value],
        ["Loss of the model alone, which harder new items explain as well", *_shown(naive), naive_p],
        ["Smallest detectable gap", None if least is None else _points(least), None, None],
    ]
    tables = [Table("The gap", columns, rows), _accuracies(items), _by_year(items)]
    if rivals:
        shown: list[list[Value]] = [[name, *_shown(gap), p, adjusted] for name, gap, p, adjusted in rivals]
        columns = [Column("Control"), *columns[1:3], Column("p, two-sided", "number"), Column("p, Holm", "number")]
        tables.append(Table("Each control as if it were the model, against the other controls", columns, shown))
    return tables


def _checks(controls: Sequence[Control]) -> Table:
    said = {True: "passed", False: "failed", None: "not possible"}
    columns = [Column("Check"), Column("Outcome"), Column("Detail")]
    return Table("Checks of the comparison", columns, [[c.name, said[c.passed], c.detail] for c in controls])


def _accuracies(items: Compared) -> Table:
    columns = [Column("Model")]
    for side in SIDES:
        columns += [Column(f"{side.capitalize()} items", "share"), Column("95% interval", "interval")]
    columns += [Column("Loss, points"), Column("95% interval")]
    rows: list[list[Value]] = []
    for place, name in enumerate(items.names):
        sides = items.sides(place)
        rates = [mean_share(side.tolist()) for side in sides]
        cells: list[Value] = [cell for rate in rates for cell in (rate.rate, bounds(rate))]
        rows.append([name if place else f"{name} (in question)", *cells, *_shown(performance_gap(*sides))])
    counts = [f"{int(side.sum()):,} {name}" for side, name in zip((items.old, ~items.old), SIDES, strict=True)]
    return Table(f"Accuracy on {counts[0]} and {counts[1]} items", columns, rows)


def _by_year(items: Compared) -> Table:
    columns = [Column("Year"), Column("Items", "number"), Column(items.names[0], "share")]
    columns += [Column("Mean of controls", "share"), Column("Difference, points"), Column("95% interval")]
    rows: list[list[Value]] = []
    for year in np.unique(items.years).tolist():
        scores = items.scores[:, items.years == year]
        e = item_differences(scores[0], scores[1:])
        reach = _reach(e)
        mean = float(e.mean())
        interval = None if reach is None else f"[{_signed(mean - reach)}, {_signed(mean + reach)}]"
        shares = float(scores[0].mean()), float(scores[1:].mean())
        rows.append([str(year), len(e), *shares, _signed(mean), interval])
    return Table("By year", columns, rows)


def _reach(values: FloatArray) -> float | None:
    """Return half of Student's 95% interval of a mean, or None where there is none."""
    from scipy.special import stdtrit

    if len(values) < FEWEST or not values.std() > 0:
        return None
    return float(stdtrit(len(values) - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(len(values))


def _graph(items: Compared) -> Graph:
    years = np.unique(items.years).tolist()

    def line(name: str, values: FloatArray) -> Series:
        rates = [mean_share(values[items.years == year].tolist()) for year in years]
        return Series(name, [[year, rate.rate, rate.low, rate.high] for year, rate in zip(years, rates, strict=True)])

    series = [line(items.names[0], items.scores[0])]
    if 1 < len(items.others) <= MAX_LINES:
        series += [line(items.names[place], items.scores[place]) for place in items.others]
    means = items.scores[1:].mean(axis=0)
    series.append(line("Mean of controls" if len(items.others) > 1 else items.names[1], means))
    told = "Share of the items of each year that are right, with 95% Clopper-Pearson intervals over items."
    return Graph("Accuracy by year", told, "Year", "Accuracy", series)


def _notes(items: Compared, options: Mapping[str, Any]) -> list[str]:
    notes = []
    if items.across:
        notes.append(f"{items.across:,} items were left out: their date may lie on either side of {options['cutoff']}.")
    if items.missing:
        notes.append(f"{items.missing:,} items were left out: not every model has a result of them.")
    if len(items.others) == 1:
        notes.append("With one control, what is peculiar to that control looks like a gap of the model; give several.")
    return [*notes, *LIMITS]


def _units(items: Compared) -> str:
    return f"items with results of {len(items.names):,} models"


def _digest(files: Sequence[Mapping[str, Any]]) -> str:
    """Return what identifies all files together, and of one file its own digest."""
    digests = [file["sha256"] for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _shown(gap: Gap | None) -> list[Value]:
    if gap is None:
        return [None, None]
    interval = None if gap.low is None or gap.high is None else f"[{_signed(gap.low)}, {_signed(gap.high)}]"
    return [_signed(gap.estimate), interval]


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
