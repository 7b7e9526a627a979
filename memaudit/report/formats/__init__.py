"""The formats a finished run can be written in. None of them knows a kind of run: each asks the kind of the run itself.

`memaudit.report.formats.names` lists them, `memaudit.report.formats.base` says what one is. What writes a format is
imported when it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from memaudit.errors import InputError
from memaudit.report.formats.names import FORMATS

if TYPE_CHECKING:
    from memaudit.records import Shown
    from memaudit.runs.directory import ReportInput


class Writer(Protocol):
    """Writes a file of a finished run."""

    def __call__(self, folder: Path, run: ReportInput[Any] | None = None) -> Path:
        """Return the file that was written in the folder; ``run`` is what it holds, where that was read already."""


def writers(names: Sequence[str], kind: str | None = None, shown: Shown | None = None) -> list[Writer]:
    """Return the writers of the named formats.

    Args:
        names: The formats.
        kind: Of the run that is to be written, where it is known already.
        shown: What may be shown of the run's texts; by default excerpts, in which addresses are masked.

    Raises:
        InputError: If there is no such format, none for this kind of run, or one that cannot leave texts out.
    """
    from memaudit.records import SHOWN
    from memaudit.report.formats.base import Format, refuse_unsuited
    from memaudit.report.kinds import kind_named

    shown = shown or SHOWN
    found = {name: FORMATS.resolve(name) for name in names}
    for name, format_ in found.items():
        if kind is not None and isinstance(format_, Format):
            refuse_unsuited(name, format_, kind_named(kind))
        if not shown.text and not isinstance(format_, Format):
            raise InputError(f"format '{name}': it cannot leave texts out", "it comes from another package")
    return [partial(f, shown=shown) if isinstance(f, Format) else _reading(f) for f in found.values()]


def _reading(function: Callable[[Path], Path]) -> Writer:
    """Return the writer of a function of another package, which reads the folder for itself."""

    def write(folder: Path, run: ReportInput[Any] | None = None) -> Path:  # noqa: ARG001
        return function(folder)

    return write
