"""Tensors in weight files, each read when it is asked for, into memory of its own, and let go of.

A file is not mapped: its pages would count as the memory of whoever reads them for as long as the mapping stands, and
sums come out differently in memory that is not aligned, as a file's is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol

import torch
from torch import Tensor

from memaudit.errors import ModelError
from memaudit.models.loading.header import BITS
from memaudit.models.loading.weights import Declared, one_name

PIECE = 1 << 20
"""Values that are looked at together: little beside any large tensor, and few enough for the processor's cache."""
KINDS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U64": torch.uint64, "U32": torch.uint32, "U16": torch.uint16, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
"""Types by the names that safetensors has for them."""


class LazyTensor(Protocol):
    """What is read when it is asked for: as much of a slice of safetensors as the loader of transformers asks for."""

    def get_shape(self) -> list[int]: ...  # noqa: D102
    def get_dtype(self) -> str: ...  # noqa: D102
    def __getitem__(self, place: EllipsisType | slice | int | tuple[slice | int, ...]) -> Tensor: ...

    def pieces(self) -> Iterator[Tensor]:
        """Return its values once more, flat, in their order, at most `PIECE` together."""
        ...


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file."""

    name: str
    declared: Declared
    wanted: torch.dtype
    """Type that floating point numbers are read as where it is wider than theirs: the tensor is never held twice."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of its values; ModelError where torch has none for it."""
        if self.declared.kind not in KINDS:
            kind = self.declared.kind
            raise ModelError(f"{self.declared.file}: tensor {one_name(self.name)} holds {kind}, which is not read")
        return KINDS[self.declared.kind]

    def get_shape(self) -> list[int]:
        """Return its shape, as safetensors gives it."""
        return list(self.declared.shape)

    def get_dtype(self) -> str:
        """Return the name of its type, as safetensors gives it."""
        return self.declared.kind

    def __getitem__(self, place: EllipsisType | slice | int | tuple[slice | int, ...]) -> Tensor:
        """Read it whole, check its values, and return what was asked for of it.

        Raises:
            ModelError: A value is NaN or infinite, or the file is no longer what its header said.
        """
        wider = self.dtype.is_floating_point and self.wanted.itemsize > self.dtype.itemsize
        tensor = torch.empty(self.declared.shape, dtype=self.wanted if wider else self.dtype)
        if self.declared.strides:
            tensor.copy_(self._spread())
        elif wider:
            for part, piece in zip(torch.split(tensor.reshape(-1), PIECE), self.pieces(), strict=True):
                part.copy_(piece)
        else:
            self._fill(tensor, 0)
        check_finite_values(self.name, tensor)
        return tensor if place is Ellipsis else tensor[place]

    def pieces(self) -> Iterator[Tensor]:
        """Read it again, `PIECE` values at a time, in their order."""
        if self.declared.strides:
            yield from torch.split(self._spread().reshape(-1), PIECE)
            return
        for first in range(0, self.declared.values or 1, PIECE):
            piece = torch.empty(min(PIECE, self.declared.values - first), dtype=self.dtype)
            self._fill(piece, first * piece.itemsize)
            yield piece

    def _spread(self) -> Tensor:
        """Read a tensor whose values do not lie in their order, with all that lies between them."""
        shape, strides = self.declared.shape, self.declared.strides
        last = sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
        span = torch.empty(last + 1, dtype=self.dtype)
        self._fill(span, 0)
        return span.as_strided(shape, strides)

    def _fill(self, tensor: Tensor, skipped: int) -> None:
        """Read what begins so many bytes into the tensor."""
        rest: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
        with self.declared.file.open("rb", buffering=0) as file:
            file.seek(self.declared.start + skipped)
            while len(rest):
                count = file.readinto(rest)
                if not count:
                    raise ModelError(f"{self.declared.file}: ends within tensor {one_name(self.name)}")
                rest = rest[count:]


def stored_tensors(declared: Mapping[str, Declared], wanted: torch.dtype) -> dict[str, StoredTensor]:
    """Return tensors that can be read one by one, as numbers of this type where it is wider than that of the file."""
    return {name: StoredTensor(name, each, wanted) for name, each in declared.items()}


def read_tensors(declared: Mapping[str, Declared]) -> dict[str, Tensor]:
    """Read all of these tensors; ModelError as from `StoredTensor`."""
    stored = {name: StoredTensor(name, each, torch.float8_e4m3fn) for name, each in declared.items()}  # none is widened
    return {name: each[...] for name, each in stored.items()}


def check_values(tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError naming the first tensor with NaN or infinite values."""
    for name, tensor in tensors.items():
        check_finite_values(name, tensor)


def pieces_of(tensor: LazyTensor | Tensor) -> Iterator[Tensor]:
    """Return the values of a tensor in their order, flat, at most `PIECE` together."""
    return iter(torch.split(tensor.detach().reshape(-1), PIECE)) if isinstance(tensor, Tensor) else tensor.pieces()


def check_finite_values(name: str, tensor: Tensor) -> None:
    """Raise ModelError that says how many values of a tensor are NaN or infinite; little memory is taken."""
    if tensor.is_floating_point() and (bad := sum(map(_not_finite, pieces_of(tensor)))):
        values = "value" if bad == 1 else "values"
        raise ModelError(f"tensor {one_name(name)} has {bad} non-finite {values}", "the weights are damaged")


def is_finite(piece: Tensor) -> bool:
    """Return whether no value is NaN or infinite; any NaN is both the least and the greatest of all."""
    piece = piece.float() if piece.itemsize == 1 else piece
    return not piece.is_floating_point() or not piece.numel() or all(map(torch.isfinite, torch.aminmax(piece)))


def _not_finite(piece: Tensor) -> int:
    return 0 if is_finite(piece) else int((~torch.isfinite(piece.float())).sum())


def bytes_of(declared: Declared, dtype: torch.dtype) -> int:
    """Return the bytes that a tensor takes in memory, its floating point numbers as ``dtype``."""
    floating = declared.kind in KINDS and KINDS[declared.kind].is_floating_point
    return declared.values * dtype.itemsize if floating else -(-declared.values * BITS[declared.kind] // 8)
