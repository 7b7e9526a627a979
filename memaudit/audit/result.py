"""What `memaudit.audit` returns: a verdict that a script, a notebook and a person can each use."""

from __future__ import annotations

import dataclasses
import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memaudit.records import WindowRecord
from memaudit.report.html import render
from memaudit.runs import FinishedRun

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Audit:
    """A finished audit and the run directory it lies in."""

    folder: Path
    report: dict[str, Any]
    """What report.json holds."""
    records: list[WindowRecord]
    files: list[Path] = field(default_factory=list)
    """What was written beside report.json and records.parquet."""
    notice: str = ""
    """What the user should know about how the run was found; empty as a rule."""

    @property
    def verdict(self) -> str:
        """``found``, ``clean`` or ``inconclusive``."""
        return str(self.report["verdict"])

    @property
    def exit_code(self) -> int:
        """0 clean, 1 found, 3 inconclusive."""
        return int(self.report["exit_code"])

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per window, in the order of the plan."""
        import pandas as pd

        return pd.DataFrame([dataclasses.asdict(record) for record in self.records])

    def __str__(self) -> str:
        return f"{self.verdict}: {self.report['headline']} ({self.folder})"

    def _repr_html_(self) -> str:
        """Show the report page in a notebook, in a frame of its own so that neither styles the other."""
        page = html.escape(render([FinishedRun(self.report, self.records)]), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:80vh;border:0" sandbox></iframe>'
