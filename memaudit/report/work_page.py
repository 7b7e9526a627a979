"""The page about whole works: how much of each can be had back, at what cost, where, and what stands beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from memaudit.report import wording
from memaudit.report.charts.charts import MAX_SERIES, Chart
from memaudit.report.charts.graphs import graph_chart
from memaudit.report.charts.heat_map import HeatMap, heat_map
from memaudit.report.covered import Covered, level_of, longest, runs
from memaudit.report.exhibits import FEWER, MAX_BYTES, Gallery, with_fewer
from memaudit.report.glossary import GLOSSARY
from memaudit.report.page import render_page
from memaudit.report.sections import ShownSection, ShownTable, shown_sections
from memaudit.report.wording import counted
from memaudit.report.work_exhibits import work_galleries
from memaudit.runs.directory import ReportInput
from memaudit.runs.parts import Graph, Series
from memaudit.runs.work_report import Passage, Reached, WorkMeasured, WorkReport
from memaudit.stats.rounding import NONE, p_value, percent, samples, stated

MAX_CONTROLS = 3
"""Control works that have a column each; more are put together."""
EXCERPT = 240
"""Characters of a passage that a table shows."""


@dataclass(frozen=True, slots=True)
class WorkSummary:
    """The first table about a work."""

    name: str
    head: list[str]
    rows: list[list[tuple[str, str]]]
    """A row a probability: cells of a number, and what stands small beneath it."""


@dataclass(frozen=True, slots=True)
class Passages:
    """The longest passages of a work, or its holes."""

    table: ShownTable
    more: str
    """How many are as long as the last; empty where none is."""


@dataclass(frozen=True, slots=True)
class WorkPage:
    """All that the template shows beside the report itself."""

    summaries: list[WorkSummary]
    tests: ShownTable | None
    """Of every work by itself, where there are several."""
    start: ShownTable | None
    """With a start token beside without one, where both were asked for."""
    heat_map: HeatMap
    curve: Chart | None
    passages: list[Passages]
    sections: list[ShownSection]
    report: WorkReport
    galleries: list[Gallery]
    text_shown: bool
    untested: str
    left_out: int = 0
    """Exhibits that the page had no room for."""


def render(run: ReportInput[WorkReport], title: str, most_bytes: int = MAX_BYTES) -> bytes:
    """Return the page: the same run gives the same bytes.

    Args:
        run: Of whole works, with no more of their texts than may be shown.
        title: What the page asks.
        most_bytes: Of the page; above it fewer exhibits are shown, and the page says how many were left out.
    """
    report = run.report
    versions = report["provenance"]["versions"]
    shown = work_page(run)
    page = b""
    for share in FEWER:
        galleries, left_out = with_fewer(shown.galleries, share)
        fewer = replace(shown, galleries=galleries, left_out=left_out)
        page = render_page("work.html.j2", title, versions, report=report, shown=fewer, glossary=GLOSSARY).encode()
        if len(page) <= most_bytes:
            break
    return page


def work_page(run: ReportInput[WorkReport]) -> WorkPage:
    """Return tables, pictures and exhibits of a run."""
    report = run.report
    asked = [work for work in report["works"] if not work["control"]]
    return WorkPage(
        [summary(report, work) for work in asked],
        _tests(report),
        _with_and_without(report),
        heat_map(report, "where"),
        curve(report, "curve"),
        [listed for work in asked for listed in (_longest(report, work), _holes(report, work)) if listed.table.rows],
        shown_sections(report["sections"], "run"),
        report,
        work_galleries(run),
        run.shown.text,
        untested(report),
    )


def summary(report: WorkReport, work: WorkMeasured) -> WorkSummary:
    """Return what can be had back of a work at every probability, at what cost, with the control works beside it."""
    controls = [other for other in report["works"] if other["control"]]
    covered = Covered(work, report["options"])
    costs = {cost["threshold"]: cost for cost in work["costs"]}
    words = {found["threshold"]: found["words"] for found in reversed(work["longest"])}
    rows = []
    for entry in rising(work["reached"]):
        threshold = entry["threshold"]
        level = None if threshold is None else level_of(report["thresholds"], threshold)
        stretch = longest(covered.greedy if level is None else covered.at_least(level))
        longest_words = words.get(threshold)
        in_words = "" if longest_words is None or not stretch else counted(longest_words, "word")
        cost = None if threshold is None else costs.get(threshold)
        asked = (samples(cost["samples"]), counted(cost["windows"], "window")) if cost else (NONE, "")
        rows.append(
            [
                (at_least(threshold), ""),
                _share(entry),
                (f"{entry['tokens']:,}", f"of {work['tokens']:,}"),
                (counted(stretch, "token"), in_words),
                asked,
                (samples(cost["tokens"]) if cost else NONE, ""),
                *_beside(controls, threshold),
            ]
        )
    head = ["Probability", "Share of the work", "Tokens", "Longest passage", "Samples it takes", "Tokens they take"]
    return WorkSummary(work["name"], [*head, *_names(controls)], rows)


def at_least(threshold: float | None) -> str:
    """Return what is asked of a window, in words: ``p >= 10%``, or that greedy decoding gives it."""
    return "greedy decoding" if threshold is None else f"p >= {stated(threshold)}"


def untested(report: WorkReport) -> str:
    """Return why nothing can be tested, where the reasons of the verdict do not say it already; else nothing."""
    why = report["test"]["why_not"] or ""
    return "" if any(why in reason for reason in report["reasons"]) else why


def rising(reached: Sequence[Reached]) -> list[Reached]:
    """Return the thresholds as they rise, greedy decoding behind them."""
    return sorted(reached, key=lambda entry: math.inf if entry["threshold"] is None else entry["threshold"])


def _share(entry: Reached) -> tuple[str, str]:
    bounds = wording.interval(entry)
    return percent(entry["share"]), "" if bounds == NONE else bounds


def _names(controls: Sequence[WorkMeasured]) -> list[str]:
    if len(controls) > MAX_CONTROLS:
        return [f"{counted(len(controls), 'control work')}, together"]
    return [f"Control: {control['name']}" for control in controls]


def _beside(controls: Sequence[WorkMeasured], threshold: float | None) -> list[tuple[str, str]]:
    found = [entry for work in controls for entry in work["reached"] if entry["threshold"] == threshold]
    if len(controls) <= MAX_CONTROLS:
        return [_share(entry) for entry in found]
    total, most = sum(control["tokens"] for control in controls), max((e["share"] or 0.0 for e in found), default=0.0)
    together = percent(sum(entry["tokens"] for entry in found) / total) if total else NONE
    return [(together, f"at most {percent(most)}")]


def _with_and_without(report: WorkReport) -> ShownTable | None:
    without = report.get("without_start")
    if not without:
        return None
    rows = [
        [work["name"], at_least(a["threshold"]), *map(_in_line, (a, b))]
        for work, other in zip(report["works"], without, strict=True)
        for a, b in zip(rising(work["reached"]), rising(other["reached"]), strict=True)
    ]
    columns = [("Work", False), ("Probability", False), ("With the start token", True), ("Without it", True)]
    return ShownTable("Share of the work, with a start token before every window and without one", columns, rows)


def _tests(report: WorkReport) -> ShownTable | None:
    """Return the verdicts' numbers, work by work, where more than one is asked about."""
    tested = report["test"]["works"]
    if len(tested) < 2:
        return None
    rows = [
        [
            test["name"],
            percent(test["share"]),
            percent(test["upper"]),
            p_value(test["p_value"]),
            p_value(test["p_holm"]),
        ]
        for test in tested
    ]
    at = at_least(report["options"]["threshold"])
    columns = [("Work", False), (f"Windows at {at}", True), ("At most, 95%", True), ("p", True), ("p, Holm", True)]
    return ShownTable("Every work against the control works", columns, rows)


