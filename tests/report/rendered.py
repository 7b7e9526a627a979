"""Reports as formats write them, without a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.records import WindowRecord
from memaudit.report import extraction_page
from memaudit.report.formats import github
from memaudit.report.formats.names import FORMATS
from memaudit.report.kinds import kind_of
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.kinds.extraction import KIND
from memaudit.runs.directory import ReportInput


def rendered(name: str, report: Mapping[str, Any], records: Sequence[WindowRecord] = ()) -> bytes:
    """A report in one format."""
    return bytes(FORMATS.resolve(name).render(ReportInput(report, records), kind_of(report)))


def verdict_kind(report: Mapping[str, Any]) -> VerdictKind:
    kind = kind_of(report)
    assert isinstance(kind, VerdictKind)
    return kind


def workflow_commands(report: Mapping[str, Any]) -> list[str]:
    return github.workflow_commands(report, verdict_kind(report))


def step_summary(report: Mapping[str, Any]) -> str:
    return github.step_summary(report, verdict_kind(report))


def extraction_pages(runs: Sequence[ReportInput], title: str = KIND.title, **options: Any) -> str:
    """The page of one extraction audit or several."""
    return extraction_page.render(runs, title, **options)
