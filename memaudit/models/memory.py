"""Work that continues with half as much at a time when memory runs out; what is measured does not depend on it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from memaudit.errors import ModelError, is_out_of_memory

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_halves(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> tuple[list[Result], int]:
    """Do work on items in order, on half as many at a time whenever memory runs out.

    Returns:
        The results of all items, and the most that were done at a time.

    Raises:
        ModelError: Memory does not suffice for a single item.
    """
    results: list[Result] = []
    size = max(1, len(items))
    while len(results) < len(items):
        try:
            results += work(items[len(results) : len(results) + size])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise ModelError("memory ran out over a single window", "use a shorter --prefix, or --device") from None
            size //= 2
        else:
            continue
        _release()
    return results, size


def free_bytes(device: torch.device) -> int:
    """Return the memory that is free on a device; 0 where that cannot be known.

    Of the machine's own it is the least of what the system has available, what the control groups leave that hold the
    process, and its limit of addresses (``ulimit -v``).
    """
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return 0
    found = re.search(r"^MemAvailable: *(\d+) kB", _text(Path("/proc/meminfo")), re.MULTILINE)
    known = [int(found[1]) << 10] if found else []
    return min([*known, *_left_by_groups(), *_left_of_addresses()], default=0)


def _left_by_groups(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """Return what every control group that holds this process leaves of its limit of memory.

    What a group uses includes the pages of files that were read, which are given up for others.
    """
    left = []
    for line in _text(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        inner = base / path.strip("/")
        for group in [inner, *(each for each in inner.parents if each.is_relative_to(base))]:
            limit, used = (_text(group / name).strip() for name in names)
            if limit.isdecimal() and used.isdecimal():
                stat = dict(line.split(" ", 1) for line in _text(group / "memory.stat").splitlines() if " " in line)
                kept = sum(int(stat.get(name, 0)) for name in ("inactive_file", "active_file"))
                left.append(max(0, int(limit) - int(used) + kept))
    return left


def _left_of_addresses() -> list[int]:
    with suppress(ImportError, OSError, ValueError, IndexError):  # as on Windows
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            used = int(_text(Path("/proc/self/statm")).split()[0]) * resource.getpagesize()
            return [max(0, limit - used)]
    return []


def _text(file: Path) -> str:
    with suppress(OSError):
        return file.read_text(encoding="utf-8")
    return ""


def _release() -> None:
    """Give an accelerator's cached memory back, where torch holds any."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
