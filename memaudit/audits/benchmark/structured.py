"""A benchmark in a text file that is no list of texts: tables are read as such, other notations are refused by name.

In a corpus such a file is text like any other. As a benchmark its lines would be searched for as they are written, with
marks and all cells of a row at once, and found nowhere.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Iterator
from itertools import islice

from memaudit.audits.benchmark.layouts import LAYOUTS
from memaudit.errors import InputError
from memaudit.text.corpus.formats import Format
from memaudit.text.corpus.sniff import AS_TEXT, head_of
from memaudit.text.corpus.specs import CorpusFile, Source

ROWS = 20
"""Rows of a table that are looked at, its header among them."""
_DELIMITERS: tuple[tuple[str, Format], ...] = ((",", "csv"), ("\t", "tsv"), (";", "csv"), ("|", "csv"))
_COLUMNS = {column.split(".")[-1] for layout in LAYOUTS for column in layout.columns.split() if len(column) > 1}
_NAME = re.compile(r"\s*[^\W\d][\w .()-]{0,40}\s*")
_NOTATIONS = (
    ("a web page or XML", re.compile(r"\s*<(?:\?xml|!doctype|html|table|[a-z][\w-]*>\s*<)", re.I)),
    ("a table of Markdown", re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{3,}:?[ \t]*\|)+[ \t]*(?::?-{3,}:?)?[ \t]*$", re.M)),
    ("statements of SQL", re.compile(r"^\s*INSERT\s+INTO\s", re.I | re.M)),
    ("a program", re.compile(r"^\s*\w+\s*=\s*[\[{]\s*$|^\s*\w+\s*=\s*[\[{(]\s*[\[{(]", re.M)),
    ("TOML", re.compile(r"\A(?:\s*#.*\n)*\s*\[\[?[\w.-]+\]\]?\s*$", re.M)),
    (
        "YAML",
        re.compile(r"\A\s*-[ \t]+[A-Za-z_]\w*[ \t]*:(?:[ \t].*)?\n(?:[ \t]+\S.*\n)+\s*-[ \t]+[A-Za-z_]\w*[ \t]*:"),
    ),
)


def as_items(source: Source) -> Source:
    """Return the file as what a benchmark in it is written in.

    Raises:
        InputError: It is text in a notation that is not read.
    """
    if not isinstance(source, CorpusFile) or source.format != "text" or source.as_written:
        return source
    text = head_of(source.open())
    if found := _table(text):
        return dataclasses.replace(source, format=found, by_content=True)
    for name, notation in _NOTATIONS:
        if notation.search(text):
            raise InputError(f"{source}: {name}, no list of items", f"write its items as JSON lines, or {AS_TEXT}")
    return source


def _table(text: str) -> Format | None:
    """Return the format of a table whose header names columns that items have; None if it is none."""
    for delimiter, name in _DELIMITERS:
        try:
            header, *rows = islice(_rows(text, delimiter), ROWS)
        except (ValueError, csv.Error):
            continue
        named = {cell.strip().casefold().replace(" ", "_") for cell in header}
        known = len(named) > 1 and named & _COLUMNS and all(map(_NAME.fullmatch, header))
        if known and rows and all(len(row) == len(header) for row in rows):
            return name
    return None


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows that are there whole; what the head cuts off may be half a row."""
    lines = text.split("\n")
    rows = csv.reader(lines[:-1] if len(lines) > 2 else lines, delimiter=delimiter)
    return (row for row in rows if row)
