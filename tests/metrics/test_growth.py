"""Slopes of what is recited: least squares over cells, intervals over documents, the same bits every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.metrics import growth
from memaudit.metrics.growth import CONTEXT, COPIES, PUBLISHED, SIZE, fit_slope, growth_table

X = [1.0, 4.0, 16.0, 64.0]


def outcomes(rng: np.random.Generator, documents: int, rates: list[float]) -> tuple[list[int], list[str], list[bool]]:
    """Documents that are asked at one place each, as those of a dose are."""
    places = [i % len(rates) for i in range(documents)]
    return places, [f"d{i}" for i in range(documents)], [bool(rng.random() < rates[p]) for p in places]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_the_line_is_that_of_least_squares(seed: int, rates: list[float]) -> None:
    places, names, hits = outcomes(np.random.default_rng(seed), 40, rates)
    found = fit_slope("a", X, places, names, hits, 0)
    shares = [np.mean([hit for hit, at in zip(hits, places, strict=True) if at == place]) for place in range(4)]
    assert found is not None
    assert found.slope == pytest.approx(np.polyfit(np.log10(X), shares, 1)[0], abs=1e-9)
    assert found.low <= found.high
    if np.ptp(shares) > 1e-9:
        assert found.r2 == pytest.approx(np.corrcoef(np.log10(X), shares)[0, 1] ** 2)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    rates = [0.2, 0.35, 0.5, 0.65]
    truth = 0.15 / np.log10(4)
    covered = 0
    for lot in range(200):
        found = fit_slope("a", X, *outcomes(rng, 160, rates), seed=lot)
        covered += found is not None and found.low <= truth <= found.high
    assert 180 <= covered <= 199  # 95% of 200 are 190; binomial 99.9% band


@pytest.mark.parametrize(
    ("rates", "documents"),
    [([0.02, 0.02, 0.02], [300, 40, 12]), ([0.05, 0.5], [200, 12]), ([0.0, 0.0, 0.1, 1.0, 1.0], [16] * 5)],
)
def test_groups_of_any_size_and_shares_at_the_ends_are_covered(rates: list[float], documents: list[int]) -> None:
    rng, x = np.random.default_rng(1), 4.0 ** np.arange(len(rates))
    truth = np.polyfit(np.log10(x), rates, 1)[0]
    places = np.repeat(np.arange(len(rates)), documents)
    names = [f"d{i}" for i in range(len(places))]
    covered = grown = 0
    for lot in range(100):
        found = fit_slope("a", x.tolist(), places, names, rng.random(len(places)) < np.array(rates)[places], lot)
        assert found is not None
        assert found.low <= found.slope <= found.high
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
        grown += found.low > 0
    assert covered >= 88  # 95 of 100, less three standard errors
    assert grown <= 9 or truth > 0


def test_values_with_few_documents_do_not_bend_the_line() -> None:
    places, names = [0] * 40 + [1] * 40 + [2] * 9, [f"d{i}" for i in range(89)]
    found = fit_slope("a", [1.0, 10.0, 100.0], places, names, [0] * 80 + [1] * 9, 0)
    assert found is not None
    assert (found.slope, found.values) == (0, 2)
    assert fit_slope("a", [1.0, 10.0], [0] * 40 + [1] * 9, names[:49], [0] * 40 + [1] * 9, 0) is None


def test_shares_of_0_and_1_are_not_known_exactly() -> None:
    """16 of 16 at ten copies after 0 of 16 at one: the difference of two Clopper-Pearson bounds, not a point."""
    found = fit_slope("a", [1.0, 10.0], [0] * 16 + [1] * 16, [f"d{i}" for i in range(32)], [0] * 16 + [1] * 16, 0)
    assert found is not None
    assert found.slope == 1
    assert 0.65 < found.low < 0.85
    assert found.high == 1


def test_what_belongs_to_one_document_is_resampled_together() -> None:
    """The same document asked everywhere, as in a comparison of models: its luck is shared, the slope is sure."""
    names = [f"d{i}" for i in range(30)]
    hits = [i < 15 for i in range(30)]
    both = fit_slope("a", [1.0, 10.0], [0] * 30 + [1] * 30, names + names, hits + hits, 0)
    apart = fit_slope("a", [1.0, 10.0], [0] * 30 + [1] * 30, [f"{i}" for i in range(60)], hits + hits, 0)
    assert both is not None
    assert apart is not None
    assert (both.slope, both.r2) == (0, None)
    assert both.high - both.low < 0.6 * (apart.high - apart.low)


def test_the_order_of_sums_changes_nothing() -> None:
    places, names, hits = outcomes(np.random.default_rng(3), 101, [0.1, 0.2, 0.6, 0.9])
    found = fit_slope("a", X, places, names, hits, 5)
    order = np.random.default_rng(4).permutation(101)
    mixed = [[list(some)[i] for i in order] for some in (places, names, hits)]
    assert fit_slope("a", X, *mixed, seed=5) == found  # type: ignore[arg-type]


def test_one_value_has_no_slope() -> None:
    assert fit_slope("a", [2.0], [0, 0], ["a", "b"], [1, 0], 0) is None


@pytest.mark.parametrize("axis", [SIZE, COPIES, CONTEXT])
def test_published_laws_stand_below_ours(axis: str) -> None:
    found = fit_slope("mine", X, *outcomes(np.random.default_rng(1), 80, [0, 0, 0.5, 1]), seed=0)
    assert found is not None
    table = growth_table(axis, [found])
    assert [row[0] for row in table.rows] == ["mine", *(models for name, _, models in PUBLISHED if name == axis)]
    assert table.rows[0][1] == f"{growth.points(found.slope)} points"
    assert len({len(row) for row in table.rows} | {len(table.columns)}) == 1
