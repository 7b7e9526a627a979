"""What a server answered and what it cost, kept in a run: nothing that was answered is asked a second time.

A line is a checksum and a head in JSON: what it adds to what was spent, and, of an answer, what it answers. Behind a
tab comes the answer, which is read when it is wanted. Lines are written in one piece: a process that is killed leaves
at most the last one torn, whose request counts as spent (that was written before) and is sent again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from memaudit.errors import RunError
from memaudit.runs.files import write_error
from memaudit.runs.log import foreign

ANSWERS = "answers.log"
"""Name in a run directory."""
_CHECKSUM = 9
"""Bytes of a line before its head: the checksum in hexadecimal, and a space."""
_KEY = re.compile("[0-9a-f]{64}")


class Spent(NamedTuple):
    """Requests, tokens read and written, and how many of the requests repeated one that came to nothing."""

    requests: int = 0
    tokens: int = 0
    again: int = 0

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.requests + other.requests, self.tokens + other.tokens, self.again + other.again)

    def minus(self, other: Spent) -> Spent:
        """Return what is left without the other."""
        return Spent(*(own - less for own, less in zip(self, other, strict=True)))

    def words(self, requests: int | None = None, tokens: int | None = None) -> str:
        """Return it in words, beside the limits that there are."""
        of = [f" of {limit:,}" if limit is not None else "" for limit in (requests, tokens)]
        return f"{self.requests:,}{of[0]} requests, {self.tokens:,}{of[1]} tokens, {self.again:,} asked again"


def digest(path: str, body: bytes, attempt: int) -> str:
    """Return what an answer is looked up by: a digest of all that was asked."""
    made = hashlib.sha256(b"%s\n%d\n" % (path.encode(), attempt))
    made.update(body)
    return made.hexdigest()


class Journal:
    """Answers and costs: in memory until it is told a folder, from then on in its file. Safe for threads.

    Attributes:
        spent: Of all sessions of a run.
        fingerprint: What the server called itself; None until it did.
    """

    def __init__(self) -> None:
        self.spent = Spent()
        self.fingerprint: str | None = None
        self._lock = threading.RLock()
        self._held: dict[str, bytes] = {}
        """Answers while there is no file."""
        self._places: dict[bytes, tuple[int, int]] = {}
        """Where answers stand in the file: first byte and length of the line."""
        self._counted = Spent()
        """Of `spent`, what a file says that is not gone on with yet."""
        self._path: Path | None = None
        self._file, self._whole = -1, 0

    def find(self, key: str) -> bytes | None:
        """Return an answer as it was kept, None where there is none.

        Raises:
            RunError: It was damaged since the file was opened.
        """
        with self._lock:
            place = self._places.get(bytes.fromhex(key))
            if place is None or self._file < 0:
                return self._held.get(key)
            line = os.pread(self._file, place[1], place[0])
        if not _is_whole(line):
            raise RunError(f"{self._path}: damaged while it was in use", "delete the folder and run again")
        return line[_CHECKSUM:-1].partition(b"\t")[2]

    def note(self, spent: Spent, fingerprint: str | None = None) -> None:
        """Add to what was spent, and note what the server calls itself.

        Raises:
            RunError: It cannot be written; nothing is added then.
        """
        head: dict[str, Any] = {"spent": list(spent)}
        if fingerprint is not None:
            head["fingerprint"] = fingerprint
        with self._lock:
            self._write(head)
            self.spent = self.spent.plus(spent)
            self.fingerprint = self.fingerprint if fingerprint is None else fingerprint

    def keep(self, key: str, answer: bytes, spent: Spent) -> None:
        """Keep an answer in JSON, and add to what was spent; the first answer under a key stays.

        Raises:
            RunError: It cannot be written; nothing is added then.
        """
        with self._lock:
            if self.find(key) is not None:
                self.note(spent)
                return
            self._write({"spent": list(spent), "key": key}, answer)
            self.spent = self.spent.plus(spent)

    def keep_in(self, folder: Path) -> None:
        """Go on in the file of a folder, and know what stands in there: it counts before what this session has.

        Raises:
            RunError: The file is damaged, of another version, or cannot be written.
        """
        path = folder / ANSWERS
        with self._lock:
            if self._path == path:
                return
            name = self.fingerprint
            # What is in the file of another run belongs to that one; what was counted of this one stands in its file.
            own = Spent() if self._file >= 0 else self.spent.minus(self._counted)
            self.close()
            self._open(path)
            self._counted = Spent()
            held, self._held = self._held, {}
            self.note(own, name if self.fingerprint is None else None)
            for key, answer in held.items():
                self.keep(key, answer, Spent())

    def count(self, folder: Path) -> None:
        """Count what a run has spent that may be gone on with, before anything is asked.

        Raises:
            RunError: Its file is damaged, or of another version.
        """
        path = folder / ANSWERS
        with self._lock:
            if self._file < 0 and path.is_file():
                counted = Spent()
                for head, _ in _lines_of(path):
                    counted = counted.plus(Spent(*head["spent"]))
                self.spent, self._counted = self.spent.minus(self._counted).plus(counted), counted

    def close(self) -> None:
        """Let the file go; what comes later is held in memory."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _write(self, head: dict[str, Any], answer: bytes | None = None) -> None:
        if self._file < 0:
            if answer is not None:
                self._held[head["key"]] = answer
            return
        body = orjson.dumps(head) if answer is None else b"%s\t%s" % (orjson.dumps(head), answer)
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        self._append(line)
        if answer is not None:
            self._places[bytes.fromhex(head["key"])] = (self._whole, len(line))
        self._whole += len(line)

    def _append(self, line: bytes) -> None:
        try:
            written = os.write(self._file, line)
            if written < len(line):  # the disk is full, or nearly
                written += os.write(self._file, line[written:])
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._file, self._whole)
            raise write_error(ANSWERS, error) from error

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error(ANSWERS, error) from error
        self._path, self._whole, self._places = path, 0, {}
        self.spent, self.fingerprint = Spent(), None
        try:
            for head, length in _lines_of(path):
                self.spent = self.spent.plus(Spent(*head["spent"]))
                self.fingerprint = head.get("fingerprint", self.fingerprint)
                if "key" in head:
                    self._places.setdefault(bytes.fromhex(head["key"]), (self._whole, length))
                self._whole += length
            os.ftruncate(self._file, self._whole)
        except BaseException:
            self.close()
            self._path = None
            raise


