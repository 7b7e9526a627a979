"""``memaudit baseline``: findings that are accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.output import echo


def baseline(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished contamination run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of accepted findings; commit it.")],
) -> None:
    """Accept the findings of a run: with --baseline FILE only new ones fail. The file holds hashes, no text.

    \b
    Examples:
      memaudit baseline runs/contamination-0a1b2c3d4e5f --out accepted.json
    """
    from memaudit.audits.contamination.baseline import write_baseline
    from memaudit.report.wording import counted
    from memaudit.runs.directory import read_finished

    count = write_baseline(read_finished(run).report, out)
    echo(f"{out}: {counted(count, 'accepted finding')}")
