"""Which run is gone on with while its models are loaded: what its earlier sessions spent counts before the probe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_FOLDER: ContextVar[Path | None] = ContextVar("resumed run", default=None)


@contextmanager
def going_on_in(folder: str | Path | None) -> Iterator[None]:
    """Let models that are loaded meanwhile know the run directory that was named, if one was."""
    token = _FOLDER.set(Path(folder) if folder else None)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def resumed_folder() -> Path | None:
    """Return the run directory that was named, None where its name follows from what is found out."""
    return _FOLDER.get()
