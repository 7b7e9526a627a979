"""Which fields of a record hold its text: one or several, at the top or inside objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

TextField = str | Sequence[str]
"""Name of the field, or names of several; a dot reaches into an object."""


def names_of(field: TextField) -> tuple[str, ...]:
    """Return the names of the fields, each once.

    Raises:
        InputError: There is none.
    """
    names = (field,) if isinstance(field, str) else tuple(dict.fromkeys(field))
    if not names:
        raise InputError("no field of the text", "--text-field names it")
    return names


def columns_of(field: TextField) -> set[str]:
    """Return the columns that must be read: the fields themselves, and the objects that may hold them."""
    return {column for name in names_of(field) for column in (name, name.partition(".")[0])}


def text_of(row: Mapping[str, Any] | RecordError | None, field: TextField) -> str | None:
    """Return the text of a row: of several fields those that it has, a line end between them.

    Returns:
        None where there is nothing but white space, or no record.

    Raises:
        RecordError: The row cannot be used: it has none of the fields, or one that is no text. Where several are
            named, one that is null counts as absent, for tables have every column in every row.
    """
    if row is None:
        return None
    if isinstance(row, RecordError):
        raise row
    if isinstance(field, str) and isinstance(row, dict) and isinstance(text := row.get(field), str):
        return text if text and not text.isspace() else None  # nearly every record, in a third of the time
    names = names_of(field)
    found = {name: value for name in names for there, value in (look_up(row, name),) if there}
    texts = {name: value for name, value in found.items() if value is not None or len(names) == 1}
    if not texts:
        raise _no_text(row, names, found)
    for name, text in texts.items():
        if not isinstance(text, str):
            raise RecordError(f'"{name}" is {json_type(text)}, expected string')
    together = "\n".join(text for text in texts.values() if text and not text.isspace())
    return together or None


def look_up(record: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Return whether a record has a field, and its value; within null, everything is null."""
    if name in record:
        return True, record[name]
    value: Any = record
    for key in name.split("."):
        if value is None:
            return True, None
        if not isinstance(value, Mapping) or key not in value:
            return False, None
        value = value[key]
    return True, value


def _no_text(row: Mapping[str, Any], names: Sequence[str], found: Mapping[str, Any]) -> RecordError:
    for name in found:
        return RecordError(f'"{name}" is null, expected string')
    fields = ", ".join(name[:20] for name in list(row)[:8]) or "none"
    fields += f" and {len(row) - 8} more" if len(row) > 8 else ""
    wanted = " or ".join(f"'{name}'" for name in names)
    message = f"no field {wanted}; fields: {fields}. {did_you_mean(names[0], row)}".rstrip()
    return RecordError(message, "--text-field names the field that holds the text")
