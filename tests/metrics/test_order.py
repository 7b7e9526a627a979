"""Tests of order: exact distributions against enumeration, and p-values that are never 0."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from memaudit.metrics.order import (
    TIE,
    canonical_rank,
    order_totals,
    random_orders,
    rank_sum_p,
    sampled_p,
    student_t,
)


def test_totals_are_sums_over_neighbours() -> None:
    rng = np.random.default_rng(0)
    first, follows = rng.normal(size=5), rng.normal(size=(5, 5))
    orders = random_orders(5, 40, rng)
    expected = [first[o[0]] + math.fsum(follows[a, b] for a, b in itertools.pairwise(o)) for o in orders.tolist()]
    assert order_totals(first, follows, orders) == pytest.approx(expected)


def test_random_orders_are_uniform() -> None:
    orders = random_orders(3, 6000, np.random.default_rng(1))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    # Six cells of 1,000: the chi-square statistic exceeds 20.5 in one of 1,000 cases.
    assert ((counts - 1000) ** 2 / 1000).sum() < 20.5


@given(st.lists(st.integers(-3, 3), max_size=50), st.integers(-3, 3))
def test_ties_count_against(others: list[int], canonical: int) -> None:
    reach = sum(other >= canonical for other in others)
    assert sampled_p(canonical, others) == pytest.approx((1 + reach) / (1 + len(others)))
    assert canonical_rank(canonical, others) == 1 + reach
    noisy = [other - TIE / 2 for other in others]
    assert sampled_p(canonical, noisy) == sampled_p(canonical, others)


@given(st.integers(1, 6), st.data())
def test_the_sum_of_ranks_has_its_exact_distribution(orders: int, data: st.DataObject) -> None:
    ranks = data.draw(st.lists(st.integers(1, orders), min_size=1, max_size=4))
    space = list(itertools.product(range(1, orders + 1), repeat=len(ranks)))
    expected = sum(sum(drawn) <= sum(ranks) for drawn in space) / len(space)
    assert rank_sum_p(ranks, orders) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shards", [7, 64, 101])
def test_small_probabilities_keep_their_digits(shards: int) -> None:
    assert rank_sum_p([1] * shards, 24) == pytest.approx(24.0**-shards, rel=1e-10)
    counts = [Fraction(1)]
    for _ in range(shards):
        sums = list(itertools.accumulate(counts)) + [sum(counts)] * 23
        counts = [total - (sums[i - 24] if i >= 24 else 0) for i, total in enumerate(sums)]
    ranks = ([1, 2, 3, 5] * shards)[:shards]
    expected = sum(counts[: sum(ranks) - shards + 1]) / Fraction(24) ** shards
    assert rank_sum_p(ranks, 24) == pytest.approx(float(expected), rel=1e-10)


def test_no_probability_is_zero() -> None:
    assert rank_sum_p([1] * 256, 24) == np.finfo(np.float64).tiny
    assert rank_sum_p([24] * 256, 24) == pytest.approx(1.0)
    assert sampled_p(1.0, np.zeros(199)) == 0.005
    assert sampled_p(1.0, []) == 1.0


def test_ranks_that_cannot_be_are_refused() -> None:
    for ranks in ([], [0], [25]):
        with pytest.raises(ValueError, match="ranks must lie in"):
            rank_sum_p(ranks, 24)


def test_student_has_as_many_degrees_of_freedom_as_it_should() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, 9)
    found, expected = student_t(values), ttest_1samp(values, 0, alternative="greater")
    assert found is not None
    assert (found.t, found.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert student_t([1.0]) is None
    assert student_t([1.0, 1.0]) is None


def test_the_deviation_of_n_rejects_too_often() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(20_000, 5))
    ours = np.mean([student_t(row).p_value <= 0.05 for row in values])  # type: ignore[union-attr]
    assert 0.045 < ours < 0.055
    theirs = values.mean(axis=1) / values.std(axis=1) * math.sqrt(5)
    assert np.mean(theirs >= 2.132) > 0.058  # the 95% quantile at four degrees of freedom
