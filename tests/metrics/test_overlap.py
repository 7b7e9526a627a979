"""Overlap of continuations against brute force."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.metrics.overlap import FIRST, GRAM, STARTS, gram_starts, overlap

quick = settings(deadline=None, max_examples=150)
pairs = st.integers(1, 10).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 2), min_size=n, max_size=n) for _ in "ab"])
)


@quick
@given(st.integers(0, 5000))
def test_starts_are_those_of_linspace(tokens: int) -> None:
    starts = gram_starts(tokens)
    if tokens < FIRST + GRAM:
        assert starts == []
        return
    assert starts == sorted(set(np.linspace(2, tokens - 5, num=5).astype(int).tolist()))
    assert starts[0] == 2
    assert starts[-1] + 5 == tokens
    assert len(starts) == min(STARTS, tokens - 6)
    gaps = [b - a for a, b in pairwise(starts)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def runs(a: list[int], b: list[int]) -> int:
    n = len(a)
    spans = [(i, j, k) for i in range(n) for j in range(n) for k in range(1, n - max(i, j) + 1)]
    return max((k for i, j, k in spans if a[i : i + k] == b[j : j + k]), default=0)


def edits(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


def subsequence(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return 0
    return max(subsequence(a[1:], b), subsequence(a, b[1:]), subsequence(a[1:], b[1:]) + (a[0] == b[0]))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 2), min_size=n, max_size=n)] * 2)))
def test_values_are_those_of_brute_force(pair: tuple[list[int], list[int]]) -> None:
    true, said = pair
    found = overlap(np.array(true, np.int32), np.array(said, np.int32))
    assert found is not None
    assert found.compared == len(true)
    assert found.matched == next((i for i, (a, b) in enumerate(zip(true, said, strict=True)) if a != b), len(true))
    assert found.longest == runs(true, said)
    assert found.edit_similarity == pytest.approx(1 - edits(true, said) / len(true), abs=1e-12)
    assert found.rouge_l == pytest.approx(subsequence(true, said) / len(true), abs=1e-12)


@quick
@given(pairs)
def test_values_are_ordered(pair: tuple[list[int], list[int]]) -> None:
    found = overlap(*(np.array(side, np.int32) for side in pair))
    assert found is not None
    assert found.matched <= found.longest <= round(found.rouge_l * found.compared)
    assert (found.matched == found.compared) == (found.edit_similarity == 1) == (pair[0] == pair[1])


def test_nothing_to_compare() -> None:
    assert overlap(np.empty(0, np.int32), np.empty(0, np.int32)) is None
    with pytest.raises(ValueError, match="1 tokens were given for 2"):
        overlap(np.zeros(2, np.int32), np.zeros(1, np.int32))
