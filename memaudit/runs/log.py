"""The log of a run: one line a finished item, each with its checksum, so that a torn or damaged one is detected."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memaudit.errors import RunError
from memaudit.runs.files import LOG, compact_json
from memaudit.runs.parts import Line
from memaudit.runs.schema import misfit


def line_of(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of the log."""
    body = compact_json(record)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def read_log(path: Path) -> tuple[dict[int, dict[str, Any]], int, str]:
    """Return the records of a log, the bytes of its whole lines, and a notice if its tail was torn off.

    Raises:
        RunError: It is damaged before its last line, or another version of memaudit wrote it.
    """
    records: dict[int, dict[str, Any]] = {}
    whole = 0
    *lines, rest = path.read_bytes().split(b"\n")
    lines = [line + b"\n" for line in lines] + ([rest] if rest else [])
    for number, line in enumerate(lines, 1):
        try:
            record = _parse(line)
        except ValueError as error:
            raise foreign(path, f"line {number} is no record") from error
        if record is None and number == len(lines):
            return records, whole, f"{LOG}:{number}: torn last line cut off; that item is done again"
        if record is None:
            raise RunError(f"{path}:{number}: damaged", "delete the folder and run again")
        if records.setdefault(record["index"], record) != record:
            raise RunError(f"{path}:{number}: item {record['index']} again, but different", "run again")
        whole += len(line)
    return records, whole, ""


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, None if the line is damaged; ValueError if it never was a record."""
    body = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(body) or line[-1:] != b"\n":
        return None
    record: dict[str, Any] = json.loads(body)
    if problem := misfit(record, Line, "a line"):
        raise ValueError(problem)
    return record


def foreign(path: Path, problem: str) -> RunError:
    """Return what to raise for a file that is not as this version writes it."""
    return RunError(f"{path}: {problem}", "not a file that this version of memaudit wrote; run again in a new folder")
