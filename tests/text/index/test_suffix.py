"""Suffix arrays against sorting all suffixes, against pydivsufsort, and on inputs that break weak builders."""

from __future__ import annotations

import pydoc_data.topics
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.index.suffix import lcp_array, suffix_array

Int32Array = NDArray[np.int32]
SMALL = st.lists(st.integers(0, 3), max_size=60)
ANY = st.lists(st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-5, 0, 7, 2**31 - 1]), max_size=40)


def array(values: list[int]) -> Int32Array:
    return np.array(values, np.int32)


def sorted_suffixes(symbols: Int32Array) -> list[int]:
    values = symbols.tolist()
    return sorted(range(len(values)), key=lambda i: values[i:])


def shared(one: list[int], other: list[int]) -> int:
    return next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def words(count: int) -> Int32Array:
    """Return word ids of real text by first appearance, a 0 after each document."""
    ids: dict[str, int] = {}
    values: list[int] = []
    for text in pydoc_data.topics.topics.values():
        values += [ids.setdefault(word, len(ids) + 1) for word in re.findall(r"\w+", text)] + [0]
    return array(values[:count])


def fibonacci(size: int) -> Int32Array:
    one, two = [1], [1, 0]
    while len(two) < size:
        one, two = two, two + one
    return array(two[:size])


def thue_morse(size: int) -> Int32Array:
    return array([i.bit_count() & 1 for i in range(size)])


HARD: dict[str, Callable[[int], Int32Array]] = {
    "one symbol": lambda n: np.full(n, 7, np.int32),
    "zeros": lambda n: np.zeros(n, np.int32),
    "two in turn": lambda n: array([1, 2] * (n // 2)),
    "two in turn, downwards": lambda n: array([2, 1] * (n // 2)),
    "long period": lambda n: np.tile(np.random.default_rng(1).integers(0, 9, 97), n // 97).astype(np.int32),
    "fibonacci": fibonacci,
    "thue-morse": thue_morse,
    "all different": lambda n: np.random.default_rng(2).permutation(n).astype(np.int32),
    "rising": lambda n: np.arange(n, dtype=np.int32),
    "falling": lambda n: np.arange(n, dtype=np.int32)[::-1],
    "one change at the end": lambda n: array([3] * (n - 1) + [1]),
    "one change at the start": lambda n: array([1] + [3] * (n - 1)),
    "copies of documents": lambda n: np.tile(words(n // 20), 20),
    "copies with changes": lambda n: np.where(
        np.random.default_rng(3).random(n // 20 * 20) < 0.01, 5, np.tile(words(n // 20), 20)
    ).astype(np.int32),
    "words": words,
    "random, all of int32": lambda n: np.random.default_rng(4).integers(-(2**31), 2**31, n).astype(np.int32),
}


@settings(deadline=None, max_examples=100)
@given(SMALL)
def test_small_alphabets_as_by_sorting(values: list[int]) -> None:
    assert suffix_array(array(values)).tolist() == sorted_suffixes(array(values))


@settings(deadline=None, max_examples=100)
@given(ANY)
def test_any_values_as_by_sorting(values: list[int]) -> None:
    assert suffix_array(array(values)).tolist() == sorted_suffixes(array(values))


def test_all_strings_over_three_symbols_up_to_length_seven() -> None:
    wrong = []
    for length in range(8):
        for code in range(3**length):
            values = array([code // 3**k % 3 for k in range(length)])
            if suffix_array(values).tolist() != sorted_suffixes(values):
                wrong.append(values)
    assert wrong == []


@pytest.mark.parametrize("name", HARD)
def test_hard_inputs_as_by_sorting(name: str) -> None:
    symbols = HARD[name](600)
    assert suffix_array(symbols).tolist() == sorted_suffixes(symbols)


@pytest.mark.parametrize("name", HARD)
def test_large_inputs_are_sorted_permutations(name: str) -> None:
    # Neighbours of a suffix array are in order if, after the first symbol, their tails are: O(n), no oracle.
    symbols = HARD[name](100_000)
    suffixes = suffix_array(symbols)
    rank = np.full(len(symbols) + 1, -1)
    rank[suffixes] = np.arange(len(symbols))
    before, after = suffixes[:-1], suffixes[1:]
    less = symbols[before] < symbols[after]
    equal = symbols[before] == symbols[after]
    assert sorted(suffixes.tolist()) == list(range(len(symbols)))
    assert (less | (equal & (rank[before + 1] < rank[after + 1]))).all()


@pytest.mark.parametrize("name", [name for name in HARD if name != "random, all of int32"])
def test_same_as_pydivsufsort(name: str) -> None:
    pydivsufsort = pytest.importorskip("pydivsufsort")
    symbols = HARD[name](20_000)
    expected = pydivsufsort.divsufsort(np.ascontiguousarray(symbols).astype(np.uint32))
    assert np.array_equal(suffix_array(symbols), expected)


def test_same_lcp_as_pydivsufsort() -> None:
    pydivsufsort = pytest.importorskip("pydivsufsort")
    symbols = np.tile(words(5000), 3)
    suffixes = suffix_array(symbols)
    # Its entry i belongs to the suffixes i and i + 1.
    expected = pydivsufsort.kasai(symbols, suffixes)[:-1]
    assert np.array_equal(lcp_array(symbols, suffixes)[1:], expected)


@settings(deadline=None, max_examples=100)
@given(SMALL)
def test_lcp_as_by_comparing(values: list[int]) -> None:
    symbols = array(values)
    suffixes = suffix_array(symbols)
    pairs = pairwise(suffixes.tolist())
    expected = [0] * (len(values) > 0) + [shared(values[a:], values[b:]) for a, b in pairs]
    assert lcp_array(symbols, suffixes).tolist() == expected


def test_lcp_of_one_symbol_is_every_length() -> None:
    symbols = np.full(1000, 4, np.int32)
    assert lcp_array(symbols, suffix_array(symbols)).tolist() == list(range(1000))


def test_end_is_less_than_any_symbol() -> None:
    assert suffix_array(array([0, 0, 0])).tolist() == [2, 1, 0]


def test_empty_and_single() -> None:
    assert suffix_array(array([])).tolist() == []
    assert lcp_array(array([]), array([])).tolist() == []
    assert suffix_array(array([-3])).tolist() == [0]


def test_input_may_be_a_memory_map_and_is_left_alone(tmp_path: Path) -> None:
    symbols = words(3000)
    np.save(tmp_path / "symbols.npy", symbols)
    np.save(tmp_path / "suffixes.npy", suffix_array(symbols))
    mapped = np.load(tmp_path / "symbols.npy", mmap_mode="r")
    suffixes = suffix_array(mapped)
    assert np.array_equal(suffixes, suffix_array(symbols))
    assert suffixes.flags.writeable
    assert np.array_equal(mapped, symbols)
    assert symbols.flags.writeable
    stored = np.load(tmp_path / "suffixes.npy", mmap_mode="r")
    assert np.array_equal(lcp_array(mapped, stored), lcp_array(symbols, suffixes))


def test_strided_input() -> None:
    symbols = words(2000)
    assert np.array_equal(suffix_array(symbols[::2]), suffix_array(symbols[::2].copy()))


def test_wider_integers_are_refused_not_wrapped() -> None:
    with pytest.raises(TypeError):
        suffix_array(np.array([2**32 + 1, 5]))


def test_too_many_symbols_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        suffix_array(np.broadcast_to(np.int32(0), 2**31))
