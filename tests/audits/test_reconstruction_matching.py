"""Matching of an output with a work, against `difflib` and against what the definition says, taken literally."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.reconstruction import matching
from memaudit.audits.reconstruction.matching import (
    Passage,
    Progress,
    Run,
    again,
    matching_runs,
    passages_of,
    symbols_of,
)

texts = st.lists(st.integers(0, 3), max_size=60) | st.lists(st.integers(0, 30), max_size=60)


@st.composite
def copies(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A work, and an output that is put together of pieces of it, now and then with other words between."""
    work = draw(st.lists(st.integers(0, 40), min_size=1, max_size=150))
    output: list[int] = []
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(work)))
        output += [*work[at : at + draw(st.integers(1, 60))], *draw(st.lists(st.integers(0, 60), max_size=12))]
    return work, output


def numbers(text: Sequence[int]) -> np.ndarray:
    return np.array(text, np.int32)


def by_difflib(work: Sequence[int], output: Sequence[int]) -> list[Run]:
    blocks = SequenceMatcher(None, list(work), list(output), autojunk=False).get_matching_blocks()
    return [Run(block.a, block.b, block.size) for block in blocks]


@settings(deadline=None, max_examples=150)
@given(st.tuples(texts, texts) | copies(), st.integers(1, 6), st.sampled_from([(1 << 16, 8), (0, 8), (0, 0)]))
def test_runs_are_those_of_difflib(pair: tuple[list[int], list[int]], shortest: int, ways: tuple[int, int]) -> None:
    kept = matching.SMALL, matching.PAIRS
    matching.SMALL, matching.PAIRS = ways  # by comparing all, by many runs at a time, by one at a time
    try:
        found = matching_runs(numbers(pair[0]), numbers(pair[1]), shortest)
    finally:
        matching.SMALL, matching.PAIRS = kept
    expected = by_difflib(*pair)
    assert found == [run for run in expected if run.words >= shortest]


@settings(deadline=None, max_examples=80)
@given(copies())
def test_no_word_is_taken_twice_and_all_are_in_order(pair: tuple[list[int], list[int]]) -> None:
    work, output = pair
    runs = matching_runs(numbers(work), numbers(output))
    for run in runs:
        assert work[run.work : run.work + run.words] == output[run.output : run.output + run.words]
    for one, other in pairwise(runs):
        assert other.work >= one.work + one.words and other.output >= one.output + one.words


def literally(runs: list[Run], stretches: list[int]) -> list[list[Run]]:
    """The second step as it is written: two rounds of joining and leaving out."""
    found = [[run] for run in runs]
    for gap, least in ((2, 20), (10, 0)):
        joined: list[list[Run]] = []
        for passage in found:
            if joined:
                one, other = joined[-1][-1], passage[0]
                same = not any(one.output < cut <= other.output for cut in stretches)
                near = other.work - (one.work + one.words) <= gap and other.output - (one.output + one.words) <= gap
                if same and near:
                    joined[-1] += passage
                    continue
            joined.append(list(passage))
        found = [passage for passage in joined if sum(run.words for run in passage) >= least]
    return found


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14), st.integers(5, 30)), max_size=20),
    st.lists(st.integers(0, 500), max_size=4).map(sorted),
)
def test_passages_are_those_of_the_definition(steps: list[tuple[int, int, int]], stretches: list[int]) -> None:
    runs, at, behind = [], 0, 0
    for gap, other, words in steps:
        runs.append(Run(at + gap, behind + other, words))
        at, behind = at + gap + words, behind + other + words
    found = passages_of(runs, stretches)
    assert [list(passage.runs) for passage in found] == literally(runs, stretches)


def test_a_passage_counts_the_words_of_its_runs_alone() -> None:
    passage = Passage((Run(10, 0, 60), Run(72, 61, 40)))
    assert (passage.words, passage.work, passage.output) == (100, range(10, 112), range(101))
    assert [passage.words for passage in passages_of([Run(0, 0, 50), Run(61, 60, 50)])] == [50, 50]
    assert [passage.words for passage in passages_of([Run(0, 0, 50), Run(60, 60, 50)])] == [100]
    assert [passage.words for passage in passages_of([Run(0, 0, 10), Run(13, 13, 50), Run(65, 65, 9)])] == [59]


def test_words_that_are_set_apart_match_nothing() -> None:
    words = np.arange(1, 40, dtype=np.uint64)
    apart = np.zeros(39, bool)
    apart[[7, 20]] = True
    work, output = symbols_of(words, words, (apart, np.zeros(39, bool)))
    assert matching_runs(work, output) == [Run(0, 0, 7), Run(8, 8, 12), Run(21, 21, 18)]
    work, output = symbols_of(words, words, (apart, apart))
    assert matching_runs(work, output) == [Run(0, 0, 7), Run(8, 8, 12), Run(21, 21, 18)]


@settings(deadline=None, max_examples=100)
@given(copies(), st.integers(1, 6), st.lists(st.tuples(st.integers(0, 149), st.integers(1, 30)), max_size=3))
def test_what_was_given_is_given_wherever_it_stands_again(
    pair: tuple[list[int], list[int]], words: int, pieces: list[tuple[int, int]]
) -> None:
    work = pair[0]
    given_ = [range(at, min(at + count, len(work))) for at, count in pieces if at < len(work)]
    expected = [any(at in piece for piece in given_) for at in range(len(work))]
    told = {tuple(work[a : a + words]) for piece in given_ for a in range(piece.start, piece.stop - words + 1)}
    for at in range(len(work) - words + 1):
        if tuple(work[at : at + words]) in told:
            expected[at : at + words] = [True] * words
    assert again(numbers(work), given_, words).tolist() == expected


def test_a_loop_makes_no_progress() -> None:
    def words(*some: int) -> np.ndarray:
        return np.array(some, np.uint64)

    progress = Progress(words(*range(100), *range(40), 1000))
    assert progress.note(words(7, 7, *range(30))) and progress.reached == 30
    assert progress.note(words(*range(11, 100), 5)) and progress.reached == 100
    assert progress.note(words(*range(40))) and progress.reached == 140  # that the work has twice
    assert not progress.note(words(*range(100)))
    assert not progress.note(words())


def test_what_stands_far_ahead_is_found_and_nothing_is_skipped_for_it() -> None:
    work = np.arange(1000, dtype=np.uint64)
    progress = Progress(work)
    assert progress.note(work[:50]) and progress.reached == 50
    assert progress.note(work[800:900]) and progress.reached == 50
    assert progress.note(work[140:160]) and progress.reached == 160
    assert not progress.note(work[800:900])
    progress.reached = 790
    assert progress.note(work[800:900]) and progress.reached == 900  # it leads on, though it is not new


def test_a_book_is_matched_without_comparing_all_its_words_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """300,000 words beside as many, with an error in every 200 and a third out of place: work that is counted."""
    rng = np.random.default_rng(0)
    work = rng.zipf(1.3, 300_000).clip(max=30_000).astype(np.int32)
    output = work.copy()
    output[::200] = 30_001
    output[100_000:200_000] = rng.permutation(output[100_000:200_000])
    asked, runs_of = list[int](), matching._longest_runs

    def counted(one: np.ndarray, other: np.ndarray, shortest: int) -> Any:
        asked.append(len(one) + len(other))
        return runs_of(one, other, shortest)

    monkeypatch.setattr(matching, "_longest_runs", counted)
    runs = matching_runs(work, output)
    assert sum(asked) < 30 * 600_000
    assert sum(passage.words for passage in passages_of(runs) if passage.words >= 100) >= 198_000
