"""What is stated of a membership verdict by AUC, against runs of the real tests and controls on drawn scores."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from memaudit.audits.comparison.detection import Detection, compare
from memaudit.audits.comparison.nulls import KIND_NULL, NULL_NAME, SUSPECTS_NULL
from memaudit.audits.comparison.power import (
    AREAS,
    POWER,
    Design,
    _covariances,
    _holm_rejects,
    _rank_p,
    power_of,
    power_of_design,
)
from memaudit.audits.comparison.verdict import adjusted_by_holm, decide
from memaudit.findings import Control
from memaudit.metrics.roc import auc, auc_covariance
from memaudit.stats import holm, rank_test

BLIND = {"confounded": False, "features": [{"name": "words", "auc": {"estimate": 0.5, "low": 0.4}}]}
OPTIONS = {"paired": False, "randomised": True, "seed": 0, "alpha": 0.05, "detectable": 0.6}


def design(documents: int, correlation: float = 0.6, null: str = NULL_NAME, **changes: Any) -> Design:
    told = Design(documents, documents, 1, 0.05, 0.6, ((null, correlation),), None, 1, True, True)
    return dataclasses.replace(told, **changes)


def detection(
    rng: np.random.Generator, documents: int, area: float, correlation: float, model: str = NULL_NAME
) -> Detection:
    null = rng.standard_normal(2 * documents)
    scores = correlation * null + math.sqrt(1 - correlation**2) * rng.standard_normal(2 * documents)
    scores[:documents] += math.sqrt(2) * ndtri(area)
    records = [{"member": i < documents, "document": str(i)} for i in range(2 * documents)]
    plan: Any = {"membership": OPTIONS, "blind": BLIND}
    nulls = {model: null.tolist()}
    return compare(records, scores.tolist(), nulls, name="a", label="", definition="", plan=plan)


@pytest.mark.parametrize(
    ("documents", "correlation", "model"),
    [(60, 0.0, NULL_NAME), (120, 0.8, NULL_NAME), (120, 0.7, SUSPECTS_NULL), (90, 0.2, KIND_NULL)],
)
def test_the_stated_auc_is_found_as_often_as_stated(documents: int, correlation: float, model: str) -> None:
    power = power_of_design(design(documents, correlation, model))
    area = power.minimum_detectable_auc
    assert area is not None
    rng, found = np.random.default_rng(documents), 0
    for _ in range(300):
        first = detection(rng, documents, area, correlation, model)
        found += decide([first], adjusted_by_holm([first]), first, [], power, BLIND, OPTIONS)[0] == "found"
    assert abs(found / 300 - POWER) < 0.03 + 0.07
    # The test alone would be found more often: what was stated before the controls were simulated.
    error = math.sqrt((2 * documents + 1) / 12) / documents
    assert norm.cdf((area - 0.5) / error - 1.645) > POWER + 0.01


def test_covariances_are_those_of_drawn_aucs() -> None:
    told = design(40, 0.7, heldout=60, correlations=((NULL_NAME, 0.7),))
    expected, estimated = _covariances(told, 0.7)
    rng, areas, variances = np.random.default_rng(5), [], []
    for _ in range(3000):
        null = rng.standard_normal(100)
        scores = 0.7 * null + math.sqrt(1 - 0.49) * rng.standard_normal(100)
        scores[:40] += math.sqrt(2) * ndtri(0.7)
        sides = [(values[:40], values[40:]) for values in (scores, null)]
        areas.append([found.estimate for found in (auc(*side) for side in sides) if found])
        variances.append(auc_covariance(*([side] for side in sides[0]))[1])
    assert np.cov(np.transpose(areas)) == pytest.approx(expected, rel=0.12)
    assert np.mean(variances) == pytest.approx(estimated[0, 0], rel=0.03)


@pytest.mark.parametrize("documents", [25, 80])
def test_the_rank_test_is_that_of_the_run(documents: int) -> None:
    rng = np.random.default_rng(documents)
    for shift in (0.2, 0.5, 0.8):
        sides = rng.normal(shift, 1, documents), rng.normal(0, 1, documents)
        area = auc(*sides)
        assert area is not None
        (p,) = _rank_p(design(documents), np.array([area.estimate]))
        assert p == pytest.approx(rank_test(*sides, seed=0), rel=0.1, abs=0.002)


def test_holm_rejects_what_holm_rejects() -> None:
    p_values = np.random.default_rng(6).beta(0.3, 1, (300, 4))
    first, others = _holm_rejects(p_values, 0.05)
    for row, a, b in zip(p_values, first, others, strict=True):
        adjusted = np.array(holm(row)) <= 0.05
        assert (a, b) == (adjusted[0], adjusted[1:].any())


def test_the_correlation_with_a_null_model_is_measured() -> None:
    first = detection(np.random.default_rng(7), 800, 0.7, 0.6)
    assert [name for name, _ in first.null_correlations] == [NULL_NAME]
    assert first.null_correlations[0][1] == pytest.approx(0.6, abs=0.06)


def test_no_evidence_is_said_only_where_the_auc_would_be_found() -> None:
    points = {point.auc: point for point in power_of_design(design(1000)).verdicts}
    assert list(points) == list(AREAS)
    assert points[0.5].no_evidence > 0.9 > 0.05 > points[0.5].found
    assert points[0.6].no_evidence < 0.01 < 0.95 < points[0.6].found
    weak = power_of_design(design(60))
    assert weak.minimum_detectable_auc is not None and weak.minimum_detectable_auc > 0.6
    assert all(point.no_evidence == 0 for point in weak.verdicts)
    assert all(point.no_evidence == 0 for point in power_of_design(design(1000, sound=False)).verdicts)


def test_power_falls_with_the_family_and_with_an_unlike_null_model() -> None:
    areas = [
        power_of_design(told).minimum_detectable_auc
        for told in (design(200, 0.9), design(200, 0.0), design(200, 0.0, family=6))
    ]
    assert None not in areas
    assert areas == sorted(areas, key=lambda area: area or 0)


def test_a_control_that_is_not_passed_leaves_no_power() -> None:
    silent = power_of_design(design(500, kinds=0, text=False))
    assert silent.minimum_detectable_auc is None and all(point.found == 0 for point in silent.verdicts)
    assert "no AUC would be found" in silent.sentence
    assert power_of_design(design(1)).verdicts == []
    assert power_of_design(design(100), by_area=False).minimum_detectable_auc is None


def test_power_of_a_run_takes_the_controls_as_they_came_out() -> None:
    first = detection(np.random.default_rng(8), 300, 0.5, 0.5)
    told = power_of(first, 1, [Control("instrument", True, "")], BLIND, OPTIONS)
    broken = power_of(first, 1, [Control("instrument", False, "")], BLIND, OPTIONS)
    assert told.minimum_detectable_auc == broken.minimum_detectable_auc
    assert told.verdicts[0].no_evidence > 0.9 and broken.verdicts[0].no_evidence == 0
