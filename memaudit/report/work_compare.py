"""Several models over the same whole works: a grid of shares, and where one has what another lacks."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from memaudit.errors import InputError
from memaudit.report import wording
from memaudit.report.charts.difference_strip import DifferenceStrip, difference_strip
from memaudit.report.charts.heat_map import cell_tokens
from memaudit.report.compare import TITLE, names_of
from memaudit.report.covered import Covered, Mask, level_of, runs
from memaudit.report.page import render_page
from memaudit.report.sections import ShownTable, shown_table
from memaudit.runs import parts
from memaudit.runs.directory import read_finished
from memaudit.runs.schema import as_record
from memaudit.runs.steps import step_of_name
from memaudit.runs.work_report import Reached, WorkMeasured, WorkReport
from memaudit.sections import Column, Table, Value
from memaudit.stats.rounding import percent, stated

OTHER_WINDOWS = (
    "Tokenizers differ: a window of as many tokens is a longer text for one model than for another. Each share is of"
    " the whole text in the tokens of its own model; windows and places are not compared."
)
BESIDE = 0.5
"""Threshold whose shares stand beside those of the verdict's."""
LONGEST = 10
"""Passages of every work and pair that are listed."""
SAME = ("prefix", "suffix", "stride", "temperature", "top_k", "top_p", "threshold")
"""Options without which shares are not of the same thing."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of the models."""

    name: str
    report: WorkReport

    @property
    def step(self) -> int | None:
        """Of its training, as its name says or the trainer noted; None where neither does."""
        return self.report["model"].get("step", step_of_name(self.report["model"]["name"]))


@dataclass(frozen=True, slots=True)
class Cell:
    """What a model gives back of a work: a share with its interval, at the threshold of the verdict and beside it."""

    at: str
    beside: str


@dataclass(frozen=True, slots=True)
class GridRow:
    """A work."""

    name: str
    control: bool
    tokens: int | None
    """None where the models cut it into other tokens."""
    cells: list[Cell]
    """In the order of the models."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A work as two models have it."""

    work: str
    first: str
    second: str
    sentence: str
    strip: DifferenceStrip
    longest: ShownTable


@dataclass(frozen=True, slots=True)
class WorksComparison:
    """Models over the same works: in the order given, checkpoints of a training in the order of their steps."""

    contenders: list[Contender]
    threshold: str
    """Of the verdict."""
    beside: str
    """Empty where that is the threshold of the verdict."""
    grid: list[GridRow]
    all: ShownTable
    """Shares at every threshold."""
    apart: list[Apart]
    """Every model beside the one before it, work by work; none where their windows differ."""
    other_windows: bool
    """Whether models cut the works into other windows."""


def compare_works(folders: Sequence[Path]) -> WorksComparison:
    """Read runs over the same works.

    Args:
        folders: Run directories of audits of whole works, at least two, in the order of the page.

    Raises:
        InputError: Fewer than two, runs of another kind, or over other works or windows.
        RunError: A folder holds no finished run.
    """
    if len(folders) < 2:
        raise InputError("a comparison needs two runs or more", "give the run directories of several audits")
    reports = [read_finished(folder).report for folder in folders]
    for folder, report in zip(folders, reports, strict=True):
        _refuse(folder, report, folders[0], reports[0])
    contenders = [Contender(*pair) for pair in zip(names_of(folders, reports), reports, strict=True)]
    if len({contender.step for contender in contenders} - {None}) == len(contenders):
        contenders.sort(key=lambda contender: contender.step or 0)
    threshold = reports[0]["options"]["threshold"]
    alike = [pair for pair in pairwise(contenders) if _cut_alike(pair[0].report, pair[1].report)]
    return WorksComparison(
        contenders,
        stated(threshold),
        "" if threshold == BESIDE else stated(BESIDE),
        [_grid_row(contenders, place, threshold) for place in range(len(reports[0]["works"]))],
        shown_table(as_record(_all(contenders), parts.Table)),
        [
            _apart(*pair, place, f"apart-{number}-{place}")
            for number, pair in enumerate(alike)
            for place, work in enumerate(contenders[0].report["works"])
            if not work["control"]
        ],
        len(alike) < len(contenders) - 1,
    )


def render_works(comparison: WorksComparison) -> str:
    """Return the page: the same runs give the same bytes."""
    report = comparison.contenders[0].report
    return render_page(
        "work_compare.html.j2",
        TITLE,
        report["provenance"]["versions"],
        comparison=comparison,
        report=report,
        other_windows=OTHER_WINDOWS if comparison.other_windows else "",
    )


