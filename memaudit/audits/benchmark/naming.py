"""What the items of a benchmark are called: by a field of their own, qualified where one name stands for several."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from memaudit.config import did_you_mean
from memaudit.text.corpus.fields import look_up
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

ID_FIELDS = ("id", "task_id", "item_id", "question_id", "qid", "uid", "pairID", "ind")
"""Fields that may name an item; the first that tells all items apart does, or else the first that all of them have."""


class Draft(NamedTuple):
    """A record before it is known what it is called."""

    number: int
    file: str
    source: str
    """``file:line``."""
    parts: dict[str, str]
    ids: dict[str, str]
    """What it may be called, by field."""


@dataclass(frozen=True, slots=True)
class Names:
    """What all records are called, each in its own way."""

    ids: list[str]
    """In the order of the records."""
    meant: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What stands in the field -> the records that this may mean."""
    notice: str = ""
    """Which names were qualified; empty where the field tells all records apart."""


def item_names(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a record may be called, by the field of `ID_FIELDS` that says so."""
    return {name: str(record[name]) for name in ID_FIELDS if name in record and _usable(record[name])}


def named_by(record: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return what a record is called by the field that the user named; a dot reaches into an object.

    Raises:
        RecordError: It has no such field, or neither a text nor a whole number there.
    """
    there, value = look_up(record, name)
    if not there:
        fields = ", ".join(str(column)[:20] for column in list(record)[:8]) or "none"
        message = f"no field '{name}'; fields: {fields}. {did_you_mean(name, record)}".rstrip()
        raise RecordError(message, "--id-field names the field that identifies items")
    if not _usable(value):
        what = "blank" if isinstance(value, str) else json_type(value)
        raise RecordError(f'"{name}" is {what}, expected a text or a whole number', "every item needs one")
    return {name: str(value)}


def name_records(drafts: Sequence[Draft], wanted: str | None = None) -> Names:
    """Return what records are called: all that share a name are told apart by their file, or else by their line.

    Args:
        drafts: Items, and records without text.
        wanted: The field that the user named.
    """
    field = wanted or _field(drafts)
    if not field:
        return Names([str(draft.number) for draft in drafts])
    plain = [draft.ids.get(field, str(draft.number)) for draft in drafts]
    ids, levels = _told_apart(drafts, plain)
    meant: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in zip(ids, plain, strict=True):
        meant[value].append(name)
    return Names(ids, {value: tuple(names) for value, names in meant.items()}, _notice(drafts, plain, levels, field))


def _usable(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip() != ""


def _field(drafts: Sequence[Draft]) -> str:
    """Return the field that names the items, or an empty string where only their numbers do."""
    items = [draft for draft in drafts if draft.parts]
    shared = [name for name in ID_FIELDS if all(name in draft.ids for draft in items)]
    apart = [name for name in shared if len({draft.ids[name] for draft in items}) == len(items)]
    return next(iter(apart or shared), "")


def _told_apart(drafts: Sequence[Draft], plain: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return names of which no two are the same, and how far each had to be qualified: 0, 1 (file) or 2 (line)."""
    files = {draft.file for draft in drafts}
    short = {file: Path(file).name for file in files}
    if len(set(short.values())) < len(files):
        short = {file: file for file in files}
    pairs = list(zip(drafts, plain, strict=True))
    by_file = [f"{short[draft.file]}#{value}" if len(files) > 1 else value for draft, value in pairs]
    by_line = [f"{draft.source}#{value}" for draft, value in pairs]
    levels = [0] * len(drafts)
    while True:
        ids = [each[level] for level, *each in zip(levels, plain, by_file, by_line, strict=True)]
        count = Counter(ids)
        again = [i for i, name in enumerate(ids) if count[name] > 1 and levels[i] < 2]
        if not again:
            return ids, levels
        for i in again:
            levels[i] += 1


def _notice(drafts: Sequence[Draft], plain: Sequence[str], levels: Sequence[int], field: str) -> str:
    qualified = [i for i, level in enumerate(levels) if level]
    if not qualified:
        return ""
    first = qualified[0]
    other = next((i for i in range(len(drafts)) if i != first and plain[i] == plain[first]), first)
    how = "by file and line" if max(levels) == 2 else "by file"
    return (
        f'{len(qualified):,} of {len(drafts):,} items share their {field} with another ("{plain[first][:40]}" is at'
        f" {drafts[first].source} and {drafts[other].source}) and are named {how}"
    )
