"""How the laws of a grid of trainings are shown: tables, charts, and what they do not show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

import memaudit.stats as stats
from memaudit.audits.laws.fit import MIN_R2, Law, Suite
from memaudit.families import counts
from memaudit.metrics.growth import PUBLISHED
from memaudit.metrics.laws import REPLICATES, cell_rates, joint_r2
from memaudit.runs.options import PlannedLaws
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import count, percent, points, points_between, r2, tick

MAX_SERIES = 6
METHOD = (
    "Passages of {length} tokens were planted {doses} times among others, at random, and as many twins never; every"
    " one of {sizes} sizes was trained on {seeds} such texts{epochs}. A passage is extracted at context c if greedy"
    " decoding of the c tokens before a span of {suffix} gives all of these (k-extractable, Carlini et al. 2022); the"
    " span is the same at every context. A law is the least-squares line of the fraction extracted, averaged over the"
    " other two axes, against log10 of its own; 95% intervals from {replicates:,} resamples of passages (Bayesian"
    " bootstrap, Rubin 1981) and of seeds (m - 1 of m, Rao & Wu 1988), weights multiplied (Owen & Eckles 2012), which"
    " errs on the wide side. A law fails where the interval of its slope is not above 0, or where R2 is below {least}."
)

One = TypeVar("One")


def make_section(options: PlannedLaws, suite: Suite, laws: Sequence[Law]) -> Section:
    """Return tables and charts of a suite."""
    epochs = "" if counts(options["family"]) else f", {options['epochs']:g} times each"
    axes = suite.axes
    return Section(
        name="laws",
        title="How memorization grows",
        summary=_summary(laws),
        method=METHOD.format(
            length=options["passage_tokens"],
            doses=", ".join(map(str, options["doses"])),
            epochs=epochs,
            sizes=len(options["sizes"]),
            seeds=options["seeds"],
            suffix=options["suffix"],
            replicates=REPLICATES,
            least=MIN_R2,
        ),
        tables=[
            _fits(
                laws, joint_r2((np.log10(axes[0]), np.log10(axes[1]), np.log10(axes[2])), cell_rates(suite.planted)[0])
            ),
            Table(
                "What was published, per decade",
                [Column("Law"), Column("Slope"), Column("Models")],
                [list(row) for row in PUBLISHED],
            ),
            _by_seed(options, laws),
            _grid(options, suite),
        ],
        graphs=_graphs(options, suite),
        notes=_notes(options, suite),
    )


def _summary(laws: Sequence[Law]) -> str:
    said = []
    for law in laws:
        if law.slope is None:
            said.append(f"{law.name}: {law.words}")
            continue
        fit = "" if law.r2 is None else f", R2 {r2(law.r2)}"
        end = "" if law.holds else f" ({law.words})"
        said.append(f"{law.name}: {points(law.slope)} points a decade {_interval(law)}{fit}{end}")
    return "; ".join(said) + "."


def _interval(law: Law) -> str:
    return "" if law.low is None else points_between(law.low, law.high)


def _fits(laws: Sequence[Law], joint: float | None) -> Table:
    columns = [Column("Law"), Column("Points per decade", "number"), Column("95% interval")]
    columns += [
        Column("Per doubling", "number"),
        Column("R2 against log x", "number"),
        Column("R2 against x", "number"),
    ]
    columns += [Column("Verdict")]
    rows: list[list[Value]] = []
    for law in laws:
        per_decade = None if law.slope is None else points(law.slope)
        doubling = None if law.slope is None else points(law.slope * math.log10(2))
        rows.append([law.name, per_decade, _interval(law), doubling, law.r2, law.r2_linear, law.words])
    rows.append(["All three together", None, None, None, joint, None, None])
    return Table("The laws: lines of the fraction extracted against the logarithm", columns, rows)


def _by_seed(options: PlannedLaws, laws: Sequence[Law]) -> Table:
    columns = [Column("Law"), *(Column(f"Seed {options['seed'] + i}", "number") for i in range(options["seeds"]))]
    return Table(
        "The slope in each seed alone, points per decade",
        columns,
        [[law.name, *(points(slope) for slope in law.by_seed)] for law in laws if law.by_seed],
    )


def _grid(options: PlannedLaws, suite: Suite) -> Table:
    columns = [Column("Size", "number"), Column("Parameters", "number"), Column("Copies", "number")]
    columns += [Column("Passages", "number"), *(Column(f"{c} tokens", "share") for c in options["contexts"])]
    rows: list[list[Value]] = []
    for place, size in enumerate(options["sizes"]):
        for copies in [0.0, *suite.axes[1].tolist()]:
            count = int((suite.copies == copies).sum())
            rates = [suite.rate(place, copies, i).rate for i in range(len(options["contexts"]))]
            rows.append([size, round(suite.axes[0][place]), int(copies), count, *rates])
    return Table("Fraction extracted by size, copies (0: twins) and tokens of context, all seeds", columns, rows)


def _graphs(options: PlannedLaws, suite: Suite) -> list[Graph]:
    parameters, doses, contexts = (axis.tolist() for axis in suite.axes)
    parameters = [tick(each) for each in parameters]  # ticks that can be read
    places = _spread(range(len(parameters)), MAX_SERIES - 1)
    names = {place: f"{options['family']} {options['sizes'][place]}" for place in places}
    y = "Passages extracted"
    sizes = [(_copies(c), [(p, suite.rate(i, c, None)) for i, p in enumerate(parameters)]) for c in _lines(doses)]
    copies = [(name, [(c, suite.rate(i, c, None)) for c in [0.0, *doses]]) for i, name in names.items()]
    context = [(name, [(c, suite.rate(i, None, at)) for at, c in enumerate(contexts)]) for i, name in names.items()]
    twins = ("twins, all sizes", [(c, suite.rate(None, 0.0, at)) for at, c in enumerate(contexts)])
    told = "Each point is the mean over seeds and {}; bands are 95% intervals over passages."
    return [
        Graph("Extracted, by model size", told.format("contexts"), "Parameters", y, _series(sizes), "log"),
        Graph("Extracted, by copies in training", told.format("contexts"), "Copies", y, _series(copies), "symlog"),
        Graph(
            "Extracted, by length of the prompt", told.format("doses"), "Tokens", y, _series([*context, twins]), "log"
        ),
    ]


def _lines(doses: Sequence[float]) -> list[float]:
    return [0.0, *_spread(doses, MAX_SERIES - 1)]


def _spread(values: Sequence[One], most: int) -> list[One]:
    """Return at most so many values, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[i] for i in places]


