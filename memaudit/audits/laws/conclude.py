"""What a grid of trainings says about the three laws: lines, intervals, verdicts in words, and the report of it all."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import memaudit.stats as stats
from memaudit.families import counts
from memaudit.metrics.growth import CONTEXT, COPIES, PUBLISHED, SIZE, points
from memaudit.metrics.laws import (
    REPLICATES,
    Outcomes,
    bootstrap_weights,
    cell_rates,
    fit_line,
    joint_r2,
    percentile_interval,
    slopes,
)
from memaudit.records import FloatArray
from memaudit.runs.files import strict_json
from memaudit.runs.provenance import provenance_of
from memaudit.sections import Column, Graph, Section, Series, Table, Value

MIN_R2 = 0.9
"""Below it the points lie on no line, whatever its slope."""
MAX_SERIES = 6
AXES = (SIZE, COPIES, CONTEXT)
UNITS = ("parameters", "copies in training", "tokens of context")
METHOD = (
    "Passages of {length} tokens were planted {doses} times among others, by lot, and as many twins never; every one of"
    " {sizes} sizes was trained on {seeds} such texts{epochs}. A passage is extracted at context c if greedy decoding"
    " of the c tokens before a span of {suffix} gives all of these (k-extractable, Carlini et al. 2022); the span is"
    " the same at every context. A law is the least-squares line of the fraction extracted, averaged over the other two"
    " axes, against log10 of its own; 95% intervals from {replicates:,} resamples of passages (Bayesian bootstrap,"
    " Rubin 1981) and of seeds (m - 1 of m, Rao & Wu 1988), weights multiplied (Owen & Eckles 2012), which errs on the"
    " wide side. A law fails where the interval of its slope is not above 0, or where R2 is below {least}."
)


@dataclass(frozen=True, slots=True)
class Law:
    """One fitted law."""

    name: str
    unit: str
    x: list[float]
    rates: list[float]
    """Fraction extracted at each x, averaged over the other axes."""
    slope: float | None = None
    """Change of the fraction when x is ten times as large; None where there is one x only."""
    low: float | None = None
    high: float | None = None
    r2: float | None = None
    r2_linear: float | None = None
    """Of a line against x itself instead of its logarithm."""
    by_seed: list[float] = field(default_factory=list)
    """The slope in each seed alone."""
    holds: bool | None = None
    words: str = "not decided: there is only one value"


@dataclass(frozen=True, slots=True)
class Suite:
    """All that was asked: planted passages as arrays, and every answer as a row."""

    planted: Outcomes
    axes: tuple[FloatArray, FloatArray, FloatArray]
    """Parameters, copies, tokens of context."""
    answers: FloatArray
    """Shape [units, sizes, contexts]; all passages and twins of all seeds."""
    names: list[str]
    """Passage of every unit."""
    copies: FloatArray
    """Of every unit; 0 for twins."""
    too_short: int

    def rate(self, size: int | None, copies: float | None, context: int | None) -> stats.Rate:
        """Return the rate in a part of the grid, None standing for all but twins; passages are the unit."""
        units = np.flatnonzero(self.copies > 0 if copies is None else self.copies == copies)
        part = self.answers[units]
        part = part if size is None else part[:, [size]]
        part = part if context is None else part[:, :, [context]]
        names = np.repeat([self.names[i] for i in units], part.shape[1] * part.shape[2])
        return stats.document_rate(part.ravel() > 0, names.tolist())


def conclude(plan: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the report of a finished suite: the same plan and records give the same report.

    Args:
        plan: As `memaudit.audits.laws.run` makes it.
        records: One a training, in any order.
    """
    suite = make_suite(plan["options"], records)
    laws = fit_laws(suite, plan["options"]["seed"])
    section = make_section(plan["options"], suite, laws)
    report = {
        "schema_version": 1,
        "kind": "laws",
        "complete": True,
        "exit_code": 0,
        "headline": section.summary,
        "options": plan["options"],
        "corpus": plan["corpus"],
        "trainings": [{key: r[key] for key in ("size", "seed", "parameters", "loss")} for r in records],
        "laws": [dataclasses.asdict(law) for law in laws],
        "cells": list(_cells(plan["options"], suite)),
        "sections": [dataclasses.asdict(section)],
        "provenance": provenance_of(plan),
    }
    made: dict[str, Any] = json.loads(strict_json(report))
    return made


