"""What is stated of a gap verdict by the true gap, against runs of the real tests on drawn results."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from memaudit.audits.gap.power import GAPS, POWER, _Side, power_of
from memaudit.metrics.gap import gap_test, item_differences, log_odds_gap
from memaudit.records import FloatArray


def judge(rejects: bool, stands: bool, alike: bool, least: float | None) -> str:
    if not alike or (rejects and not stands):
        return "inconclusive"
    return "found" if rejects else "no-evidence" if least is not None and least <= 0.2 else "inconclusive"


def results(rng: np.random.Generator, items: int, accuracies: tuple[float, ...]) -> FloatArray:
    """Return right and wrong answers of models that find the same items hard: shape [models, items]."""
    hard = rng.standard_normal(items)
    own = rng.standard_normal((len(accuracies), items))
    values = 0.7 * hard + np.sqrt(0.51) * own
    return (values < np.quantile(rng.standard_normal(100_000), accuracies)[:, None]).astype(np.float64)


@pytest.mark.parametrize(("old", "new"), [(150, 150), (60, 300)])
def test_the_stated_gap_is_found_as_often_as_stated(old: int, new: int) -> None:
    rng = np.random.default_rng(old)
    seen = results(rng, 20_000, (0.6, 0.6, 0.55)), results(rng, 20_000, (0.5, 0.5, 0.45))
    # The population, as if it had that many items.
    sides = [side[:, rng.permutation(20_000)[:n]] for side, n in zip(seen, (old, new), strict=True)]
    stated = power_of(*sides, 0.05, 0.0, judge)
    least = stated.minimum_detectable_gap
    assert least is not None
    truth = [_Side.of(side) for side in sides]
    by = least - float(
        (truth[0].means[0] - truth[0].means[1:].mean()) - (truth[1].means[0] - truth[1].means[1:].mean())
    )
    room = 1 - truth[0].means[0] if by > 0 else truth[0].means[0]
    found = 0
    for replicate in range(250):
        drawn = [side[:, rng.integers(0, side.shape[1], side.shape[1])] for side in sides]
        turned = rng.random(old) < abs(by) / room
        drawn[0] = drawn[0].copy()
        drawn[0][0, turned] = float(by > 0)
        p = gap_test(*(item_differences(d[0], d[1:]) for d in drawn), seed=replicate, permutations=399)
        odds = log_odds_gap(*drawn, 0.9)
        assert p is not None and odds is not None and odds.low is not None
        found += p <= 0.05 and odds.low > 0
    assert abs(found / 250 - POWER) < 0.03 + 0.075


def test_moved_items_have_the_moments_of_turned_results() -> None:
    rng = np.random.default_rng(3)
    scores = results(rng, 200_000, (0.6, 0.5))
    side = _Side.of(scores)
    for by in (0.1, -0.2):
        moved = side.moved(by)
        assert moved is not None
        turned = scores.copy()
        turned[0, rng.random(200_000) < abs(by) / (0.4 if by > 0 else 0.6)] = float(by > 0)
        assert moved.means == pytest.approx(turned.mean(axis=1), abs=0.005)
        assert moved.covariance == pytest.approx(np.cov(turned), abs=0.005)
    assert side.moved(0.5) is None and side.moved(-0.7) is None


def test_power_grows_and_checks_take_their_share() -> None:
    rng = np.random.default_rng(4)
    sides = results(rng, 400, (0.5, 0.5)), results(rng, 400, (0.5, 0.5))
    free, held = (power_of(*sides, 0.05, rivals, judge) for rivals in (0.0, 0.2))
    assert [point.gap for point in free.verdicts] == [gap for gap in GAPS if gap <= 0.5]
    found = [point.found for point in free.verdicts]
    assert found == sorted(found) and found[0] < 0.07 and found[-1] > 0.99
    assert held.verdicts[-1].found == pytest.approx(0.8, abs=0.02)
    assert free.verdicts[0].no_evidence > 0.9 > held.verdicts[0].no_evidence


def test_models_that_answer_alike_tell_nothing_of_power() -> None:
    same = np.ones((2, 30))
    assert power_of(same, same, 0.05, 0.0, judge) == power_of(same, same, 0.05, 0.0, judge)
    assert power_of(same, same, 0.05, 0.0, judge).verdicts == []


@given(st.integers(2, 12), st.integers(2, 12), st.integers(2, 3), st.data())
def test_any_answers_have_a_power_or_none(old: int, new: int, models: int, data: st.DataObject) -> None:
    """Also where one side, or a side that is moved, does not vary at all."""
    scores = st.sampled_from([0.0, 0.5, 1.0])
    sides = [data.draw(arrays(np.float64, (models, items), elements=scores)) for items in (old, new)]
    stated = power_of(sides[0], sides[1], 0.05, 0.0, judge)
    assert all(0 <= chance <= 1 for point in stated.verdicts for chance in (point.found, point.no_evidence))
    assert stated.minimum_detectable_gap is None or 0 <= stated.minimum_detectable_gap <= 2
