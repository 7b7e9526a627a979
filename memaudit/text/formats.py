"""Strict readers of JSON lines, JSON arrays, CSV, TSV, Parquet, text and Hugging Face data sets.

Each yields one row per physical record: where it stands, and its fields as they are, or why it cannot
be used. Nothing is converted: the cell ``NA`` is the text ``NA``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Literal, NoReturn

from memaudit.errors import InputError
from memaudit.inputs import held_still
from memaudit.text.containers import MAX_RECORD, ByteStream, split_lines
from memaudit.text.split import Cut, split_text

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]


CELL_LINES = 1_000_000
"""Lines of a cell of a table; a quote that is closed nowhere would take the rest of any file for one."""


class RecordError(Exception):
    """Why one record cannot be used; the reader goes on after it where records may be skipped."""

    def __init__(self, message: str, hint: str = "correct the record, or leave it out") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


Row = tuple[str, Mapping[str, Any] | RecordError | None]
"""Place in the file (line, ``line:column``, row; empty for the whole file) and fields; None: blank line."""

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
        labels: The other fields that are wanted; only Parquet files leave the rest unread. None: all fields.
        name_columns: Told the first row of a CSV or TSV file, returns the names of its columns if that row is
            a record already, or None if it is the header; by default it is the header.

    Raises:
        InputError: The file as a whole cannot be read, or what is lost in it cannot be told.
    """
    if file_format == "parquet":
        return _read_parquet(stream, None if labels is None else {text_field, *labels})
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
        raise _not_utf8(error) from error
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
        raise RecordError(f'field "{twice}" stands twice in one object')
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
    """Read a JSON array of objects, or else JSON lines, whatever the file is called."""
    chunks = iter(stream)
    head = b""
    while not head.strip() and (chunk := next(chunks, None)) is not None:
        head += chunk
    chunks = chain([head], chunks)
    if head.lstrip().startswith(b"["):
        return _read_array(_joined(chunks, stream.name), stream.name)
    return _read_jsonl(split_lines(chunks, stream.name))


def _read_array(data: bytes, name: str) -> Iterator[Row]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        problem = _not_utf8(error)
        raise InputError(f"{name}:{_line_of(error)}: {problem.message}", problem.hint) from error
    surrogates = "\\ud" in text or "\\uD" in text
    line, line_start, last_line = 1, 0, 0
    at = _skip_space(text, _skip_space(text, 0) + 1)
    separator = text[at : at + 1]
    while separator != "]":
        newlines = text.count("\n", line_start, at)
        if newlines:
            line, line_start = line + newlines, text.rindex("\n", 0, at) + 1
        place = f"{line}:{at - line_start + 1}" if line == last_line else str(line)
        last_line = line
        value, at = _array_element(text, at, f"{name}:{place}")
        try:
            yield place, _checked_object(value, surrogates)
        except RecordError as problem:
            yield place, problem
        at = _skip_space(text, at)
        separator = text[at : at + 1]
        if separator not in {",", "]"}:
            raise InputError(f"{name}:{place}: not valid JSON (neither a comma nor ] after this record)")
        at = _skip_space(text, at + 1) if separator == "," else at
    if _skip_space(text, at + 1) != len(text):
        raise InputError(f"{name}: not valid JSON (text after the end of the array)")


def _array_element(text: str, at: int, place: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecordError as problem:
        raise InputError(f"{place}: {problem.message}", problem.hint) from problem
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not valid JSON ({error.msg} in the record that starts here)") from error
    except RecursionError as error:
        raise InputError(f"{place}: JSON nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{place}: not valid JSON ({error})") from error


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in _JSON_SPACE:
        at += 1
    return at


_JSON_SPACE = (" ", "\t", "\r", "\n")


def _read_csv(
    lines: Iterable[bytes], name: str, delimiter: str, name_columns: NameColumns | None = None
) -> Iterator[Row]:
    csv.field_size_limit(MAX_RECORD)
    source = _CsvLines(lines)
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


class _CsvLines:
    """Lines for ``csv.reader``, which remembers where a quote was opened and which bytes were no UTF-8."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.number = 0
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
                self._problem = self._problem or _not_utf8(error)
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
        return InputError(f"{name}:{self.number}: not valid CSV ({reason})", hint)


def _checked_header(cells: list[str], problem: RecordError | None, place: str) -> list[str]:
    if problem:
        raise InputError(f"{place}: {problem.message}", problem.hint)
    twice = [cell for cell in cells if cells.count(cell) > 1]
    if twice:
        raise InputError(f'{place}: column "{twice[0]}" stands twice in the header')
    return cells


def _fields(count: int) -> str:
    return f"{count} field" if count == 1 else f"{count} fields"


def _read_text(stream: ByteStream, cut: Cut, text_field: str) -> Iterator[Row]:
    if cut == "file":
        try:
            yield "", {text_field: _joined(stream, stream.name).decode()}
        except UnicodeDecodeError as error:
            yield str(_line_of(error)), _not_utf8(error)
        return
    problems: dict[int, RecordError] = {}

    def decoded() -> Iterator[str]:
        for number, line in enumerate(split_lines(iter(stream), stream.name), start=1):
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                problems[number] = _not_utf8(error)
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


def _read_parquet(stream: ByteStream, columns: Collection[str] | None) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with held_still(stream.name):
            table = parquet.ParquetFile(stream.name)  # first: what is no Parquet is not read to its end
            for _ in stream.raw():
                pass  # hashes the bytes
            if twice := [name for name, count in Counter(table.schema_arrow.names).items() if count > 1]:
                raise InputError(f'{stream.name}: column "{twice[0]}" stands twice', "rename one of them")
            present = [name for name in table.schema_arrow.names if columns is None or name in columns]
            row = 0
            for batch in table.iter_batches(batch_size=1024, columns=present or table.schema_arrow.names):
                for fields in _batch_rows(batch):
                    row += 1
                    yield str(row), fields
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{stream.name}: not a readable Parquet file", reason) from error
    except OSError as error:
        raise InputError(f"{stream.name}: {error.strerror or error}") from error


def _batch_rows(batch: Any) -> Iterator[Mapping[str, Any] | RecordError]:
    for index in range(batch.num_rows):
        try:
            yield {name: batch[name][index].as_py() for name in batch.schema.names}
        except UnicodeDecodeError as error:
            yield _not_utf8(error)


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
        for row, fields in enumerate(table.select_columns(present or table.column_names), start=1):
            data = json.dumps(fields, default=str, sort_keys=True).encode()
            self._hash.update(data)
            self.bytes += len(data)
            yield str(row), fields

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


def _not_utf8(error: UnicodeDecodeError) -> RecordError:
    byte = error.start - error.object.rfind(b"\n", 0, error.start)
    hint = f"0x{error.object[error.start]:02x}, bytes of the line counted from 1; convert the file to UTF-8"
    return RecordError(f"not UTF-8 at byte {byte}", hint)


def _line_of(error: UnicodeDecodeError) -> int:
    return error.object.count(b"\n", 0, error.start) + 1
