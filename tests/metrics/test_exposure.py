"""Exposure by rank: against the definition, unbiased in samples, honest about ties, 1.44 bits for the unseen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.metrics.exposure import expected_exposure, exposure

scores = st.lists(st.integers(-4, 0), min_size=1, max_size=5)


def test_the_first_has_all_bits_and_the_last_none():
    others = -np.arange(1.0, 1024)
    assert exposure(0.0, others, 1024).bits == 10
    assert exposure(-5000.0, others, 1024).bits == pytest.approx(0)
    assert exposure(-0.5 - 3, others, 1024).bits == 8  # three above it: rank 4
    assert exposure(0.0, others, 1024).exact
    assert not exposure(0.0, others, 10**6).exact
    assert exposure(0.0, others, 10**6).limit == 10


@given(st.integers(-4, 0), scores)
def test_ties_are_the_mean_over_all_orders_of_those_tied(own, others):
    listed = [("own", own), *((i, score) for i, score in enumerate(others))]
    ranks = [
        1 + [name for name, _ in sorted(order, key=lambda entry: -entry[1])].index("own")
        for order in itertools.permutations(listed)
    ]
    expected = math.log2(len(listed)) - np.mean(np.log2(ranks))
    assert exposure(own, others, len(listed)).bits == pytest.approx(expected, abs=1e-9)


def test_probability_zero_is_below_everything():
    assert exposure(-math.inf, [-3.0, -2.0, -1.0], 4).bits == pytest.approx(0)
    assert exposure(-3.0, [-math.inf] * 3, 4).bits == 2


@pytest.mark.parametrize(("others", "space"), [([], 10), ([-1.0] * 10, 10), ([math.nan], 10)])
def test_what_cannot_be_ranked_is_refused(others, space):
    with pytest.raises(ValueError, match=r"candidates of a space|must be numbers"):
        exposure(-1.0, others, space)


@pytest.mark.parametrize(("compared", "space"), [(1000, 1000), (256, 10**6)], ids=["exact", "sampled"])
@pytest.mark.parametrize("levels", [None, 3], ids=["distinct", "ties"])
def test_secrets_that_mean_nothing_have_log2_e_bits(compared, space, levels):
    random = np.random.default_rng(5)
    drawn = random.normal(size=(4000, compared)) if levels is None else random.integers(0, levels, (4000, compared))
    bits = [exposure(row[0], row[1:], space).bits for row in drawn.astype(float)]
    assert np.mean(bits) == pytest.approx(expected_exposure(compared), abs=4 * np.std(bits) / math.sqrt(4000))
    assert np.mean(bits[:200]) == pytest.approx(math.log2(math.e), abs=0.3)


@pytest.mark.parametrize("compared", [1, 2, 7, 100])
def test_the_expected_exposure_is_the_mean_over_all_ranks(compared):
    ranks = np.arange(1, compared + 1)
    assert expected_exposure(compared) == pytest.approx(np.mean(np.log2(compared) - np.log2(ranks)), abs=1e-9)


def test_a_sample_estimates_the_rank_in_the_space():
    random = np.random.default_rng(0)
    every = random.normal(size=5000)
    others, own = every[1:], float(np.quantile(every, 0.9))
    exact = exposure(own, others, 5000).bits
    sampled = [exposure(own, random.choice(others, 255, replace=False), 5000).bits for _ in range(300)]
    assert np.mean(sampled) == pytest.approx(exact, abs=0.1)
