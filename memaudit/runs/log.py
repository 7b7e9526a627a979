"""The log of a run: one line a finished item, each with its checksum, so that a torn or damaged one is detected."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memaudit.errors import RunError
from memaudit.runs.files import LOG, compact_json
from memaudit.runs.parts import Line
from memaudit.runs.schema import misfit

_CHECKSUM = 9
"""Bytes of a line before the record: the checksum in hexadecimal, and a space."""


def line_of(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of the log."""
    body = compact_json(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


class Log(Mapping[int, dict[str, Any]]):
    """The items of a log by index, each read from the disk when it is asked for: memory holds where they stand.

    Attributes:
        whole: Bytes of its whole lines.
        notice: What the user should know about how it was found; empty as a rule.
    """

    def __init__(self, path: Path) -> None:
        """Read it to its end.

        Raises:
            RunError: It is damaged before its last line, or another version of memaudit wrote it.
        """
        self._places: dict[int, int] = {}
        self.whole, self.notice = 0, ""
        self._file = path.open("rb")
        try:
            self._read_to_the_end(path)
        except BaseException:
            self._file.close()
            raise

    def _read_to_the_end(self, path: Path) -> None:
        for number, line in enumerate(iter(self._file.readline, b""), 1):
            try:
                record = _parse(line)
            except ValueError as error:
                raise foreign(path, f"line {number} is no record") from error
            if record is None and not self._file.read(1):
                self.notice = f"{LOG}:{number}: torn last line cut off; that item is done again"
                return
            if record is None:
                raise RunError(f"{path}:{number}: damaged", "delete the folder and run again")
            if record["index"] in self and self[record["index"]] != record:
                raise RunError(f"{path}:{number}: item {record['index']} again, but different", "run again")
            self.add(record["index"], len(line))
            self._file.seek(self.whole)  # the first line of an item may have been read again

    def __getitem__(self, index: int) -> dict[str, Any]:
        self._file.seek(self._places[index])
        record: dict[str, Any] = json.loads(self._file.readline()[_CHECKSUM:])
        return record

    def __contains__(self, index: object) -> bool:
        return index in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, index: int, length: int) -> None:
        """Note that the line of an item, of so many bytes, was written behind all others; its first line counts."""
        self._places.setdefault(index, self.whole)
        self.whole += length

    def close(self) -> None:
        """Let the file go: no item can be read any more."""
        self._file.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None if the line is damaged; ValueError if it never was a record."""
    body = line[_CHECKSUM:-1]
    if line[:_CHECKSUM] != b"%08x " % zlib.crc32(body) or line[-1:] != b"\n":
        return None
    record: dict[str, Any] = json.loads(body)
    if problem := misfit(record, Line, "a line"):
        raise ValueError(problem)
    return record


def foreign(path: Path, problem: str) -> RunError:
    """Return what to raise for a file that is not as this version writes it."""
    return RunError(f"{path}: {problem}", "not a file that this version of memaudit wrote; run again in a new folder")
