"""Lines and their intervals, against scipy and scikit-learn, and against how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import linregress
from sklearn.linear_model import LinearRegression

from memaudit.metrics.laws import (
    Outcomes,
    bootstrap_weights,
    cell_rates,
    fit_line,
    joint_r2,
    percentile_interval,
    slopes,
)

SIZES, DOSES, CONTEXTS = np.array([4.5, 5.0, 5.7, 6.3]), np.log10([1, 2, 4, 8, 16, 32]), np.log10([5, 10, 20, 40, 80])
shares = st.floats(0, 1, width=16)


@given(arrays(np.float64, 6, elements=shares))
def test_a_line_is_scipys(y: np.ndarray) -> None:
    line = fit_line(DOSES, y)
    expected = linregress(DOSES, y)
    assert line.slope == pytest.approx(expected.slope, abs=1e-9)
    assert line.intercept == pytest.approx(expected.intercept, abs=1e-9)
    if np.ptp(y) > 1e-6:
        assert line.r2 == pytest.approx(expected.rvalue**2, abs=1e-9)
    elif np.ptp(y) == 0:
        assert line.r2 is None
        assert line.slope == 0


def test_a_line_needs_two_places() -> None:
    with pytest.raises(ValueError, match="two different values"):
        fit_line([1.0, 1.0], [0.0, 1.0])


@given(arrays(np.float64, (4, 6, 5), elements=shares))
def test_in_a_full_grid_the_joint_plane_has_the_slopes_of_the_margins(cells: np.ndarray) -> None:
    axes = SIZES, DOSES, CONTEXTS
    design = np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], axis=1)
    plane = LinearRegression().fit(design, cells.ravel())
    for axis, x in enumerate(axes):
        means = cells.mean(axis=tuple(i for i in range(3) if i != axis))
        assert slopes(x, means[None])[0] == pytest.approx(plane.coef_[axis], abs=1e-9)
    if np.ptp(cells) > 1e-3:
        assert joint_r2(axes, cells) == pytest.approx(plane.score(design, cells.ravel()), abs=1e-7)


def simulated(random: np.random.Generator, seeds: int = 3, per_dose: int = 12, spread: float = 0.0) -> Outcomes:
    """A grid in which the fraction is known: .1 a decade of size, .2 of copies, .15 of context, seeds apart."""
    doses = np.tile(np.repeat(np.arange(6), per_dose), seeds)
    seed_of = np.repeat(np.arange(seeds), 6 * per_dose)
    documents = np.concatenate([random.permutation(400)[: 6 * per_dose] for _ in range(seeds)])
    shift = random.normal(0, spread, seeds)[seed_of]
    centred = [x - x.mean() for x in (SIZES, DOSES, CONTEXTS)]
    p = 0.5 + 0.1 * centred[0][None, :, None] + 0.2 * centred[1][doses][:, None, None]
    p = p + (0.15 + shift[:, None, None]) * centred[2][None, None, :]
    # Answers about one passage belong together: one draw decides all of them.
    hits = random.random((len(doses), 1, 1)) < p
    return Outcomes(hits.astype(np.float64), documents, seed_of, doses)


def test_rates_of_cells_are_counted() -> None:
    outcomes = simulated(np.random.default_rng(1))
    rates = cell_rates(outcomes)
    assert rates.shape == (1, 4, 6, 5)
    for size in range(4):
        for dose in range(6):
            for context in range(5):
                chosen = [u for u in range(len(outcomes.doses)) if outcomes.doses[u] == dose]
                by_hand = sum(outcomes.hits[u, size, context] for u in chosen) / len(chosen)
                assert rates[0, size, dose, context] == pytest.approx(by_hand)


def test_weights_of_a_resample() -> None:
    outcomes = simulated(np.random.default_rng(2))
    weights = bootstrap_weights(outcomes, 0, 400)
    assert np.array_equal(weights, bootstrap_weights(outcomes, 0, 400))
    assert (weights >= 0).all()
    assert np.isfinite(cell_rates(outcomes, weights)).all()
    # Of three seeds two are drawn, with replacement: each resample leaves at least one out.
    totals = np.stack([weights[:, outcomes.seeds == s].sum(axis=1) for s in range(3)])
    assert set((totals > 0).sum(axis=0)) == {1, 2}
    # A passage that was planted under two seeds has one weight: the quotient is that of the seeds, for all alike.
    places = [
        dict(zip(outcomes.documents[outcomes.seeds == s], np.flatnonzero(outcomes.seeds == s), strict=True))
        for s in (0, 1)
    ]
    shared = sorted(places[0].keys() & places[1].keys())
    assert len(shared) > 3
    both = (totals[:2] > 0).all(axis=0)
    first, second = (weights[both][:, [place[d] for d in shared]] for place in places)
    assert np.ptp(first / second, axis=1).max() < 1e-9
    assert np.ptp(first, axis=1).min() > 0.1
    assert (bootstrap_weights(simulated(np.random.default_rng(2), seeds=1), 0, 400) > 0).all()


def test_weighted_rates_are_weighted() -> None:
    outcomes = simulated(np.random.default_rng(3))
    weights = np.random.default_rng(4).random((2, len(outcomes.doses)))
    rates = cell_rates(outcomes, weights)
    chosen = outcomes.doses == 3
    expected = np.average(outcomes.hits[chosen][:, 2, 1], weights=weights[1, chosen])
    assert rates[1, 2, 3, 1] == pytest.approx(expected)


@pytest.mark.parametrize(("axis", "x", "truth"), [(1, SIZES, 0.1), (2, DOSES, 0.2), (3, CONTEXTS, 0.15)])
@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_intervals_hold_the_true_slope(axis: int, x: np.ndarray, truth: float, spread: float) -> None:
    """Intervals err on the wide side where seeds do not differ, and hold the truth in about 95% where they do."""
    others = tuple(i for i in (1, 2, 3) if i != axis)
    held = 0
    for trial in range(200):
        outcomes = simulated(np.random.default_rng(trial), spread=spread)
        resampled = cell_rates(outcomes, bootstrap_weights(outcomes, trial, 300)).mean(axis=others)
        low, high = percentile_interval(slopes(x, resampled))
        held += low <= truth <= high
    assert held >= (0.84 if spread and axis == 3 else 0.9) * 200


def test_intervals_are_no_wider_than_said() -> None:
    """Where seeds differ in nothing but their passages, by a factor of the root of 3 at most."""
    found, widths = [], []
    for trial in range(200):
        outcomes = simulated(np.random.default_rng(trial))
        resampled = cell_rates(outcomes, bootstrap_weights(outcomes, trial, 300)).mean(axis=(1, 3))
        low, high = percentile_interval(slopes(DOSES, resampled))
        found.append(slopes(DOSES, cell_rates(outcomes).mean(axis=(1, 3)))[0])
        widths.append(high - low)
    assert 1.0 < np.mean(widths) / (2 * 1.96 * np.std(found)) < 1.8