def _copies(count: float) -> str:
    return "0 copies (twins)" if not count else "1 copy" if count == 1 else f"{count:g} copies"


def _series(lines: Iterable[tuple[str, Iterable[tuple[float, stats.Rate]]]]) -> list[Series]:
    return [Series(name, [[x, rate.rate, rate.low, rate.high] for x, rate in line]) for name, line in lines]


def _notes(options: PlannedLaws, suite: Suite) -> list[str]:
    low, high = (count(value) for value in (suite.axes[0].min(), suite.axes[0].max()))
    twins = suite.rate(None, 0.0, None)
    notes = [
        "Intervals of slopes are about passages and trainings: seeds are resampled. Those of rates are about passages"
        " alone.",
        "A fraction lies between 0 and 1: its line ends where nothing or all is extracted, and its slope depends on the"
        f" doses and sizes that were chosen. These models have {low} to {high} parameters, the published ones more than"
        " 70 million.",
        f"The null: of the twins, which never occur in training, {percent(twins.rate or 0.0)} is extracted"
        f" ({twins.hits:,} of {twins.n:,} answers).",
    ]
    if options["seeds"] < 3:
        notes.append("Fewer than three seeds: the intervals say little about how trainings differ.")
    if suite.too_short:
        notes.append(f"{suite.too_short:,} passages have too few tokens for the longest context and were left out.")
    return notes
