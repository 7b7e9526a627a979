"""The curve of a training: what was reproduced at every step that was looked at, as data and as a page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from memaudit.audits.extraction.result import Audit
from memaudit.report.sections_page import render_run
from memaudit.report.training_curve import HELDOUT, TITLE, TRAIN, AtStep, curve_graph, curve_sentence
from memaudit.runs import parts
from memaudit.runs.directory import ReportInput
from memaudit.runs.files import strict_json, write_atomic
from memaudit.runs.provenance import versions
from memaudit.runs.reports import SectionsReport
from memaudit.runs.schema import as_record
from memaudit.sections import Column, Section, Table, Value

CURVE, PAGE = "curve.json", "report.html"
KIND = "training"


class Point(TypedDict):
    """What one audit found at one step."""

    step: int
    epoch: float | None
    text: str
    """``text``: what was named as training text; ``canaries``: what was planted, beside twins that were not."""
    train: parts.Rate
    heldout: parts.Rate
    verdict: str
    headline: str
    run: str
    """Folder of the audit, beside this file."""
    loaded: int | None
    """Step of the best checkpoint, where that was loaded at the end: it is what was audited."""


def point_of(result: Audit, step: int, epoch: float | None, text: str, loaded: int | None = None) -> Point:
    """Return the point of an audit."""
    primary = next(estimate for estimate in result.report["estimates"] if estimate["primary"])
    return {
        "step": step,
        "epoch": epoch,
        "text": text,
        "train": primary["train"],
        "heldout": primary["heldout"],
        "verdict": result.verdict,
        "headline": result.report["headline"],
        "run": result.folder.name,
        "loaded": loaded,
    }


def write_curve(
    folder: Path,
    points: Sequence[Point],
    check: Mapping[str, Any] | None,
    told: Mapping[str, Any],
    notes: Sequence[str],
) -> None:
    """Write ``curve.json`` and ``report.html``; what stood there goes.

    Args:
        folder: Of the run.
        points: In the order of their steps.
        check: Whether audited text gets loss; None where that could not be seen.
        told: ``command``, ``specs``, ``units`` and ``options`` of the run.
        notes: What went wrong on the way.
    """
    body = {"kind": KIND, "points": list(points), "check": check, "notes": list(notes), "versions": versions(), **told}
    data = strict_json(body)
    write_atomic(folder / CURVE, data)
    report: SectionsReport = {
        "kind": KIND,
        "schema_version": 1,
        "complete": True,
        "exit_code": 0,
        "headline": headline(points),
        "provenance": {
            "identity": hashlib.sha256(data).hexdigest(),
            "command": told["command"],
            "versions": versions(),
        },
        "options": dict(told["options"]),
        "corpus": {"specs": list(told["specs"]), "units": told["units"]},
        "sections": [as_record(section, parts.Section) for section in _sections(points, check, notes)],
    }
    write_atomic(folder / PAGE, render_run(ReportInput(report, ()), "What does the model reproduce as it is trained?"))


def headline(points: Sequence[Point]) -> str:
    """Return what the last audit found, beside the first."""
    texts = [point for point in points if point["text"] == "text"]
    if not texts:
        return "nothing was audited"
    first, last = (AtStep(point["step"], point["train"], point["heldout"]) for point in (texts[0], texts[-1]))
    loaded = texts[-1].get("loaded")
    when = "" if loaded is None else f"the best checkpoint, of step {loaded:,}, loaded at the end,"
    return curve_sentence(first, last, when)


def _sections(points: Sequence[Point], check: Mapping[str, Any] | None, notes: Sequence[str]) -> list[Section]:
    names = {"text": (TRAIN, HELDOUT), "canaries": ("planted", "twins, never planted")}
    lines: dict[str, list[tuple[int, parts.Rate]]] = {}
    for text, (one, other) in names.items():
        there = [point for point in points if point["text"] == text and point.get("loaded") is None]
        lines[one] = [(point["step"], point["train"]) for point in there]
        lines[other] = [(point["step"], point["heldout"]) for point in there]
    rows: list[list[Value]] = [
        [p["step"], names[p["text"]][0] + _loaded(p), p["train"]["rate"], _limits(p["train"]), p["heldout"]["rate"],
         _limits(p["heldout"]), p["verdict"], p["run"]]
        for p in points
    ]  # fmt: skip
    columns = [
        Column("Step", "number"),
        Column("Text"),
        Column("Reproduced", "share"),
        Column("95% interval", "interval"),
    ]
    columns += [Column("Held out", "share"), Column("95% interval", "interval"), Column("Verdict"), Column("Audit")]
    told = f"Loss: {check['sentence']}." if check else "Whether audited text gets loss could not be seen in the data."
    return [
        Section(
            "curve",
            TITLE,
            headline(points),
            "The same windows are audited each time; each audit is a run of its own in the folder that is named.",
            [Table("Every audit", columns, rows)],
            [curve_graph(lines)] if points else [],
            [told, *notes],
        )
    ]


def _loaded(point: Point) -> str:
    loaded = point.get("loaded")
    return "" if loaded is None else f", the checkpoint of step {loaded:,} that was loaded at the end"


def _limits(rate: parts.Rate) -> Value:
    return None if rate["low"] is None or rate["high"] is None else [rate["low"], rate["high"]]
