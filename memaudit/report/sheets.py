"""Exhibits for paper: one a page, each with all that a reader needs to judge it and to repeat it.

A browser does not say on how many pages it prints what belongs together, so that sheets are laid out here: blocks of
text are put on pages by an estimate of their height that errs on the safe side, and every page says which it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unicodedata import east_asian_width

from memaudit.errors import InputError
from memaudit.records import Shown, WindowRecord
from memaudit.report import wording
from memaudit.report.alignment import Piece
from memaudit.report.exhibits import Exhibit, Exhibited
from memaudit.report.kinds import kind_of
from memaudit.report.page import render_page
from memaudit.runs.directory import ReportInput, read_finished
from memaudit.runs.files import write_atomic

FILE = "exhibits.html"
LINES = 36
"""Of text, that a page holds beside its heading, on the shorter of A4 and US letter."""
WHOLE, HALF = 86, 38
"""Characters of a line over the whole page, and in one of two columns."""
HEAD = 3
"""Lines of what stands around a block of text."""
FACT = 0.95
"""Height of a line of facts, whose letters are smaller, in lines of text."""
_WORD = re.compile(r"\S*\s*")


class Block(NamedTuple):
    """What is not broken between two pages."""

    kind: Literal["prompt", "pair", "facts"]
    shown: Exhibit
    """With as much of the texts as the block holds."""
    height: float
    """In lines."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One printed page of an exhibit."""

    exhibit: Exhibit
    blocks: Sequence[Block]
    page: int
    """From 1."""
    pages: int
    facts: Sequence[tuple[str, str]]


def write_exhibits(folder: Path, labels: Sequence[str], shown: Shown) -> Path:
    """Write the named exhibits of a finished run into its folder, and return the path of the file.

    Args:
        folder: The run directory.
        labels: As the page of the run calls them: ``A1``.
        shown: What may be shown of the run's texts.

    Raises:
        RunError: The run never came to a report.
        InputError: There is no such exhibit, or runs of that kind have none.
    """
    run = read_finished(folder)
    kind = kind_of(run.report)
    disclosed = kind.disclosed(run, shown)
    exhibited = kind.exhibited(disclosed)
    if exhibited is None:
        raise InputError(f"--exhibit: a run of kind '{kind.name}' has no exhibits", "extraction and work runs have")
    path = folder / FILE
    write_atomic(path, render(disclosed, exhibited, labels).encode("utf-8"))
    return path


def render(run: ReportInput[Any], exhibited: Exhibited, labels: Sequence[str]) -> str:
    """Return the page of some exhibits: the same run gives the same bytes.

    Raises:
        InputError: There is no such exhibit.
    """
    known = {shown.label: shown for gallery in exhibited.galleries for shown in gallery.exhibits}
    if missing := [label for label in labels if label not in known]:
        raise InputError(f"--exhibit {','.join(missing)}: not in this run", f"choose from {_ranges(exhibited)}")
    sheets = [sheet for label in labels for sheet in _sheets(run.report, exhibited, known[label])]
    return render_page(
        "sheets.html.j2",
        f"Exhibits {', '.join(labels)}",
        run.report["provenance"]["versions"],
        sheets=sheets,
        identity=run.report["provenance"]["identity"],
        texts=run.shown.text,
    )


def _ranges(exhibited: Exhibited) -> str:
    found = [gallery.exhibits for gallery in exhibited.galleries if gallery.exhibits]
    ends = [(some[0].label, some[-1].label) for some in found]
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in ends) or "none: it has none"


def _sheets(report: Mapping[str, Any], exhibited: Exhibited, exhibit: Exhibit) -> list[Sheet]:
    facts = list(_facts(report, exhibited, exhibit))
    pages = _pages([*_texts(exhibit), Block("facts", exhibit, _facts_height(facts))])
    return [Sheet(exhibit, blocks, page, len(pages), facts) for page, blocks in enumerate(pages, 1)]


def _pages(blocks: Sequence[Block]) -> list[list[Block]]:
    """Put blocks on pages, one after the other."""
    pages: list[list[Block]] = [[]]
    left = float(LINES)
    for block in blocks:
        if pages[-1] and block.height > left:
            pages.append([])
            left = float(LINES)
        pages[-1].append(block)
        left -= block.height
    return pages


