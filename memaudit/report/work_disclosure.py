"""What of the texts of whole works leaves a run: everything, excerpts with addresses masked, or none of them."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.records import Shown
from memaudit.report.charts.heat_map import short_title
from memaudit.report.excerpts import excerpts_shown
from memaudit.report.extraction_disclosure import SHORTEST_RUN
from memaudit.report.masking import mask
from memaudit.runs.directory import ReportInput
from memaudit.runs.work_report import WorkMeasured, WorkPart, WorkReport


def disclosed(run: ReportInput[WorkReport], shown: Shown) -> ReportInput[WorkReport]:
    """Return an audit of works of which only what may be shown can be rendered.

    Of passages that an earlier report withheld only the places are known. A heading is a line of the work: where texts
    are withheld, its number stands for one that is long enough to be a quotation.
    """
    report: WorkReport = {
        **run.report,
        "works": [_work(work, shown) for work in run.report["works"]],
        "findings": [{**finding, "text": _text(finding["text"], shown)} for finding in run.report["findings"]],
        "sections": excerpts_shown(run.report["sections"], run.measured, shown),
    }
    if without := run.report.get("without_start"):
        report["without_start"] = [_work(work, shown) for work in without]
    return ReportInput(report, run.records, run.measured, shown)


def _work(work: WorkMeasured, shown: Shown) -> WorkMeasured:
    return {
        **work,
        "parts": work["parts"] if shown.text else _numbered(work["parts"]),
        "longest": [{**found, "text": _text(found["text"], shown)} for found in work["longest"]],
    }


def _numbered(parts: Sequence[WorkPart]) -> list[WorkPart]:
    return [
        {**part, "title": f"part {short_title(part['title'], number)}"} if _quotes(part["title"]) else part
        for number, part in enumerate(parts, 1)
    ]


def _quotes(title: str) -> bool:
    return len(" ".join(title.split())) >= SHORTEST_RUN


def _text(text: str | None, shown: Shown) -> str | None:
    if text is None or not shown.text:
        return None
    return text if shown.personal else mask(text)
