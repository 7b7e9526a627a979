"""How an error is reported, in one line, and the exit code it earns: 2 for input and environment, 70 for our bugs."""

from __future__ import annotations

import resource
import traceback
from collections.abc import Iterator
from pathlib import Path

from memaudit.errors import MemauditError, is_out_of_memory

INTERNAL_ERROR = 70
MIN_MEMORY = 512 << 20
"""Bytes of address space without which numerical libraries cannot be loaded; some try for ever, deaf to signals."""
NEARLY_ALL = 0.95
"""Share of a limit from which on it is what a failure comes of."""


def limits() -> dict[str, int]:
    """Return the bytes of memory that the process may have, by the command that limits them; none: no limit."""
    kinds = {"ulimit -v": resource.RLIMIT_AS, "ulimit -d": resource.RLIMIT_DATA}
    found = {name: resource.getrlimit(kind)[0] for name, kind in kinds.items()}
    return {name: limit for name, limit in found.items() if limit != resource.RLIM_INFINITY}


def check_memory() -> None:
    """Refuse to begin where a limit leaves too little memory to load the libraries.

    Raises:
        MemauditError: With the limit.
    """
    for name, limit in limits().items():
        if limit < MIN_MEMORY:
            least = f"{MIN_MEMORY >> 20} MiB is the least"
            raise MemauditError(f"out of memory: {name} leaves {limit >> 20} MiB", f"{least}; more for neural models")


def failure(error: BaseException) -> tuple[str, int]:
    """Return what to say of an error that ended a command, and the exit code."""
    if isinstance(error, MemauditError):
        return str(error), error.exit_code
    if any(is_out_of_memory(link) for link in _chain(error)) or _at_limit():
        return f"out of memory{_limits()} (finished work is kept)", MemauditError.exit_code
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if library := _not_imported(error):
        why = error if isinstance(error, ImportError) else said
        return f"{library} cannot be imported: {why}", MemauditError.exit_code
    if isinstance(error, OSError):
        return describe(error), MemauditError.exit_code
    return f"internal error: {said} (a bug; --debug shows where)", INTERNAL_ERROR


def describe(error: OSError) -> str:
    """Return what the system says, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _limits() -> str:
    said = [f"{name} leaves {limit >> 20} MiB" for name, limit in limits().items()]
    return f": {', '.join(said)}" if said else ""


def _at_limit() -> bool:
    """Whether the process has filled what it may: C code that lacks memory there can fail in any way it likes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # another system
        return False
    peak = int(status.partition("VmPeak:")[2].split()[0]) << 10
    return any(peak > NEARLY_ALL * limit for limit in limits().values())


def _not_imported(error: BaseException) -> str:
    """Return the library of others whose import an error ended, or nothing."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames]
    ours = max((place for place, package in enumerate(packages) if package == "memaudit"), default=-1)
    imported = [
        package
        for frame, package in zip(frames[ours + 1 :], packages[ours + 1 :], strict=True)
        if frame.f_code.co_name == "<module>"
    ]
    if imported:
        return imported[-1]
    name = (error.name or "a library").partition(".")[0] if isinstance(error, ImportError) else ""
    return "" if name == "memaudit" else name
