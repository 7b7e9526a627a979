"""The report for programs: strict JSON, all that a run came to."""

from __future__ import annotations

from typing import Any

from memaudit.report.formats.base import Format
from memaudit.report.kinds.base import Kind
from memaudit.runs.directory import REPORT, ReportInput
from memaudit.runs.files import strict_json


def report_json(run: ReportInput[Any], _: Kind[Any]) -> bytes:
    """Return ``report.json`` of a run, byte for byte."""
    return strict_json(run.report)


JSON = Format(REPORT, report_json, Kind, excerpts=False)
