"""What of a contamination check's texts leaves it: everything, evidence with addresses masked, or none of it."""

from __future__ import annotations

from typing import cast

from memaudit.records import Shown
from memaudit.report.alignment import Piece, masked
from memaudit.report.masking import mask
from memaudit.report.rejections import without_reasons
from memaudit.runs.contamination_report import ContaminationReport, CopiedSpan, Evidence, ItemFinding, Pieces
from memaudit.runs.directory import ReportInput


def disclosed(run: ReportInput[ContaminationReport], shown: Shown) -> ReportInput[ContaminationReport]:
    """Return a contamination check of which only what may be shown can be rendered."""
    report = run.report if shown.text else without_reasons(run.report)
    findings: list[ItemFinding] = [
        {**f, "evidence": [_evidence(e, shown) for e in f["evidence"]]} for f in run.report["findings"]
    ]
    known: ContaminationReport = {**report, "findings": findings}
    return ReportInput(known, run.records, run.measured, shown)


def _evidence(evidence: Evidence, shown: Shown) -> Evidence:
    if not shown.text:
        nothing: list[CopiedSpan] = [{**span, "text": None} for span in evidence["spans"]]
        return {**evidence, "item_pieces": None, "corpus_pieces": None, "spans": nothing}
    if shown.personal:
        return evidence.copy()
    spans: list[CopiedSpan] = [{**span, "text": span["text"] and mask(span["text"])} for span in evidence["spans"]]
    item, corpus = evidence["item_pieces"], evidence["corpus_pieces"]
    return {
        **evidence,
        "item_pieces": item and _masked(item),
        "corpus_pieces": corpus and _masked(corpus),
        "spans": spans,
    }


def _masked(pieces: Pieces) -> Pieces:
    shown = masked([Piece(text) for text, _ in pieces])
    both = [[piece.text, copied] for piece, (_, copied) in zip(shown, pieces, strict=True)]
    return cast("Pieces", both)  # lists, as JSON holds them
