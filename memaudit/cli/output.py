"""What a command prints: lines that name files, notes on stderr, and what became of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from memaudit.audits.result import RunResult, VerdictResult
    from memaudit.models.base import LanguageModel

MAX_LINE = 10_000
"""Characters of a line that is printed: a path may have 4,096 bytes."""


def echo(line: str, *, err: bool = False) -> None:
    """Print a line that names files: nothing in a name acts on the terminal."""
    from memaudit.errors import one_line

    typer.echo(one_line(line, MAX_LINE), err=err)


def log(line: str) -> None:
    """Print what the user should know on stderr."""
    echo(f"memaudit: {line}", err=True)


class Spending:
    """What asking the models of a run has cost so far, in words; empty where that is nobody's concern."""

    def __init__(self) -> None:
        self.models: list[LanguageModel] = []

    def __call__(self) -> str:
        """Return it, for a line of progress."""
        return "; ".join(filter(None, (model.spent for model in self.models)))

    def of(self, load: Callable[..., LanguageModel]) -> Callable[..., LanguageModel]:
        """Return what loads a model and remembers it."""

        def remembered(*args: Any, **named: Any) -> LanguageModel:
            model = load(*args, **named)
            if model.endpoint is not None:
                self.models.append(model)
            return model

        return remembered


def echo_run(run: RunResult[Any]) -> None:
    """Print what a run found and where its files are; on GitHub, annotate what has a verdict."""
    from memaudit.audits.result import VerdictResult
    from memaudit.report.formats.github import publish
    from memaudit.report.formats.screen import print_report
    from memaudit.report.terminal import console, reader_may_leave

    if run.notice:
        log(run.notice)
    with reader_may_leave():
        print_report(run.shown_report, console())
        for file in run.files:
            echo(f"report: {file}")
        if isinstance(run, VerdictResult):
            publish(run.shown_report, os.environ)


def exit_with_verdict(run: VerdictResult[Any]) -> NoReturn:
    """Print a run as `echo_run` does, and end with the exit code of its verdict."""
    from memaudit.errors import ExitWithVerdict

    echo_run(run)
    raise ExitWithVerdict(run.exit_code)
