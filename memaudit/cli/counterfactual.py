"""``memaudit counterfactual``: what models know of a document only if they saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.options import (
    SUITE_FAMILIES,
    Corpus,
    ModelsOut,
    SectionFormats,
    Seed,
    Split,
    TextFields,
    Threads,
    VocabSize,
    text_field_of,
)
from memaudit.cli.output import echo_run, log
from memaudit.families import NGRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleFlags:
    """What is trained, and what of a document is scored; None leaves it to the family."""

    models: Annotated[int, typer.Option(min=2, help="Models.")] = 8
    share: Annotated[float, typer.Option(help="Share of the models that see a document.")] = 0.5
    size: Annotated[int | None, typer.Option(min=1, help="Width, or order of the n-gram.")] = None
    epochs: Annotated[float | None, typer.Option(min=0.001, help="Passes over the corpus; n-grams count it once.")] = (
        None
    )
    vocab_size: VocabSize = None
    tokens: Annotated[int | None, typer.Option(min=2, help="Tokens of a document that are scored.")] = None


def counterfactual(
    call: typer.Context,
    *,
    corpus: Corpus,
    out: ModelsOut = None,
    family: Annotated[
        str, typer.Option(metavar=SUITE_FAMILIES, help="What is trained; n-grams take seconds.")
    ] = NGRAM.name,
    ensemble: EnsembleFlags,
    formats: SectionFormats = ("html",),
    text_field: TextFields = ("text",),
    split: Split = "auto",
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train models on random halves of a corpus: what do they know of a document only if they saw it?

    The same command continues what the folder holds.

    \b
    Examples:
      memaudit counterfactual --corpus train.jsonl --out runs/counterfactual
      memaudit counterfactual --corpus train.jsonl --family gpt --models 16 --out runs/counterfactual-gpt
    """
    from memaudit.audits.counterfactual.run import CounterfactualOptions, counterfactual

    options = CounterfactualOptions.for_family(
        family,
        models=ensemble.models,
        share=ensemble.share,
        size=ensemble.size,
        epochs=ensemble.epochs,
        vocab_size=ensemble.vocab_size,
        tokens=ensemble.tokens,
        text_field=text_field_of(text_field),
        split=split,
        seed=seed,
    )
    done = counterfactual(
        corpus, out, options=options, threads=threads, formats=formats, log=log, invocation=invocation_of(call)
    )
    echo_run(done)
