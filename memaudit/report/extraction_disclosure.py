"""What of an extraction audit's texts leaves it: everything, excerpts with addresses masked, or digests and lengths.

Records stay as they are, because exhibits compare their texts before they withhold them; names of documents, files and
domains are made safe in the report and in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from memaudit.records import FirstWindow, Shown, WindowRecord, first_window
from memaudit.report.alignment import digest
from memaudit.report.excerpts import excerpts_shown
from memaudit.report.masking import mask
from memaudit.report.rejections import without_reasons
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.parts import Finding

SHORTEST_RUN = 16
"""Characters of training text, white space folded, that no name may hold when texts are withheld: fewer than any run
of 8 tokens has whose tokens are words or pieces of words."""


def disclosed(run: ReportInput[ExtractionReport], shown: Shown) -> ReportInput[ExtractionReport]:
    """Return an audit of which only what may be shown can be rendered."""
    report: ExtractionReport = {**run.report, "findings": _findings(run, shown)}
    if sections := report.get("sections"):
        report["sections"] = excerpts_shown(sections, run.measured, shown)
    if first := report.get("first_window"):
        withheld: FirstWindow = {**first, "ids": None}
        known = bool(run.records and run.records[0].suffix_ids)  # an earlier report may have withheld the ids
        report["first_window"] = first_window(report["model"], run.records) if shown.text and known else withheld
    if shown.text:
        return ReportInput(report, run.records, run.measured, shown)
    unsafe = _Names(_names(report, run.records), run.records)
    records = [_safe_record(record, unsafe) for record in run.records]
    measured = [_safe_measured(item, unsafe) for item in run.measured]
    return ReportInput(unsafe.clean(without_reasons(report)), records, measured, shown)


def without_texts(records: Sequence[WindowRecord]) -> list[WindowRecord]:
    """Return records for a table that holds no text, as token ids neither."""
    names = _Names(map(_names_of, records), records)
    return [
        dataclasses.replace(
            _safe_record(record, names),
            prefix_ids=[],
            suffix_ids=[],
            continuation_ids=None,
            prefix_text="",
            suffix_text="",
            continuation_text=None,
            turns=None,
        )
        for record in records
    ]


def _findings(run: ReportInput[ExtractionReport], shown: Shown) -> list[Finding]:
    """Return the findings, each with the text of its window, masked, or with the length and digest of it.

    What an earlier report withheld comes back from the windows: there is one finding for each that was reproduced.
    """
    findings = run.report["findings"]
    reproduced = [record for record in run.records if record.member and record.extractable]
    records = reproduced if len(reproduced) == len(findings) else [None] * len(findings)
    return [_finding(finding, record, shown) for finding, record in zip(findings, records, strict=True)]


def _finding(finding: Finding, record: WindowRecord | None, shown: Shown) -> Finding:
    if finding.get("text") is None and record is None:
        return finding.copy()
    known = finding.copy()
    known.pop("characters", None)
    known.pop("sha256", None)
    if finding.get("text") is None and record is not None:
        known |= {"document": record.document, "source": record.source, "text": record.suffix_text}
    text = str(known["text"])
    if shown.text:
        before = record.prefix_text if record is not None else ""
        return known | {"text": text if shown.personal else mask(before + text)[len(before) :]}
    return known | {"text": None, "characters": len(text), "sha256": digest(text)}


class _Names:
    """Names that hold a run of training text, and what stands for them."""

    def __init__(self, names: Iterator[Sequence[str]] | Collection[Sequence[str]], records: Sequence[WindowRecord]):
        found: dict[str, set[str]] = {}
        for several in names:
            for name in several:
                folded = _folded(name)
                for at in range(len(folded) - SHORTEST_RUN + 1):
                    found.setdefault(folded[at : at + SHORTEST_RUN], set()).add(name)
        self._unsafe = set[str]()
        for text in _texts(records) if found else ():
            for at in range(len(text) - SHORTEST_RUN + 1):
                if (run := text[at : at + SHORTEST_RUN]) in found:
                    self._unsafe |= found.pop(run)

    def __call__(self, name: str) -> str:
        """Return the name, or the digest of one that holds training text."""
        return f"sha256 {digest(name)}" if name in self._unsafe else name

    def clean(self, value: Any) -> Any:
        """Return a JSON value in which every text is safe that is one of the names."""
        if isinstance(value, dict):
            return {self(key): self.clean(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.clean(inner) for inner in value]
        return self(value) if isinstance(value, str) else value


def _names(report: ExtractionReport, records: Sequence[WindowRecord]) -> Iterator[Sequence[str]]:
    """Yield what names documents, files and domains, and the cells of tables: all that data had a say in."""
    yield from set(map(_names_of, records))
    for finding in report["findings"]:
        yield finding.get("document", ""), finding["source"]
    for overlap in report["windows"]["overlaps"] if "windows" in report else ():
        yield overlap["heldout"], overlap["train"]
    for section in report.get("sections", ()):
        for table in section["tables"]:
            yield [cell for row in table["rows"] for cell in row if isinstance(cell, str)]
        for graph in section["graphs"]:
            yield [series["name"] for series in graph["series"]]


def _names_of(record: WindowRecord) -> tuple[str, ...]:
    holders = (*(record.copies_in or ()), *(record.elsewhere_in or ()))
    return record.document, record.source, record.domain or "", *holders


def _texts(records: Sequence[WindowRecord]) -> Iterator[str]:
    for record in records:
        yield _folded(record.prefix_text + record.suffix_text)
        if record.continuation_text and not record.extractable:
            yield _folded(record.continuation_text)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _safe_record(record: WindowRecord, names: _Names) -> WindowRecord:
    domain = record.domain and names(record.domain)
    return dataclasses.replace(
        record,
        document=names(record.document),
        source=names(record.source),
        domain=domain,
        copies_in=_safe_list(record.copies_in, names),
        elsewhere_in=_safe_list(record.elsewhere_in, names),
    )


def _safe_list(some: list[str] | None, names: _Names) -> list[str] | None:
    return some and [names(name) for name in some]


def _safe_measured(item: Mapping[str, Any], names: _Names) -> dict[str, Any]:
    return {**item, **{key: names(item[key]) for key in ("document", "source") if isinstance(item.get(key), str)}}
