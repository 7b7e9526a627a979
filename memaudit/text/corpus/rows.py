"""One physical record of a file: where it stands, and its fields, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RecordError(Exception):
    """Why one record cannot be used; the reader continues after it where records may be skipped."""

    def __init__(self, message: str, hint: str = "correct the record, or leave it out") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


Row = tuple[str, Mapping[str, Any] | RecordError | None]
"""Place in the file (line, ``line:column``, row; empty for the whole file) and fields; None: blank line."""


def located(name: str, place: str) -> str:
    """Return ``file:place``, or the file alone where it is one document; of an object ``name[17]``."""
    return f"{name}{'' if place.startswith('[') else ':'}{place}" if place else name


def split_place(source: str) -> tuple[str, str]:
    """Return the file or the object that a record stands in, and its place there: what `located` joined."""
    name, _, row = source.removesuffix("]").rpartition("[")
    if source.endswith("]") and row.isdecimal():
        return name, row
    name, _, line = source.rpartition(":")
    return name, line


def not_utf8(error: UnicodeDecodeError) -> RecordError:
    """Return the error of bytes that are no UTF-8, by their place in their line."""
    byte = error.start - error.object.rfind(b"\n", 0, error.start)
    hint = f"0x{error.object[error.start]:02x}, bytes of the line counted from 1; convert the file to UTF-8"
    return RecordError(f"not UTF-8 at byte {byte}", hint)
