"""Recall at a number of errors against a walk over the guesses."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from memaudit.metrics.ranking import recall_at_errors


def walked(losses: list[float], correct: list[bool], number: int) -> float:
    right = wrong = 0
    for _, _, hit in sorted(zip(losses, range(len(losses)), correct, strict=True)):
        right += hit
        wrong += not hit
        if wrong == number:
            break
    return right / len(losses)


@given(st.lists(st.tuples(st.floats(0, 9), st.booleans()), min_size=1, max_size=60), st.integers(1, 40))
def test_recall_is_that_of_a_walk_that_stops_at_the_error(guesses: list[tuple[float, bool]], number: int) -> None:
    losses, correct = map(list, zip(*guesses, strict=True))
    assert recall_at_errors(losses, correct, [number]) == [walked(losses, correct, number)]


def test_known_values() -> None:
    correct = [True, False, True, True, False, True]
    assert recall_at_errors(np.arange(6.0).tolist(), correct, [1, 2, 3]) == [1 / 6, 3 / 6, 4 / 6]
    assert recall_at_errors([], [], [1]) == [0.0]
