"""The commands that train many small models: laws of memorization, counterfactual memorization."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.command import TextFields, as_formats, invocation_of
from memaudit.cli.output import say, tell_run
from memaudit.cli.train import Corpus, Seed, Split, Threads, VocabSize
from memaudit.families import GPT, NGRAM, suite_families

RunOut = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run directory, models in it; by default a new one in runs/.")
]
Passages = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="Text to take passages from; by default that of the Python installation."),
]
FAMILIES = "|".join(suite_families())
"""Of ours; those that other packages declare are taken too."""
SectionFormats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="LIST",
        help="html, json; several with commas, or repeat.",
        show_default="html",
        callback=as_formats,
    ),
]


def laws(
    call: typer.Context,
    out: RunOut = None,
    family: Annotated[str, typer.Option(metavar=FAMILIES, help="What is trained.")] = GPT.name,
    corpus: Passages = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Widths (GPT of 2 layers, LSTM of 1), orders of n-grams.")
    ] = None,
    doses: Annotated[str | None, typer.Option(metavar="N,N,...", help="Copies that are planted.")] = None,
    contexts: Annotated[str | None, typer.Option(metavar="N,N,...", help="Tokens that a model is given.")] = None,
    suffix: Annotated[int | None, typer.Option(min=1, help="Tokens that it must then reproduce.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings a size.")] = None,
    per_dose: Annotated[int | None, typer.Option(min=1, help="Passages a dose; as many twins.")] = None,
    background: Annotated[int | None, typer.Option(min=0, help="Passages that stand once and are not asked.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.001, help="Passes over the training text; n-grams count it once.")
    ] = None,
    formats: SectionFormats = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a grid of small models and fit the laws: memorization against size, copies and context.

    The same command goes on with what stands in the folder. A law that fails is a result: the exit code is 0.

    \b
    Examples:
      memaudit laws --out runs/laws
      memaudit laws --family ngram --out runs/laws-ngram
      memaudit laws --sizes 16,32,64 --seeds 1 --per-dose 8 --epochs 2 --out runs/quick
    """
    from memaudit.audits.laws.run import LawsOptions, laws

    flags = {name: call.params[name] for name in ("suffix", "seeds", "per_dose", "background", "epochs", "seed")}
    lists = {name: _numbers(call.params[name], name) for name in ("sizes", "doses", "contexts")}
    options = LawsOptions.for_family(family, **flags, **lists)
    done = laws(
        out,
        corpus or (),
        options=options,
        threads=threads,
        formats=call.params["formats"],
        say=say,
        invocation=invocation_of(call),
    )
    tell_run(done)


def counterfactual(
    call: typer.Context,
    corpus: Corpus,
    out: RunOut = None,
    family: Annotated[str, typer.Option(metavar=FAMILIES, help="What is trained; n-grams take seconds.")] = NGRAM.name,
    models: Annotated[int, typer.Option(min=2, help="Models.")] = 8,
    share: Annotated[float, typer.Option(help="Share of the models that see a document.")] = 0.5,
    size: Annotated[int | None, typer.Option(min=1, help="Width, or order of the n-gram.")] = None,
    epochs: Annotated[
        float | None, typer.Option(min=0.001, help="Passes over the corpus; n-grams count it once.")
    ] = None,
    vocab_size: VocabSize = None,
    tokens: Annotated[int | None, typer.Option(min=2, help="Tokens of a document that are scored.")] = None,
    formats: SectionFormats = None,
    text_field: TextFields = None,
    split: Split = "auto",
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train models on random halves of a corpus: what do they know of a document only if they saw it?

    The same command goes on with what stands in the folder.

    \b
    Examples:
      memaudit counterfactual --corpus train.jsonl --out runs/counterfactual
      memaudit counterfactual --corpus train.jsonl --family gpt --models 16 --out runs/counterfactual-gpt
    """
    from memaudit.audits.counterfactual.run import CounterfactualOptions, counterfactual

    names = "models", "share", "size", "epochs", "vocab_size", "tokens", "text_field", "split", "seed"
    options = CounterfactualOptions.for_family(family, **{name: call.params[name] for name in names})
    done = counterfactual(
        corpus,
        out,
        options=options,
        threads=threads,
        formats=call.params["formats"],
        say=say,
        invocation=invocation_of(call),
    )
    tell_run(done)


def _numbers(listed: str | None, name: str) -> tuple[int, ...] | None:
    from memaudit.errors import InputError

    if listed is None:
        return None
    try:
        return tuple(int(number) for number in listed.split(","))
    except ValueError as error:
        raise InputError(f"--{name}: not a list of whole numbers: {listed}", "as 1,2,4,8") from error
