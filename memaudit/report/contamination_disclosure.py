"""What of a contamination check's texts leaves it: everything, evidence with addresses masked, or none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.records import Shown
from memaudit.report.alignment import Piece, masked
from memaudit.report.masking import mask
from memaudit.report.rejections import Report, without_reasons
from memaudit.runs.directory import ReportInput


def disclosed(run: ReportInput, shown: Shown) -> ReportInput:
    """Return a contamination check of which only what may be shown can be rendered."""
    report = run.report if shown.text else without_reasons(run.report)
    findings = [{**f, "evidence": [_evidence(e, shown) for e in f["evidence"]]} for f in run.report["findings"]]
    return ReportInput({**report, "findings": findings}, run.records, run.measured, shown)


def _evidence(evidence: Mapping[str, Any], shown: Shown) -> Report:
    pieces = {name: evidence[name] for name in ("item_pieces", "corpus_pieces")}
    spans = evidence["spans"]
    if not shown.text:
        spans = [{**span, "text": None} for span in spans]
        return {**evidence, **dict.fromkeys(pieces), "spans": spans}
    if not shown.personal:
        pieces = {name: side and _masked(side) for name, side in pieces.items()}
        spans = [{**span, "text": span["text"] and mask(span["text"])} for span in spans]
    return {**evidence, **pieces, "spans": spans}


def _masked(pieces: Sequence[Sequence[Any]]) -> list[list[Any]]:
    shown = masked([Piece(text) for text, _ in pieces])
    return [[piece.text, copied] for piece, (_, copied) in zip(shown, pieces, strict=True)]
