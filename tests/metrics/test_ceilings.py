"""Ceilings hold for every way to write on, and are the value itself once there is nothing left to write."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.metrics import METRICS
from memaudit.metrics.base import Outcome
from memaudit.metrics.ceilings import bleu_ceiling

BLEU = METRICS["bleu"]
RISING = [metric for metric in METRICS.values() if metric.ceiling is not None]
ids = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def value(metric, true, written):
    true, written = np.array(true, np.int32), np.array(written, np.int32)
    return metric.compute(Outcome(true, "", 0, written=written, text="")) or 0.0


def ceiling(metric, true, begun):
    return metric.ceiling(np.array(true, np.int32), np.array(begun, np.int32))


def test_every_metric_of_writing_with_a_threshold_has_one() -> None:
    assert {m.name for m in RISING} == {m.name for m in METRICS.values() if m.of == "writing" and m.threshold}


@pytest.mark.parametrize("metric", RISING, ids=lambda metric: metric.name)
@settings(deadline=None, max_examples=60)
@given(ids, st.data())
def test_no_continuation_reaches_more(metric, true, data) -> None:
    begun = data.draw(st.lists(st.integers(0, 2), max_size=len(true)))
    left = len(true) - len(begun)
    ends = [end for more in range(left + 1) for end in product(range(4), repeat=more)]
    reached = max(value(metric, true, [*begun, *end]) for end in ends)
    assert reached <= ceiling(metric, true, begun)


@pytest.mark.parametrize("metric", RISING, ids=lambda metric: metric.name)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
def test_it_never_rises_and_ends_at_the_value(metric, true, data) -> None:
    written = data.draw(st.lists(st.integers(0, 5), min_size=len(true), max_size=len(true)))
    along = [ceiling(metric, true, written[:length]) for length in range(len(true) + 1)]
    assert all(after <= before + 1e-12 for before, after in pairwise(along))
    assert along[0] == pytest.approx(1.0)
    assert along[-1] == value(metric, true, written)


@pytest.mark.parametrize("metric", RISING, ids=lambda metric: metric.name)
def test_a_text_that_differs_at_once_is_given_up_early(metric) -> None:
    true, other = np.arange(50), np.arange(100, 150)
    given_up = next(length for length in range(51) if not metric.may_hit(true, other[:length]))
    assert given_up <= 22
    assert all(metric.may_hit(true, np.concatenate([true[:length], [999]])) for length in range(47))


def test_the_longest_continuation_has_the_largest_bleu() -> None:
    """That of every length is tried here; the ceiling skips those of which it is proven."""
    random = np.random.default_rng(0)
    for _ in range(200):
        true = random.integers(0, 4, random.integers(1, 12))
        begun = random.integers(0, 4, random.integers(0, len(true) + 1))
        values = [bleu_ceiling(true[:0], begun)]
        for more in range(len(true) - len(begun) + 1):
            ends = product(range(4), repeat=min(more, 3))
            values += [
                value(BLEU, true, [*begun, *end, *true[len(begun) + len(end) :][: more - len(end)]]) for end in ends
            ]
        assert max(values) <= bleu_ceiling(true, begun) + 1e-12
