"""The page of a reconstruction: where in the work, and the work and the output side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.report.alignment import Piece, number_edits
from memaudit.report.charts.reconstruction_chart import reconstruction_chart
from memaudit.report.page import render_page
from memaudit.report.sections import shown_sections
from memaudit.report.wording import counted
from memaudit.runs.directory import ReportInput
from memaudit.runs.reconstruction_report import ReconstructedWork, ReconstructionReport, SideBySide

MAX_BYTES = 2_000_000
"""Of a page: it must still open in a browser, and fit into a mail. Passages are left out above it."""
FEWER = (1.0, 0.5, 0.25, 0.1, 0.0)
"""Shares of the passages that are tried, one after the other, until a page is small enough."""
LONGEST = 6_000
"""Characters of one text of one piece: words may be of any length."""
PROSE = 50
"""Characters that the middle one of the lines of a text has, from which its line ends are those of a page and not of
the text: they are shown as spaces."""
_LINE_END = re.compile(r"(?<!\n)\n(?!\n)")
Side = list[Piece]


@dataclass(frozen=True, slots=True)
class Pair:
    """The same part of both texts."""

    work: Side
    output: Side


@dataclass(frozen=True, slots=True)
class Shown:
    """A piece of work and output as the page shows it."""

    item: SideBySide
    title: str
    pairs: list[Pair]
    """None where texts are withheld; two of a passage of which the middle is left out."""


@dataclass(frozen=True, slots=True)
class Book:
    """A work and what was written of it."""

    work: ReconstructedWork
    shown: list[Shown]
    left_out: int
    """Passages whose text the page does not show."""


def render(run: ReportInput[ReconstructionReport], title: str) -> bytes:
    """Return the page: the same report gives the same bytes."""
    report = run.report
    sections = shown_sections(report["sections"], "run")
    chart = reconstruction_chart(report["works"], "places")
    for share in FEWER:
        books = [_book(work, share) for work in report["works"]]
        page = render_page(
            "reconstruction.html.j2",
            title,
            report["provenance"]["versions"],
            report=report,
            sections=sections,
            chart=chart,
            books=books,
            text_shown=run.shown.text,
        ).encode("utf-8")
        if len(page) <= MAX_BYTES:
            break
    return page


def _book(work: ReconstructedWork, share: float) -> Book:
    """Return a work with so many of the passages that its report quotes: the longest."""
    passages = [item for item in work["side_by_side"] if item["kind"] == "passage"]
    longest = sorted(range(len(passages)), key=lambda i: (-passages[i]["place"]["words"], i))
    kept = {id(passages[i]) for i in longest[: int(share * len(passages))]}
    items = [item for item in work["side_by_side"] if item["kind"] != "passage" or id(item) in kept]
    left_out = work["side_left_out"] + len(passages) - len(kept)
    return Book(work, [_shown(item) for item in items], left_out)


def _shown(item: SideBySide) -> Shown:
    sides = [(item["work_text"], item["output_text"]), (item["work_end"], item["output_end"])]
    pairs = []
    for work, output in sides:
        if work or output:
            ours, theirs = number_edits(output or [], work or [])
            pairs.append(Pair(*(_laid_out(pieces) for pieces in (theirs, ours))))
    return Shown(item, _title(item), pairs)


def _title(item: SideBySide) -> str:
    place = item["place"]
    words, first = place["words"], place["word"] + 1
    if item["kind"] == "gap":
        missing = f"{counted(words, 'word')} of the work not had back" if words else ""
        written = counted(item["output_words"], "word")
        written = f"{written} written that the work does not have here" if item["output_words"] else "nothing written"
        return "; ".join(filter(None, (missing, written)))
    where = f"line {place['line']:,}, words {first:,}–{first + words - 1:,}"
    return f"Given: {where}" if item["kind"] == "given" else f"Had back: {where}"


def _laid_out(pieces: Sequence[Piece]) -> Side:
    """Return pieces of a text as the page shows them: as lines of its own width, and not too long."""
    whole = "".join(piece.text for piece in pieces)
    lengths = sorted(len(line) for line in whole.split("\n") if line.strip())
    if len(lengths) > 2 and lengths[len(lengths) // 2] >= PROSE:
        pieces = [piece._replace(text=_LINE_END.sub(" ", piece.text)) for piece in pieces]
    shown, left = [], LONGEST
    for piece in pieces:
        if left <= 0:
            break
        shown.append(piece._replace(text=piece.text[:left]))
        left -= len(piece.text)
    if left < 0:
        shown.append(Piece(f"… {counted(len(whole) - LONGEST, 'character')} …", "left out"))
    return shown
