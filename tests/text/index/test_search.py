"""Queries of a suffix array against counting by hand and against a suffix automaton."""

from __future__ import annotations

import pydoc_data.topics
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.index.search import RUNS, find, first_ranges, longest_matches, next_symbols
from memaudit.text.index.suffix import suffix_array

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
CORPUS = st.lists(st.integers(0, 3), max_size=60)
TEXT = st.lists(st.sampled_from([-1, 0, 1, 1, 2, 2, 3, 3, 4, 9]), max_size=40)


class Index(NamedTuple):
    symbols: Int32Array
    suffixes: Int32Array
    buckets: Int64Array


def index_of(values: list[int] | Int32Array) -> Index:
    symbols = np.array(values, np.int32)
    suffixes = suffix_array(symbols)
    return Index(symbols, suffixes, first_ranges(symbols, suffixes, int(symbols.max(initial=0)) + 1))


def starts(values: list[int], pattern: list[int]) -> list[int]:
    return [i for i in range(len(values) - len(pattern) + 1) if values[i : i + len(pattern)] == pattern]


def longest(values: list[int], text: list[int], at: int) -> int:
    length = 0
    while at + length < len(text) and text[at + length] >= 1 and starts(values, text[at : at + length + 1]):
        length += 1
    return length


def words() -> Int32Array:
    """Return word ids of real text by first appearance, a 0 after each document."""
    ids: dict[str, int] = {}
    values: list[int] = []
    for text in pydoc_data.topics.topics.values():
        values += [ids.setdefault(word, len(ids) + 1) for word in re.findall(r"\w+", text)] + [0]
    return np.array(values, np.int32)


