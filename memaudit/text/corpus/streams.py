"""Standard input and other pipes: read once, into a file of this process, so that they can be read again.

A corpus is looked at, counted, searched and read anew by other processes; nothing of a pipe may be lost by it.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from memaudit.errors import InputError

_DESCRIPTOR = re.compile(r"/dev/stdin|/dev/fd/(\d+)|/proc/self/fd/(\d+)")
_kept: dict[int, str] = {}


def is_stream(name: str) -> bool:
    """Return whether a name stands for standard input or another open pipe, as the shell's ``<(...)`` gives it."""
    return (name == "-" and not Path(name).exists()) or _DESCRIPTOR.fullmatch(name) is not None


def keep_stream(name: str) -> str:
    """Return the file that holds all that came through a pipe; it is gone when the process ends.

    Raises:
        InputError: It cannot be read, nobody writes to it, or there is no room for it.
    """
    found = _DESCRIPTOR.fullmatch(name)
    number = int(next((digits for digits in found.groups() if digits), 0)) if found else 0
    if number not in _kept:
        _kept[number] = _copy(name, number)
    return _kept[number]


def _copy(name: str, number: int) -> str:
    folder = tempfile.mkdtemp(prefix="memaudit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "stream"
    try:
        if stat.S_ISCHR(os.fstat(number).st_mode):
            raise InputError(f"{name}: is no file and no pipe", "send one into it: memaudit ... < FILE")
        with os.fdopen(os.dup(number), "rb") as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise InputError(f"{name}: {error.strerror}", "save it to a file and name that") from error
    return str(path)
