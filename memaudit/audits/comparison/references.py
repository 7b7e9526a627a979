"""Small models of the kind of the one that is asked, trained on text that it is not suspected of having seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.records import TokenIds

Family = Literal["ngram", "rnn", "gpt", "bert"]
ORDER = 5
WIDTH = 128
CONTEXT = 128
EPOCHS = 4.0
MAX_TOKENS = 1_000_000
"""Tokens that a network is trained on, from the beginning of its text: minutes on one core."""


def family_for(model: LanguageModel) -> Family:
    """Return the family of a reference: the model's own, ``gpt`` or ``bert`` for one known by another name."""
    if model.objective == "masked":
        return "bert"
    return "ngram" if model.family == "ngram" else "rnn" if model.family == "rnn" else "gpt"


def train_reference(model: LanguageModel, texts: Sequence[str], folder: Path | None, *, seed: int) -> LanguageModel:
    """Train a small model of the family and with the tokenizer of ``model``.

    Args:
        model: The one that is asked; nothing of its weights is used.
        texts: What to train on.
        folder: Keeps the checkpoints of a network, where an interrupted training goes on; None keeps none.
        seed: Fixes weights and order.

    Raises:
        InputError: There is nothing to train on, or the tokenizer lacks a token that the family needs.
    """
    documents = [encoding.ids for encoding in model.tokenizer.encode_batch(texts)]
    family = family_for(model)
    if family == "ngram":
        order = getattr(model, "order", ORDER)
        return NgramModel.train(documents, model.tokenizer, order=order if isinstance(order, int) else ORDER)
    from memaudit.models.masked import new_bert
    from memaudit.models.rnn import new_rnn
    from memaudit.models.transformer import new_gpt
    from memaudit.training.loop import fit
    from memaudit.training.options import TrainingOptions

    # Small steps: what little text there is must give many of them.
    changes: dict[str, Any] = {} if family == "rnn" else {"batch_size": 8, "context_length": CONTEXT}
    options = TrainingOptions.for_family(family, seed=seed, epochs=EPOCHS, **changes)
    tokenizer: Any = model.tokenizer
    trained: Any
    if family == "rnn":
        trained = new_rnn(tokenizer, width=WIDTH, seed=seed)
    elif family == "gpt":
        # Rotary positions: what follows a token does not depend on its place in a row.
        trained = new_gpt(tokenizer, style="llama", width=WIDTH, context_length=CONTEXT, seed=seed)
    else:
        trained = new_bert(tokenizer, width=WIDTH, context_length=CONTEXT, seed=seed)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    fit(trained, _first_tokens(documents, MAX_TOKENS), options, out=folder)
    reference: LanguageModel = trained
    return reference


def _first_tokens(documents: Sequence[TokenIds], most: int) -> list[TokenIds]:
    """Return the documents that begin within the first ``most`` tokens of all."""
    before = np.cumsum([0, *map(len, documents)])
    return [document for document, start in zip(documents, before, strict=False) if start < most]
