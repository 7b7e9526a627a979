"""What a model will need of memory, told from what its files declare, before anything of it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from memaudit.errors import ModelError
from memaudit.models.loading.precision import DTYPES
from memaudit.models.loading.stored import bytes_of
from memaudit.models.loading.weights import Declared
from memaudit.models.memory import free_bytes

WORKING = 0.1
"""Room beside the weights for what is computed, as a share of them."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of memory."""

    weights: int
    """All tensors, in the type that is wanted."""
    largest: int
    """The largest of them, which is held twice where it is converted or moved."""

    @property
    def total(self) -> int:
        """What has to be free."""
        return int(self.weights * (1 + WORKING)) + self.largest


def need_of(declared: Mapping[str, Declared], dtype: str) -> Need:
    """Return what tensors will need with their floating point numbers as ``dtype``, a name in `DTYPES`."""
    sizes = [bytes_of(tensor, DTYPES[dtype]) for tensor in declared.values()]
    return Need(sum(sizes), max(sizes, default=0))


def check_room(
    folder: Path, declared: Mapping[str, Declared], dtypes: tuple[str, str], device: str, *more: str
) -> None:
    """Refuse a model that a device has no memory for.

    Args:
        folder: Of the model.
        declared: Its tensors.
        dtypes: Names of the type that is wanted, and of the one that the files have.
        device: Where it is to lie; one whose memory is not known is not asked.
        *more: Ways on, beside another type and a larger machine.

    Raises:
        ModelError: One line says what is needed, what there is, and how to go on.
    """
    need, free = need_of(declared, dtypes[0]), free_bytes(torch.device(device))
    if free and need.total > free:
        raise too_large(folder, declared, dtypes, f"{gigabytes(free)} are free on {device}", *more)


def too_large(
    folder: Path, declared: Mapping[str, Declared], dtypes: tuple[str, str], found: str, *more: str
) -> ModelError:
    """Return what to raise about a model that has no room; ``dtypes`` as above, ``more`` are ways on."""
    wanted, stored = dtypes
    need = need_of(declared, wanted)
    smaller = "bfloat16" if DTYPES[stored].itemsize > 2 else stored
    ways = [*more, "a larger machine"]
    if need_of(declared, smaller).total < need.total:
        flag = "auto" if smaller == stored else smaller
        ways.insert(0, f"--dtype {flag}, which needs {gigabytes(need_of(declared, smaller).total)}")
    needed = f"needs {gigabytes(need.total)} of memory as {wanted}"
    return ModelError(f"{folder}: {needed}, {found}", "; ".join(ways))


def gigabytes(count: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{round(count / 1e8) / 10:,} GB"
