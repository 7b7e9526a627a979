"""``memaudit schema``: what plan.json, items.log and report.json hold, as JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def schema(
    what: Annotated[
        Literal["plan", "log", "report"], typer.Argument(metavar="plan|log|report", help="Which file of a run.")
    ] = "report",
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="extraction, contamination, membership, gap, laws, counterfactual or exploitation.",
        ),
    ] = "extraction",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the schemas of all files and kinds there.")
    ] = None,
) -> None:
    """Print the JSON Schema (2020-12) of a file of a run directory.

    \b
    Examples:
      memaudit schema report gap
      memaudit schema log extraction
      memaudit schema --out docs/schema
    """
    from memaudit.runs.schemas import schema_of, schema_text, write_schemas

    if out is None:
        typer.echo(schema_text(schema_of(what, kind)))
        return
    typer.echo(f"{len(write_schemas(out))} schemas")
