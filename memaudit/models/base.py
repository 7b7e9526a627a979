"""The one interface that every language model has here: two facts, two verbs, save and load.

Token ids in, numpy out. Nothing below imports torch, so a stranger's model needs nothing but numpy:
subclass `NextTokenModel`, give `next_log_probs`, and scoring and continuation follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from memaudit.errors import ModelError
from memaudit.models.decoding import checked_log_probs, continue_prompts, score_log_probs
from memaudit.records import GREEDY, Decoding, FloatArray, Objective, TokenIds, TokenScores, Window
from memaudit.text.tokenize import Tokenizer


class LanguageModel(ABC):
    """A language model of any family, trained here or loaded.

    Contract, tested for every family: next-token distributions sum to 1; a batch of n equals n batches
    of one; all ranks are 0 over the true continuation exactly when greedy decoding reproduces it;
    a saved and loaded model scores bit-equal; the same seed gives the same text.
    """

    family: str
    """``ngram``, ``rnn``, ``gpt``, ``bert``, or the architecture's name for loaded models."""
    objective: Objective
    tokenizer: Tokenizer
    context_length: int | None = None
    """Longest sequence of ids the model can read, or None where there is no limit."""
    parameters: int = 0
    """Number of trained values (for an n-gram: of stored n-grams)."""
    ignored: tuple[str, ...] = ()
    """Settings that the model's folder tried to make and that were not followed."""
    sha256: str = ""
    """Identity of the weights and settings; set by `load_model`. Another model, another run."""
    device: str = "cpu"
    dtype: str = "float32"

    @abstractmethod
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token of every window given what stands before it (masked: around it)."""

    @abstractmethod
    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt by exactly ``length`` tokens; special tokens are never cut off or hidden.

        Sampling of row i depends on ``decoding.seed`` and the prompt's ids alone, not on its batch.
        """

    def save(self, folder: Path) -> None:
        """Write the model so that `load` gives it back bit-equal."""
        raise ModelError(f"{folder}: a {self.family} model cannot be saved", "only models trained here can")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        raise ModelError(f"{folder}: a {cls.__name__} cannot be loaded", "use memaudit.load_model")


class NextTokenModel(LanguageModel):
    """A next-token model known only by its next-token distribution: the door for a stranger's model."""

    objective: Objective = "next-token"

    @abstractmethod
    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix), shape [prefixes, vocabulary], each row summing to 1 in p."""

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score by asking for one distribution per suffix token, a window at a time."""
        scores = TokenScores.of_lengths([len(w.suffix) for w in windows])
        for window, first in zip(windows, scores.offsets, strict=False):
            if not len(window.suffix):
                continue
            text = np.concatenate([window.prefix, window.suffix])
            prefixes = [text[: len(window.prefix) + t] for t in range(len(window.suffix))]
            rows = slice(first, first + len(window.suffix))
            log_probs = checked_log_probs(self.next_log_probs(prefixes), len(prefixes), self.tokenizer.vocab_size)
            score_log_probs(log_probs, window.suffix, decoding, scores, rows)
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue by asking for one distribution per prompt and step."""

        def step(texts: list[TokenIds], _new: TokenIds | None) -> FloatArray:
            return checked_log_probs(self.next_log_probs(texts), len(texts), self.tokenizer.vocab_size)

        return continue_prompts(step, prompts, length, decoding)
