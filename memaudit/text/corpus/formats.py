"""Strict readers of JSON lines, JSON documents, CSV, TSV, Parquet, Arrow, WARC, text and Hugging Face data sets.

Each yields one row per physical record: where it stands, and its fields as they are, or why it cannot
be used. Nothing is converted: the cell ``NA`` is the text ``NA``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, NoReturn

from memaudit.errors import InputError
from memaudit.text.corpus.columns import read_arrow, read_parquet
from memaudit.text.corpus.containers import MAX_RECORD, ByteStream, split_lines
from memaudit.text.corpus.rows import RecordError, Row, not_utf8
from memaudit.text.corpus.split import Cut, split_text
from memaudit.text.corpus.warc import read_warc

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "warc", "text"]

CELL_LINES = 1_000_000
"""Lines of a cell of a table; a quote that is closed nowhere would take the rest of any file for one."""


NameColumns = Callable[[list[str]], list[str] | None]
"""The cells of a first row to the names of the columns, or None if the cells are the names."""


def read_rows(
    stream: ByteStream,
    file_format: Format,
    cut: Cut,
    text_field: str,
    labels: Collection[str] | None,
    name_columns: NameColumns | None = None,
) -> Iterator[Row]:
    """Yield the rows of one file.

    Args:
        stream: The file; its digest is complete after the last row.
        file_format: How its bytes are read.
        cut: How a text file is cut into documents.
        text_field: The field that holds the text; slices of a text file appear under this name.
        labels: The other fields that are wanted; Parquet and Arrow files leave the rest unread. None: all fields.
        name_columns: Told the first row of a CSV or TSV file, returns the names of its columns if that row is
            a record already, or None if it is the header; by default it is the header.

    Raises:
        InputError: The file as a whole cannot be read, or what is lost in it cannot be determined.
    """
    if file_format in {"parquet", "arrow"}:
        read = read_parquet if file_format == "parquet" else read_arrow
        return read(stream, None if labels is None else {text_field, *labels})
    if file_format == "warc":
        return read_warc(stream, text_field)
    if file_format == "text":
        return _read_text(stream, cut, text_field)
    if file_format == "json":
        return _read_json(stream)
    lines = split_lines(iter(stream), stream.name)
    if file_format == "jsonl":
        return _read_jsonl(lines)
    return _read_csv(lines, stream.name, "," if file_format == "csv" else "\t", name_columns)


def _read_jsonl(lines: Iterable[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        try:
            yield str(number), parse_object(line) if line.strip(b" \t\r") else None
        except RecordError as problem:
            yield str(number), problem


def parse_object(line: bytes) -> Mapping[str, Any]:
    """Return the fields of one line of JSON lines; RecordError if it is not one strict JSON object."""
    try:
        value = _DECODER.decode(line.decode())
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    except json.JSONDecodeError as error:
        raise RecordError(f"not valid JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise RecordError("JSON nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise RecordError("holds a whole number of more than 4,300 digits") from error
    return _checked_object(value, b"\\ud" in line or b"\\uD" in line)


def _checked_object(value: Any, surrogates: bool) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"{json_type(value)}, expected an object with fields")
    if surrogates:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise RecordError("lone surrogate", "half of a character, written as \\ud800 to \\udfff") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f'field "{twice}" appears twice in one object')
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"not valid JSON ({name} is no JSON value)")


# Not strict: raw control characters inside strings, which crawled text holds, are kept as they are.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, strict=False)


def json_type(value: object) -> str:
    """Return the JSON name of a value's type, with its article where it has one."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {list: "an array", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def _read_json(stream: ByteStream) -> Iterator[Row]:
    """Read a JSON array of objects, or objects that follow each other, each on as many lines as it likes."""
    data = _joined(stream, stream.name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        problem = not_utf8(error)
        raise InputError(f"{stream.name}:{_line_of(error)}: {problem.message}", problem.hint) from error
    surrogates = "\\ud" in text or "\\uD" in text
    line, line_start, last_line = 1, 0, 0
    for at, value in json_elements(text, stream.name):
        newlines = text.count("\n", line_start, at)
        if newlines:
            line, line_start = line + newlines, text.rindex("\n", 0, at) + 1
        place = f"{line}:{at - line_start + 1}" if line == last_line else str(line)
        last_line = line
        try:
            yield place, _checked_object(value, surrogates)
        except RecordError as problem:
            yield place, problem


def json_elements(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Yield where each element of a JSON array begins, and what it is; without an array, each value.

    Values that follow each other may be set apart by white space and by the separator of RFC 7464.
    """
    at = _skip_space(text, 0)
    is_array = text[at : at + 1] == "["
    at = _skip_space(text, at + 1) if is_array else at
    while at < len(text) and not (is_array and text[at] == "]"):
        start = at
        value, at = _element(text, at, name)
        yield start, value
        at = _skip_space(text, at)
        if is_array:
            if text[at : at + 1] not in {",", "]"}:
                raise _broken(text, start, name, "neither a comma nor ] after this record")
            comma = text[at] == ","
            at = _skip_space(text, at + 1) if comma else at
            if comma and text[at : at + 1] == "]":
                raise _broken(text, at, name, "no record after the last comma")
    if is_array and at == len(text):
        raise _broken(text, at, name, "the array does not end")
    if is_array and _skip_space(text, at + 1) != len(text):
        raise InputError(f"{name}: not valid JSON (text after the end of the array)")


def _broken(text: str, at: int, name: str, reason: str) -> InputError:
    return InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: not valid JSON ({reason})")


def _element(text: str, at: int, name: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecordError as error:
        problem = InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: {error.message}", error.hint)
        raise problem from error
    except json.JSONDecodeError as error:
        raise _broken(text, at, name, f"{error.msg} in the record that starts here") from error
    except RecursionError as error:
        raise InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: JSON nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise _broken(text, at, name, str(error)) from error


def _skip_space(text: str, at: int) -> int:
    found = _JSON_SPACE.match(text, at)
    return found.end() if found else at


_JSON_SPACE = re.compile(r"[ \t\r\n\x1e]*")


def _read_csv(
    lines: Iterable[bytes], name: str, delimiter: str, name_columns: NameColumns | None = None
) -> Iterator[Row]:
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


def _read_text(stream: ByteStream, cut: Cut, text_field: str) -> Iterator[Row]:
    if cut == "file":
        try:
            yield "", {text_field: _joined(stream, stream.name).decode()}
        except UnicodeDecodeError as error:
            yield str(_line_of(error)), not_utf8(error)
        return
    problems: dict[int, RecordError] = {}
    chunks = iter(stream)
    first = next(chunks, b"")
    if cut != "block" and b"\n" not in first and first.count(b"\r") > 1:
        raise InputError(f"{stream.name}: its lines end in CR alone", "write CRLF or LF, or take the file as a whole")

    def decoded() -> Iterator[str]:
        for number, line in enumerate(split_lines(chain([first], chunks), stream.name), start=1):
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                problems[number] = not_utf8(error)
                yield line.decode(errors="replace")

    for piece in split_text(decoded(), cut, stream.name):
        bad = next((number for number in problems if piece.first <= number <= piece.last), None)
        place = f"{piece.first}:{piece.column}" if piece.column > 1 else str(piece.first)
        if bad is None:
            yield place, {text_field: piece.text}
        else:
            yield str(bad), problems[bad]
            for number in [number for number in problems if number < piece.last]:
                del problems[number]


class HubStream:
    """The rows of a data set of the Hugging Face hub, from the local cache where it is there.

    ``sha256`` and ``bytes`` are of the fields that were read, as JSON, one row after the other.
    """

    def __init__(self, dataset: str, config: str, split: str) -> None:
        self.name = f"hf:{dataset}:{config}:{split}"
        self.bytes = 0
        self._arguments = (dataset, config or None, split)
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the rows read so far."""
        return self._hash.hexdigest()

    def rows(self, columns: Collection[str]) -> Iterator[Row]:
        """Yield the rows, wanted columns only; InputError if the data set is not to be had."""
        table = self._load()
        present = [column for column in table.column_names if column in columns]
        for row, fields in enumerate(self._fields(table.select_columns(present or table.column_names)), start=1):
            data = json.dumps(fields, default=str, sort_keys=True).encode()
            self._hash.update(data)
            self.bytes += len(data)
            yield str(row), fields

    def _fields(self, table: Any) -> Iterator[dict[str, Any]]:
        try:
            yield from table
        except (ArithmeticError, ValueError) as error:  # a date that Python does not have
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(
                f"{self.name}: a row cannot be read: {reason}", "save it as Parquet and name that"
            ) from error

    def _load(self) -> Any:
        os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
        import datasets

        dataset, config, split = self._arguments
        try:
            return datasets.load_dataset(dataset, config, split=split)
        except Exception as error:  # whatever its many storage back ends raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            hint = "fetch it on a machine with network, or name a local .jsonl or .parquet file instead"
            problem = f"{self.name}: not in the local cache and not to be had: {reason}"
            raise InputError(problem, hint) from error


def _joined(chunks: Iterable[bytes], name: str) -> bytes:
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_RECORD:
            raise InputError(f"{name}: document over {MAX_RECORD:,} bytes", "cut it, or use JSON lines")
    return bytes(data)


def _line_of(error: UnicodeDecodeError) -> int:
    return error.object.count(b"\n", 0, error.start) + 1
