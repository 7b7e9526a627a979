"""Whole works on a terminal: the verdict, what can be had back of each, and a line a part that shows where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report import wording
from memaudit.report.charts.heat_map import short_title
from memaudit.report.covered import Covered
from memaudit.report.terminal import controls_line, escape, heading
from memaudit.report.work_page import MAX_CONTROLS, at_least, rising, untested
from memaudit.runs.work_report import Reached, WorkMeasured, WorkReport
from memaudit.stats.rounding import NONE, percent, stated

CELLS = 48
"""Of the longest line."""
MAX_PARTS = 24
"""Parts of a work that are shown."""
SHADES, DIGITS = "·░▒▓█", "0123456789"
"""From the least probable to the most; digits where the terminal cannot show shades: thresholds that are reached."""


def print_work(report: WorkReport, console: Console) -> None:
    """Print a report on one screen."""

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((escape(text, encoding=console.encoding), style) for text, style in parts)))

    for parts in heading(report, console, "the run was stopped before all windows were read"):
        line(*parts)
    if why := untested(report):
        line((f"nothing can be tested: {why}", "bold"))
    console.print()
    console.print(_reached(report, console.encoding))
    for work in report["works"]:
        if not work["control"]:
            console.print()
            _print_places(report, work, console)
    console.print()
    line((controls_line(report["controls"]), ""))
    for section in report["sections"]:
        line((f"{section['title']}: ", "bold"), (section["summary"], ""))


def _reached(report: WorkReport, encoding: str) -> Table:
    """Return the shares of the works, a column each, the control works behind the others."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("share of all tokens", no_wrap=True)
    controls = [work for work in report["works"] if work["control"]]
    works = [work for work in report["works"] if not work["control"]] + controls[:MAX_CONTROLS]
    for work in works:
        name = f"control: {work['name']}" if work["control"] else work["name"]
        table.add_column(Text(escape(name, 40, encoding)), justify="right")
    for rows in zip(*(rising(work["reached"]) for work in works), strict=True):
        table.add_row(
            *(Text(escape(cell, encoding=encoding)) for cell in (at_least(rows[0]["threshold"]), *map(_share, rows)))
        )
    longest = [f"{work['longest'][0]['tokens']:,} tokens" if work["longest"] else NONE for work in works]
    at = at_least(report["options"]["threshold"])
    table.add_row(*(Text(escape(cell, encoding=encoding)) for cell in (f"longest passage, {at}", *longest)))
    return table


def _share(entry: Reached) -> str:
    bounds = wording.interval(entry)
    return percent(entry["share"]) if bounds == NONE else f"{percent(entry['share'])} {bounds}"


def _print_places(report: WorkReport, work: WorkMeasured, console: Console) -> None:
    """Print a line a part: its cells, each with the level that at least half of its tokens reach."""
    unicode = console.encoding.lower().startswith("utf")
    signs = [_sign(level, len(report["thresholds"]), unicode) for level in range(len(report["thresholds"]) + 1)]
    known = ", ".join(f"{sign} {stated(t)}" for sign, t in zip(signs[1:], report["thresholds"], strict=True))
    at = at_least(report["options"]["threshold"])
    said = f"{work['name']} by position, p from {known}; at the end the share at {at}"
    console.print(Text(escape(said, encoding=console.encoding), "dim"))
    for text in _lines(report, work, signs):
        console.print(Text(escape(text, encoding=console.encoding)), soft_wrap=True)
    if (left := len(work["parts"]) - MAX_PARTS) > 0:
        console.print(Text(f"and {wording.counted(left, 'more part')} in the report", "dim"))


def _sign(level: int, thresholds: int, unicode: bool) -> str:
    if not unicode:
        return DIGITS[min(level, len(DIGITS) - 1)]
    if not level:
        return " "
    return SHADES[round((level - 1) * (len(SHADES) - 1) / max(1, thresholds - 1))]


def _lines(report: WorkReport, work: WorkMeasured, signs: Sequence[str]) -> Iterator[str]:
    covered = Covered(work, report["options"])
    masks = [covered.at_least(level) for level in range(1, len(signs))]
    size = max(1, -(-max((part["tokens"] for part in work["parts"]), default=1) // CELLS))
    for number, part in enumerate(work["parts"][:MAX_PARTS], 1):
        cells = []
        for first in range(part["token"], part["token"] + part["tokens"], size):
            stop = min(first + size, part["token"] + part["tokens"])
            level = sum(2 * int(np.count_nonzero(mask[first:stop])) >= stop - first for mask in masks)
            cells.append(signs[level])
        reached = {entry["threshold"]: entry["share"] for entry in part["reached"]}
        share = percent(reached.get(report["options"]["threshold"]))
        yield f"{short_title(part['title'], number):>5}  {''.join(cells):<{CELLS}}  {share:>6}"
