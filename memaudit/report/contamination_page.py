"""The report of a contamination check: which items stand in the corpus, and each beside the document that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memaudit.report.alignment import Piece, number_edits
from memaudit.report.charts.likeness_chart import likeness_chart
from memaudit.report.contamination_wording import MATCHES, and_others, policy_words, worst_first
from memaudit.report.page import render_page
from memaudit.report.wording import counted
from memaudit.runs.contamination_report import ContaminationReport, CopiedSpan, Evidence, ItemFinding
from memaudit.runs.directory import ReportInput

EXHIBITS = {"new": 24, "accepted": 6}
"""Items shown side by side with their documents; the others are rows of a table."""
LISTED = 500
"""Rows of a table; report.json holds all."""
SPANS = 6
FILES = 20
CONTEXT = {"item": 800, "corpus": 240}
"""Characters of uncopied text that are shown beside a copied span."""
COPIED = 2000
"""Characters of one copied span that are shown."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An item beside a passage of one document."""

    evidence: Evidence
    item: list[Piece] | None
    """None where texts are not shown."""
    corpus: list[Piece] | None
    indented: bool
    """Whether the layout of the lines carries meaning, as in code."""
    spans: Sequence[CopiedSpan]
    more_spans: int


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A contaminated item with its evidence."""

    id: str
    """Anchor on the page."""
    finding: ItemFinding
    pairs: list[Pair]
    rules: list[str]
    """Labels of the published rules that fire."""


def render_run(run: ReportInput[ContaminationReport], title: str) -> bytes:
    """Return the page of a contamination check: the same report gives the same bytes."""
    report = run.report
    labels = {estimate["metric"]: estimate["label"] for estimate in report["estimates"]}
    ordered = worst_first(report["findings"])
    groups = {
        "new": [finding for finding in ordered if not finding["accepted"]],
        "accepted": [finding for finding in ordered if finding["accepted"]],
    }
    exhibits = {
        name: [_exhibit(f"{name}-{i}", finding, labels) for i, finding in enumerate(found[: EXHIBITS[name]], 1)]
        for name, found in groups.items()
    }
    page = render_page(
        "contamination.html.j2",
        title,
        report["provenance"]["versions"],
        report=report,
        groups=groups,
        exhibits=exhibits,
        listed=LISTED,
        files=FILES,
        scores=report["scores"] or [],
        tolerated=policy_words(report["policy"]),
        matches=MATCHES,
        and_others=and_others,
        labels=labels,
        chart=likeness_chart(report["likeness"], labels, "likeness"),
    )
    return page.encode("utf-8")


def _exhibit(id: str, finding: ItemFinding, labels: Mapping[str, str]) -> Exhibit:
    pairs = [_pair(evidence) for evidence in finding["evidence"]]
    return Exhibit(id, finding, pairs, [labels.get(name, name) for name in finding["rules"]])


def _pair(evidence: Evidence) -> Pair:
    marked = evidence["item_pieces"], evidence["corpus_pieces"]
    texts = ["".join(text for text, _ in pieces or []) for pieces in marked]
    item, corpus = (None, None) if marked[0] is None or marked[1] is None else number_edits(marked[0], marked[1])
    return Pair(
        evidence,
        item and shorten(item, CONTEXT["item"]),
        corpus and shorten(corpus, CONTEXT["corpus"]),
        indented=any("\n  " in text or "\n\t" in text for text in texts),
        spans=[span for span in evidence["spans"] if span["text"] is not None][:SPANS],
        more_spans=max(0, len(evidence["spans"]) - SPANS),
    )


def shorten(pieces: Sequence[Piece], context: int) -> list[Piece]:
    """Return the pieces of a text as they are shown: long stretches are left out, and their length is said.

    Args:
        pieces: Of one text.
        context: Characters of uncopied text that are kept at each side of a copied span.
    """
    shown: list[Piece] = []
    for place, piece in enumerate(pieces):
        text, copied = piece.text, piece.kind == "copied"
        head = COPIED // 2 if copied else context if place else 0
        tail = COPIED // 2 if copied else context if place < len(pieces) - 1 else 0
        head = head or context * (tail == 0)
        hidden = len(text) - head - tail
        if hidden <= context or piece.kind == "edited":
            shown.append(piece)
        else:
            gap = Piece(f" … {counted(hidden, 'character')} … ", "left out")
            ends = piece._replace(text=text[:head]), gap, piece._replace(text=text[head + hidden :])
            shown += [end for end in ends if end.text]
    return shown
