"""The formats a finished run can be written in, by name; other packages declare theirs as entry points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from memaudit.plugins import Registry

FORMATS = Registry(
    "memaudit.format",
    {
        "html": "memaudit.report.html:write_html",
        "json": "memaudit.report.machine:write_json",
        "junit": "memaudit.report.machine:write_junit",
    },
)

Writer = Callable[[Path], Path]
"""Folder of a finished run -> the file that was written in it."""


def writers(names: Sequence[str]) -> list[Writer]:
    """Return the writers of the named formats.

    Raises:
        InputError: If there is no such format.
    """
    return [FORMATS.resolve(name) for name in names]