def _refuse(folder: Path, report: WorkReport, first: Path, other: WorkReport) -> None:
    """Refuse a run that is not over the works and windows of the first."""
    if report["kind"] != "work":
        raise InputError(f"{folder}: a run of kind '{report['kind']}'", "only runs of one kind can be compared")
    if not report["complete"]:
        raise InputError(f"{folder}: the run is not complete", "the same command resumes it")
    if not (_same(report, other, "sha256") and _same(report, other, "control")):
        raise InputError(f"{folder}: is of other works than {first}", "ask both with the same --text and --heldout")
    for option in SAME:
        one, two = report["options"].get(option), other["options"].get(option)
        if one != two:
            raise InputError(
                f"{folder}: --{option.replace('_', '-')} is {one}, that of {first} is {two}", "ask both for the same"
            )


def _cut_alike(report: WorkReport, other: WorkReport) -> bool:
    """Whether two runs have the same windows: else shares can be compared, and places cannot."""
    same = _same(report, other, "tokens") and _same(report, other, "windows")
    return same and report["model"]["tokenizer_sha256"] == other["model"]["tokenizer_sha256"]


def _same(report: WorkReport, other: WorkReport, key: Literal["sha256", "control", "tokens", "windows"]) -> bool:
    """Whether the works of two reports have the same there, in order."""
    return [work[key] for work in report["works"]] == [work[key] for work in other["works"]]


def _grid_row(contenders: Sequence[Contender], place: int, threshold: float) -> GridRow:
    work = contenders[0].report["works"][place]
    cells = [
        Cell(*(_share(_at(contender.report["works"][place], level)) for level in (threshold, BESIDE)))
        for contender in contenders
    ]
    alike = len({contender.report["works"][place]["tokens"] for contender in contenders}) == 1
    return GridRow(work["name"], work["control"], work["tokens"] if alike else None, cells)


def _at(work: WorkMeasured, threshold: float) -> Reached | None:
    return next((reached for reached in work["reached"] if reached["threshold"] == threshold), None)


def _share(reached: Reached | None) -> str:
    return "" if reached is None else f"{percent(reached['share'])} {wording.interval(reached)}"


def _all(contenders: Sequence[Contender]) -> Table:
    """Return every share of every model and work."""
    thresholds = contenders[0].report["thresholds"]
    columns = [Column("Work"), Column("Model"), *(Column(f"p >= {stated(t)}", "share") for t in thresholds)]
    rows: list[list[Value]] = []
    for place, work in enumerate(contenders[0].report["works"]):
        name = f"{work['name']} (control)" if work["control"] else work["name"]
        for contender in contenders:
            found = {r["threshold"]: r["share"] for r in contender.report["works"][place]["reached"]}
            rows.append([name, contender.name, *(found.get(t) for t in thresholds), found.get(None)])
    return Table("Share of all tokens that can be had back", [*columns, Column("Greedy", "share")], rows)


def _apart(first: Contender, second: Contender, place: int, id: str) -> Apart:
    works = [contender.report["works"][place] for contender in (first, second)]
    one, other = (
        Covered(work, contender.report["options"]).at_least(
            level_of(contender.report["thresholds"], contender.report["options"]["threshold"])
        )
        for work, contender in zip(works, (first, second), strict=True)
    )
    names = first.name, second.name
    strip = difference_strip(works[0]["parts"], (one, other), names, cell_tokens(works), id)
    alone = {first.name: one & ~other, second.name: other & ~one}
    return Apart(works[0]["name"], *names, _sentence(alone, one & other), strip, shown_table(_longest(works[0], alone)))


def _sentence(alone: dict[str, Mask], both: Mask) -> str:
    tokens = max(1, len(both))
    said = [f"{name} alone gives back {percent(float(mask.sum()) / tokens)}" for name, mask in alone.items()]
    return f"{said[0]} of its tokens, {said[1]}, both {percent(float(both.sum()) / tokens)}."


def _longest(work: WorkMeasured, alone: dict[str, Mask]) -> parts.Table:
    """Return the longest passages that one model has and the other lacks, with their places."""
    starts = [part["token"] for part in work["parts"]]
    found = sorted(((run, name) for name, mask in alone.items() for run in runs(mask)), key=lambda pair: pair[0].order)
    rows: list[list[Value]] = []
    for run, name in found[:LONGEST]:
        part = work["parts"][max(0, bisect.bisect_right(starts, run.start) - 1)] if starts else None
        into = run.start / max(1, work["tokens"])
        title = "" if part is None else part["title"]
        rows.append([name, run.tokens, title, None if part is None else part["line"], run.start, into])
    columns = [
        *(Column("Which has it"), Column("Tokens", "number"), Column("Part"), Column("Part begins in line", "number")),
        *(Column("From token", "number"), Column("Into the work", "share")),
    ]
    more = len(found) - len(rows)
    caption = "The longest passages that one has and the other lacks" + (f"; {more:,} more" if more > 0 else "")
    return as_record(Table(caption, columns, rows), parts.Table)
