"""Small models trained by the dozen: one call a model, each in a folder of its own where an interrupted one goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.records import TokenIds
from memaudit.text.tokenize import TrainedTokenizer

Family = Literal["gpt", "rnn", "ngram"]
HEADS = 4
"""Of a transformer."""
MODELS = "models"
"""Folder of a run that holds its models."""
TRAINING: dict[str, dict[str, Any]] = {"gpt": {"batch_size": 4, "context_length": 256}, "rnn": {}}
"""Small steps: what little text there is must give many of them."""


def check_sizes(family: Family, sizes: Sequence[int], asked: int = 0) -> None:
    """Refuse what could only fail once models are trained.

    Args:
        family: As `train_small` takes it.
        sizes: Of all models.
        asked: Tokens of the longest prompt together with what must follow it.

    Raises:
        InputError: Heads cannot share a width, or a prompt is longer than a model reads.
    """
    if family != "gpt":
        return
    for size in sizes:
        if size % HEADS:
            raise InputError(f"a width of {size} cannot be shared by {HEADS} heads", f"use multiples of {HEADS}")
    longest = TRAINING["gpt"]["context_length"]
    if asked > longest:
        raise InputError(f"context and suffix are {asked} tokens, a gpt here reads {longest}", "ask for fewer tokens")


def train_small(
    family: Family,
    tokenizer: TrainedTokenizer,
    documents: Sequence[TokenIds],
    folder: Path,
    *,
    size: int,
    seed: int,
    epochs: float,
    threads: int | None = None,
) -> tuple[LanguageModel, float | None]:
    """Return a trained model and its training loss in bits per token (None for n-grams, which have none).

    Args:
        family: A transformer of two blocks, an LSTM of one layer, or an n-gram with modified Kneser-Ney smoothing.
        tokenizer: Fixes the vocabulary.
        documents: Token ids.
        folder: Of the model and its checkpoint.
        size: Width, or order of the n-gram.
        seed: Fixes initial weights and order.
        epochs: Passes over the documents.
        threads: Of torch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if family == "ngram":
        counted = NgramModel.train(documents, tokenizer, order=size)
        counted.save(folder)
        return counted, None
    from memaudit.models.rnn import new_rnn
    from memaudit.models.transformer import new_gpt
    from memaudit.training.loop import fit
    from memaudit.training.options import TrainingOptions

    options = TrainingOptions.for_family(family, seed=seed, epochs=epochs, threads=threads, **TRAINING[family])
    if family == "rnn":
        recurrent = new_rnn(tokenizer, width=size, seed=seed)
        return recurrent, fit(recurrent, documents, options, out=folder).loss
    # Rotary positions: what follows a token does not depend on its place in a row.
    model = new_gpt(tokenizer, style="llama", width=size, heads=HEADS, context_length=options.context_length, seed=seed)
    return model, fit(model, documents, options, out=folder).loss
