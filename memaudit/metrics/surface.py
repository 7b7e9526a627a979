"""What one teacher-forced pass says about every prefix length and every suffix length at once.

All take ranks of consecutive tokens: 0 where greedy decoding gives the token, positive where it gives another,
-1 where the token was not asked for (the first of a text, an unknown one). Every value but 0 is a miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

NOT_ASKED = -1
"""Rank of a token that was not asked for."""
TOO_SHORT = -1
"""Verdict of a cell for which the text has not enough tokens."""


class Stretch(NamedTuple):
    """Tokens ``start:start + length`` of a text."""

    length: int
    start: int


def greedy_runs(ranks: Int32Array) -> Int32Array:
    """Return how many tokens greedy decoding gives from every position on before its first difference.

    Exact for prompts that are the text up to that position, because it was the text that was read: greedy
    decoding has the same context as the pass until it differs.

    Args:
        ranks: Shape [tokens].

    Returns:
        Shape [tokens + 1]; the last entry, behind the text, is 0.
    """
    places = np.arange(len(ranks) + 1, dtype=np.int32)
    misses = np.where(np.append(ranks, 1) != 0, places, len(ranks)).astype(np.int32)
    next_miss: Int32Array = np.minimum.accumulate(misses[::-1])[::-1]
    return next_miss - places


def extractable_surface(ranks: Int32Array, contexts: Sequence[int], suffixes: Sequence[int]) -> NDArray[np.int8]:
    """Return whether the text is k-extractable for every prefix length k = c and every suffix length.

    Args:
        ranks: Shape [tokens], the text from its start: the prompt is its first ``c`` tokens (growing context).
        contexts: Prefix lengths c, at least 0.
        suffixes: Suffix lengths, at least 1.

    Returns:
        Shape [contexts, suffixes]: 1 where greedy decoding of the first ``c`` tokens gives the next ``suffix``
        tokens, 0 where it does not, `TOO_SHORT` where the text has fewer than c + suffix tokens.

    Source: Carlini et al. 2022, definition 3.1, of which this is every case with a prompt from the start.
    """
    runs = greedy_runs(ranks)
    prefix, suffix = np.asarray(contexts, np.int64)[:, None], np.asarray(suffixes, np.int64)[None, :]
    verdicts = (runs[np.minimum(prefix, len(ranks))] >= suffix).astype(np.int8)
    verdicts[prefix + suffix > len(ranks)] = TOO_SHORT
    return verdicts


def longest_greedy_run(ranks: Int32Array) -> Stretch:
    """Return the longest run of tokens that all follow greedily, the first of equally long ones."""
    runs = greedy_runs(ranks)
    start = int(np.argmax(runs))
    return Stretch(int(runs[start]), start)


def covered_by_runs(ranks: Int32Array, shortest: int) -> BoolArray:
    """Return which tokens lie in a run of at least ``shortest`` greedy tokens, shape [tokens].

    That is the union of all spans of ``shortest`` tokens that follow greedily.
    """
    return covered_by(np.flatnonzero(greedy_runs(ranks) >= shortest), shortest, len(ranks))


def covered_by(starts: NDArray[np.integer], length: int, tokens: int) -> BoolArray:
    """Return which tokens lie in one of the spans ``start:start + length``, shape [tokens].

    Source: the coverage of a book by extractable windows at stride 1 (Cooper et al. 2025).
    """
    steps = np.zeros(tokens + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, np.asarray(starts) + length, -1)
    covered: BoolArray = np.cumsum(steps[:tokens]) > 0
    return covered


def runs_of(flags: BoolArray) -> list[tuple[int, int]]:
    """Return where flags are set without a break, as (first, stop), in order."""
    steps = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return list(zip(np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist(), strict=True))


def hits_within(ranks: Int32Array, length: int) -> Int32Array:
    """Return how many of the ``length`` tokens from every position on follow greedily.

    Returns:
        Shape [tokens - length + 1], empty where the text is shorter than ``length``.
    """
    total = np.concatenate([[0], np.cumsum(ranks == 0)])
    counts: Int32Array = (total[length:] - total[:-length]).astype(np.int32)
    return counts
