"""Strict readers of JSON lines, JSON documents, CSV, TSV, Parquet, Arrow, WARC and text.

Each yields one row per physical record: where it stands, and its fields as they are, or why it cannot
be used. Nothing is converted: the cell ``NA`` is the text ``NA``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Literal

from memaudit.errors import InputError
from memaudit.text.corpus.columns import read_arrow, read_parquet
from memaudit.text.corpus.containers import ByteStream, joined, line_of, split_lines
from memaudit.text.corpus.csv_format import NameColumns, read_csv
from memaudit.text.corpus.json_format import read_json, read_jsonl
from memaudit.text.corpus.rows import RecordError, Row, not_utf8
from memaudit.text.corpus.split import Cut, split_text
from memaudit.text.corpus.warc import read_warc

Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "warc", "text"]


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
        return read_json(stream)
    lines = split_lines(iter(stream), stream.name)
    if file_format == "jsonl":
        return read_jsonl(lines)
    return read_csv(lines, stream.name, "," if file_format == "csv" else "\t", name_columns)


def _read_text(stream: ByteStream, cut: Cut, text_field: str) -> Iterator[Row]:
    if cut == "file":
        try:
            yield "", {text_field: joined(stream, stream.name).decode()}
        except UnicodeDecodeError as error:
            yield str(line_of(error)), not_utf8(error)
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
