"""Every figure of a surface against its definition, by trying all windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.metrics.surface import (
    NOT_ASKED,
    TOO_SHORT,
    Stretch,
    covered_by,
    covered_by_runs,
    extractable_surface,
    greedy_runs,
    hits_within,
    longest_greedy_run,
    runs_of,
)

quick = settings(deadline=None, max_examples=150)
ranks_of = st.lists(st.sampled_from([0, 0, 0, 0, 1, 9, NOT_ASKED]), max_size=24)
lengths = st.integers(1, 8)


def extractable(ranks: list[int], context: int, suffix: int) -> bool:
    return all(rank == 0 for rank in ranks[context : context + suffix])


def array(ranks: list[int]) -> np.ndarray:
    return np.array(ranks, np.int32)


@quick
@given(ranks_of)
def test_runs_are_counted_from_every_position(ranks):
    expected = [next((i for i, rank in enumerate([*ranks[c:], 1]) if rank != 0)) for c in range(len(ranks) + 1)]
    assert greedy_runs(array(ranks)).tolist() == expected


@quick
@given(ranks_of)
def test_every_cell_of_the_surface_is_its_window(ranks):
    contexts, suffixes = list(range(len(ranks) + 3)), list(range(1, len(ranks) + 3))
    surface = extractable_surface(array(ranks), contexts, suffixes)
    for i, context in enumerate(contexts):
        for j, suffix in enumerate(suffixes):
            fits = context + suffix <= len(ranks)
            assert surface[i, j] == (int(extractable(ranks, context, suffix)) if fits else TOO_SHORT)


@quick
@given(ranks_of)
def test_more_suffix_is_never_easier(ranks):
    surface = extractable_surface(array(ranks), range(len(ranks)), range(1, len(ranks) + 1)).astype(int)
    asked = surface[:, 1:] != TOO_SHORT
    assert (np.diff(surface, axis=1)[asked] <= 0).all()


@quick
@given(ranks_of)
def test_the_longest_run_is_the_first_of_the_longest(ranks):
    runs = [
        (stop - start, -start)
        for start in range(len(ranks))
        for stop in range(start + 1, len(ranks) + 1)
        if extractable(ranks, start, stop - start)
    ]
    length, start = max(runs, default=(0, 0))
    assert longest_greedy_run(array(ranks)) == Stretch(length, -start)


@quick
@given(ranks_of, lengths)
def test_coverage_by_runs_is_the_union_of_all_windows(ranks, length):
    starts = [i for i in range(len(ranks) - length + 1) if extractable(ranks, i, length)]
    union = {token for start in starts for token in range(start, start + length)}
    assert set(np.flatnonzero(covered_by_runs(array(ranks), length))) == union
    assert set(np.flatnonzero(covered_by(np.array(starts, np.int64), length, len(ranks)))) == union


@quick
@given(ranks_of, lengths)
def test_hits_are_counted_in_every_window(ranks, length):
    expected = [ranks[i : i + length].count(0) for i in range(len(ranks) - length + 1)]
    assert hits_within(array(ranks), length).tolist() == expected


@pytest.mark.parametrize(
    ("ranks", "covered"),
    [([0, 0, 0, 0], "1111"), ([0, 0, 5, 0], "1100"), ([-1, 0, 0, 0], "0111"), ([1, 0, 1, 0], "0000")],
)
def test_known_coverage(ranks, covered):
    assert "".join(str(int(c)) for c in covered_by_runs(array(ranks), 2)) == covered


@given(st.lists(st.booleans(), max_size=40))
def test_runs_are_those_of_a_plain_scan(flags: list[bool]) -> None:
    runs = runs_of(np.array(flags, np.bool_))
    inside = [place for first, stop in runs for place in range(first, stop)]
    assert inside == [place for place, flag in enumerate(flags) if flag]
    assert all(first < stop for first, stop in runs)
    assert all(one[1] < other[0] for one, other in pairwise(runs))  # none could be longer
