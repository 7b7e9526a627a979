"""A family as another package would declare it: everything a family can say, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memaudit.families import Family, Recipe
from memaudit.models.base import NextTokenModel
from memaudit.records import FloatArray, TokenIds
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer


class Parrot(NextTokenModel):
    """Knows one text by heart: after any of its last ``reach`` tokens, what stood behind them there."""

    family = "parrot"

    def __init__(self, tokenizer: Tokenizer, text: Sequence[int], reach: int) -> None:
        self.tokenizer, self.text, self.reach = tokenizer, list(text), reach
        self.parameters = len(self.text)

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return 0.9 for the token that stood behind the same tokens first, and a share of the rest for all."""
        size = self.tokenizer.vocab_size
        rows = np.full((len(prefixes), size), 0.1 / size)
        for row, prefix in zip(rows, prefixes, strict=True):
            last = prefix[-(self.reach or 1) :].tolist()
            places = range(len(self.text) - len(last))
            place = next((i for i in places if self.text[i : i + len(last)] == last), None)
            row[self.text[place + len(last)] if place is not None else 0] += 0.9
        return np.log(rows)

    def save(self, folder: Path) -> None:
        """Write ``memaudit.json`` and the tokenizer."""
        config = {"text": [int(token) for token in self.text], "reach": self.reach}
        about = {"format": 1, "family": self.family, "objective": self.objective, "config": config}
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder)  # type: ignore[attr-defined]
        (folder / "memaudit.json").write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path, about: Mapping[str, Any], device: str, dtype: str) -> Parrot:
    """Load what `Parrot.save` wrote."""
    return Parrot(TrainedTokenizer.load(folder), **about["config"])


def train(documents: Sequence[TokenIds], tokenizer: Tokenizer, *, reach: int = 4) -> Parrot:
    """Learn all documents by heart, one behind the other."""
    return Parrot(tokenizer, np.concatenate(documents).tolist(), reach)


PARROT = Family(
    "parrot",
    "Parrot",
    "next-token",
    load="tests.toy_family:load",
    train="tests.toy_family:train",
    size="reach",
    on_cpu=True,
    small=Recipe(),
    reference=Recipe(3),
)