def make_suite(options: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Suite:
    """Return the records of all trainings as arrays; every size is asked for the same passages."""
    sizes, seeds = options["sizes"], sorted({r["seed"] for r in records})
    cells = {(r["size"], r["seed"]): r for r in records}
    firsts = [cells[sizes[0], seed] for seed in seeds]
    answers = np.concatenate(
        [
            np.stack([np.array(cells[size, seed]["matched"]) == options["suffix"] for size in sizes], axis=1)
            for seed in seeds
        ]
    ).astype(np.float64)
    names = [name for record in firsts for name in record["documents"]]
    copies = np.array([count for record in firsts for count in record["copies"]], np.float64)
    seed_of = np.repeat(np.arange(len(seeds)), [len(record["documents"]) for record in firsts])
    kept = copies > 0
    doses = np.array(sorted(options["doses"]), np.float64)
    _, documents = np.unique(np.array(names)[kept], return_inverse=True)
    planted = Outcomes(answers[kept], documents, seed_of[kept], np.searchsorted(doses, copies[kept]))
    parameters = [np.mean([np.log10(cells[size, seed]["parameters"]) for seed in seeds]) for size in sizes]
    axes = 10 ** np.array(parameters), doses, np.array(options["contexts"], np.float64)
    return Suite(planted, axes, answers, names, copies, sum(r["too_short"] for r in firsts))


def fit_laws(suite: Suite, seed: int) -> list[Law]:
    """Return the laws of size, copies and context; ``seed`` fixes the resamples."""
    rates = cell_rates(suite.planted)
    resampled = cell_rates(suite.planted, bootstrap_weights(suite.planted, seed))
    places = np.arange(suite.planted.seeds.max() + 1)
    by_seed = cell_rates(suite.planted, (suite.planted.seeds == places[:, None]).astype(np.float64))
    laws = []
    for axis, x in enumerate(suite.axes):
        others = tuple(i for i in (1, 2, 3) if i != axis + 1)
        means = rates.mean(axis=others)[0]
        if len(x) < 2:
            laws.append(Law(AXES[axis], UNITS[axis], x.tolist(), means.tolist()))
            continue
        line = fit_line(np.log10(x), means)
        low, high = percentile_interval(slopes(np.log10(x), resampled.mean(axis=others)))
        holds, words = verdict(len(x), low, high, line.r2)
        laws.append(
            Law(
                name=AXES[axis],
                unit=UNITS[axis],
                x=x.tolist(),
                rates=means.tolist(),
                slope=line.slope,
                low=low,
                high=high,
                r2=line.r2,
                r2_linear=fit_line(x, means).r2,
                by_seed=slopes(np.log10(x), by_seed.mean(axis=others)).tolist(),
                holds=holds,
                words=words,
            )
        )
    return laws


def verdict(points: int, low: float, high: float, r2: float | None) -> tuple[bool | None, str]:
    """Say whether a law holds, and why not."""
    if high < 0:
        return False, "failed: the fraction falls"
    if low <= 0:
        return False, "failed: the interval of its slope contains 0"
    if points < 3 or r2 is None:
        return None, "not decided: two points always lie on a line"
    if r2 < MIN_R2:
        return False, f"failed as a line: the fraction grows, but R2 is {r2:.2f}"
    return True, "holds"


def make_section(options: Mapping[str, Any], suite: Suite, laws: Sequence[Law]) -> Section:
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
        fit = "" if law.r2 is None else f", R2 {law.r2:.3f}"
        end = "" if law.holds else f" ({law.words})"
        said.append(f"{law.name}: {points(law.slope)} points a decade {_interval(law)}{fit}{end}")
    return "; ".join(said) + "."


def _interval(law: Law) -> str:
    return "" if law.low is None or law.high is None else f"[{points(law.low)}, {points(law.high)}]"


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


def _by_seed(options: Mapping[str, Any], laws: Sequence[Law]) -> Table:
    columns = [Column("Law"), *(Column(f"Seed {options['seed'] + i}", "number") for i in range(options["seeds"]))]
    return Table(
        "The slope in each seed alone, points per decade",
        columns,
        [[law.name, *(points(slope) for slope in law.by_seed)] for law in laws if law.by_seed],
    )


def _grid(options: Mapping[str, Any], suite: Suite) -> Table:
    columns = [Column("Size", "number"), Column("Parameters", "number"), Column("Copies", "number")]
    columns += [Column("Passages", "number"), *(Column(f"{c} tokens", "share") for c in options["contexts"])]
    rows: list[list[Value]] = []
    for place, size in enumerate(options["sizes"]):
        for copies in [0.0, *suite.axes[1].tolist()]:
            count = int((suite.copies == copies).sum())
            rates = [suite.rate(place, copies, i).rate for i in range(len(options["contexts"]))]
            rows.append([size, round(suite.axes[0][place]), int(copies), count, *rates])
    return Table("Fraction extracted by size, copies (0: twins) and tokens of context, all seeds", columns, rows)


def _cells(options: Mapping[str, Any], suite: Suite) -> Iterable[dict[str, Any]]:
    for place, size in enumerate(options["sizes"]):
        for copies in [0.0, *suite.axes[1].tolist()]:
            for at, context in enumerate(options["contexts"]):
                found = suite.answers[suite.copies == copies][:, place, at]
                yield {
                    "size": size,
                    "copies": int(copies),
                    "context": context,
                    "hits": int(found.sum()),
                    "n": len(found),
                }


def _graphs(options: Mapping[str, Any], suite: Suite) -> list[Graph]:
    parameters, doses, contexts = (axis.tolist() for axis in suite.axes)
    parameters = [float(f"{count:.2g}") for count in parameters]  # ticks that can be read
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


def _spread(values: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many values, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[i] for i in places]


def _copies(count: float) -> str:
    return "0 copies (twins)" if not count else "1 copy" if count == 1 else f"{count:g} copies"


def _series(lines: Iterable[tuple[str, Iterable[tuple[float, stats.Rate]]]]) -> list[Series]:
    return [Series(name, [[x, rate.rate, rate.low, rate.high] for x, rate in line]) for name, line in lines]


def _notes(options: Mapping[str, Any], suite: Suite) -> list[str]:
    low, high = (f"{value:,.0f}" for value in (suite.axes[0].min(), suite.axes[0].max()))
    twins = suite.rate(None, 0.0, None)
    notes = [
        "Intervals of slopes are about passages and trainings: seeds are resampled. Those of rates are about passages"
        " alone.",
        "A fraction lies between 0 and 1: its line ends where nothing or all is extracted, and its slope depends on the"
        f" doses and sizes that were chosen. These models have {low} to {high} parameters, the published ones more than"
        " 70 million.",
        f"The null: of the twins, which stand nowhere in training, {stats.percent(twins.rate or 0.0)} is extracted"
        f" ({twins.hits:,} of {twins.n:,} answers).",
    ]
    if options["seeds"] < 3:
        notes.append("Fewer than three seeds: the intervals say little of how trainings differ.")
    if suite.too_short:
        notes.append(f"{suite.too_short:,} passages have too few tokens for the longest context and were left out.")
    return notes
