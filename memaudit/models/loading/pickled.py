"""Pickled weights, ``pytorch_model.bin`` or its shards: read where somebody allowed it, as tensors and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PLAIN = re.compile(r"[\w.-]+\.bin", re.ASCII)
"""Names that shards may have."""
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
