"""What a pass over a corpus counts, and what is said of records that cannot be used."""

from __future__ import annotations

from collections import Counter, defaultdict

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.parts import FileDigest, Summary
from memaudit.text.corpus.conversations import said_of
from memaudit.text.corpus.rows import RecordError
from memaudit.text.corpus.split import BLOCK

SHOWN_REJECTS = 20


class Tally:
    """Counts of one pass."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.files: list[FileDigest] = []
        self.domains: Counter[str] = Counter()
        self.units: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.first_rejected: list[str] = []
        self.layouts: Counter[str] = Counter()
        """Conversations, by the layout of their records."""

    def count(self, document: Document) -> None:
        """Count a document and its domain."""
        self.counts["documents"] += 1
        if document.domain is not None:
            self.domains[document.domain] += 1
        if document.layout is not None:
            self.layouts[document.layout] += 1

    def reject(self, place: str, problem: RecordError, skip: bool) -> None:
        """Count a record that cannot be used, or raise InputError if it may not be skipped."""
        note_rejected(self.first_rejected, place, problem, skip)
        self.counts["rejected"] += 1

    def summary(self, specs: list[str], skip_bad: bool, links: int) -> Summary:
        """Return what was found, with ``links``, the further names of files that were not read again."""
        units = [_unit_sentence(unit, found) for unit, found in self.units.items()]
        units = said_of(units, self.counts["documents"], self.layouts)
        if links:
            units.append(
                "1 link to one of them is not read again"
                if links == 1
                else f"{links:,} links to them are not read again"
            )
        summary = Summary(
            specs=specs,
            files=self.files,
            documents=self.counts["documents"],
            empty=self.counts["empty"],
            units="; ".join(units),
            domains=dict(self.domains),
        )
        if self.layouts:
            summary["conversations"] = dict(self.layouts)
        if skip_bad:
            summary["rejected"] = self.counts["rejected"]
            summary["first_rejected"] = self.first_rejected
        return summary


def note_rejected(first: list[str], place: str, problem: RecordError, skip: bool) -> None:
    """Raise InputError for a record that cannot be used, or note it among the first 20 that are skipped."""
    if not skip:
        raise InputError(f"{place}: {problem.message}", problem.hint) from problem
    if len(first) < SHOWN_REJECTS:
        first.append(f"{place}: {problem.message}")


def _unit_sentence(unit: str, found: Counter[str]) -> str:
    noun = "data set" if unit == "row" else "file"
    files = f"1 {noun}" if found["files"] == 1 else f"{found['files']:,} {noun}s"
    count = f"{found['documents']:,}"
    if unit == "file":
        return f"{files}, each one document" if found["files"] > 1 else "1 file, which is one document"
    if unit in {"record", "row"}:
        return f"{count} {unit}s of {files}, each one document"
    pieces = {
        "block": f"blocks of whole paragraphs of at least {BLOCK:,} characters",
        "paragraph": "paragraphs between blank lines",
        "line": "lines",
    }
    return f"{files} cut into {count} {pieces[unit]}"
