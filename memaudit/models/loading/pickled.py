"""Pickled weights, ``pytorch_model.bin`` or its shards: read where somebody allowed it, as tensors and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.archives import archived_tensors
from memaudit.models.loading.pickles import PickledTensor

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PLAIN = re.compile(r"[\w.-]+\.bin", re.ASCII)
"""Names that shards may have."""
METHOD = "torch.load(weights_only=True)"
_TYPES = {
    "F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_allowed: ContextVar[bool] = ContextVar("pickles", default=False)


@contextmanager
def allowing_pickles(allowed: bool) -> Iterator[None]:
    """Say whether pickled weights may be read in what is done meanwhile."""
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def pickles_allowed() -> bool:
    """Return whether pickled weights may be read."""
    return _allowed.get()


def beside_safetensors(folder: Path, stem: str = "model") -> bool:
    """Return whether a folder has safetensors weights, beside which no pickle is read."""
    return any((folder / name).is_file() for name in (f"{stem}.safetensors", f"{stem}.safetensors.index.json"))


def read_pickles(folder: Path) -> bool:
    """Return whether the weights of a folder are pickles that may be read, and there are no others."""
    pickled = any((folder / name).is_file() for name in (SINGLE, INDEX))
    return pickles_allowed() and pickled and not beside_safetensors(folder)


def declared_tensors(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return what a file of pickled weights declares: the type of every tensor, as safetensors call it, and its shape.

    Raises:
        ModelError: It is no archive of torch, or holds anything but a flat dictionary of tensors.
    """
    return {name: (tensor.storage.kind, tensor.shape) for name, tensor in archived_tensors(file).items()}


def pickled_tensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, in memory of their own but for those that are one and the same.

    Raises:
        ModelError: As `declared_tensors`, or torch reads other tensors than are declared.
    """
    declared = archived_tensors(file)
    try:
        read: Any = torch.load(str(file), map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever a damaged file makes of torch's reader
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{file}: {METHOD} fails: {reason}", "download it again") from None
    if not isinstance(read, dict) or read.keys() != declared.keys():
        raise ModelError(f"{file}: {METHOD} gives other tensors than the file declares")
    copies: dict[tuple[object, ...], Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, tensor in declared.items():
        view = (tensor.storage.key, tensor.offset, tensor.shape, tensor.strides)
        if view not in copies:
            copies[view] = _copied(file, name, tensor, read[name])
        found[name] = copies[view]
    return found


def _copied(file: Path, name: str, declared: PickledTensor, read: Any) -> Tensor:
    plain = type(read) in (Tensor, torch.nn.Parameter) and read.layout == torch.strided and read.device.type == "cpu"
    if not plain or tuple(read.shape) != declared.shape or read.dtype != _TYPES[declared.storage.kind]:
        raise ModelError(f"{file}: {METHOD} gives another tensor {one_line(name, 80)} than the file declares")
    copy: Tensor = read.detach().clone(memory_format=torch.contiguous_format)
    return copy
