"""What a run with a verdict returns: an exit code for scripts, a line for people, a page for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.report.page import framed
from memaudit.report.sections_page import render_run
from memaudit.runs import FinishedRun


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A finished run and the run directory it lies in."""

    folder: Path
    report: dict[str, Any]
    """What report.json holds."""
    files: list[Path]
    """What was written beside it."""
    notice: str = ""
    """What the user should know about how the run was found; empty as a rule."""

    @property
    def verdict(self) -> str:
        """``found``, ``clean`` or ``no-evidence``, ``confounded``, ``inconclusive``."""
        return str(self.report["verdict"])

    @property
    def exit_code(self) -> int:
        """0 clean, or no evidence at a power that is stated; 1 found; 3 confounded or inconclusive."""
        return int(self.report["exit_code"])

    def __str__(self) -> str:
        return f"{self.verdict}: {self.report['headline']} ({self.folder})"

    def _repr_html_(self) -> str:
        """Show the page in a notebook."""
        return framed(render_run(FinishedRun(self.report, ())).decode("utf-8"))
