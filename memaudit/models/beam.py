"""How probable a text is that differs from the true one in a few tokens: a lower bound by beam search.

The texts of n tokens within ``edits`` insertions, deletions and substitutions of the true suffix are too many
to sum over. A beam search that keeps only beginnings which can still end among them (decoding-constrained, as
in Cooper et al. 2026) finds the likeliest; each is another text, so the sum of their probabilities is a lower
bound without sampling error. The true suffix is always among them: the bound is never under its own probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import decoded_log_probs
from memaudit.records import Decoding, FloatArray, TokenIds, Window

Distances = NDArray[np.int32]
CELLS = 1 << 22
"""Probabilities asked for in one call, a vocabulary for every beam (32 MiB)."""


@dataclass(frozen=True, slots=True, eq=False)
class Near:
    """The likeliest texts found within some edits of one true suffix, the true one first."""

    texts: NDArray[np.int32]
    """Shape [found, suffix length]; no two are equal."""
    log_probs: FloatArray
    """Natural log-probability of each under the decoding, -inf where it never emits the true suffix."""
    distances: Distances
    """Levenshtein distance of each to the true suffix, in tokens."""

    def log_bound(self, edits: int) -> float:
        """Return a lower bound of the log-probability of any text within so many edits; that of the truth for 0."""
        within = self.log_probs[self.distances <= edits]
        peak = within.max()
        return float(peak + np.log(np.exp(within - peak).sum())) if peak > -np.inf else float(peak)


def near_texts(
    model: LanguageModel,
    windows: Sequence[Window],
    decoding: Decoding,
    *,
    edits: int = 5,
    beams: int = 16,
    branches: int = 4,
) -> Iterator[Near]:
    """Search for the likeliest texts near the true suffix of every window.

    A step asks the model once, for all beams of several windows together. A beginning of t tokens is kept
    while min_j (its distance to the first j true tokens + abs(j - t)) <= edits: exactly while it can still
    end within ``edits``. It continues with the true tokens of every alignment that allows this and with the
    ``branches`` likeliest tokens.

    Args:
        model: A next-token model.
        windows: Their suffixes are equally long.
        decoding: Texts are weighed by their probability under this sampling.
        edits: Largest Levenshtein distance to the true suffix, in tokens.
        beams: Beginnings kept per window, the true one and the likeliest others.
        branches: Tokens tried beside the true ones.

    Raises:
        InputError: Greedy decoding, which has no probabilities.
        ModelError: The model has no next-token distribution.
    """
    if decoding.greedy:
        raise InputError("greedy decoding has no probabilities to add up", "choose a temperature above 0")
    together = max(1, CELLS // (beams * model.tokenizer.vocab_size))
    for first in range(0, len(windows), together):
        group = windows[first : first + together]
        searches = [_Search(window.prefix, window.suffix, edits, beams, branches) for window in group]
        step, parents = model.brancher(), None
        for _ in range(len(group[0].suffix)):
            prefixes = [text for search in searches for text in search.prefixes()]
            log_probs = decoded_log_probs(step(prefixes, parents), decoding)
            rows = np.cumsum([0, *(len(search.texts) for search in searches)])
            grown = [
                row + search.extend(log_probs[row : row + len(search.texts)])
                for row, search in zip(rows, searches, strict=False)
            ]
            parents = np.concatenate(grown)
        yield from (search.found() for search in searches)


class _Search:
    """The beams of one window; the first is always the beginning of the true suffix."""

    def __init__(self, prefix: TokenIds, suffix: TokenIds, edits: int, beams: int, branches: int) -> None:
        self.prefix, self.suffix = prefix, suffix
        self.edits, self.beams, self.branches = edits, beams, branches
        self.texts = np.empty((1, 0), np.int32)
        self.log_probs = np.zeros(1)
        self.rows: Distances = np.arange(len(suffix) + 1, dtype=np.int32)[None]
        """Distance of each beam to every beginning of the suffix, shape [beams, length + 1]."""

    def prefixes(self) -> list[TokenIds]:
        return [np.concatenate([self.prefix, text]) for text in self.texts]

    def found(self) -> Near:
        return Near(self.texts, self.log_probs, self.rows[:, -1])

    def extend(self, log_probs: FloatArray) -> NDArray[np.int64]:
        """Put one more token behind every beam and keep the likeliest, given log p(next) [beams, vocabulary].

        Returns:
            The beam that each of the new ones continues.
        """
        parents, tokens = self._candidates(log_probs)
        total = self.log_probs[parents] + log_probs[parents, tokens]
        rows = next_rows(self.rows[parents], tokens, self.suffix)
        length = self.texts.shape[1] + 1
        true = (parents == 0) & (tokens == self.suffix[length - 1])
        viable = (_least_final(rows, length) <= self.edits) & (total > -np.inf)
        # The truth first, then by probability; equal ones in the order of their tokens, so that runs agree.
        order = np.lexsort((tokens, parents, -total, ~true))
        kept = order[(viable | true)[order]][: self.beams]
        self.texts = np.column_stack([self.texts[parents[kept]], tokens[kept]]).astype(np.int32)
        self.log_probs, self.rows = total[kept], rows[kept]
        origins: NDArray[np.int64] = parents[kept]
        return origins

    def _candidates(self, log_probs: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return beams and the tokens that each is tried with."""
        count = min(self.branches, log_probs.shape[1])
        top = np.argpartition(-log_probs, count - 1, axis=1)[:, :count]
        length = self.texts.shape[1]
        # After an alignment with j true tokens comes true token j.
        aligned = self.rows + np.abs(np.arange(len(self.suffix) + 1) - length) <= self.edits
        tokens = [np.union1d(self.suffix[near[:-1]], best) for near, best in zip(aligned, top, strict=True)]
        parents = np.repeat(np.arange(len(tokens)), [len(t) for t in tokens])
        return parents, np.concatenate(tokens).astype(np.int64)


def next_rows(rows: Distances, tokens: NDArray[np.int64], truth: TokenIds) -> Distances:
    """Return Levenshtein distances to every beginning of ``truth`` after one more token each.

    Args:
        rows: Distances of texts to ``truth[:j]``, shape [texts, len(truth) + 1].
        tokens: The token put behind each text, shape [texts].
        truth: The true tokens.
    """
    places = np.arange(rows.shape[1], dtype=np.int32)
    least = rows + 1  # the new token is inserted
    least[:, 1:] = np.minimum(least[:, 1:], rows[:, :-1] + (tokens[:, None] != truth))
    # Or true tokens are deleted: the smallest least[i] + j - i over i <= j.
    distances: Distances = np.minimum.accumulate(least - places, axis=1) + places
    return distances


def _least_final(rows: Distances, length: int) -> Distances:
    """Return the smallest distance that texts of so many tokens can still end with, shape [texts]."""
    least: Distances = (rows + np.abs(np.arange(rows.shape[1]) - length)).min(axis=1)
    return least
