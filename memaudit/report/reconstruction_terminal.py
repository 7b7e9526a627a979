"""A reconstruction on a terminal: the verdict first, what was had back of every work, a line a work."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from memaudit.report.sections_terminal import drawn_table
from memaudit.report.terminal import controls_line, escape, heading
from memaudit.runs.reconstruction_report import ReconstructionReport


def print_reconstruction(report: ReconstructionReport, console: Console) -> None:
    """Print a reconstruction on one screen."""
    encoding = console.encoding

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((escape(text, encoding=encoding), style) for text, style in parts)))

    for parts in heading(report, console, "the run was stopped before all was written"):
        line(*parts)
    console.print()
    overview, *works = report["sections"]
    for table in overview["tables"]:
        console.print(drawn_table(table, encoding))
    console.print()
    for section in works:
        line((f"{section['title']}: ", "bold"), (section["summary"], ""))
    line((controls_line(report["controls"]), ""))
    for note in (*overview["notes"], *report["limits"]):
        line((note, "dim"))
