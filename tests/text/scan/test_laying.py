"""A text laid beside a passage, against the plain definitions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.text.scan.laying import changed, largest_gap, lay, likeness, places_of
from memaudit.text.scan.patterns import Needle, build_patterns
from memaudit.text.scan.stream import scan_texts

RUNS = st.lists(st.integers(1, 4), max_size=12)


def words(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, np.uint64)


def longest_common(one: list[int], other: list[int]) -> int:
    @cache
    def best(i: int, j: int) -> int:
        if i == len(one) or j == len(other):
            return 0
        return max(
            best(i + 1, j), best(i, j + 1), (one[i] == other[j]) + best(i + 1, j + 1) if one[i] == other[j] else 0
        )

    return best(0, 0)


@given(RUNS, RUNS)
def test_as_many_equal_words_in_order_as_there_are(text: list[int], passage: list[int]) -> None:
    laid = lay(words(text), words(passage))
    held = np.flatnonzero(laid.places >= 0)
    assert laid.credit.sum() == len(held) == longest_common(text, passage)
    assert all(text[i] == passage[laid.places[i]] for i in held)
    assert (np.diff(laid.places[held]) > 0).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=12))
def test_the_largest_gap_is_the_worst_of_all_stretches(each: list[tuple[float, float]]) -> None:
    credit, weights = (np.array(column) for column in zip(*each, strict=True))
    missing = weights * (1 - 2 * credit)
    stretches = [missing[i:j].sum() for i in range(len(each)) for j in range(i, len(each) + 1)]
    assert largest_gap(credit, weights) == pytest.approx(max(stretches) / weights.sum(), abs=1e-12)


@given(RUNS, RUNS)
def test_places_are_those_where_the_run_stands(run: list[int], text: list[int]) -> None:
    expected = [i for i in range(len(text)) if run and text[i : i + len(run)] == run]
    assert places_of(words(run), words(text)) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        (["200", "choose", "100"], ["200choose", "100"], 1.0),  # marks between them are lost
        (["x", "leq", "15"], ["xleq15"], 1.0),
        (["every", "day"], ["ever", "yday"], 1.0),
        (["1", "23"], ["12", "3"], 0.0),
        (["1", "234"], ["1234"], 1.0),
        (["42"], ["43"], 0.0),
        (["receive"], ["recieve"], 1 - 1 / 7),
        (["minimum"], ["maximum"], 0.0),
        (["cat"], ["car"], 0.0),
        (["word"], [], 0.0),
    ],
)
def test_slips_of_the_pen_are_alike_and_numbers_never(ours: list[str], theirs: list[str], alike: float) -> None:
    assert likeness(ours, theirs) == pytest.approx(alike)


def test_an_item_is_found_where_its_words_were_written_together() -> None:
    item = (
        r"Consider the polynomial with 200\choose 100 terms whose smallest coefficient satisfies 17\leq c\leq 31,"
        " and find how many of its prime factors have two digits."
    )
    patterns = build_patterns([Needle(0, "question", item)])
    found = scan_texts([f"He wrote: {item.replace(chr(92), '')} That was all."], patterns, ["d"]).matches
    assert [match.found for match in found] == [True]


def test_an_address_may_be_written_as_one_word() -> None:
    ours = ["https", "github", "com", "nodejs", "node", "addon", "api", "releases", "tag", "v7", "1", "0", "notes"]
    assert likeness(ours, ["".join(ours)]) == 1
    assert likeness(ours, ["".join(ours[:-1])]) == 0
    stretches = list(changed(np.array([0, *[-1] * len(ours), 2]), 3))
    assert stretches == [(slice(1, len(ours) + 1), slice(1, 2))]
    assert list(changed(np.array([0, *[-1] * len(ours), 10]), 11)) == []  # nine words instead: another text
