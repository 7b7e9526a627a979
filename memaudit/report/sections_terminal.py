"""Sections on a terminal: the sentence of each, its tables, its notes."""

from __future__ import annotations

from typing import cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report.sections import shown_table
from memaudit.report.terminal import controls_line, escape, heading
from memaudit.report.wording import counted
from memaudit.runs import parts
from memaudit.runs.reports import JudgedReport, SectionedReport

MAX_ROWS = 12
"""Rows of a table that are shown; report.json and report.html have all."""


def print_sections(report: SectionedReport, console: Console) -> None:
    """Print what a run of sections found."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(escape(text, encoding=console.encoding), style))

    if "verdict" in report:
        judged = cast("JudgedReport", report)  # or another that has the fields of one
        for pieces in heading(judged, console, "the run was stopped before all was measured"):
            console.print(Text.assemble(*((escape(text, encoding=console.encoding), style) for text, style in pieces)))
        line(controls_line(judged["controls"]))
        console.print()
    for section in report["sections"]:
        line(section["title"], "bold")
        line(section["summary"])
        for table in section["tables"]:
            console.print()
            line(table["caption"], "dim")
            console.print(drawn_table(table, console.encoding))
            if (left := len(table["rows"]) - MAX_ROWS) > 0:
                line(f"and {counted(left, 'more row')} in the report", "dim")
        console.print()
        for note in section["notes"]:
            line(note, "dim")


def drawn_table(table: parts.Table, encoding: str) -> Table:
    """Return a table of a section as a terminal shows it, its first rows."""
    shown = shown_table(table)
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for label, number in shown.columns:
        drawn.add_column(escape(label, encoding=encoding), justify="right" if number else "left", overflow="fold")
    for row in shown.rows[:MAX_ROWS]:
        drawn.add_row(*(Text(escape(cell, encoding=encoding)) for cell in row))
    return drawn
