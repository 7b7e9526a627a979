"""``memaudit merge``: shares of one search joined."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import Formats
from memaudit.cli.output import exit_with_verdict


def merge(
    runs: Annotated[
        tuple[Path, ...], typer.Argument(metavar="RUN...", help="Run directories, each a share of one plan.")
    ],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run directory for the whole.")],
    formats: Formats = ("html",),
) -> None:
    """Join contamination runs that each did a share of the files; the result is that of one run over all.

    \b
    Examples:
      memaudit merge runs/share-* --out runs/all
      memaudit merge runs/share-1 runs/share-2 --out runs/all --format html,junit,sarif
    """
    from memaudit.audits.contamination.run import merge

    exit_with_verdict(merge(runs, out, formats))
