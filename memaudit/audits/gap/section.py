"""How a comparison of old and new items is shown: its tables, its chart, and what it does not show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memaudit.audits.documents import bounds, mean_share
from memaudit.audits.gap.items import Compared
from memaudit.audits.gap.power import GapPower
from memaudit.findings import Control
from memaudit.metrics.gap import FEWEST, Gap, gap_test, item_differences, performance_gap
from memaudit.records import FloatArray
from memaudit.runs.options import GapOptions
from memaudit.runs.report_parts import Verdict
from memaudit.sections import ABOUT_DOCUMENTS, Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import points, points_between

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
class Rival:
    """A control as if it were the model, against the other controls."""

    name: str
    gap: Gap
    p_value: float
    """Two-sided."""
    p_holm: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a comparison comes to."""

    gap: Gap | None
    """None with too few items."""
    p_value: float | None
    power: GapPower
    rivals: list[Rival]
    controls: list[Control]
    verdict: Verdict
    reasons: list[str]


def gap_section(items: Compared, outcome: Outcome, options: GapOptions, summary: str) -> Section:
    """Return tables, chart and notes."""
    return Section(
        name="gap",
        title="Performance gap",
        summary=summary,
        method=METHOD.format(**options),
        tables=[*_tables(items, outcome, options), _checks(outcome.controls), *_verdicts(outcome.power)],
        graphs=[_graph(items)],
        notes=_notes(items, options),
    )


def _tables(items: Compared, outcome: Outcome, options: GapOptions) -> list[Table]:
    found, least, rivals = outcome.gap, outcome.power.minimum_detectable_gap, outcome.rivals
    naive = performance_gap(*items.sides(0))
    naive_p = gap_test(*items.sides(0), seed=options["seed"], permutations=options["permutations"])
    columns = [Column("Comparison"), Column("Points"), Column("95% interval"), Column("p", "number")]
    rows: list[list[Value]] = [
        ["Gap: the model's loss less that of its controls", *_shown(found), outcome.p_value],
        ["Loss of the model alone, which harder new items explain as well", *_shown(naive), naive_p],
        ["Smallest detectable gap", None if least is None else points(least, sign=False), None, None],
    ]
    tables = [Table("The gap", columns, rows), _accuracies(items), _by_year(items)]
    if rivals:
        shown: list[list[Value]] = [[r.name, *_shown(r.gap), r.p_value, r.p_holm] for r in rivals]
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
        interval = None if reach is None else points_between(mean - reach, mean + reach)
        shares = float(scores[0].mean()), float(scores[1:].mean())
        rows.append([str(year), len(e), *shares, points(mean), interval])
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


def _notes(items: Compared, options: GapOptions) -> list[str]:
    notes = []
    if items.across:
        notes.append(f"{items.across:,} items were left out: their date may lie on either side of {options['cutoff']}.")
    if items.missing:
        notes.append(f"{items.missing:,} items were left out: not every model has a result of them.")
    if len(items.others) == 1:
        notes.append("With one control, what is specific to that control looks like a gap of the model; give several.")
    return [*notes, *LIMITS]


def _shown(gap: Gap | None) -> list[Value]:
    if gap is None:
        return [None, None]
    interval = None if gap.low is None else points_between(gap.low, gap.high)
    return [points(gap.estimate), interval]


def _verdicts(power: GapPower) -> list[Table]:
    if not power.verdicts:
        return []
    columns = [Column("True gap, points"), Column("Found", "share"), Column("No evidence", "share")]
    rows: list[list[Value]] = [
        [points(point.gap, sign=False), point.found, point.no_evidence] for point in power.verdicts
    ]
    return [Table("How often the verdict would be given about items like these, by the true gap", columns, rows)]
