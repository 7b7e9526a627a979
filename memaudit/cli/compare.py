"""``memaudit compare``: several audited models beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import ShownFlags
from memaudit.cli.output import echo


def compare(
    runs: Annotated[
        tuple[Path, ...], typer.Argument(metavar="RUN...", help="Run directories of audits over one text.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page.")] = Path("compare.html"),
    replicates: Annotated[
        bool,
        typer.Option(
            "--replicates",
            help="Models of one family and size differ in the seed of their training alone. Models that memaudit"
            " trained are recognised.",
        ),
    ] = False,
    shown: ShownFlags,
) -> None:
    """Compare models that were audited on the same windows: what each reproduces, and what size does.

    Give the runs in the order in which the page shall show them, small models before large ones. Checkpoints of a
    training, each of another step by its name (checkpoint-500, step1000), stand in the order of these, with the curve
    over steps. Of three trainings or more that differ in their seed alone it gives the mean rate and AUC, with an
    interval over seeds and documents. Of runs over whole works it gives a grid of works and models, and where in each
    work one model has what another lacks.

    \b
    Examples:
      memaudit compare runs/gpt-small runs/gpt-large
      memaudit compare runs/markov runs/ngram runs/lstm runs/gpt --out progress.html
      memaudit compare curve/checkpoint-* --out curve.html
      memaudit compare runs/work-small runs/work-large --out works.html
      memaudit compare runs/gpt-seed-1 runs/gpt-seed-2 runs/gpt-seed-3 --out seeds.html
    """
    from memaudit.report.compare import refuse_foreign
    from memaudit.report.comparisons import compared
    from memaudit.report.terminal import console, reader_may_leave
    from memaudit.runs.files import write_atomic

    refuse_foreign(out)
    comparison = compared(runs, shown.shown, replicates=replicates)
    write_atomic(out, comparison.page.encode("utf-8"))
    with reader_may_leave():
        comparison.screen(console())
        echo(f"report: {out}")
