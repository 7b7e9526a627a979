"""In-minus-out scores against scipy's Welch statistic and its exact permutation test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind

import memaudit.metrics.counterfactual as module
from memaudit.metrics.counterfactual import assign, counterfactual, mean_interval, smallest_p


@pytest.mark.parametrize(("models", "share", "seen"), [(8, 0.5, 4), (2, 0.01, 1), (5, 0.99, 4), (7, 0.3, 2)])
def test_every_document_is_seen_by_equally_many_models(models: int, share: float, seen: int) -> None:
    member = assign(500, models, share, seed=3)
    assert member.shape == (models, 500)
    assert set(member.sum(axis=0)) == {seen}
    assert np.array_equal(member, assign(500, models, share, seed=3))
    assert not np.array_equal(member, assign(500, models, share, seed=4))
    # No model is favoured: each sees its share, within five standard deviations.
    expected = 500 * seen / models
    assert np.abs(member.sum(axis=1) - expected).max() <= 5 * math.sqrt(expected)


def test_one_model_has_no_counterpart() -> None:
    with pytest.raises(ValueError, match="no counterpart"):
        assign(3, 1, 0.5, 0)


def test_against_scipy() -> None:
    random = np.random.default_rng(0)
    member = assign(12, 6, 0.5, seed=1)
    scores = random.integers(0, 5, member.shape) / 4 + member * random.choice([0.0, 0.5, 2.0], 12)
    found = counterfactual(scores, member)
    for i in range(12):
        inside, outside = scores[member[:, i], i], scores[~member[:, i], i]
        assert found.memorization[i] == pytest.approx(inside.mean() - outside.mean())
        if min(np.ptp(inside), np.ptp(outside)) > 0:
            welch = ttest_ind(inside, outside, equal_var=False)
            assert found.memorization[i] / found.error[i] == pytest.approx(welch.statistic)
        exact = permutation_test(
            (inside, outside),
            lambda a, b: a.mean() - b.mean(),
            permutation_type="independent",
            n_resamples=10_000,
            alternative="greater",
        )
        assert found.p_value[i] == pytest.approx(exact.pvalue)
    assert found.p_value.min() >= smallest_p(6, 3) == 1 / 20


def test_drawn_ways_come_near_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    member = assign(30, 10, 0.5, seed=2)
    scores = np.random.default_rng(5).random(member.shape) + 0.2 * member
    exact = counterfactual(scores, member).p_value
    monkeypatch.setattr(module, "MAX_EXACT", 200)
    drawn = counterfactual(scores, member, seed=7)
    assert np.abs(drawn.p_value - exact).max() < 6 * math.sqrt(0.25 / 200)
    assert drawn.p_value.min() >= 1 / 200 == smallest_p(10, 5)
    assert np.array_equal(drawn.p_value, counterfactual(scores, member, seed=7).p_value)


def test_a_single_model_on_a_side_has_no_error() -> None:
    found = counterfactual(np.array([[1.0], [0.0]]), np.array([[True], [False]]))
    assert (found.memorization[0], found.p_value[0]) == (1.0, 0.5)
    assert np.isnan(found.error[0])


def test_uneven_designs_are_refused() -> None:
    for member in ([[True, True], [False, True]], [[True, True], [True, True]]):
        with pytest.raises(ValueError, match="same number of models"):
            counterfactual(np.zeros((2, 2)), np.array(member))


def test_interval_of_a_mean() -> None:
    held = 0
    for trial in range(200):
        values = np.random.default_rng(trial).exponential(1.0, 60)
        low, high = mean_interval(values, trial, replicates=400)
        held += low <= 1.0 <= high
    assert held >= 0.88 * 200
    assert mean_interval(np.full(5, 0.25), 0) == pytest.approx((0.25, 0.25))


def test_copies_of_a_text_count_as_one() -> None:
    values = np.random.default_rng(1).random(40)
    alone = mean_interval(values, 3)
    groups = np.repeat(np.arange(40), 9)
    assert mean_interval(np.repeat(values, 9), 3, groups) == pytest.approx(alone)
    low, high = mean_interval(np.repeat(values, 9), 3)
    assert high - low < 0.5 * (alone[1] - alone[0])
