"""Small models trained by the dozen: one call a model, each in a folder of its own where an interrupted one resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memaudit.errors import InputError
from memaudit.families import Family, Recipe, family_named, suite_families
from memaudit.models.base import LanguageModel
from memaudit.training.train import SmallTraining, train_by_recipe

MODELS = "models"
"""Folder of a run that holds its models."""


def suite_defaults(suite: str, family: str) -> Mapping[str, Any]:
    """Return the options of a suite that suit a family; none where the family names none."""
    return _of_suites(family)[0].suites.get(suite, {})


def check_sizes(family: str, sizes: Sequence[int], asked: int = 0) -> None:
    """Refuse what could only fail once models are trained.

    Args:
        family: As `train_small` takes it.
        sizes: Of all models.
        asked: Tokens of the longest prompt together with what must follow it.

    Raises:
        InputError: Heads cannot share a width, a prompt is longer than a model reads, or there is no such family.
    """
    known, recipe = _of_suites(family)
    heads = recipe.architecture.get("heads", 1)
    for size in sizes:
        if size % heads:
            raise InputError(f"a width of {size} cannot be shared by {heads} heads", f"use multiples of {heads}")
    longest = recipe.training.get("context_length") if known.takes_context else None
    if longest is not None and asked > longest:
        raise InputError(
            f"context and suffix are {asked} tokens, a {family} here reads {longest}", "ask for fewer tokens"
        )


def train_small(family: str, small: SmallTraining, folder: Path) -> tuple[LanguageModel, float | None]:
    """Return a trained model and its training loss in bits per token (None for n-grams, which have none).

    Args:
        family: A transformer of two blocks, an LSTM of one layer, an n-gram with modified Kneser-Ney smoothing, or a
            family that another package declares.
        small: What to train on and for how long.
        folder: Of the model and its checkpoint.
    """
    return train_by_recipe(*_of_suites(family), small, folder)


def _of_suites(name: str) -> tuple[Family, Recipe]:
    """Return a family and how its small models are made."""
    family = family_named(name)
    if family.small is None:
        raise InputError(f"no suite is made of {name} models", f"choose one of {', '.join(suite_families())}")
    return family, family.small
