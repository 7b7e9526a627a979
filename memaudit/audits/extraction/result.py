"""What `memaudit.audit` returns: a verdict that a script, a notebook and a person can each use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memaudit.audits.result import VerdictResult
from memaudit.records import WindowRecord
from memaudit.report.disclosure import disclosed
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Audit(VerdictResult[ExtractionReport]):
    """A finished audit and the run directory it lies in; its verdict is found, clean or inconclusive."""

    records: list[WindowRecord] = field(default_factory=list)
    """One record per window, in the order of the plan."""

    def _disclosed(self) -> ReportInput[ExtractionReport]:
        return disclosed(ReportInput(self.report, self.records), self.shown)

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per window, in the order of the plan."""
        import pandas as pd

        return pd.DataFrame([record.row() for record in self.records])
