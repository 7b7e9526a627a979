"""A corpus in batches of about a megabyte of UTF-8, for kernels that read it once and fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaudit.runs.parts import FileDigest
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.fields import TextField, text_of
from memaudit.text.corpus.json_format import parse_object
from memaudit.text.corpus.jsonl import parse_json_lines
from memaudit.text.corpus.read import open_rows
from memaudit.text.corpus.rows import RecordError, located
from memaudit.text.corpus.specs import CorpusFile, Source
from memaudit.text.corpus.split import Cut
from memaudit.text.corpus.tally import note_rejected
from memaudit.text.words.words import encode_texts

BATCH = 1 << 20
"""Bytes of text that a batch has at least, but for the last; one document more at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Documents of one source, one after the other."""

    data: NDArray[np.uint8]
    """UTF-8 of the documents, end to end."""
    offsets: NDArray[np.int64]
    """Shape [documents + 1]: document ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""
    places: NDArray[np.int64] | list[str]
    """Shape [documents]: the line of each document, or its place in the words of the format's reader."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, index: int) -> str:
        """Return one document."""
        return self.data[self.offsets[index] : self.offsets[index + 1]].tobytes().decode("utf-8", "surrogatepass")


class BatchReader:
    """The documents of one source in batches, in order, with the texts and the errors of `read_corpus`.

    Only the text field is looked at: a record whose label is of the wrong type (a list as its id, a
    fraction as its copies) and two records of one id pass unnoticed.

    Args:
        source: A file or a data set of the hub, as `parse_spec` gives it.
        cut: How a text file is cut into documents.
        text_field: Field that holds the text, or several.
        max_expand: Bytes that a compressed file may give; None: 64 MiB, beyond that 200 times its size.
        skip_bad: Count records that cannot be used instead of raising at the first.

    Raises:
        InputError: While iterating: the source cannot be read, or a record of it (``file:line: what``).
    """

    def __init__(
        self,
        source: Source,
        cut: Cut,
        *,
        text_field: TextField = "text",
        max_expand: int | None = None,
        skip_bad: bool = False,
    ) -> None:
        self.source = source
        self.cut = cut
        self.text_field = text_field
        self.max_expand = max_expand
        self.skip_bad = skip_bad
        self.documents = 0
        self.empty = 0
        """Records without text, or with white space only, read so far."""
        self.rejected = 0
        self.first_rejected: list[str] = []
        """Place and reason of the first 20 records that were skipped."""
        self.digest: FileDigest | None = None
        """The source as it was read; None until the last batch was taken."""

    def __iter__(self) -> Iterator[Batch]:
        source, field = self.source, self.text_field
        if isinstance(source, CorpusFile) and source.format == "jsonl" and isinstance(field, str):
            yield from self._read_json_lines(source.open(self.max_expand), field)  # the kernel looks for one field
        else:
            yield from self._read_rows()

    def _read_json_lines(self, stream: ByteStream, text_field: str) -> Iterator[Batch]:
        def read_line(number: int, line: bytes) -> str | None:
            try:
                return self._text(parse_object(line))
            except RecordError as problem:
                self._reject(stream.name, str(number), problem)
                return None

        for data, offsets, lines, empty, _ in parse_json_lines(stream, stream.name, text_field, read_line):
            self.empty += empty
            if len(lines):
                self.documents += len(lines)
                yield Batch(data, offsets, lines)
        self.digest = FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes)

    def _read_rows(self) -> Iterator[Batch]:
        stream, rows = open_rows(self.source, self.cut, text_field=self.text_field, max_expand=self.max_expand)
        texts: list[str] = []
        places: list[str] = []
        size = 0
        for place, row in rows:
            try:
                text = self._text(row)
            except RecordError as problem:
                self._reject(stream.name, place, problem)
                continue
            if text is None:
                continue
            texts.append(text)
            places.append(place)
            size += len(text)
            if size >= BATCH:
                yield self._batch(texts, places)
                texts, places, size = [], [], 0
        if texts:
            yield self._batch(texts, places)
        self.digest = FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes)

    def _text(self, row: Mapping[str, Any] | RecordError | None) -> str | None:
        text = text_of(row, self.text_field)
        self.empty += text is None
        return text

    def _reject(self, name: str, place: str, problem: RecordError) -> None:
        note_rejected(self.first_rejected, located(name, place), problem, self.skip_bad)
        self.rejected += 1

    def _batch(self, texts: list[str], places: list[str]) -> Batch:
        self.documents += len(texts)
        data, offsets = encode_texts(texts)
        return Batch(data, offsets, places)
