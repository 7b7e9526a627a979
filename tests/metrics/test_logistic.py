"""Logistic regression, against scikit-learn and against the conditions that hold at the minimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from memaudit.metrics.logistic import fit_logistic


def problem(seed: int, rows: int = 60, columns: int = 12) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(rows, columns)) * (random.random((rows, columns)) < 0.4)
    labels = features[:, 0] - features[:, 1] + random.logistic(size=rows) > 0.5
    labels[:2] = [True, False]
    return features, labels


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("seed", range(5))
def test_weights_are_those_of_scikit_learn(seed: int, penalty: float) -> None:
    features, labels = problem(seed)
    ours = fit_logistic(csr_array(features), labels, penalty)
    theirs = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(features, labels)
    assert ours.weights == pytest.approx(theirs.coef_[0], abs=2e-3)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=2e-3)
    assert ours.decide(csr_array(features)) == pytest.approx(theirs.decision_function(features), abs=1e-2)


@given(st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 100.0]))
@settings(deadline=None, max_examples=50)
def test_no_slope_is_left_at_the_minimum(seed: int, penalty: float) -> None:
    features, labels = problem(seed, rows=30, columns=5)
    fitted = fit_logistic(csr_array(features), labels, penalty)
    errors = 1 / (1 + np.exp(-fitted.decide(features))) - labels
    assert features.T @ errors + penalty * fitted.weights == pytest.approx(0, abs=30 * 1e-4)
    assert errors.sum() == pytest.approx(0, abs=30 * 1e-4)


def test_sparse_and_dense_features_are_alike() -> None:
    features, labels = problem(3)
    sparse, dense = fit_logistic(csr_array(features), labels), fit_logistic(features, labels)
    assert sparse.weights == pytest.approx(dense.weights, abs=1e-6)


def test_without_features_the_intercept_is_the_log_odds() -> None:
    labels = np.array([True] * 30 + [False] * 10)
    fitted = fit_logistic(csr_array((40, 0)), labels)
    assert fitted.weights.shape == (0,)
    assert fitted.intercept == pytest.approx(np.log(3), abs=1e-3)
    assert fitted.decide(csr_array((2, 0))) == pytest.approx([np.log(3)] * 2, abs=1e-3)


def test_separable_and_huge_features_stay_finite() -> None:
    labels = np.arange(40) % 2 == 0
    fitted = fit_logistic(csr_array(np.where(labels, 1e6, -1e6)[:, None]), labels)
    assert np.isfinite(fitted.weights).all()
    assert ((fitted.decide(np.array([[1e6], [-1e6]])) > 0) == [True, False]).all()


@pytest.mark.parametrize("label", [True, False])
def test_one_label_is_no_problem_to_solve(label: bool) -> None:
    with pytest.raises(ValueError, match="both labels"):
        fit_logistic(csr_array((3, 1)), np.full(3, label))
