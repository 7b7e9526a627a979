"""The files that a run reads: what was measured must be what is named, whatever happens to them meanwhile.

A digest names what was read only while the file holds still. So a run remembers of every file what it was like before
its first byte was read (`Stamp`) and the digest of what was read, and asks again at its end (`Inputs.check`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import ParamSpec, TypeVar

from memaudit.errors import InputError

SETTLED = 60 * 10**9
"""Nanoseconds after its last change from which on the times of a file show the next one: before, both may fall into
one tick of its clock, and what is written through a mapping is noted only once the last page is on the disk."""
AT_ONCE = 1 << 30
"""Bytes of all files of a run up to which they are read again at its end, whatever their times say: a second or two.
Beyond, only those whose stamp has changed or is not to be trusted."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells a file, and its state, from another without reading it. No program can set ``changed``."""

    device: int
    inode: int
    size: int
    modified: int
    """mtime in nanoseconds."""
    changed: int
    """ctime in nanoseconds: a write, a rename and a restored mtime all move it."""
    link: int
    """ctime of the link that the path is: one that points elsewhere is another link. 0 for no link."""
    regular: bool
    """Whether it can be read again: a pipe cannot."""
    settled: bool = field(compare=False)
    """Whether the next change is sure to show: the last one is long ago."""

    @staticmethod
    def of(path: str | Path) -> Stamp:
        """Return the stamp of a file or folder; OSError where there is none."""
        named, found = Path(path).lstat(), Path(path).stat()
        link = named.st_ctime_ns if S_ISLNK(named.st_mode) else 0
        times = found.st_mtime_ns, found.st_ctime_ns, link
        settled = time.time_ns() - max(times) > SETTLED
        return Stamp(found.st_dev, found.st_ino, found.st_size, *times, S_ISREG(found.st_mode), settled)


@dataclass(frozen=True, slots=True)
class _Read:
    sha256: str
    stamp: Stamp
    live: bool


class Inputs:
    """Files that were read, each with its digest and the stamp that it had before."""

    def __init__(self) -> None:
        self._files: dict[str, _Read] = {}
        self._folders: dict[str, tuple[Collection[str], list[str]]] = {}

    def add(self, name: str | Path, sha256: str, stamp: Stamp, *, live: bool = False) -> None:
        """Remember a file that was read.

        Args:
            name: Path.
            sha256: Of the bytes that were read.
            stamp: Taken before the first of them was.
            live: Whether it is read on, as one that is mapped is: then no change of its stamp is harmless.

        Raises:
            InputError: It was read before, and was another then.
        """
        known = self._files.setdefault(str(name), _Read(sha256, stamp, live))
        if known.sha256 != sha256:
            raise changed(name)

    def add_folder(self, folder: Path, suffixes: Collection[str]) -> None:
        """Remember which files of these suffixes a folder holds: one that is added makes it another."""
        self._folders[str(folder)] = suffixes, _names(folder, suffixes)

    def include(self, others: Inputs) -> None:
        """Remember what others remember."""
        for name, read in others._files.items():
            self.add(name, read.sha256, read.stamp, live=read.live)
        self._folders |= others._folders

    def check_stamps(self, *, live: bool = False) -> None:
        """Refuse any change since the files were read, without reading them.

        Args:
            live: Of those that are read on alone.

        Raises:
            InputError: One line names the file.
        """
        for name, read in self._files.items():
            if (read.live or not live) and stamp_of(name) != read.stamp:
                raise changed(name)

    def check(self) -> None:
        """Refuse files that are not what was read: by their digest, or where that takes long by their stamp.

        Raises:
            InputError: One line names the file.
        """
        small = sum(read.stamp.size for read in self._files.values()) <= AT_ONCE
        for name, read in self._files.items():
            now = stamp_of(name)
            if read.live and now != read.stamp:
                raise changed(name)
            sure = now == read.stamp and read.stamp.settled and not small
            if read.stamp.regular and not sure and digest_of(name) != read.sha256:
                raise changed(name)
        for folder, (suffixes, names) in self._folders.items():
            if other := sorted(set(_names(Path(folder), suffixes)) ^ set(names)):
                raise changed(Path(folder) / other[0])


_current: ContextVar[Inputs | None] = ContextVar("inputs", default=None)


def reads_files(run: Callable[P, R]) -> Callable[P, R]:
    """Let every call of a function have inputs of its own, to which all that is read below it is added.

    So that no reader of a file can be forgotten: those who open files add them, `memaudit.runs.directory` checks them.
    """

    @wraps(run)
    def watched(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _current.set(Inputs())
        try:
            return run(*args, **kwargs)
        finally:
            _current.reset(token)

    return watched


def current() -> Inputs:
    """Return the inputs of the run at hand; where there is none, some that nobody will ask."""
    return _current.get() or Inputs()


def read_file(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a file and their SHA-256, and add it to the inputs of the run; OSError if there is none."""
    stamp, data = Stamp.of(path), path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    current().add(path, digest, stamp)
    return data, digest


@contextmanager
def held_still(path: str | Path) -> Iterator[None]:
    """Refuse a file that changes while it is read by several readers: each must have read the same."""
    stamp = stamp_of(path)
    yield
    if stamp_of(path) != stamp:
        raise changed(path)


def changed(name: str | Path) -> InputError:
    """Return what to raise about a file that is no longer what was read."""
    return InputError(
        f"{name}: changed while this run read it", "run again, into another folder, once it no longer changes"
    )


def digest_of(path: str | Path) -> str:
    """Return the SHA-256 of a file; empty where it cannot be read, which no digest is equal to."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def stamp_of(path: str | Path) -> Stamp | None:
    """Return the stamp of a path; None where there is no such file, or no longer."""
    try:
        return Stamp.of(path)
    except OSError:
        return None


def _names(folder: Path, suffixes: Collection[str]) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if file.suffix in suffixes and file.is_file())
    except OSError:
        return []
