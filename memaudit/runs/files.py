"""Files that outlive a crash: JSON with the same bytes for the same values, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from memaudit.errors import RunError

RUN_FILES = PLAN, LOG = "plan.json", "items.log"
"""What every run directory holds: what is to be done, and what was done."""
SPLIT = "split.json"
"""Stands beside the halves of a benchmark that was split, and names them."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def strict_json(value: object) -> bytes:
    r"""Return ``value`` as byte-stable JSON: keys sorted, indented by two, ASCII only, newline at the end.

    ASCII (``\u00e9``) because texts may hold terminal controls and lone surrogates: the first would
    act when somebody prints the file, the second cannot be written as UTF-8 at all.

    Raises:
        ValueError: For NaN and infinities, which JSON does not have.
    """
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False).encode("ascii") + b"\n"


def compact_json(value: object) -> bytes:
    """Return ``value`` as ``strict_json`` does, on one line and without spaces: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a run.

    Raises:
        RunError: If the file cannot be read, is not JSON, or holds NaN or infinities.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except NotADirectoryError as error:
        raise RunError(f"{path.parent}: a file; a run is a folder", "FOLDER/*/ names folders alone") from error
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}", "is this the folder of a run?") from error
    except ValueError as error:
        raise RunError(f"{path}: not valid JSON: {error}", "delete the folder and run again") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that is always either the old or the new one, whole, with mode 0600.

    Raises:
        RunError: If it cannot be written; the old file is then untouched.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path.name, error) from error


def made_by_us(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files that memaudit itself wrote, and as a part of what: of a run, or of a benchmark that was split.

    A run has a folder of its own, so that whatever lies in there belongs to it.
    """
    known: dict[Path, str] = {}

    def whose(folder: Path) -> str:
        if folder not in known:
            above = "" if folder == folder.parent else whose(folder.parent)
            known[folder] = f"the run in {folder}" if all((folder / file).is_file() for file in RUN_FILES) else above
        return known[folder]

    for name in names:
        path = Path(name).resolve()
        if what := whose(path.parent):
            yield name, what
        elif (path.parent / SPLIT).is_file() and path.name in _split_files(path.parent / SPLIT):
            yield name, f"the split in {path.parent}"


def _split_files(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    ours = isinstance(found, dict) and found.get("tool") == "memaudit" and isinstance(found.get("files"), list)
    return found["files"] if ours else []


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error(name: str, error: OSError) -> RunError:
    """Return what to raise when a file of a run cannot be written."""
    if error.errno in _NO_SPACE:
        return RunError(f"no space writing {name}; rerun to resume", "make room first")
    return RunError(f"cannot write {name}: {error.strerror}", "rerun to resume")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
