"""What of a reconstruction's texts leaves it: everything, masked, or the places alone."""

from __future__ import annotations

from memaudit.records import Shown
from memaudit.report.alignment import Piece, masked
from memaudit.runs.directory import ReportInput
from memaudit.runs.reconstruction_report import ReconstructedWork, ReconstructionReport, SideBySide

Text = list[tuple[str, bool]] | None


def disclosed(run: ReportInput[ReconstructionReport], shown: Shown) -> ReportInput[ReconstructionReport]:
    """Return a run of which only what may be shown can be rendered."""
    if shown.text and shown.personal:
        return ReportInput(run.report, run.records, run.measured, shown)
    works = [_work(work, shown) for work in run.report["works"]]
    report: ReconstructionReport = {**run.report, "works": works}
    return ReportInput(report, run.records, run.measured, shown)


def _work(work: ReconstructedWork, shown: Shown) -> ReconstructedWork:
    return {**work, "side_by_side": [_item(item, shown) for item in work["side_by_side"]]}


def _item(item: SideBySide, shown: Shown) -> SideBySide:
    return {
        **item,
        "work_text": _text(item["work_text"], shown),
        "output_text": _text(item["output_text"], shown),
        "work_end": _text(item["work_end"], shown),
        "output_end": _text(item["output_end"], shown),
    }


def _text(text: Text, shown: Shown) -> Text:
    if text is None or not shown.text:
        return None
    pieces = masked([Piece(part) for part, _ in text])
    return [(piece.text, copied) for piece, (_, copied) in zip(pieces, text, strict=True)]
