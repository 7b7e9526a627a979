"""A run on a terminal: what its kind prints, the verdict first, and last the options that were not typed."""

from __future__ import annotations

from rich.console import Console

from memaudit.errors import one_line
from memaudit.report.kinds import kind_of
from memaudit.runs.reports import AnyReport

LONGEST = 1000
"""Characters of a line about options."""


def print_report(report: AnyReport, console: Console) -> None:
    """Print the report of a run of any kind.

    Raises:
        RunError: If the run is of a kind that is not known.
    """
    kind_of(report).screen(report, console)
    for line in report["provenance"].get("set_elsewhere", ()):
        console.print(one_line(line, LONGEST), soft_wrap=True)