def _in_line(entry: Reached) -> str:
    return " ".join(filter(None, _share(entry)))


def curve(report: WorkReport, id: str) -> Chart | None:
    """Draw the share of every work against the probability from which it can be had back."""
    works = sorted(report["works"], key=lambda work: work["control"])[:MAX_SERIES]
    names = [f"{work['name']} (control)" if work["control"] else work["name"] for work in works]
    unique = [name if names.count(name) == 1 else f"{name}, {i}" for i, name in enumerate(names, 1)]
    graph: Graph = {
        "title": "How much, by how probable",
        "description": (
            "Share of each work that can be had back by windows of which one sample is the true continuation with at"
            " least this probability; bands are 95% intervals. The further right, the fewer attempts it takes."
        ),
        "x": "probability of the true continuation in one sample, at least",
        "y": "share of the work's tokens",
        "series": [_series(name, work) for name, work in zip(unique, works, strict=True)],
        "x_scale": "log",
        "y_share": True,
        "x_share": True,
        "y_scale": "linear",
    }
    return graph_chart(graph, id)


def _series(name: str, work: WorkMeasured) -> Series:
    entries = [entry for entry in rising(work["reached"]) if entry["threshold"] is not None]
    return {"name": name, "points": [[e["threshold"], e["share"], e["low"], e["high"]] for e in entries]}


def _longest(report: WorkReport, work: WorkMeasured) -> Passages:
    """Return the table of the longest passages that can be had back."""
    columns = [*_PLACE, ("p of a window, mean", True), ("Text", False)]
    rows = [
        [*_place(work, found), percent(None if found["log_p"] is None else math.exp(found["log_p"])), _excerpt(found)]
        for found in work["longest"]
    ]
    at = at_least(report["options"]["threshold"])
    caption = f"The longest passages of {work['name']} that can be had back at {at}"
    mask = Covered(work, report["options"]).at_least(level_of(report["thresholds"], report["options"]["threshold"]))
    return Passages(ShownTable(caption, columns, rows), _as_long(work["longest"], [run.tokens for run in runs(mask)]))


def _holes(report: WorkReport, work: WorkMeasured) -> Passages:
    """Return the table of the longest stretches that nothing covers."""
    rows = [_place(work, found) for found in work["holes"]]
    at = at_least(report["options"]["threshold"])
    caption = f"The longest stretches of {work['name']} of which nothing can be had back at {at}"
    mask = Covered(work, report["options"]).at_least(level_of(report["thresholds"], report["options"]["threshold"]))
    return Passages(ShownTable(caption, list(_PLACE), rows), _as_long(work["holes"], [r.tokens for r in runs(~mask)]))


_PLACE = (("Part", False), ("Line", True), ("Words of the work", True), ("Words", True), ("Tokens", True))


def _place(work: WorkMeasured, found: Passage) -> list[str]:
    words = NONE if found["words"] is None else f"{found['words']:,}"
    line = NONE if found["line"] is None else f"{found['line']:,}"
    return [work["parts"][found["part"]]["title"], line, wording.word_range(found), words, f"{found['tokens']:,}"]


def _excerpt(found: Passage) -> str:
    if found["text"] is None:
        return NONE
    text = " ".join(found["text"].split())
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def _as_long(listed: Sequence[Passage], lengths: Sequence[int]) -> str:
    """Say how many more there are that are as long as the last of a list."""
    if not listed:
        return ""
    last = listed[-1]["tokens"]
    more = lengths.count(last) - sum(found["tokens"] == last for found in listed)
    return f"and {counted(more, 'more as long as the last', 'more as long as the last')}" if more > 0 else ""
