"""``memaudit report``: the report of a finished run, written again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import Formats, ShownFlags, listed
from memaudit.cli.output import echo


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    *,
    formats: Formats = ("html",),
    exhibits: Annotated[
        tuple[str, ...],
        typer.Option(
            "--exhibit",
            metavar="A1,...",
            callback=listed,
            help="Write these exhibits alone, one a printed page, to exhibits.html; repeat, or separate by commas.",
        ),
    ] = (),
    shown: ShownFlags,
) -> None:
    """Write the report of a run again and print its verdict; needs neither the model nor the corpora.

    \b
    Examples:
      memaudit report runs/gpt-0a1b2c3d4e5f
      memaudit report runs/gpt-0a1b2c3d4e5f --format html,junit
      memaudit report runs/gpt-0a1b2c3d4e5f --format md --redact
      memaudit report runs/gpt-0a1b2c3d4e5f --exhibit A1,A3
    """
    from memaudit.errors import InputError
    from memaudit.report.disclosure import disclosed
    from memaudit.report.formats import writers
    from memaudit.report.formats.screen import print_report
    from memaudit.report.terminal import console
    from memaudit.runs.directory import read_finished

    if exhibits:
        from memaudit.report.sheets import write_exhibits

        if tuple(formats) != ("html",):
            raise InputError(f"--format {','.join(formats)}: exhibits are written as html", "leave it out")
        echo(f"exhibits: {write_exhibits(run, exhibits, shown.shown)}")
        return
    pages = [write(run) for write in writers(formats, shown=shown.shown)]
    print_report(disclosed(read_finished(run), shown.shown).report, console())
    for page in pages:
        echo(f"report: {page}")
