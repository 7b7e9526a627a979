"""Cuts a text file into documents: paragraphs, blocks of paragraphs, or lines.

Every slice is an exact substring of the file. What lies between slices belongs to none: blank lines
between paragraphs, and the line end of a slice's last line (a carriage return before it included).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from memaudit.errors import InputError
from memaudit.text.corpus.containers import MAX_RECORD

Cut = Literal["file", "paragraph", "block", "line"]

BLOCK = 1_000
"""Characters that a block has at least."""
LONGEST_PARAGRAPH = 4_000
"""A paragraph of more characters is cut at line ends, a line of more characters at white space."""

_PIECE_BYTES = 100
"""What a piece costs beside its text: a run of a hundred million line ends must not fill the memory."""
_SPACE = re.compile(r"\s")


class Slice(NamedTuple):
    """A piece of a text file and its first and last line (from 1)."""

    text: str
    first: int
    last: int
    column: int = 1
    """Character of the first line at which the piece starts (from 1)."""


def split_text(lines: Iterator[str], cut: Cut, name: str) -> Iterator[Slice]:
    r"""Yield the slices of a text.

    Args:
        lines: The lines of one file without their ``\n``.
        cut: ``paragraph``: lines between blank lines; ``block``: whole paragraphs joined until they
            have at least 1,000 characters (the last block may have fewer), a paragraph over 4,000 cut
            at line ends and a line over 4,000 at white space (after 4,000 where there is none);
            ``line``: every line, blank ones too.
        name: The file, for messages.
    """
    pieces = (Slice(line, number, number) for number, line in enumerate(lines, start=1))
    if cut == "line":
        return (piece._replace(text=piece.text.removesuffix("\r")) for piece in pieces)
    return _paragraphs(pieces, name) if cut == "paragraph" else _blocks(pieces, name)


class _Draft:
    """Consecutive pieces that will become one slice; blank ones in front are left out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pieces: list[Slice] = []
        self.size = 0
        """Characters of the pieces and the line ends between them."""

    def add(self, piece: Slice) -> None:
        if not self.pieces and _blank(piece):
            return
        new_line = bool(self.pieces) and piece.first != self.pieces[-1].last
        self.size += len(piece.text) + new_line
        self.pieces.append(piece)
        if self.size + _PIECE_BYTES * len(self.pieces) > MAX_RECORD:
            raise InputError(f"{self.name}:{self.pieces[0].first}: document over {MAX_RECORD:,} bytes")

    def is_full(self) -> bool:
        """Return whether the slice is long enough for a block and ends in text."""
        if not self.pieces or _blank(self.pieces[-1]):
            return False
        return self.size - self.pieces[-1].text.endswith("\r") >= BLOCK

    def take(self) -> Slice:
        """Return the slice from the first to the last piece that is not blank, and start anew."""
        pieces, self.pieces, self.size = self.pieces, [], 0
        while _blank(pieces[-1]):
            pieces.pop()
        parts = [pieces[0].text]
        for before, piece in pairwise(pieces):
            parts.append(piece.text if piece.first == before.last else f"\n{piece.text}")
        return Slice("".join(parts).removesuffix("\r"), pieces[0].first, pieces[-1].last, pieces[0].column)

    def cut(self) -> Iterator[Slice]:
        """Yield slices as soon as they have ``BLOCK`` characters; keep the rest."""
        pieces, self.pieces, self.size = self.pieces, [], 0
        for piece in pieces:
            self.add(piece)
            if self.is_full():
                yield self.take()


def _paragraphs(lines: Iterator[Slice], name: str) -> Iterator[Slice]:
    draft = _Draft(name)
    for line in lines:
        if not _blank(line):
            draft.add(line)
        elif draft.pieces:
            yield draft.take()
    if draft.pieces:
        yield draft.take()


def _blocks(lines: Iterator[Slice], name: str) -> Iterator[Slice]:
    draft = _Draft(name)
    paragraph = 0
    for line in lines:
        if not _blank(line):
            paragraph += len(line.text)
            for piece in _cut_line(line):
                draft.add(piece)
            if paragraph > LONGEST_PARAGRAPH:
                yield from draft.cut()
            continue
        if draft.is_full():
            yield draft.take()
        else:
            draft.add(line)
        paragraph = 0
    if draft.pieces:
        yield draft.take()


def _cut_line(line: Slice) -> Iterator[Slice]:
    """Yield the pieces of a line that is too long; white space at a cut starts the next piece."""
    text, start = line.text, 0
    while len(text) - start > LONGEST_PARAGRAPH:
        space = _SPACE.search(text, start + BLOCK, start + LONGEST_PARAGRAPH)
        end = space.start() if space else start + LONGEST_PARAGRAPH
        yield line._replace(text=text[start:end], column=start + 1)
        start = end
    yield line._replace(text=text[start:], column=start + 1)


def _blank(piece: Slice) -> bool:
    return not piece.text or piece.text.isspace()
