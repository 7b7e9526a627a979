"""ED50: the fit against scikit-learn, intervals by their coverage, separated and one-sided data by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2, spearmanr

from memaudit.metrics.doses import median_dose, rank_correlation

DOSES = 2.0 ** np.arange(9)


def simulate(ed50, slope, per_dose, seed):
    copies = np.repeat(DOSES, per_dose)
    p = expit(slope * (np.log2(copies) - math.log2(ed50)))
    return copies, np.random.default_rng(seed).random(len(copies)) < p


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_that_of_scikit_learn(seed):
    linear = pytest.importorskip("sklearn.linear_model")
    copies, hits = simulate(11, 0.8, 15, seed)
    fit = linear.LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(np.log2(copies)[:, None], hits)
    found = median_dose(copies, hits)
    assert found.slope == pytest.approx(float(fit.coef_[0, 0]), rel=1e-4)
    assert found.estimate == pytest.approx(2 ** float(-fit.intercept_[0] / fit.coef_[0, 0]), rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_limits_are_where_the_likelihood_ratio_says_so(seed):
    copies, hits = simulate(20, 1.2, 10, seed)
    x = np.log2(copies)

    def loss(parameters):
        logits = math.exp(parameters[1]) * (x - parameters[0])
        return float(np.where(hits, np.logaddexp(0, -logits), np.logaddexp(0, logits)).sum())

    def profile(centre):
        return min(minimize(lambda b: loss([centre, b[0]]), [start], method="Nelder-Mead").fun for start in (-1, 1))

    least = minimize(loss, [4.0, 0.0], method="BFGS").fun
    found = median_dose(copies, hits)
    for limit in (found.low, found.high):
        assert 2 * (profile(math.log2(limit)) - least) == pytest.approx(chi2.ppf(0.95, 1), abs=1e-3)
    assert found.low < found.estimate < found.high


@pytest.mark.parametrize(("ed50", "slope", "per_dose"), [(11, 1.0, 12), (3, 0.6, 20), (40, 2.5, 8)])
def test_intervals_cover_as_often_as_they_say(ed50, slope, per_dose):
    covered = 0
    for seed in range(400):
        found = median_dose(*simulate(ed50, slope, per_dose, seed))
        covered += (found.low or 0) <= ed50 <= (found.high or math.inf)
    assert 0.92 <= covered / 400 <= 0.985


def test_separated_data_lie_between_two_doses():
    copies = np.repeat(DOSES, 10)
    found = median_dose(copies, copies >= 16)
    assert found.estimate == pytest.approx(math.sqrt(8 * 16))
    assert (found.low, found.high) == (pytest.approx(8, rel=1e-6), pytest.approx(16, rel=1e-6))
    assert found.slope is None
    assert "from 16 copies on" in found.note
    few = median_dose(DOSES, DOSES >= 16)
    assert few.low < 8 < 16 < few.high


def test_hits_and_misses_that_meet_at_one_dose():
    copies = np.repeat(DOSES, 10)
    hits = (copies > 8) | ((copies == 8) & (np.arange(len(copies)) % 10 < 8))
    found = median_dose(copies, hits)
    assert found.estimate == 8
    assert 4 <= found.low <= 8 * (1 + 1e-6)
    assert found.low <= found.high <= 16


def test_no_hit_and_no_miss_give_a_bound():
    copies = np.repeat(DOSES, 10)
    none, all_of_them = median_dose(copies, copies < 0), median_dose(copies, copies > 0)
    assert (none.estimate, none.high) == (None, None)
    assert none.low == pytest.approx(256, rel=1e-6)
    assert "above the 256 copies" in none.note
    assert (all_of_them.estimate, all_of_them.low) == (None, None)
    assert all_of_them.high == pytest.approx(1, rel=1e-6)
    assert "below the 1 copies" in all_of_them.note
    assert median_dose([256, 1], [False, False]).low is None, "two documents bound nothing at 95%"


@pytest.mark.parametrize(
    ("copies", "hits", "why"),
    [
        ([], [], "no document"),
        ([4, 4, 4], [1, 0, 1], "one dose"),
        ([1, 1, 8, 8], [1, 1, 0, 0], "do not grow"),
        ([1, 1, 8, 8], [1, 0, 0, 1], "do not grow"),
    ],
)
def test_where_there_is_no_ed50(copies, hits, why):
    found = median_dose(copies, hits)
    assert (found.estimate, found.low, found.high) == (None, None, None)
    assert why in found.note


@pytest.mark.parametrize(("copies", "hits"), [([0, 1], [0, 1]), ([1, 2], [0, 2]), ([1], [0, 1])])
def test_what_is_no_dose_is_refused(copies, hits):
    with pytest.raises(ValueError, match="at least 1 copy"):
        median_dose(copies, hits)


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.sampled_from([0, 0.5, 1])), max_size=20))
def test_any_data_give_an_ordered_answer(data):
    copies, shares = [c for c, _ in data], [s for _, s in data]
    found = median_dose(copies, shares)
    bounds = [value for value in (found.low, found.estimate, found.high) if value is not None]
    assert all(b >= a * (1 - 1e-5) for a, b in itertools.pairwise(bounds))
    if found.estimate is not None:
        doubled = median_dose([2 * c for c in copies], shares)
        assert doubled.estimate == pytest.approx(2 * found.estimate, rel=1e-6)


def test_an_ed50_outside_the_doses_says_so():
    copies = np.repeat([1, 2, 4, 8], 40)
    hits = np.random.default_rng(1).random(160) < np.repeat([0.02, 0.05, 0.1, 0.2], 40)
    found = median_dose(copies, hits)
    assert found.estimate > 8
    assert "extrapolated" in found.note


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=30))
def test_rank_correlation_is_that_of_scipy(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = rank_correlation(first, second)
    if len(set(first)) < 2 or len(set(second)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
