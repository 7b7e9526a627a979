"""What commands that write a report share: flags that say what may be shown of texts, and how an outcome is told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from memaudit.audits.result import RunResult, VerdictResult
    from memaudit.records import Shown

IN_CI = "memaudit.ci"
"""Where the context of a command keeps that a continuous integration runs it, if that decided anything."""
LONGEST = 10_000
"""Characters of a line that is told: a path may have 4,096 bytes."""


def in_ci_by_default(context: typer.Context, value: bool | None) -> bool | None:
    """Return a value that is true where a continuous integration runs the command, unless somebody said otherwise."""
    if value is not None or not in_ci():
        return value
    said = f"from the environment: CI={os.environ['CI']}"
    context.meta[IN_CI] = f"{said}, so that texts are withheld (--show-text shows them)"
    return True


Redact = Annotated[
    bool | None,
    typer.Option(
        "--redact/--show-text",
        help="Hashes and lengths instead of text in every output; by default where CI is set.",
        show_default=False,
        callback=in_ci_by_default,
    ),
]
ShowPersonal = Annotated[
    bool, typer.Option("--show-personal", help="Leave addresses, telephone numbers and keys in excerpts legible.")
]


def shown_texts(redact: bool | None, personal: bool) -> Shown:
    """Return what may be shown of texts.

    Args:
        redact: Whether they are withheld; None where nobody said so: then where a continuous integration runs.
        personal: Whether addresses, telephone numbers and keys stay legible in excerpts.
    """
    from memaudit.records import Shown

    return Shown(text=not (in_ci() if redact is None else redact), personal=personal)


def tell(line: str, *, err: bool = False) -> None:
    """Print a line that names files: nothing in a name acts on the terminal."""
    from memaudit.errors import one_line

    typer.echo(one_line(line, LONGEST), err=err)


def say(line: str) -> None:
    """Print what the user should know on stderr."""
    tell(f"memaudit: {line}", err=True)


def tell_run(run: RunResult) -> None:
    """Print what a run found and where its files are; on GitHub, annotate what has a verdict."""
    from memaudit.audits.result import VerdictResult
    from memaudit.report.formats.github import publish
    from memaudit.report.formats.screen import print_report
    from memaudit.report.terminal import console, reader_may_leave

    if run.notice:
        say(run.notice)
    with reader_may_leave():
        print_report(run.shown_report, console())
        for file in run.files:
            tell(f"report: {file}")
        if isinstance(run, VerdictResult):
            publish(run.shown_report, os.environ)


def tell_verdict(run: VerdictResult) -> NoReturn:
    """Tell of a run as `tell_run` does, and end with the exit code of its verdict."""
    from memaudit.errors import ExitWithVerdict

    tell_run(run)
    raise ExitWithVerdict(run.exit_code)


def in_ci() -> bool:
    """Return whether a continuous integration runs the command, whose artefacts many can read."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
