"""What is shown of one item: a finding beside its most similar documents, why it was spared, its line in a table."""

from __future__ import annotations

from dataclasses import dataclass

from memaudit.audits.contamination.doubts import why_spared
from memaudit.audits.contamination.judgement import ItemVerdict, JudgedItem
from memaudit.audits.contamination.marking import mark_copied
from memaudit.findings import fingerprint
from memaudit.runs.contamination_report import CopiedSpan, Evidence, ItemFinding, SparedItem
from memaudit.text.scan.matching import Kind, Match
from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Scan

SHOWN_DOCUMENTS = 3
"""Documents that a finding shows side by side."""


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What was found out about one item: one line of items.jsonl."""

    item: str
    number: int
    source: str
    verdict: ItemVerdict
    """``contaminated``, ``clean``, ``undecided`` (the search was not whole), or ``not judged`` (too short, generic)."""
    part: str | None
    match: Kind | None
    similarity: float | None
    coverage: float | None
    documents: int | None
    evidence: str | None
    """Place of the most similar document."""
    rules: list[str]
    """Published rules that call the item contaminated."""


def finding_of(judged: JudgedItem, patterns: Patterns, scan: Scan, accepted: set[str], redact: bool) -> ItemFinding:
    """Return an item that was found, with its most similar documents."""
    item, best = judged.item, judged.matches[0]
    shown = [match for match in judged.matches if match.found][:SHOWN_DOCUMENTS]
    documents = documents_of(best, scan)
    id = fingerprint("contamination", "", item.whole)
    return {
        "id": id,
        "kind": "contamination",
        "item": item.id,
        "number": item.number,
        "source": item.source,
        "part": patterns.needles[best.candidate.needle].part,
        "match": best.kind,
        "score": best.similarity,
        "coverage": best.coverage,
        "documents": documents,
        "rules": _fired(judged),
        "accepted": id in accepted,
        "evidence": [_evidence(match, patterns, scan, redact) for match in shown],
        "more_documents": max(0, documents - len(shown)),
    }


def _evidence(match: Match, patterns: Patterns, scan: Scan, redact: bool) -> Evidence:
    """Return both texts with the copied words marked, and how many documents hold each copied span."""
    needle = match.candidate.needle
    text = patterns.needles[needle].text
    ours, theirs, runs = mark_copied(text, match.candidate.text)
    ids, words = patterns.seed_ids(needle), patterns.words[needle]
    spans: list[CopiedSpan] = [
        {
            "text": None if redact else text[words.starts[first] : words.ends[last - 1]],
            "documents": int(scan.seed_documents[ids[first : last - SEED + 1]].min()),
        }
        for first, last in runs
        if last - first >= SEED
    ]
    return {
        "source": match.candidate.source,
        "start": match.candidate.start,
        "score": match.similarity,
        "match": match.kind,
        "item_pieces": None if redact else ours,
        "corpus_pieces": None if redact else theirs,
        "spans": spans,
    }


def documents_of(match: Match, scan: Scan) -> int:
    """Return the document frequency of the rarest run of five words that an item and a document share."""
    return int(scan.seed_documents[list(match.candidate.seeds)].min(initial=scan.documents))


def spared_of(judged: JudgedItem, patterns: Patterns, scan: Scan) -> SparedItem:
    """Return an item that most published rules flag and ours does not, and why it does not."""
    return {
        "item": judged.item.id,
        "source": judged.item.source,
        "rules": _fired(judged),
        "reason": why_spared(judged, patterns, scan),
    }


def _fired(judged: JudgedItem) -> list[str]:
    return [name for name, fired in judged.rules.items() if fired]


def record_of(judged: JudgedItem, patterns: Patterns, scan: Scan) -> ItemRecord:
    """Return what was found out about an item, without text."""
    best = judged.matches[0] if judged.matches else None
    return ItemRecord(
        item=judged.item.id,
        number=judged.item.number,
        source=judged.item.source,
        verdict=judged.verdict,
        part=patterns.needles[best.candidate.needle].part if best else None,
        match=best.kind if best else None,
        similarity=best.similarity if best else None,
        coverage=best.coverage if best else None,
        documents=documents_of(best, scan) if best else None,
        evidence=best.candidate.source if best else None,
        rules=_fired(judged),
    )
