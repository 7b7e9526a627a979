"""A command for several models: each in a run directory of its own, and a page that compares them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from memaudit.cli.output import echo, log

if TYPE_CHECKING:
    from memaudit.audits.result import VerdictResult
    from memaudit.audits.several import Result
    from memaudit.records import Shown


def run_each(
    models: tuple[str, ...],
    out: Path | None,
    command: str,
    shown: Shown,
    one: Callable[[str, Path], Result],
    windows: Callable[[Result], str],
) -> NoReturn:
    """Audit every model, write the comparison, and end with the exit code of the worst verdict.

    Args:
        models: At least two.
        out: Folder of the runs; by default one in ``runs/`` that the same command finds again.
        command: What repeats it.
        shown: What of the texts may stand in the comparison.
        one: Audits a model into a run directory.
        windows: Returns what identifies the windows of an audit.
    """
    from memaudit.audits.several import PAGE, run_several
    from memaudit.errors import ExitWithVerdict, MemauditError
    from memaudit.report.comparisons import compared
    from memaudit.report.terminal import console, reader_may_leave
    from memaudit.runs.files import write_atomic

    folder = out or Path("runs") / f"models-{hashlib.sha256(command.encode()).hexdigest()[:12]}"
    finished: list[Result] = []

    def told(result: Result) -> None:
        _tell(result)
        finished.append(result)

    try:
        runs, code = run_several(models, folder, one, windows, told)
    except MemauditError:
        if finished:
            log(f"{len(finished)} of {len(models)} models are audited; with --out {folder} they are not measured again")
        raise
    comparison = compared(runs, shown)
    write_atomic(folder / PAGE, comparison.page.encode("utf-8"))
    with reader_may_leave():
        echo("")
        comparison.screen(console())
        echo(f"report: {folder / PAGE}")
    raise ExitWithVerdict(code)


def _tell(result: VerdictResult[Any]) -> None:
    """Print what became of one model in a line, and where its report is; on GitHub, annotate it."""
    from memaudit.report.formats.github import publish
    from memaudit.report.terminal import reader_may_leave

    if result.notice:
        log(result.notice)
    with reader_may_leave():
        echo(f"{result.verdict}: {result.report['headline']}")
        for file in result.files:
            echo(f"report: {file}")
        publish(result.shown_report, os.environ)
