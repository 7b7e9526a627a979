"""Exposure by rank: against the definition, unbiased in samples, honest about ties, 1.44 bits for the unseen."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, skewnorm

from memaudit.metrics.exposure import expected_exposure, exposure, fitted_exposure

SEEDED = np.random.default_rng(1)
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


def test_the_fit_is_scipys_skew_normal_and_its_tail_that_of_the_integral():
    random = np.random.default_rng(11)
    perplexities = skewnorm.rvs(-2, loc=30, scale=3, size=255, random_state=random)
    shape, place, scale = skewnorm.fit(perplexities)
    for secret in (29.0, 22.0, 14.0):
        found = fitted_exposure(-secret * math.log(2), -perplexities * math.log(2), 10**12)
        share, _ = quad(skewnorm(shape, place, scale).pdf, -math.inf, secret, epsabs=0)
        assert found.reason == ""
        assert found.bits == pytest.approx(-math.log2(share), rel=1e-4)
        assert found.distance == pytest.approx(kstest(perplexities, skewnorm(shape, place, scale).cdf).statistic)
    # No secret can stand before the first of its space.
    assert fitted_exposure(100.0, -perplexities * math.log(2), 10**6).bits == pytest.approx(math.log2(10**6))


def test_the_fit_agrees_with_the_rank_in_the_whole_space_where_both_can_be_had():
    random = np.random.default_rng(12)
    space = skewnorm.rvs(-1, loc=40, scale=4, size=200_000, random_state=random) * -math.log(2)
    for place in (40_000, 2_000, 100):
        own = np.sort(space)[-place]
        exact = exposure(own, space[space != own], 200_000).bits
        fitted = fitted_exposure(own, space[random.choice(200_000, 255, replace=False)], 200_000).bits
        assert fitted == pytest.approx(exact, abs=0.15 * exact + 0.2)


def test_secrets_that_mean_nothing_are_exposed_as_rarely_as_bits_say():
    random = np.random.default_rng(13)
    bits = []
    for _ in range(150):
        drawn = -skewnorm.rvs(-1, size=275, random_state=random)
        found = [fitted_exposure(own, drawn[20:], 10**6).bits for own in drawn[:1]]
        shape, place, scale = skewnorm.fit(-drawn[20:] / math.log(2))
        if found[0] is not None:
            shares = skewnorm.cdf(-drawn[:20] / math.log(2), shape, place, scale)
            bits += (-np.log2(shares)).tolist()
            assert found[0] == pytest.approx(max(0.0, bits[-20]))
    assert len(bits) > 2700
    for least in (1, 3, 5):
        assert np.mean(np.array(bits) >= least) == pytest.approx(2.0**-least, rel=0.25)


@pytest.mark.parametrize(
    ("others", "space", "reason"),
    [
        (np.linspace(-9, -1, 50), 10**6, "fewer than 100 candidates"),
        (np.linspace(-9, -1, 200), 201, "the whole space was compared"),
        (np.full(200, -3.0), 10**6, "all candidates are alike"),
        (np.r_[np.linspace(-9, -1, 200), -math.inf], 10**6, "a candidate has probability 0"),
        (np.r_[np.linspace(-9, -8, 150), np.linspace(-2, -1, 150)], 10**6, "the candidates are not skew-normal"),
        (np.repeat(np.arange(-8.0, 0.0), 40), 10**6, "the candidates are not skew-normal"),
        (-skewnorm.rvs(8, size=300, random_state=SEEDED), 10**6, "the fitted distribution ends right below"),
    ],
)
def test_a_fit_that_does_not_hold_is_not_told(others, space, reason):
    found = fitted_exposure(-0.5, others, space)
    assert found.bits is None
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("shape", [-3, 0, 2])
def test_a_fit_that_holds_is_rarely_rejected(shape):
    random = np.random.default_rng(14)
    told = [fitted_exposure(0.0, -skewnorm.rvs(shape, size=255, random_state=random), 10**6) for _ in range(150)]
    assert np.mean([t.reason.startswith("the candidates") for t in told]) <= 0.12


def test_what_is_no_number_is_not_fitted():
    with pytest.raises(ValueError, match="must be numbers"):
        fitted_exposure(math.nan, np.linspace(-3, -1, 200), 10**6)
