"""Work done in a child process that is watched: what it said, how long, how much memory, what it reached for.

A fork, because a fresh interpreter would spend most of its time importing torch.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import MemauditError

ADDRESS_SPACE = 32 << 30
"""Bytes a child may map beyond what it inherits: a bomb must not take the machine with it."""
REACHES_OUT = ("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "subprocess.", "os.system",
               "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class", "ctypes.dlopen")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of a piece of work: its value, or the exit code and the line that its error would get."""

    value: Any
    exit_code: int
    message: str
    seconds: float
    mebibytes: float
    """By which the peak of its memory exceeded what it inherited."""
    reached: tuple[str, ...]
    """Audited events of a kind that no work here needs: sockets, other programs, classes of a pickle."""


def isolated(work: Callable[[], Any], seconds: float = 60) -> Outcome:
    """Do the work in a child and return what came of it; its value must be JSON."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork
    reader, writer = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if not child:
        _report(work, writer)
    os.close(writer)
    said = _read_all(reader, started + seconds)
    os.close(reader)
    if said is None:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    took = time.monotonic() - started
    if not said:
        return Outcome(None, -1, "still at work" if said is None else "died without a word", took, 0, ())
    value, exit_code, message, mebibytes, reached = json.loads(said)
    return Outcome(value, exit_code, message, took, mebibytes, tuple(reached))


def _report(work: Callable[[], Any], writer: int) -> None:
    """Do the work, say what came of it, and end the process without any of its parent's farewells."""
    reached: list[str] = []
    try:
        _forget_freed()
        before = _rss()
        limit = _address_space() + ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        sys.addaudithook(lambda event, _: reached.append(event) if event.startswith(REACHES_OUT) else None)
        value, exit_code, message = None, 0, ""
        try:
            value = work()
        except MemauditError as error:
            exit_code, message = error.exit_code, str(error)
        except BaseException as error:
            exit_code, message = 70, f"{type(error).__name__}: {error}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        said = json.dumps([value, exit_code, message, max(0, peak - before) / 2**20, sorted(set(reached))])
        with os.fdopen(writer, "w") as stream:
            stream.write(said)
    finally:
        os._exit(0)


def _forget_freed() -> None:
    """Give back memory that the parent freed and kept, which would hide what is taken, and count the peak from here."""
    ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")


def _read_all(reader: int, deadline: float) -> str | None:
    """Return what was written until the end, or None where that does not come in time."""
    pieces = []
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        piece = os.read(reader, 1 << 16)
        if not piece:
            return b"".join(pieces).decode()
        pieces.append(piece)
    return None


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _address_space() -> int:
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0
