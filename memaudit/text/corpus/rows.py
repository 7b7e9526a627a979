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


def not_utf8(error: UnicodeDecodeError) -> RecordError:
    """Return the error of bytes that are no UTF-8, by their place in their line."""
    byte = error.start - error.object.rfind(b"\n", 0, error.start)
    hint = f"0x{error.object[error.start]:02x}, bytes of the line counted from 1; convert the file to UTF-8"
    return RecordError(f"not UTF-8 at byte {byte}", hint)
