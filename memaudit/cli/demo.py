"""``memaudit demo``: four families trained and audited, without a file or a download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import Seed
from memaudit.cli.output import echo


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for models, runs and the report.")] = Path(
        "memaudit-demo"
    ),
    seed: Seed = 0,
) -> None:
    """Train four families on text with planted passages, audit all four, write one report.

    Needs no file and no download: the text is what every Python installation carries.

    \b
    Examples:
      memaudit demo
      memaudit demo --out /tmp/demo --seed 7
    """
    from memaudit.demo import run_demo
    from memaudit.report.extraction_terminal import print_demo
    from memaudit.report.terminal import console

    result = run_demo(out, seed=seed, log=console().print)
    print_demo(result.reports, console())
    echo(f"report: {result.html}")