def _texts(exhibit: Exhibit) -> Iterator[Block]:
    """Yield what was asked, and continuation and true text side by side, each in blocks that fit on a page."""
    if exhibit.said_before is None:
        yield Block("prompt", exhibit, HEAD + _lines(exhibit.prompt, WHOLE))
    for turn in exhibit.said_before or ():
        yield Block("prompt", replace(exhibit, said_before=[turn]), HEAD + _lines(turn.pieces, WHOLE))
    said, truth = _cut(exhibit.said), _cut(exhibit.truth)
    for ours, theirs in zip_longest(said, truth, fillvalue=[Piece("")]):
        height = max(_lines(ours or (), HALF), _lines(theirs or (), HALF))
        yield Block("pair", replace(exhibit, said=ours, truth=theirs or []), HEAD + height)


def _cut(pieces: list[Piece] | None) -> list[list[Piece] | None]:
    """Return the pieces of a text, those of every page in a list; words and edits stay whole."""
    if not pieces:
        return [pieces]
    pages: list[list[Piece] | None] = []
    page: list[Piece] = []
    for piece in pieces:
        whole = piece.kind not in ("plain", "copied")
        for word in [piece.text] if whole else _WORD.findall(piece.text):
            if page and _lines([*page, Piece(word)], HALF) > LINES - 2 * HEAD:
                pages.append(page)
                page = []
            if page and not whole and page[-1].kind == piece.kind:
                page[-1] = piece._replace(text=page[-1].text + word)
            else:
                page.append(piece._replace(text=word))
    return [*pages, page]


def _facts_height(facts: Sequence[tuple[str, str]]) -> float:
    return 1 + FACT * sum(_lines([Piece(value)], WHOLE) for _, value in facts)


def _lines(pieces: Sequence[Piece], width: int) -> float:
    text = "".join(piece.text for piece in pieces)
    wide = (sum(2 if east_asian_width(sign) in "WF" else 1 for sign in line) for line in text.split("\n"))
    return float(sum(max(1, math.ceil(signs / width)) for signs in wide))


def _facts(report: Mapping[str, Any], exhibited: Exhibited, exhibit: Exhibit) -> Iterator[tuple[str, str]]:
    """Yield what must be known of an exhibit, each as (name, value)."""
    model, provenance = report["model"], report["provenance"]
    yield "Question", exhibited.question
    yield "Place", exhibit.place
    for name, digest in _digests(exhibited.texts, exhibit.record):
        yield "Text", f"{name}, sha256 {digest}"
    yield "Rank", exhibit.standing.in_full
    if exhibit.probability:
        yield "Probability of the true text", exhibit.probability
    if exhibit.copies:
        yield "Copies", f"the true text {exhibit.copies}"
    size = f", {model['parameters']:,} parameters" if model["parameters"] else ""
    yield "Model", f"{model['name']}, {wording.family(model['family'])}{size}, {model['objective']} objective"
    yield "Digest of the model", f"sha256 {model['sha256']}"
    yield "Decoding", f"{exhibited.decoding}; seed {report['options']['seed']}"
    yield "Start token", wording.asked_with(model) or _start_token(model)
    yield "Versions", ", ".join(f"{name} {version}" for name, version in sorted(provenance["versions"].items()))
    yield "Command", provenance["command"]
    for told in provenance.get("set_elsewhere", ()):
        yield "Set elsewhere", told
    yield "Run", provenance["identity"]


def _start_token(model: Mapping[str, Any]) -> str:
    """Return what an older run says of the token before a text."""
    if model["start_token"] is None:
        return "The model names no token that stands before a text."
    return f"The model is given each text behind its start token, id {model['start_token']}."


def _digests(texts: Mapping[str, str], record: WindowRecord) -> list[tuple[str, str]]:
    """Return the text that a window is from, and its digest; the first ones where it names none."""
    own = [(n, sha256) for n, sha256 in texts.items() if record.source.startswith(f"{n}:") or n == record.document]
    return own or list(texts.items())[:3]