def edited(symbols: Int32Array, count: int, rate: float, seed: int) -> Int32Array:
    """Return passages of 50 symbols with some replaced by others of the corpus."""
    rng = np.random.default_rng(seed)
    at = rng.integers(0, len(symbols) - 50, count // 50)
    text = symbols[at[:, None] + np.arange(50)].ravel()
    other = symbols[rng.integers(0, len(symbols), len(text))]
    return np.where(rng.random(len(text)) < rate, other, text).astype(np.int32)


class Automaton:
    """A suffix automaton (Blumer et al. 1985) with the number of times that each state's strings occur."""

    def __init__(self, symbols: list[int]) -> None:
        self.next: list[dict[int, int]] = [{}]
        self.link, self.length, self.count = [-1], [0], [0]
        last = 0
        for symbol in symbols:
            last = self._extend(last, symbol)
        for state in sorted(range(1, len(self.next)), key=lambda s: -self.length[s]):
            self.count[self.link[state]] += self.count[state]

    def _extend(self, last: int, symbol: int) -> int:
        new = self._add({}, self.length[last] + 1, 1)
        state = last
        while state >= 0 and symbol not in self.next[state]:
            self.next[state][symbol] = new
            state = self.link[state]
        if state < 0:
            self.link[new] = 0
            return new
        target = self.next[state][symbol]
        if self.length[target] != self.length[state] + 1:
            copy = self._add(dict(self.next[target]), self.length[state] + 1, 0)
            self.link[copy], self.link[target] = self.link[target], copy
            while state >= 0 and self.next[state].get(symbol) == target:
                self.next[state][symbol] = copy
                state = self.link[state]
            target = copy
        self.link[new] = target
        return new

    def _add(self, following: dict[int, int], length: int, count: int) -> int:
        self.next.append(following)
        self.link.append(0)
        self.length.append(length)
        self.count.append(count)
        return len(self.next) - 1

    def ending_matches(self, text: list[int]) -> list[tuple[int, int]]:
        """Return, for each position, length and count of the longest match that ends there."""
        found, state, length = [], 0, 0
        for symbol in text:
            while state and symbol not in self.next[state]:
                state = self.link[state]
                length = self.length[state]
            if symbol in self.next[state]:
                state, length = self.next[state][symbol], length + 1
            found.append((length, self.count[state] if length else 0))
        return found


@settings(deadline=None, max_examples=100)
@given(CORPUS, st.lists(TEXT, max_size=8))
def test_find_as_by_hand(values: list[int], patterns: list[list[int]]) -> None:
    index = index_of(values)
    flat = np.array([symbol for pattern in patterns for symbol in pattern], np.int32)
    ranges = find(*index, flat, np.cumsum([0, *map(len, patterns)]))
    for pattern, (first, last) in zip(patterns, ranges.tolist(), strict=True):
        expected = starts(values, pattern) if pattern else list(range(len(values)))
        assert sorted(index.suffixes[first:last].tolist()) == expected
        assert expected or (first, last) == (0, 0)


@settings(deadline=None, max_examples=100)
@given(CORPUS, TEXT)
def test_longest_matches_as_by_hand(values: list[int], text: list[int]) -> None:
    index = index_of(values)
    lengths, ranges = longest_matches(*index, np.array(text, np.int32))
    for i, (length, (first, last)) in enumerate(zip(lengths.tolist(), ranges.tolist(), strict=True)):
        assert length == longest(values, text, i)
        expected = starts(values, text[i : i + length]) if length else []
        assert sorted(index.suffixes[first:last].tolist()) == expected


@settings(deadline=None, max_examples=100)
@given(CORPUS, st.lists(st.integers(1, 3), max_size=3))
def test_next_symbols_as_by_hand(values: list[int], pattern: list[int]) -> None:
    index = index_of(values)
    first, last = find(*index, np.array(pattern, np.int32), np.array([0, len(pattern)]))[0]
    symbols, counts = next_symbols(index.symbols, index.suffixes, first, last, len(pattern))
    end = len(pattern)
    expected = Counter(values[i + end] for i in starts(values, pattern) if i + end < len(values))
    assert list(zip(symbols.tolist(), counts.tolist(), strict=True)) == sorted(expected.items())


def test_first_ranges_hold_every_suffix_of_a_symbol() -> None:
    symbols = np.array([2, 0, 5, 2, 2, 0], np.int32)
    suffixes = suffix_array(symbols)
    assert first_ranges(symbols, suffixes, 7).tolist() == [0, 2, 2, 5, 5, 5, 6, 6]


def test_counts_on_real_text_as_by_counting_every_n_gram() -> None:
    index = index_of(words())
    patterns = edited(index.symbols, 20_000, 0.03, 1)
    lengths = np.random.default_rng(2).integers(1, 14, len(patterns) // 13)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ranges = find(*index, patterns, offsets)
    values = index.symbols.tolist()
    counters = [Counter(zip(*(values[k:] for k in range(n)), strict=False)) for n in range(14)]
    found = (ranges[:, 1] - ranges[:, 0]).tolist()
    queries = [tuple(patterns[a:b].tolist()) for a, b in pairwise(offsets.tolist())]
    assert found == [counters[len(query)][query] for query in queries]
    assert 0 < sum(map(bool, found)) < len(found)


@pytest.mark.parametrize("copies", [1, 5])
def test_matches_on_real_text_as_by_suffix_automaton(copies: int) -> None:
    corpus = np.tile(words()[:8000], copies)
    index = index_of(corpus)
    # Long runs that begin and end at odd places, more than are remembered at once, beside edited passages.
    text = np.concatenate(
        [edited(corpus, 5000, 0.1, 3), corpus[100:3100], corpus[2000:2500], edited(corpus, 999, 0, 4)]
    )
    text = text[text > 0]
    lengths, ranges = longest_matches(*index, text)
    # The automaton of the corpus backwards ends, in the text backwards, where the matches start.
    automaton = Automaton(corpus[::-1].tolist())
    expected = automaton.ending_matches(text[::-1].tolist())[::-1]
    assert list(zip(lengths.tolist(), (ranges[:, 1] - ranges[:, 0]).tolist(), strict=True)) == expected


def test_ranges_start_with_the_match() -> None:
    index = index_of(words())
    text = edited(index.symbols, 2000, 0.1, 5)
    lengths, ranges = longest_matches(*index, text)
    for i, (length, (first, last)) in enumerate(zip(lengths.tolist(), ranges.tolist(), strict=True)):
        for at in {first, last - 1} if length else set():
            place = index.suffixes[at]
            assert index.symbols[place : place + length].tolist() == text[i : i + length].tolist()


def test_a_copied_passage_is_not_walked_anew_from_every_position() -> None:
    # 300,000 positions with matches up to the end of the text: 4.5e10 comparisons if each walked, some hours.
    corpus = np.tile(np.arange(1, 300_001, dtype=np.int32), 2)
    lengths, ranges = longest_matches(*index_of(corpus), corpus[:300_000])
    assert np.array_equal(lengths, np.arange(300_000, 0, -1))
    assert (ranges[:, 1] - ranges[:, 0] == 2).all()


def test_more_diagonals_than_are_remembered() -> None:
    passage = np.arange(1, 101, dtype=np.int32)
    index = index_of(np.tile(passage, RUNS + 500))
    lengths, ranges = longest_matches(*index, np.tile(passage, 3))
    assert lengths.tolist() == list(range(300, 0, -1))
    # The k-th last copy is followed by too little.
    assert (ranges[:, 1] - ranges[:, 0]).tolist() == [RUNS + 500 - i for i in (2, 1, 0) for _ in range(100)]


def test_separators_and_unknown_symbols_end_a_match() -> None:
    index = index_of([1, 2, 0, 3, 1, 0])
    lengths, _ = longest_matches(*index, np.array([1, 2, 0, 3, 1, -1, 4, 2, 2**31 - 1, 3], np.int32))
    assert lengths.tolist() == [2, 1, 0, 2, 1, 0, 0, 1, 0, 1]


def test_nothing_in_nothing() -> None:
    index = index_of([])
    none = np.array([], np.int32)
    assert [part.tolist() for part in longest_matches(*index, none)] == [[], []]
    assert longest_matches(*index, np.array([1], np.int32))[0].tolist() == [0]
    assert find(*index, none, np.array([0])).tolist() == []
    assert find(*index, none, np.array([0, 0])).tolist() == [[0, 0]]


def test_memory_maps_answer_the_same(tmp_path: Path) -> None:
    index = index_of(words())
    for name, values in index._asdict().items():
        np.save(tmp_path / f"{name}.npy", values)
    mapped = Index(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in Index._fields))
    text = edited(index.symbols, 1000, 0.1, 6)
    for one, other in zip(longest_matches(*index, text), longest_matches(*mapped, text), strict=True):
        assert np.array_equal(one, other)
    offsets = np.arange(0, 1000, 5)
    assert np.array_equal(find(*index, text, offsets), find(*mapped, text, offsets))
    following = [next_symbols(corpus.symbols, corpus.suffixes, 0, 900, 1) for corpus in (index, mapped)]
    assert np.array_equal(following[0], following[1])


def test_wider_integers_are_refused_not_wrapped() -> None:
    index = index_of([1, 2, 0])
    with pytest.raises(TypeError):
        longest_matches(*index, np.array([2**32 + 1]))
