"""Per-item results of several models with the date of every item, and which items a model may have seen."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memaudit.audits.benchmark.items import benchmark_sources
from memaudit.audits.benchmark.naming import ID_FIELDS, item_names
from memaudit.audits.benchmark.scores import SPELLINGS
from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.runs.parts import FileDigest
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.dates import Period, parse_date
from memaudit.text.corpus.formats import read_rows
from memaudit.text.corpus.objects import HeldRows, Listed, RowStream, specs_of
from memaudit.text.corpus.rows import RecordError, Row, located
from memaudit.text.corpus.specs import CorpusFile, Source

DATE_FIELDS = ("date", "release_date", "contest_date", "publication_date", "published", "created_at", "created", "year")
"""Fields that may say when an item appeared; the first that a record has is taken."""


@dataclass(slots=True)
class DatedItem:
    """What each model made of one item."""

    period: Period
    place: str
    """``file:line`` of the first record."""
    scores: dict[str, float] = field(default_factory=dict)
    """Model -> share in [0, 1] of the item that is right; a model without a result is absent."""


@dataclass(frozen=True, slots=True)
class Results:
    """All items, in the order read."""

    items: dict[str, DatedItem]
    files: list[FileDigest]


def read_results(paths: Listed, models: Sequence[str], date_field: str | None = None) -> Results:
    """Read what models scored on dated items.

    Args:
        paths: .jsonl, .json, .csv, .tsv or .parquet with the id of an item, its date, and a column for each model:
            true or false, also written as yes and no, or a number in [0, 1]. Empty cells are missing results. The
            files add up, and a model may have its own.
        models: The columns that are wanted.
        date_field: The column of the dates; by default the first of `DATE_FIELDS`.

    Raises:
        InputError: A file cannot be read, a column is missing, a value is no result or no date, or an item has two
            results of one model, or two dates.
    """
    items: dict[str, DatedItem] = {}
    files: list[FileDigest] = []
    columns: dict[str, None] = {}
    for source in benchmark_sources(paths):
        stream, rows = _opened(source)
        for place, row in rows:
            columns |= dict.fromkeys(row)
            _add(items, row, place, models, date_field)
        files.append(FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes))
    if not items:
        raise InputError(f"no results in {', '.join(specs_of(paths))}")
    for name in models:
        if name not in columns:
            known = [column for column in columns if column not in (*ID_FIELDS, *DATE_FIELDS, date_field)]
            hint = did_you_mean(name, known) or f"columns: {', '.join(c[:30] for c in known[:12])}"
            raise InputError(f"no column {name!r} in {', '.join(specs_of(paths))}", hint)
    return Results(items, files)


def _opened(source: Source) -> tuple[ByteStream | RowStream, Iterator[tuple[str, Mapping[str, Any]]]]:
    """Return a file or an object, and its records with their places."""
    if isinstance(source, HeldRows):
        held = source.open()
        return held, _records(held.name, held.rows(None))
    if not isinstance(source, CorpusFile) or source.format == "text":
        raise InputError(f"{source}: no file of results", "results are read from .jsonl, .json, .csv and .parquet")
    stream = source.open()
    return stream, _records(stream.name, read_rows(stream, source.format, "line", "", None))


def _records(name: str, rows: Iterator[Row]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for at, row in rows:
        place = located(name, at)
        if isinstance(row, RecordError):
            raise InputError(f"{place}: {row.message}", row.hint)
        if row is not None:
            yield place, row


def _add(
    items: dict[str, DatedItem], row: Mapping[str, Any], place: str, models: Sequence[str], date_field: str | None
) -> None:
    """Add one record to the items."""
    names = item_names(row)
    if not names:
        raise InputError(f"{place}: no id of the item", f"call its column {', '.join(ID_FIELDS[:3])} or the like")
    name = next(iter(names.values()))
    period = _period(row, place, date_field)
    item = items.setdefault(name, DatedItem(period, place))
    if item.period != period:
        raise InputError(f'{place}: item "{name}" has another date at {item.place}', "give it one date")
    for model in models:
        value = row.get(model)
        if value is None or value == "":
            continue
        if model in item.scores:
            raise InputError(f'{place}: a result of {model} for "{name}" also appears at {item.place}', "keep one")
        item.scores[model] = _score(value, model, place)


def _period(row: Mapping[str, Any], place: str, date_field: str | None) -> Period:
    wanted = [date_field] if date_field else DATE_FIELDS
    column = next((name for name in wanted if name in row), None)
    if column is None:
        shown = ", ".join(name[:30] for name in list(row)[:8])
        hint = "call the column date, or name it with --date-field"
        raise InputError(f"{place}: no {date_field or 'date'}; columns: {shown}", hint)
    value = row[column]
    period = parse_date(str(value)) if isinstance(value, str | int | float | datetime.date) else None
    if period is None or isinstance(value, bool):
        shown = json.dumps(value, default=str, ensure_ascii=False)[:40]
        raise InputError(f'{place}: "{column}" is {shown}, expected a date', "as 2023, 2023-05 or 2023-05-17")
    return period


def _score(value: Any, column: str, place: str) -> float:
    """Return a result as a number in [0, 1]."""
    if isinstance(value, int | float) and 0 <= value <= 1:  # true and false too
        return float(value)
    written = json.dumps(value, default=str).strip('"').strip().casefold()
    if written in SPELLINGS:
        return float(SPELLINGS[written])
    try:
        score = float(written)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        shown = json.dumps(value, default=str, ensure_ascii=False)[:40]
        raise InputError(f'{place}: "{column}" is {shown}, expected true, false or a number from 0 to 1')
    return score
