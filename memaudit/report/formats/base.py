"""What a format is: a file of the run directory, made of a run by asking the run's kind.

A format of another package is an object of this class, declared as an entry point of the group ``memaudit.format``::

    # theirs.py; in pyproject.toml: [project.entry-points."memaudit.format"] csv = "theirs:CSV"
    from memaudit.report.formats.base import Format
    from memaudit.report.kinds.base import VerdictKind

    def rows(run, kind):
        lines = [f"{problem.rule},{problem.place},{problem.level}" for problem in kind.problems(run.report)]
        return "\\n".join(["rule,where,level", *lines]).encode()

    CSV = Format("findings.csv", rows, VerdictKind)

``--format csv`` then writes ``findings.csv`` of any run that comes to a verdict, texts withheld or masked as asked for.
A plain function of a run directory that returns the path of what it wrote is a format too; it reads the run with
`memaudit.runs.directory.read_finished`, finds its kind with `memaudit.report.kinds.kind_of`, and cannot be used where
texts are withheld.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from memaudit.errors import InputError
from memaudit.records import SHOWN, Shown
from memaudit.report.formats.names import OF_ANY_RUN
from memaudit.report.kinds import kind_of
from memaudit.report.kinds.base import Kind
from memaudit.runs.directory import ReportInput, read_finished
from memaudit.runs.files import write_atomic

AKind = TypeVar("AKind", bound=Kind[Any])


@dataclass(frozen=True, slots=True)
class Format(Generic[AKind]):
    """A writer of one file of a run directory."""

    file: str
    render: Callable[[ReportInput[Any], AKind], bytes]
    """The run, with no more of its texts than may be shown, and its kind -> the bytes of the file."""
    suits: type[AKind]
    """`Kind` where any run can be written; `VerdictKind` where it takes one that comes to a verdict."""
    excerpts: bool = True
    """Whether texts stand in it for people to read, so that addresses, telephone numbers and keys are masked."""

    def __call__(self, folder: Path, run: ReportInput[Any] | None = None, shown: Shown = SHOWN) -> Path:
        """Write the file of a finished run, atomically, and return its path.

        Args:
            folder: The run directory.
            run: What it holds, where that was read already.
            shown: What may be shown of the run's texts.

        Raises:
            RunError: If the run never came to a report, or is of a kind that is not known.
            InputError: If the format is none for this kind of run.
        """
        run = run or read_finished(folder)
        kind = kind_of(run.report)
        path = folder / self.file
        refuse_unsuited(self.file, self, kind)
        disclosed = kind.disclosed(run, shown if self.excerpts else Shown(shown.text, personal=True))
        write_atomic(path, self.render(disclosed, kind))  # type: ignore[arg-type]  # refused above
        return path


def refuse_unsuited(name: str, format_: Format[Any], kind: Kind[Any]) -> None:
    """Raise an InputError if a format is none for a kind of run."""
    if not isinstance(kind, format_.suits):
        raise InputError(f"format '{name}': not for a run of kind '{kind.name}'", f"{' and '.join(OF_ANY_RUN)} are")
