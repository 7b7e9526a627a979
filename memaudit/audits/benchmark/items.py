"""The items of a benchmark: read strictly, numbered, named, and cut into the parts that are searched for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memaudit.audits.benchmark.layouts import ALL, BOTH, Fields, NamedFields, detect, name_columns, parts_of
from memaudit.audits.benchmark.naming import Draft, item_names, name_records, named_by
from memaudit.audits.benchmark.structured import as_items
from memaudit.errors import InputError
from memaudit.runs.parts import FileDigest
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.formats import read_rows
from memaudit.text.corpus.hub import HubStream
from memaudit.text.corpus.objects import HeldRows, RowStream, TextSource, listed
from memaudit.text.corpus.rows import RecordError, Row, located
from memaudit.text.corpus.specs import HubDataset, Source, parse_spec, real_path
from memaudit.text.corpus.tally import SHOWN_REJECTS
from memaudit.text.scan.patterns import SEED


@dataclass(frozen=True, slots=True)
class Item:
    """One question, task or text of a benchmark."""

    id: str
    """Its name (`memaudit.audits.benchmark.naming`), which no other item has; its number where no field names it."""
    number: int
    """Among the records of all files, from 1; empty and rejected ones count, blank lines do not."""
    source: str
    """``file:line``."""
    parts: dict[str, str]
    """Part -> raw text, never blank. ``both`` (``all`` of three or more) joins the parts, one to a line."""
    offers_choice: bool = False
    """Whether its answer is one of several that stand beside the question."""

    @property
    def joined(self) -> bool:
        """Whether its last part joins the others."""
        return len(self.parts) > 1 and list(self.parts)[-1] in (BOTH, ALL)

    @property
    def whole(self) -> str:
        """The text that stands for the item as a whole: its last part joins the others."""
        return list(self.parts.values())[-1]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All items of one or several files, and what was found beside them.

    Records that are not blank lines are items, empty or rejected: their numbers add up.
    """

    items: list[Item]
    files: list[FileDigest]
    layout: str | None
    """Name of the layout that was detected; None where the user named the fields."""
    fields: dict[str, list[str]]
    """Part -> fields that it was read from."""
    empty: int
    """Records without text in any part."""
    meant: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What the field of the ids says -> the records, empty ones too, that it may mean; several where it repeats."""
    notice: str = ""
    """Which ids repeat and were qualified, and which columns hold text that is not searched for; empty for neither."""
    rejected: int = 0
    """Records that cannot be used; only where they may be skipped."""
    first_rejected: list[str] = field(default_factory=list)
    """Place and reason of the first 20 of them."""


def read_benchmark(
    paths: TextSource,
    fields: Sequence[str] | None = None,
    *,
    id_field: str | None = None,
    skip_bad: bool = False,
    max_expand: int | None = None,
) -> Benchmark:
    """Read the items of a benchmark.

    Args:
        paths: Files, globs, ``-``, ``json:PATH``, ``text:PATH`` or ``hf:NAME:CONFIG:SPLIT``; or objects whose
            rows are items (`memaudit.text.corpus.objects.listed`). What a file holds decides how it is read, as for a
            corpus; text has one item a line.
        fields: Fields to check, each a part of its own; a dot reaches into an object. Lists of texts, and of
            objects with a ``text``, are joined by line ends. None or empty: detected by the columns, a file at
            a time, with the parts ``question``, ``answer`` (the text of the right choice where there are choices)
            and ``both``, or the names of the texts where nothing is asked.
        id_field: Field that names the items; a dot reaches into an object. None: the first of `ID_FIELDS` that tells
            them apart. Items that share a name are told apart by their file, or else by their line.
        skip_bad: Count records that cannot be used instead of raising at the first.
        max_expand: Bytes that one compressed file may give; None: 64 MiB, beyond that 200 times its size.

    Raises:
        InputError: A record cannot be used (``file:line: what``), a layout is not known, an item lacks the field of
            the ids that was named, a file is missing or named twice, or there is no item at all.
    """
    reading = _Reading(fields, id_field, skip_bad)
    for source in benchmark_sources(paths):
        reading.read(source, max_expand)
    return reading.finished()


def benchmark_sources(paths: TextSource) -> list[Source]:
    """Return the files and data sets that a benchmark is made of.

    Raises:
        InputError: One is missing, of a kind that is not read, in a notation that is not, or named twice.
    """
    found: dict[Path | int, Source] = {}
    for path in listed(paths, "benchmark"):
        part = parse_spec(path)
        if part.domain is not None:
            raise InputError(f"{path}: no such file", "a benchmark has no domains: name the file alone")
        for source in part.sources:
            key = real_path(source)
            if key in found:
                raise InputError(f"{source}: named twice", "name it once")
            found[key] = as_items(source)
    if not found:
        raise InputError("no benchmark given", "name the file of its items")
    return list(found.values())


def open_records(source: Source, max_expand: int | None) -> tuple[ByteStream | HubStream | RowStream, Iterator[Row]]:
    """Return a file of items and its records with all their fields; a blank line gives None."""
    if isinstance(source, HeldRows):
        held = source.open()
        return held, held.rows(None)
    if isinstance(source, HubDataset):
        hub = HubStream(source.name, source.config, source.split)
        return hub, hub.rows(())
    stream = source.open(max_expand)
    rows = read_rows(stream, source.format, "line", "text", None, name_columns)
    return stream, _without_blank(rows) if source.format == "text" else rows


def _without_blank(rows: Iterator[Row]) -> Iterator[Row]:
    for place, row in rows:
        blank = isinstance(row, Mapping) and not row["text"].strip()
        yield place, None if blank else row


LOOKED_AT = 100
"""Records in which columns are looked for that hold text and are not searched for."""


class _Reading:
    """What was read so far."""

    def __init__(self, fields: Sequence[str] | None, id_field: str | None, skip_bad: bool) -> None:
        self._named = NamedFields(fields) if fields else None
        self._id_field = id_field
        self._skip_bad = skip_bad
        self._records = 0
        self._drafts: list[Draft] = []
        """Items, and records without text."""
        self._choices: set[int] = set()
        """Numbers of the items whose answer is one of several."""
        self._files: list[FileDigest] = []
        self._found: list[Fields] = []
        self._unsearched = set[str]()
        """Columns with text that no part is read from, where the layout was told by its columns."""
        self._rejected = 0
        self._first_rejected: list[str] = []

    def read(self, source: Source, max_expand: int | None) -> None:
        """Read one file."""
        stream, rows = open_records(source, max_expand)
        fields: Fields | None = self._named
        for place, row in rows:
            if row is None:
                continue
            self._records += 1
            try:
                if isinstance(row, RecordError):
                    raise row
                if fields is None:
                    fields = _detected(row, stream.name)
                parts = parts_of(row, fields)
                ids = named_by(row, self._id_field) if self._id_field and parts else item_names(row)
                self._drafts.append(Draft(self._records, stream.name, located(stream.name, place), parts, ids))
                if fields.offers_choice:
                    self._choices.add(self._records)
                if self._named is None and self._records <= LOOKED_AT:
                    self._note_unsearched(row, fields)
            except RecordError as problem:
                self._reject(located(stream.name, place), problem)
        if fields is not None and fields not in self._found:
            self._found.append(fields)
        self._files.append(FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes))

    def _note_unsearched(self, row: Mapping[str, Any], fields: Fields) -> None:
        searched = {name.split(".")[0] for names in fields.fields.values() for name in names}
        for name in row.keys() - searched - self._unsearched:
            with suppress(InputError, RecordError):  # a text that nobody asks for may be damaged
                value = row[name]
                if isinstance(value, str) and len(value.split()) >= SEED:
                    self._unsearched.add(name)

    def _reject(self, place: str, problem: RecordError) -> None:
        if not self._skip_bad:
            raise InputError(f"{place}: {problem.message}", problem.hint) from problem
        self._rejected += 1
        if len(self._first_rejected) < SHOWN_REJECTS:
            self._first_rejected.append(f"{place}: {problem.message}")

    def _said_unsearched(self) -> str:
        if not self._unsearched:
            return ""
        names = ", ".join(repr(name[:30]) for name in sorted(self._unsearched)[:8])
        more = f" and {len(self._unsearched) - 8} more" if len(self._unsearched) > 8 else ""
        return f"columns with text that is not searched for: {names}{more} (--field names what is)"

    def finished(self) -> Benchmark:
        """Return the benchmark once all files were read."""
        empty = sum(not draft.parts for draft in self._drafts)
        if empty == len(self._drafts):
            counted = [f"{n:,} {what}" for what, n in (("empty", empty), ("rejected", self._rejected)) if n]
            counted += [f"first {place}" for place in self._first_rejected[:1]]
            raise InputError(f"no items in {', '.join(file['path'] for file in self._files)}", ", ".join(counted))
        named = name_records(self._drafts, self._id_field)
        items = [
            Item(id, draft.number, draft.source, draft.parts, draft.number in self._choices)
            for id, draft in zip(named.ids, self._drafts, strict=True)
            if draft.parts
        ]
        fields: dict[str, list[str]] = {}
        for found in self._found:
            for part, names in found.fields.items():
                fields[part] = list(dict.fromkeys([*fields.get(part, []), *names]))
        return Benchmark(
            items=items,
            files=self._files,
            layout=" + ".join(dict.fromkeys(found.layout for found in self._found if found.layout)) or None,
            fields=fields,
            empty=empty,
            meant=named.meant,
            notice="; ".join(filter(None, (named.notice, self._said_unsearched()))),
            rejected=self._rejected,
            first_rejected=self._first_rejected,
        )


def _detected(record: Mapping[str, Any], name: str) -> Fields:
    fields = detect(record)
    if fields is None:
        columns = ", ".join(column[:30] for column in list(record)[:12]) or "none"
        columns += f" and {len(record) - 12} more" if len(record) > 12 else ""
        hint = "name the fields to check, for example --field question --field answer"
        if any(column.isdecimal() or len(column.split()) > 3 for column in record):
            hint = f"{hint}; a file without a header needs one"
        raise InputError(f"{name}: no known layout of a benchmark; columns: {columns}", hint)
    return fields