def _lines_of(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the heads of the whole lines of a journal, and how many bytes each line has."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(file.readline, b""), 1):
            if line[-1:] != b"\n":
                return  # torn: what was written in one piece is cut off at its end
            if not _is_whole(line):
                raise RunError(f"{path}:{number}: damaged", "delete the folder and run again")
            head = _head_of(line)
            if head is None:
                raise foreign(path, f"line {number} is no record")
            yield head, len(line)


def _is_whole(line: bytes) -> bool:
    body = line[_CHECKSUM:-1]
    return line[:_CHECKSUM] == b"%08x " % zlib.crc32(body) and line[-1:] == b"\n"


def _head_of(line: bytes) -> dict[str, Any] | None:
    """Return the head of a whole line, None where this version writes no such line."""
    head, _, answer = line[_CHECKSUM:-1].partition(b"\t")
    try:
        told = orjson.loads(head)
    except ValueError:
        return None
    if not isinstance(told, dict) or not told.keys() <= {"spent", "key", "fingerprint"}:
        return None
    spent, key, name = told.get("spent"), told.get("key"), told.get("fingerprint", "")
    numbers = isinstance(spent, list) and [type(number) for number in spent] == [int] * len(Spent._fields)
    keyed = isinstance(key, str) and _KEY.fullmatch(key) is not None
    return told if numbers and isinstance(name, str) and (keyed if answer else key is None) else None
