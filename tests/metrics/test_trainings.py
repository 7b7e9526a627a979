"""Means over trainings: against the formulas of several readers of the same cases written out, and by coverage."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from scipy.stats import t as student

from memaudit.metrics.roc import auc, auc_covariance
from memaudit.metrics.trainings import auc_over_trainings, rate_over_trainings


def of_readers(estimates: list[float], covariance: np.ndarray, documents: int) -> tuple[float, float]:
    """Obuchowski & Rockette for one modality, term by term: mean and half-width, a quantile for each component."""
    readers = len(estimates)
    mean = sum(estimates) / readers
    ms = sum((e - mean) ** 2 for e in estimates) / (readers - 1)
    pairs = [covariance[i, j] for i, j in combinations(range(readers), 2)]
    cov2 = max(0.0, sum(pairs) / len(pairs))
    seeds, texts = student.ppf(0.975, readers - 1) ** 2 * ms / readers, student.ppf(0.975, documents - 1) ** 2 * cov2
    return mean, math.sqrt(seeds + texts)


def test_the_interval_of_a_rate_is_korn_and_graubards_with_the_variance_of_readers() -> None:
    random = np.random.default_rng(3)
    hits = (random.random((4, 60)) < random.uniform(0.1, 0.5, 60) + np.array([[0.0], [0.1], [0.2], [0.0]])).astype(
        float
    )
    covariance = np.array([[np.cov(a, b)[0, 1] / 60 for b in hits] for a in hits])
    mean, reach = of_readers([float(row.mean()) for row in hits], covariance, 60)
    trials = mean * (1 - mean) * (student.ppf(0.975, 59) / reach) ** 2
    found = rate_over_trainings(hits, 60)
    assert found is not None
    assert (found.trainings, found.mean) == (4, pytest.approx(mean))
    assert found.low == pytest.approx(beta.ppf(0.025, mean * trials, trials * (1 - mean) + 1))
    assert found.high == pytest.approx(beta.ppf(0.975, mean * trials + 1, trials * (1 - mean)))
    assert (found.least, found.most) == (hits.mean(axis=1).min(), hits.mean(axis=1).max())


def test_delongs_covariance_is_that_of_the_kernel() -> None:
    random = np.random.default_rng(4)
    members, heldout = random.integers(0, 5, (3, 12)).astype(float), random.integers(0, 4, (3, 9)).astype(float)
    estimates, covariance = auc_covariance(members, heldout)
    kernel = [(m[:, None] > h) + 0.5 * (m[:, None] == h) for m, h in zip(members, heldout, strict=True)]
    for i in range(3):
        assert estimates[i] == pytest.approx(kernel[i].mean())
        assert covariance[i, i] == pytest.approx(auc_covariance(members[[i]], heldout[[i]])[1])
        for j in range(3):
            parts = [
                np.cov(kernel[i].mean(axis=a), kernel[j].mean(axis=a))[0, 1] / kernel[i].shape[1 - a] for a in (0, 1)
            ]
            assert covariance[i, j] == pytest.approx(sum(parts))


def test_the_interval_of_an_auc_is_that_of_readers_on_log_odds() -> None:
    random = np.random.default_rng(5)
    hard = random.normal(size=40), random.normal(size=50)
    members = hard[0] + random.normal(size=(5, 40)) + random.normal(0.8, 0.4, (5, 1))
    heldout = hard[1] + random.normal(size=(5, 50))
    estimates, covariance = auc_covariance(members, heldout)
    mean, reach = of_readers(estimates.tolist(), covariance, 40)
    reach /= mean * (1 - mean)
    found = auc_over_trainings(members, heldout)
    assert found is not None
    centre = math.log(mean / (1 - mean))
    assert found.low == pytest.approx(1 / (1 + math.exp(reach - centre)))
    assert found.high == pytest.approx(1 / (1 + math.exp(-reach - centre)))


def test_trainings_that_agree_in_all_leave_the_interval_of_documents() -> None:
    random = np.random.default_rng(6)
    members, heldout = random.normal(1, 1, 50), random.normal(0, 1, 70)
    found, alone = auc_over_trainings([members] * 3, [heldout] * 3), auc(members, heldout)
    assert found is not None
    assert alone is not None
    normal = math.log(alone.high / (1 - alone.high)) - math.log(alone.low / (1 - alone.low))
    by_student = math.log(found.high / (1 - found.high)) - math.log(found.low / (1 - found.low))
    assert by_student / normal == pytest.approx(student.ppf(0.975, 49) / 1.959964)
    assert found.between == 0
    hits = (random.random(80) < 0.3).astype(float)
    rate = rate_over_trainings([hits] * 4, 80)
    assert rate is not None
    p = float(hits.mean())
    trials = p * (1 - p) / (hits.var(ddof=1) / 80)
    assert rate.low == pytest.approx(beta.ppf(0.025, p * trials, trials * (1 - p) + 1))
    assert rate.between == 0


def test_nothing_recited_by_any_training_leaves_the_rate_of_that_many_documents_open() -> None:
    found = rate_over_trainings(np.zeros((5, 100)), 500)
    assert found is not None
    assert (found.mean, found.low) == (0, 0)
    assert found.high == pytest.approx(beta.ppf(0.975, 1, 100))
    perfect = auc_over_trainings(np.ones((3, 30)), np.zeros((3, 30)))
    assert perfect is not None
    assert (perfect.mean, perfect.high) == (1, 1)
    assert 0.8 < perfect.low < 1


def test_two_trainings_say_nothing_of_a_third() -> None:
    assert rate_over_trainings(np.eye(2, 30), 30) is None
    assert rate_over_trainings(np.ones((5, 1)), 30) is None
    assert auc_over_trainings(np.ones((2, 30)), np.zeros((2, 30))) is None
    assert auc_over_trainings(np.ones((3, 30)), np.zeros((3, 1))) is None


@given(st.integers(3, 6), st.integers(2, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_limits_hold_the_mean_whatever_was_seen(trainings: int, documents: int, windows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    hits = random.binomial(windows, random.choice([0.0, 0.05, 0.5, 1.0], (trainings, documents))) / windows
    found = rate_over_trainings(hits, documents * windows)
    assert found is not None
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.least <= found.mean <= found.most
    assert rate_over_trainings(hits[::-1, ::-1], documents * windows).mean == pytest.approx(found.mean)
    scores = random.integers(0, 3, (trainings, documents)).astype(float)
    area = auc_over_trainings(scores, scores[:, ::-1] - 1)
    assert area is not None
    assert 0 <= area.low <= area.mean <= area.high <= 1


def test_other_seeds_and_other_documents_are_covered() -> None:
    """Documents in common are what a meta-analysis of the trainings does not know: it would hold in half of these."""
    random = np.random.default_rng(7)
    held, by_seeds, count = 0, 0, 400
    for _ in range(count):
        members = random.normal(0.5, 1, 60) + random.normal(0, 0.1, (5, 1)) + random.normal(0, 0.4, (5, 60))
        heldout = random.normal(0, 1, 60) + random.normal(0, 0.4, (5, 60))
        found = auc_over_trainings(members, heldout)
        assert found is not None
        truth = student.cdf(0.5 / math.sqrt(2 * 1.16 + 0.01), 1e9)
        held += found.low <= truth <= found.high
        areas = auc_covariance(members, heldout)[0]
        by_seeds += abs(areas.mean() - truth) <= student.ppf(0.975, 4) * areas.std(ddof=1) / math.sqrt(5)
    assert 0.92 <= held / count <= 0.985
    assert by_seeds / count < 0.8
