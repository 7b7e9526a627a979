"""A corpus: documents streamed from files, each record read, counted as empty, or refused with its place."""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.files import made_by_us
from memaudit.runs.parts import FileDigest, Summary
from memaudit.text.corpus.check import check_json_lines, is_fast, is_plain_text
from memaudit.text.corpus.columns import LABELS
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.fields import TextField, columns_of, names_of, read_row
from memaudit.text.corpus.formats import Format, read_rows
from memaudit.text.corpus.hub import HubStream
from memaudit.text.corpus.json_format import json_type, parse_line
from memaudit.text.corpus.objects import HeldRows, RowStream, TextSource, listed
from memaudit.text.corpus.rows import RecordError, Row, located
from memaudit.text.corpus.specs import CorpusFile, HubDataset, Part, Source, contradicted, parse_spec, real_path
from memaudit.text.corpus.split import Cut
from memaudit.text.corpus.tally import Tally

Split = Literal["auto", "file", "paragraph", "block", "line"]
FILES_ARE_DOCUMENTS = 20
"""From this many text files on, ``auto`` takes each file as one document."""
EMPTY_FILE = "leave it out, or see whether it is whole: a download that failed looks like that"


class Corpus:
    """Documents that are read anew from their files in every iteration; memory stays flat.

    Before the first document is yielded, all files are checked, so that nothing is spent on a corpus that cannot be
    read to its end.

    An iteration raises InputError at the first bad record (``file:line: what``), when a spec yields
    no document, when two records of one file share an id, and when a file has changed since the last.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        splits: Mapping[str | None, Cut],
        *,
        text_field: TextField,
        max_expand: int | None,
        skip_bad: bool,
        links: int = 0,
    ) -> None:
        self.parts = list(parts)
        self.splits = splits
        """How text files are cut, by domain."""
        self.text_field = text_field
        self.max_expand = max_expand
        self.skip_bad = skip_bad
        self.links = links
        """Further names of the same files, which were not read again."""
        self.conversations = False
        """Whether a conversation was among what was read so far; after `check`, of all."""
        self._summary: Summary | None = None
        self._checked = False
        self._labels = LABELS - set(names_of(text_field))
        self._one_source = sum(len(part.sources) for part in parts) == 1

    def __iter__(self) -> Iterator[Document]:
        self.check()
        yield from self._read(Tally())

    def check(self) -> None:
        """Read all files once, unless that was done before, as fast as it goes; what an iteration refuses is refused.

        Large files of JSON lines are read by a kernel, texts are decoded and not cut, all others are read strictly.
        """
        if self._checked or self._summary is not None:
            return
        tally = Tally()
        for part in self.parts:
            before = tally.counts.copy()
            for source in part.sources:
                self._check_source(source, part, tally)
            self._refuse_nothing(part, tally, before)
        self._checked = True

    def _check_source(self, source: Source, part: Part, tally: Tally) -> None:
        field = self.text_field
        if isinstance(source, CorpusFile) and _is_text(source) and is_plain_text(source.open(self.max_expand)):
            tally.counts["documents"] += 1  # or more
            return
        if not isinstance(source, CorpusFile) or not isinstance(field, str) or not is_fast(source):
            for _ in self._read_source(source, part, tally):
                pass
            return
        before = tally.counts.copy()

        def read_line(line: int, data: bytes) -> str | None:
            document = self._read_row(parse_line(data), source.name, str(line), part.domain, tally)
            if document is None:
                return None
            return document.id if self._one_source else document.id.removeprefix(f"{source.name}#")

        found = check_json_lines(source.open(self.max_expand), field, read_line)
        tally.counts.update(documents=found.documents, empty=found.empty)
        if not found.unique:
            self._refuse_repeated_id(source, part)
        _refuse_empty(source, part, tally.counts - before)

    def _read(self, tally: Tally) -> Iterator[Document]:
        for part in self.parts:
            before = tally.counts.copy()
            for source in part.sources:
                yield from self._read_source(source, part, tally)
            self._refuse_nothing(part, tally, before)
        specs = [part.spec for part in self.parts]
        if self._summary is not None:
            _refuse_change(self._summary["files"], tally.files)
        self._summary = tally.summary(specs, self.skip_bad, self.links)
        if read_as := self.read_as():
            self._summary["read_as"] = read_as

    def read_as(self) -> dict[str, Format]:
        """Return the files that are not read as what their names stand for, and as what they are."""
        return contradicted(source for part in self.parts for source in part.sources)

    @property
    def in_blocks(self) -> bool:
        """Whether some of its text files are cut into blocks."""
        return any(self.splits[part.domain] == "block" for part in self.parts if any(map(_is_text, part.sources)))

    def summary(self) -> Summary:
        """Return what the last full reading found; reads the corpus if there was none."""
        while self._summary is None:
            for _ in self._read(Tally()):
                pass
        return self._summary

    def digest(self, source: Source) -> str:
        """Return the digest of one of its sources as it is now."""
        stream, rows = open_rows(source, "file", text_field=self.text_field, max_expand=self.max_expand)
        for _ in rows:
            pass
        return stream.sha256

    def _read_source(self, source: Source, part: Part, tally: Tally) -> Iterator[Document]:
        before = tally.counts.copy()
        stream, rows = self._open(source, part)
        ids = array("q")
        for place, row in rows:
            document = self._read_row(row, stream.name, place, part.domain, tally)
            if document is not None:
                ids.append(hash(document.id))
                tally.count(document)
                yield document
        if len(np.unique(np.asarray(ids))) < len(ids):
            self._refuse_repeated_id(source, part)
        found = tally.counts - before
        _refuse_empty(source, part, found)
        tally.files.append(FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes))
        unit = "record" if isinstance(source, CorpusFile) else "row"
        if _is_text(source):
            unit = self.splits[part.domain]
        tally.units[unit] += Counter(files=1, documents=found["documents"])

    def _read_row(
        self, row: Mapping[str, Any] | RecordError | None, name: str, place: str, domain: str | None, tally: Tally
    ) -> Document | None:
        """Return the document of a row; None for one without text or, where bad ones are skipped, one that is bad."""
        try:
            document = self._document(row, name, place, domain)
        except RecordError as problem:
            tally.reject(located(name, place), problem, self.skip_bad)
            return None
        if document is None:
            tally.counts["empty"] += 1
        elif document.turns is not None:
            self.conversations = True
        return document

    def _open(self, source: Source, part: Part) -> tuple[ByteStream | HubStream | RowStream, Iterator[Row]]:
        cut = self.splits[part.domain]
        return open_rows(source, cut, text_field=self.text_field, max_expand=self.max_expand)

    def _document(
        self, row: Mapping[str, Any] | RecordError | None, name: str, place: str, domain: str | None
    ) -> Document | None:
        """Return the document of a row, None for one without text; raise RecordError if it cannot be used."""
        found = read_row(row, self.text_field)
        if row is None or isinstance(row, RecordError) or found is None:
            return None
        source, said = located(name, place), found.conversation
        labels = {field: _label(row[field], field) for field in self._labels if field in row}
        label = labels.get("id")
        if label is not None and not self._one_source:
            label = f"{name}#{label}"
        return Document(
            id=label or source,
            text=found.text,
            source=source,
            domain=domain or labels.get("domain"),
            date=labels.get("date"),
            copies=_copies(labels.get("copies")),
            turns=said and said.turns,
            layout=said and said.layout,
            joined=said is not None and said.joined,
        )

    def _refuse_nothing(self, part: Part, tally: Tally, before: Counter[str]) -> None:
        found = tally.counts - before
        if found["documents"]:
            return
        count = len(part.sources)
        name = str(part.sources[0]) if count == 1 else f"the {count} files of {part.spec}"
        counted = [f"{found[what]:,} {what}" for what in ("empty", "rejected") if found[what]]
        if found["rejected"]:
            counted.append(f"first {tally.first_rejected[0]}")
        raise InputError(f"no records in {name}", ", ".join(counted))

    def _refuse_repeated_id(self, source: Source, part: Part) -> None:
        places: dict[str, str] = {}
        stream, rows = self._open(source, part)
        for place, row in rows:
            try:
                document = self._document(row, stream.name, place, part.domain)
            except RecordError:
                continue
            if document is None:
                continue
            if document.id in places:
                problem = f'{document.source}: id "{document.id}" also appears at {places[document.id]}'
                raise InputError(problem, "records of one id are one document: join them or rename the field")
            places[document.id] = document.source


def read_corpus(
    specs: TextSource,
    *,
    text_field: TextField = "text",
    split: Split = "auto",
    max_expand: int | None = None,
    skip_bad: bool = False,
) -> Corpus:
    """Open a corpus; every name is looked up now, the files are read when it is iterated.

    Args:
        specs: ``PATH``, ``GLOB``, ``-``, ``json:PATH``, ``text:PATH``, ``hf:NAME:CONFIG:SPLIT`` or ``DOMAIN=SPEC``;
            several add up. What a file holds decides how it is read: JSON lines and documents, Parquet, Arrow and
            WET whatever it is called, CSV and TSV by their names, else text; gzip and zstd are unpacked. Objects that
            hold text are taken too, alone or among specs: see `memaudit.text.corpus.objects.listed`.
        text_field: Field or column that holds the text of a record, or several, whose texts are one document with
            line ends between them; a dot reaches into an object. A record must have one of them, or be a
            conversation: see `memaudit.text.corpus.fields.read_row`. ``id``, ``domain``, ``date`` and ``copies`` are
            read too where there are any.
        split: How a text file is cut: ``file``, ``paragraph``, ``block`` or ``line``; ``auto`` takes
            whole files where a domain has at least 20 of them, and blocks where it has fewer.
        max_expand: Bytes that one compressed file may give; None: 64 MiB, beyond that 200 times its size.
        skip_bad: Count records that cannot be used instead of raising at the first.

    Returns:
        A corpus whose documents are identified by the ``id`` of their record (``file#id`` in a corpus of
        several files, which may number their records alike), or else by their source.

    Raises:
        InputError: A file is missing, of a kind that is not read, or named by two specs. Two names of one
            file in the same spec, as a glob finds them, are read once.
    """
    found = [_each_once(parse_spec(spec)) for spec in listed(specs)]
    parts = [part for part, _ in found]
    if not parts:
        raise InputError("no corpus given", "name a file, a glob or hf:NAME:CONFIG:SPLIT")
    _refuse_twice(parts)
    _refuse_ours(parts)
    texts: Counter[str | None] = Counter()
    for part in parts:
        texts[part.domain] += sum(map(_is_text, part.sources))
    splits: dict[str | None, Cut] = {
        domain: (("file" if count >= FILES_ARE_DOCUMENTS else "block") if split == "auto" else split)
        for domain, count in texts.items()
    }
    return Corpus(
        parts, splits, text_field=text_field, max_expand=max_expand, skip_bad=skip_bad, links=sum(n for _, n in found)
    )


def open_rows(
    source: Source, cut: Cut, *, text_field: TextField, max_expand: int | None
) -> tuple[ByteStream | HubStream | RowStream, Iterator[Row]]:
    """Open one source; return the stream, which knows the digest when all is read, and its rows.

    Args:
        source: A file, a data set of the hub or an object.
        cut: How a text file is cut into documents.
        text_field: Field that holds the text; those of the labels (id, domain, date, copies) are read too.
        max_expand: Bytes that a compressed file may give; None: 64 MiB, beyond that 200 times its size.
    """
    columns = columns_of(text_field) | LABELS
    if isinstance(source, HubDataset):
        hub = HubStream(source.name, source.config, source.split)
        return hub, hub.rows(columns)
    if isinstance(source, HeldRows):
        held = source.open()
        return held, held.rows(columns, names_of(text_field)[0])
    stream = source.open(max_expand)
    return stream, read_rows(stream, source.format, cut, names_of(text_field)[0], columns)


def _refuse_empty(source: Source, part: Part, found: Counter[str]) -> None:
    """Refuse one of several files that holds no record at all; a text file may be empty."""
    if not found["documents"] and not found["rejected"] and len(part.sources) > 1 and not _is_text(source):
        raise InputError(f"no records in {source}", EMPTY_FILE)


def _is_text(source: Source) -> bool:
    return isinstance(source, CorpusFile) and source.format == "text"


def _label(value: Any, field: str) -> str | None:
    """Return the value of an optional field as text; null and empty are as if it were absent."""
    if isinstance(value, str):
        return value or None
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise RecordError(f'"{field}" is {json_type(value)}, expected string or whole number')


def _copies(label: str | None) -> int | None:
    if label is not None and not (label.isascii() and label.isdecimal() and len(label) < 10):
        raise RecordError(f'"copies" is {label[:40]}, expected a whole number from 0 to 999,999,999')
    return None if label is None else int(label)


def _each_once(part: Part) -> tuple[Part, int]:
    """Return a part without the links to files that it holds under another name, and how many there were."""
    chosen: dict[Path | int, Source] = {}
    for source in part.sources:
        real = real_path(source)
        if real not in chosen or Path(str(source)).absolute() == real:
            chosen[real] = source
    kept = tuple(source for source in part.sources if chosen[real_path(source)] is source)
    return dataclasses.replace(part, sources=kept), len(part.sources) - len(kept)


def _refuse_twice(parts: Sequence[Part]) -> None:
    seen: dict[Path | int, Source] = {}
    for part in parts:
        for source in part.sources:
            first = seen.setdefault(real_path(source), source)
            if first is not source:
                raise InputError(f"{source}: named twice, first as {first}", "name it once")


def _refuse_ours(parts: Sequence[Part]) -> None:
    """Refuse what memaudit wrote itself: a pattern that also matches the folders of runs would have it audited.

    A half of a benchmark that was split may be named, not matched by chance.
    """
    for part in parts:
        names = [source.name for source in part.sources if isinstance(source, CorpusFile)]
        for name, what in made_by_us(names):
            if what.startswith("the run") or not part.spec.endswith(name):
                hint = f"leave it out of {part.spec}" if not part.spec.endswith(name) else "name the text itself"
                raise InputError(f"{name}: memaudit wrote it, as a part of {what}", hint)


def _refuse_change(old: list[FileDigest], new: list[FileDigest]) -> None:
    for before, after in zip(old, new, strict=True):
        if before != after:
            raise InputError(f"{after['path']}: changed since it was last read", "start again")
