"""The command that compares what a model loses on new items with what its controls lose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.command import Formats, invocation_of
from memaudit.cli.output import tell_verdict
from memaudit.cli.train import Seed

Results = Annotated[
    list[str], typer.Argument(metavar="RESULTS...", help="Per-item results with dates: .jsonl .csv .parquet")
]
Model = Annotated[str, typer.Option(metavar="NAME", help="Column of the model in question.")]
Controls = Annotated[
    list[str],
    typer.Option("--control", metavar="NAME", help="Column of a model that has not seen the old items; repeat."),
]
Cutoff = Annotated[
    str, typer.Option(metavar="YYYY-MM-DD", help="Last day of the model's training data: later items are new.")
]
Out = Annotated[Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/gap-IDENTITY.")]
DateField = Annotated[str | None, typer.Option(metavar="NAME", help="Column of the dates; by default date and such.")]
Alpha = Annotated[float, typer.Option(help="Level of the test.")]
LeastGap = Annotated[
    float, typer.Option(help='Gap that must be detectable before "no evidence" is said, as a share: .15 is 15 points.')
]
Permutations = Annotated[int, typer.Option(min=99, help="Of the items, in the test.")]


def gap(
    call: typer.Context,
    results: Results,
    model: Model,
    control: Controls,
    cutoff: Cutoff,
    out: Out = None,
    date_field: DateField = None,
    alpha: Alpha = 0.05,
    least_gap: LeastGap = 0.15,
    permutations: Permutations = 9999,
    formats: Formats = None,
    seed: Seed = 0,
) -> None:
    """Does a model lose more on items newer than its training data than models that saw neither?

    Exit code 1: it does. 0: no evidence of it, at a power that is stated. 3: inconclusive.

    \b
    Examples:
      memaudit gap results.csv --model suspect --control open-1 --control open-2 --cutoff 2023-09-30
      memaudit gap suspect.jsonl open.jsonl --model suspect --control open --cutoff 2023-09-30 --out runs/gap
    """
    from memaudit.audits.gap.run import gap

    done = gap(
        results,
        model=model,
        controls=control,
        cutoff=cutoff,
        out=out,
        formats=call.params["formats"],
        invocation=invocation_of(call),
        date_field=date_field,
        alpha=alpha,
        least_gap=least_gap,
        permutations=permutations,
        seed=seed,
    )
    tell_verdict(done)
