"""Which fields of a record hold its text: one or several, at the top or inside objects, or those of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.text.corpus.conversations import FIELDS, Conversation, conversation_of, is_messages, turns_of
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

TextField = str | Sequence[str]
"""Name of the field, or names of several; a dot reaches into an object."""
USUAL = "text"
"""The field of the text where nobody names one. A record without it may be a conversation."""


class Found(NamedTuple):
    """What a record holds."""

    text: str
    conversation: Conversation | None = None


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
    """Return the columns that must be read: the fields themselves, and the objects that may hold them.

    Those of conversations too, where no field was named.
    """
    columns = {column for name in names_of(field) for column in (name, name.partition(".")[0])}
    return columns | FIELDS if field == USUAL else columns


def text_of(row: Mapping[str, Any] | RecordError | None, field: TextField) -> str | None:
    """Return the text of a row, of a conversation what was said in it; arguments and errors are those of `read_row`."""
    if isinstance(field, str) and isinstance(row, dict) and isinstance(text := row.get(field), str):
        return text if text and not text.isspace() else None  # nearly every record, in a third of the time
    found = read_row(row, field)
    return None if found is None else found.text


def read_row(row: Mapping[str, Any] | RecordError | None, field: TextField) -> Found | None:
    """Return the text of a row: of several fields those that it has, a line end between them; or its conversation.

    A record is a conversation where one field is named that holds a list of messages, and where none is named, the
    usual one is absent, and the record has the fields of one (see `conversation_of`).

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
        return Found(text) if text and not text.isspace() else None
    names = names_of(field)
    found = {name: value for name in names for there, value in (look_up(row, name),) if there}
    texts = {name: value for name, value in found.items() if value is not None or len(names) == 1}
    if conversation := _conversation(row, field, texts):
        return Found(conversation.text, conversation) if conversation.text else None
    if not texts:
        raise _no_text(row, names, found)
    for name, text in texts.items():
        if not isinstance(text, str):
            raise RecordError(f'"{name}" is {json_type(text)}, expected string')
    together = "\n".join(text for text in texts.values() if text and not text.isspace())
    return Found(together) if together else None


def _conversation(row: Mapping[str, Any], field: TextField, texts: Mapping[str, Any]) -> Conversation | None:
    if len(texts) == 1:
        name, value = next(iter(texts.items()))
        if is_messages(value, name):
            return Conversation("messages", turns_of(value, name))
        if value is not None or field != USUAL:
            return None
    return conversation_of(row) if field == USUAL else None


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
