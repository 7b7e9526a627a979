"""Every call that reaches the disk, made to fail once: the n-th of a piece of work, for n = 1, 2, 3, ...

Open, write, fsync, rename, truncate and mkdir are counted where Python makes them; what compiled libraries write is
reached by a limit on the size of files, which the kernel keeps.
"""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.faults.storms import differences
from tests.faults.workloads import Work

Fault = Literal["ENOSPC", "EIO", "short", "kill"]
FAULTS: tuple[Fault, ...] = ("ENOSPC", "EIO", "short", "kill")
COUNT = "calls.txt"
"""File in which an undisturbed child leaves the calls that it made, one a line."""


@dataclass(frozen=True)
class Point:
    """The n-th call of a work, and how it fails."""

    work: Work
    number: int
    call: str
    fault: Fault


def points(work: Work, folder: Path) -> list[Point]:
    """Return all points of a work, by running it once; its results are deleted."""
    shutil.rmtree(folder / work.out, ignore_errors=True)
    code = work.run(folder, lambda: _install(folder, 0, "EIO", record=True))
    if code not in (0, 1):
        raise RuntimeError(f"{work.name}: exit {code}: {(folder / 'stderr.txt').read_text()}")
    calls = (folder / COUNT).read_text().splitlines()
    (folder / COUNT).unlink()
    shutil.rmtree(folder / work.out)
    return [
        Point(work, number, call, fault)
        for number, call in enumerate(calls, 1)
        for fault in FAULTS
        if fault != "short" or call.startswith("write")
    ]


def faults_at(point: Point, folder: Path, calm: dict[str, bytes]) -> list[str]:
    """Let one call fail, then run the same command again; return what was wrong."""
    out = folder / point.work.out
    shutil.rmtree(out, ignore_errors=True)
    where = f"{point.work.name}: {point.fault} at {point.call} ({point.number})"
    code = point.work.run(folder, lambda: _install(folder, point.number, point.fault))
    said = (folder / "stderr.txt").read_text()
    wrong = [] if code == -signal.SIGKILL and point.fault == "kill" else _told(code, said, point, folder, calm)
    return [f"{where}: {what}" for what in wrong + _resumed(point.work, folder, calm)]


def limited(work: Work, folder: Path, calm: dict[str, bytes], size: int) -> list[str]:
    """Run a work whose files may not grow beyond a size, then without that limit; return what was wrong."""
    shutil.rmtree(folder / work.out, ignore_errors=True)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    code = work.run(folder, limit)
    said = (folder / "stderr.txt").read_text()
    wrong = [] if code == 2 and _one_line(said) else [f"exit {code}: {said[-300:]!r}"]
    return [f"{work.name}: files of {size} bytes: {what}" for what in wrong + _resumed(work, folder, calm)]


def _told(code: int, said: str, point: Point, folder: Path, calm: dict[str, bytes]) -> list[str]:
    """Return what is wrong with how a failed call was told."""
    if code == 2:
        return [] if _one_line(said) else [f"not one line: {said[-300:]!r}"]
    # Some failures may pass: of a courtesy, or of a look at a file that is not needed. Then all results must be right.
    if code in (0, 1) and (point.work.name != "training" or code == 0):
        return differences(point.work, folder, calm)
    return [f"exit {code}: {said[-300:]!r}"]


def _resumed(work: Work, folder: Path, calm: dict[str, bytes]) -> list[str]:
    code = work.run(folder)
    if code == 2:
        return [f"not resumed: {(folder / 'stderr.txt').read_text()[-300:]!r}"]
    return differences(work, folder, calm)


def _one_line(said: str) -> bool:
    errors = [line for line in said.splitlines() if line.startswith("memaudit: error: ")]
    return len(errors) == 1 and len(errors[0]) <= 300 and "Traceback" not in said


def _install(folder: Path, number: int, fault: Fault, record: bool = False) -> None:
    """Count the calls of this process that reach files in the folder; let the n-th fail."""
    made: list[str] = []

    def reached(call: str, name: object) -> bool:
        """Count a call; fail if it is the one. True: the call shall do its work by half."""
        path = os.path.realpath(f"/proc/self/fd/{name}" if isinstance(name, int) else str(name))
        if not path.startswith(str(folder.resolve())) or path.endswith((COUNT, "stdout.txt", "stderr.txt")):
            return False
        made.append(f"{call} {Path(path).name}")
        if record:
            with plain_open(folder / COUNT, "a") as file:
                file.write(made[-1] + "\n")
        if len(made) != number:
            return False
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "short" and call == "write":
            return True
        code = errno.EIO if fault == "EIO" else errno.ENOSPC
        raise OSError(code, os.strerror(code), path)

    plain_open, plain_write = io.open, os.write

    def write(descriptor: int, data: Any) -> int:
        half = reached("write", descriptor)
        return plain_write(descriptor, bytes(data)[: len(data) // 2] if half else data)

    class Raw(io.FileIO):
        def write(self, data: Any) -> int:
            if reached("write", self.fileno()):
                super().write(bytes(data)[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data) or 0

    def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        if not isinstance(file, int):
            reached("open", file)
        if not set(mode) & set("wxa+"):
            return plain_open(file, mode, buffering, *rest, **named)
        plain = mode.replace("b", "").replace("t", "")
        raw = Raw(file, plain, named.pop("closefd", True), opener=named.pop("opener", None))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

    def counted(call: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def made_here(name: Any, *rest: Any, **named: Any) -> Any:
            reached(call, name)
            return plain(name, *rest, **named)

        return made_here

    io.open, os.write = opened, write  # type: ignore[assignment]
    for call in ("open", "fsync", "rename", "replace", "ftruncate", "mkdir", "unlink"):
        setattr(os, call, counted(call, getattr(os, call)))
