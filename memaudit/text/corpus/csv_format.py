"""A strict reader of CSV and TSV: quotes are closed, rows are as long as the header, cells stay as they are."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from memaudit.errors import InputError
from memaudit.text.corpus.containers import MAX_RECORD
from memaudit.text.corpus.rows import RecordError, Row, not_utf8

CELL_LINES = 1_000_000
"""Lines of a cell of a table; a quote that is closed nowhere would take the rest of any file for one."""

NameColumns = Callable[[list[str]], list[str] | None]
"""The cells of a first row to the names of the columns, or None if the cells are the names."""


def read_csv(
    lines: Iterable[bytes], name: str, delimiter: str, name_columns: NameColumns | None = None
) -> Iterator[Row]:
    """Yield the rows of a table; see `memaudit.text.corpus.formats.read_rows`."""
    csv.field_size_limit(MAX_RECORD)
    lines, delimiter, number = _delimited(lines, delimiter)
    source = _CsvLines(lines, number)
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        first = source.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise source.error(name, str(error)) from error
        problem = source.take_problem()
        if not cells:
            yield str(first), None
            continue
        if header is None:
            header = name_columns(cells) if name_columns else None
            if header is None:
                header = _checked_header(cells, problem, f"{name}:{first}")
                continue
        if problem:
            yield str(first), problem
        elif len(cells) != len(header):
            yield str(first), RecordError(f"{_fields(len(cells))}, the header has {len(header)}")
        else:
            yield str(first), dict(zip(header, cells, strict=True))


def _delimited(lines: Iterable[bytes], usual: str) -> tuple[Iterator[bytes], str, int]:
    """Return the lines of a table, what stands between its cells, and how many lines were taken off.

    The first line says it: as spreadsheets write it (``sep=;``), or by what it holds where it does not hold the usual.
    """
    lines = iter(lines)
    blank: list[bytes] = []
    for line in lines:
        said = re.fullmatch(rb"sep=([^\r\n\"\w])\r?", line)
        if said and not blank:
            return lines, said[1].decode("latin-1"), 1
        blank.append(line)
        if line.strip():
            break
    first = blank[-1].decode("utf-8", "replace") if blank else ""
    found = usual if usual in first else next((mark for mark in ";\t|," if mark in first), usual)
    return chain(blank, lines), found, 0


class _CsvLines:
    """Lines for ``csv.reader``, which remembers where a quote was opened and which bytes were no UTF-8."""

    def __init__(self, lines: Iterable[bytes], number: int = 0) -> None:
        self.number = number
        self.opened = 0
        """Line on which the quote that is open now was opened; 0: none is."""
        self._lines = iter(lines)
        self._problem: RecordError | None = None
        self._ended = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if line.count(b'"') % 2:
                self.opened = 0 if self.opened else self.number
            if self.opened and self.number - self.opened > CELL_LINES:
                raise csv.Error(f"a cell of more than {CELL_LINES:,} lines")
            try:
                yield line.decode() + "\n"
            except UnicodeDecodeError as error:
                self._problem = self._problem or not_utf8(error)
                yield line.decode(errors="replace") + "\n"
        self._ended = True

    def take_problem(self) -> RecordError | None:
        """Return what was wrong with the lines of the record just read, and begin the next."""
        problem, self._problem, self.opened = self._problem, None, 0
        return problem

    def error(self, name: str, reason: str) -> InputError:
        """Return the error for a quote that is open, or closed at the wrong place."""
        if self._ended:
            return InputError(f"{name}:{self.opened or self.number}: quote opened here is never closed")
        hint = f"the quote was opened on line {self.opened}" if self.opened else ""
        if reason.startswith("new-line"):
            hint = "a line ends in CR alone: write CRLF or LF"
        return InputError(f"{name}:{self.number}: not valid CSV ({reason})", hint)


def _checked_header(cells: list[str], problem: RecordError | None, place: str) -> list[str]:
    if problem:
        raise InputError(f"{place}: {problem.message}", problem.hint)
    twice = [cell for cell in cells if cells.count(cell) > 1]
    if twice:
        raise InputError(f'{place}: column "{twice[0]}" appears twice in the header')
    return cells


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"
