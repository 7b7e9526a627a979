"""How much of a text a model gives when it is prompted with the text's own beginning, on token ids."""

from __future__ import annotations

from dataclasses import dataclass

from memaudit.metrics.fuzzy import edit_similarity, rouge_l
from memaudit.metrics.verbatim import longest_common_run
from memaudit.records import TokenIds

GRAM = 5
"""Tokens of an n-gram that must be given exactly."""
STARTS = 5
"""Places of a text where one is asked for."""
FIRST = 2
"""Tokens that stand before the first of them."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A continuation beside the true one, which is as long."""

    compared: int
    """Tokens of each."""
    matched: int
    """Tokens before the first difference."""
    longest: int
    """Longest run of tokens that stands in both, at any place in each."""
    edit_similarity: float
    """1 - Levenshtein distance / length, in [0, 1]."""
    rouge_l: float
    """F-measure of the longest common subsequence, in [0, 1]."""


def gram_starts(tokens: int, gram: int = GRAM, starts: int = STARTS) -> list[int]:
    """Return where n-grams are asked for: places at equal distances from `FIRST` to the last that has room.

    Rounded down, as ``linspace(2, tokens - n, 5)`` of Xu et al. (2024) is. In a text so short that places coincide
    each counts once, and one without room for any has none.

    Args:
        tokens: Length of the text.
        gram: Tokens of an n-gram.
        starts: How many places, at least 2.
    """
    way = tokens - gram - FIRST
    return sorted({FIRST + way * i // (starts - 1) for i in range(starts)}) if way >= 0 else []


def overlap(true: TokenIds, given: TokenIds) -> Overlap | None:
    """Return how much of the true continuation a continuation of the same length gives; None for empty ones."""
    if len(true) != len(given):
        raise ValueError(f"{len(given)} tokens were given for {len(true)}")
    similarity, rouge = edit_similarity(true, given), rouge_l(true, given)
    if similarity is None or rouge is None:
        return None
    equal = [bool(a == b) for a, b in zip(true, given, strict=True)]
    matched = equal.index(False) if False in equal else len(equal)
    return Overlap(len(true), matched, longest_common_run(true, given).length, similarity, rouge)
