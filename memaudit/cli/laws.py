"""``memaudit laws``: memorization against size, copies and context, on a grid of small models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.options import SUITE_FAMILIES, ModelsOut, SectionFormats, Seed, Threads
from memaudit.cli.output import echo_run, log
from memaudit.families import GPT


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFlags:
    """What is trained, and what each model is asked; None leaves it to the family."""

    sizes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Widths (GPT of 2 layers, LSTM of 1), orders of n-grams.")
    ] = None
    doses: Annotated[str | None, typer.Option(metavar="N,N,...", help="Copies that are planted.")] = None
    contexts: Annotated[str | None, typer.Option(metavar="N,N,...", help="Tokens that a model is given.")] = None
    suffix: Annotated[int | None, typer.Option(min=1, help="Tokens that it must then reproduce.")] = None
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings a size.")] = None
    per_dose: Annotated[int | None, typer.Option(min=1, help="Passages a dose; as many twins.")] = None
    background: Annotated[
        int | None, typer.Option(min=0, help="Background passages: inserted once and not queried.")
    ] = None
    epochs: Annotated[
        float | None, typer.Option(min=0.001, help="Passes over the training text; n-grams count it once.")
    ] = None


def laws(
    call: typer.Context,
    *,
    out: ModelsOut = None,
    family: Annotated[str, typer.Option(metavar=SUITE_FAMILIES, help="What is trained.")] = GPT.name,
    corpus: Annotated[
        tuple[str, ...],
        typer.Option(metavar="SPEC", help="Text to take passages from; by default that of the Python installation."),
    ] = (),
    grid: GridFlags,
    formats: SectionFormats = ("html",),
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a grid of small models and fit the laws: memorization against size, copies and context.

    The same command continues what the folder holds. A law that fails is a result: the exit code is 0.

    \b
    Examples:
      memaudit laws --out runs/laws
      memaudit laws --family ngram --out runs/laws-ngram
      memaudit laws --sizes 16,32,64 --seeds 1 --per-dose 8 --epochs 2 --out runs/quick
    """
    from memaudit.audits.laws.run import LawsOptions, laws

    options = LawsOptions.for_family(
        family,
        sizes=_numbers(grid.sizes, "sizes"),
        doses=_numbers(grid.doses, "doses"),
        contexts=_numbers(grid.contexts, "contexts"),
        suffix=grid.suffix,
        seeds=grid.seeds,
        per_dose=grid.per_dose,
        background=grid.background,
        epochs=grid.epochs,
        seed=seed,
    )
    done = laws(out, corpus, options=options, threads=threads, formats=formats, log=log, invocation=invocation_of(call))
    echo_run(done)


def _numbers(listed: str | None, name: str) -> tuple[int, ...] | None:
    from memaudit.errors import InputError

    if listed is None:
        return None
    try:
        return tuple(int(number) for number in listed.split(","))
    except ValueError as error:
        raise InputError(f"--{name}: not a list of whole numbers: {listed}", "as 1,2,4,8") from error
