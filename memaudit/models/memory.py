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
    """Return the memory that is free on a device; 0 where that cannot be known."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and (found := re.search(r"^MemAvailable: *(\d+) kB", _meminfo(), re.MULTILINE)):
        return int(found[1]) << 10
    return 0


def _meminfo() -> str:
    with suppress(OSError):
        return Path("/proc/meminfo").read_text(encoding="utf-8")
    return ""


def _release() -> None:
    """Give an accelerator's cached memory back, where torch holds any."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
