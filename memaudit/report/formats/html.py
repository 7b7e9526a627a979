"""The report for people: one page, which needs no script and loads nothing."""

from __future__ import annotations

from typing import Any

from memaudit.report.formats.base import Format
from memaudit.report.kinds.base import Kind
from memaudit.runs.directory import ReportInput


def page(run: ReportInput[Any], kind: Kind[Any]) -> bytes:
    """Return ``report.html`` of a run: the same run gives the same bytes."""
    return kind.page(run)


HTML = Format("report.html", page, Kind)
