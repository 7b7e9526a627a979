"""Runs of several models side by side, whatever kind of run they are: one page and one screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from memaudit.records import SHOWN, Shown
from memaudit.runs.directory import read_finished

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Compared:
    """A comparison as it is written and printed."""

    page: str
    """HTML: the same runs give the same."""
    screen: Callable[[Console], None]


def compared(folders: Sequence[Path], shown: Shown = SHOWN, *, replicates: bool = False) -> Compared:
    """Compare runs of one kind.

    Args:
        folders: Run directories, at least two, of audits over the same windows or over the same whole works.
        shown: What may be shown of their texts.
        replicates: As of `memaudit.report.compare.compare`; nothing of it concerns whole works.

    Raises:
        InputError: Runs that do not belong together.
        RunError: A folder holds no finished run.
    """
    if folders and read_finished(folders[0]).report["kind"] == "work":
        from memaudit.report.work_compare import compare_works, render_works
        from memaudit.report.work_compare_terminal import print_works

        works = compare_works(folders)
        return Compared(render_works(works), partial(print_works, works))
    from memaudit.report.compare import compare, render_comparison
    from memaudit.report.compare_terminal import print_comparison

    comparison = compare(folders, shown, replicates=replicates)
    return Compared(render_comparison(comparison), partial(print_comparison, comparison))
