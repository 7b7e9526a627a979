"""What a finished run returns: a report, files, a page for notebooks; with a verdict, an exit code and a line too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from memaudit.records import SHOWN, Shown
from memaudit.report.disclosure import disclosed
from memaudit.report.kinds import kind_of
from memaudit.report.page import framed
from memaudit.runs.directory import Report, ReportInput
from memaudit.runs.reports import VerdictReport

Judged = TypeVar("Judged", bound=VerdictReport | Mapping[str, Any], covariant=True)
"""What report.json of a kind with a verdict holds; one of another package may be any mapping."""


@dataclass(frozen=True, slots=True)
class RunResult(Generic[Report]):
    """A finished run and the run directory it lies in."""

    folder: Path
    report: Report
    """What report.json holds."""
    files: list[Path]
    """What was written beside it."""
    notice: str = ""
    """What the user should know about how the run was found; empty as a rule."""
    shown: Shown = SHOWN
    """What of the texts its files show."""

    @property
    def shown_report(self) -> Report:
        """The report with no more text than may be shown."""
        return self._disclosed().report

    def _disclosed(self) -> ReportInput[Report]:
        return disclosed(ReportInput(self.report, ()), self.shown)

    def _repr_html_(self) -> str:
        """Show in a notebook what the kind of the run shows there."""
        return framed(kind_of(self.report).notebook(self._disclosed()))


@dataclass(frozen=True, slots=True)
class VerdictResult(RunResult[Judged]):
    """A finished run that comes to a verdict."""

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
