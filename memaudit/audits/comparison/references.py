"""Small models of the kind of the one that is asked, trained on text that it is not suspected of having seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memaudit.families import Family, Recipe, reference_family
from memaudit.models.base import LanguageModel
from memaudit.records import TokenIds
from memaudit.training.train import SmallTraining, train_by_recipe

EPOCHS = 4.0
MAX_TOKENS = 1_000_000
"""Tokens that a network is trained on, from the beginning of its text: minutes on one core."""


def family_for(model: LanguageModel) -> Family:
    """Return the family of a reference: the model's own, or that of its objective for one known by another name."""
    return reference_family(model.family, model.objective)


def train_reference(model: LanguageModel, texts: Sequence[str], folder: Path | None, *, seed: int) -> LanguageModel:
    """Train a small model of the family and with the tokenizer of ``model``.

    Args:
        model: The one that is asked; nothing of its weights is used.
        texts: What to train on.
        folder: Keeps the checkpoints of a network, where an interrupted training resumes; None keeps none.
        seed: Fixes weights and order.

    Raises:
        InputError: There is nothing to train on, or the tokenizer lacks a token that the family needs.
    """
    documents = [encoding.ids for encoding in model.tokenizer.encode_batch(texts)]
    family = family_for(model)
    recipe = family.reference or Recipe()
    if family.counted:  # in seconds: all of the text, and nothing to go on with
        folder = None
    else:
        documents = _first_tokens(documents, MAX_TOKENS)
    small = SmallTraining(model.tokenizer, documents, _size(model, family), seed, EPOCHS)
    reference, _ = train_by_recipe(family, recipe, small, folder)
    return reference


def _size(model: LanguageModel, family: Family) -> int:
    """Return the size of a reference: the model's, where its family keeps that and it is a number."""
    own = getattr(model, family.size, None) if family.reference_keeps_size else None
    if isinstance(own, int):
        return own
    return (family.reference.size if family.reference else None) or 1


def _first_tokens(documents: Sequence[TokenIds], most: int) -> list[TokenIds]:
    """Return the documents that begin within the first ``most`` tokens of all."""
    before = np.cumsum([0, *map(len, documents)])
    return [document for document, start in zip(documents, before, strict=False) if start < most]
