"""``memaudit gap``: what a model loses on new items, compared with what its controls lose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.options import Formats, Seed
from memaudit.cli.output import exit_with_verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFlags:
    """Who is compared with whom, and which items are new."""

    model: Annotated[str, typer.Option(metavar="NAME", help="Column of the model in question.")]
    control: Annotated[
        tuple[str, ...],
        typer.Option(metavar="NAME", help="Column of a model that has not seen the old items; repeat."),
    ]
    cutoff: Annotated[
        str, typer.Option(metavar="YYYY-MM-DD", help="Last day of the model's training data: later items are new.")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFlags:
    """How the results are read and judged."""

    date_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of the dates; by default date and such.")
    ] = None
    alpha: Annotated[float, typer.Option(help="Level of the test.")] = 0.05
    least_gap: Annotated[
        float,
        typer.Option(
            help='Gap that must be detectable before "no evidence" is concluded, as a share: .15 is 15 points.'
        ),
    ] = 0.15
    permutations: Annotated[int, typer.Option(min=99, help="Of the items, in the test.")] = 9999


def gap(
    call: typer.Context,
    results: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="RESULTS...", help="Per-item results with dates: .jsonl .csv .parquet"),
    ],
    *,
    compared: ComparedFlags,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/gap-IDENTITY.")
    ] = None,
    test: TestFlags,
    formats: Formats = ("html",),
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
        model=compared.model,
        controls=compared.control,
        cutoff=compared.cutoff,
        out=out,
        formats=formats,
        invocation=invocation_of(call),
        date_field=test.date_field,
        alpha=test.alpha,
        least_gap=test.least_gap,
        permutations=test.permutations,
        seed=seed,
    )
    exit_with_verdict(done)
