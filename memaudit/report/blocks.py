"""Paragraphs and tables of a summary, before any format: words with an emphasis, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Words(NamedTuple):
    """A piece of text; whatever stands in it is shown as it is."""

    text: str
    style: Literal["", "strong", "code"] = ""
    """``code`` for what data named: there, names of people and numbers of issues are no links either."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph, in pieces."""

    pieces: Sequence[Words]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of words."""

    head: Sequence[str]
    rows: Sequence[Sequence[Words]]


Block = Paragraph | Grid


def paragraph(text: str) -> Paragraph:
    """Return a paragraph of plain words."""
    return Paragraph([Words(text)])


def plain(cells: Sequence[str]) -> list[Words]:
    """Return cells of plain words."""
    return [Words(cell) for cell in cells]
