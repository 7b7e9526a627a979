"""``memaudit report``: the report of a finished run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import Formats, ShownFlags
from memaudit.cli.output import echo


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    *,
    formats: Formats = ("html",),
    shown: ShownFlags,
) -> None:
    """Write the report of a run again and print its verdict; needs neither the model nor the corpora.

    \b
    Examples:
      memaudit report runs/gpt-0a1b2c3d4e5f
      memaudit report runs/gpt-0a1b2c3d4e5f --format html,junit
      memaudit report runs/gpt-0a1b2c3d4e5f --format md --redact
    """
    from memaudit.report.disclosure import disclosed
    from memaudit.report.formats import writers
    from memaudit.report.formats.screen import print_report
    from memaudit.report.terminal import console
    from memaudit.runs.directory import read_finished

    pages = [write(run) for write in writers(formats, shown=shown.shown)]
    print_report(disclosed(read_finished(run), shown.shown).report, console())
    for page in pages:
        echo(f"report: {page}")
