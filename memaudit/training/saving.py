"""A trained model's folder, which may be cut off at any byte: each file is the old or the new one, whole."""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError

from memaudit.errors import RunError
from memaudit.runs.files import sync_folder

ABOUT = "memaudit.json"
LEFTOVER = ".saving."


class Saved(Protocol):
    """Whatever writes itself into a folder."""

    def save(self, folder: Path) -> None:
        """Write all files of the model."""


def save_model(model: Saved, out: Path, *, replace: bool = True) -> None:
    """Write a model into a folder, through one beside it; ``memaudit.json`` first, which claims the folder for it.

    Args:
        model: What is written.
        out: The folder.
        replace: Whether it may take the place of another model.

    Raises:
        RunError: It cannot be written (the same command writes it again), or would replace another.
    """
    for leftover in out.glob(f"{LEFTOVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix=LEFTOVER, dir=out) as name:
            model.save(Path(name))
            written = sorted(Path(name).iterdir(), key=lambda file: (file.name != ABOUT, file.name))
            for file in written:
                if not replace and _differs(file, out / file.name):
                    raise RunError(f"{out}: holds another model", "choose another --out or delete it")
                _sync(file)
            for file in written:
                file.replace(out / file.name)
        sync_folder(out)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise RunError(f"{out}: the model cannot be written: {reason}", "make room and run the same command") from error


def _differs(new: Path, old: Path) -> bool:
    return old.exists() and not filecmp.cmp(new, old, shallow=False)


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
