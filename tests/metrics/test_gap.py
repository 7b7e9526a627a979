"""The performance gap: exact against enumeration, and its error rates where items get harder for everybody."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, ttest_ind
from scipy.stats import t as student

from memaudit.metrics.gap import (
    gap_test,
    item_differences,
    log_odds_gap,
    performance_gap,
)

WHOLE = st.integers(-2, 2).map(lambda n: n / 2)
SIDE = st.lists(WHOLE, min_size=2, max_size=5)


def welch(old: list[float], new: list[float]) -> float:
    """Return Welch's t in exact arithmetic of the definition, one side at a time."""
    means = [sum(side) / len(side) for side in (old, new)]
    error = sum(
        sum((v - m) ** 2 for v in side) / (len(side) - 1) / len(side) for side, m in zip((old, new), means, strict=True)
    )
    difference = means[0] - means[1]
    if error == 0:
        return 0.0 if difference == 0 else math.copysign(math.inf, difference)
    return difference / math.sqrt(error)


def guarded(old: list[float], new: list[float]):
    """Return Student's distribution of Welch, centred where the difference lies and half a square wider a side."""
    parts = [
        (sum((v - sum(side) / len(side)) ** 2 for v in side) + 0.5) / (len(side) - 1) / len(side) for side in (old, new)
    ]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(side) - 1) for p, side in zip(parts, (old, new), strict=True))
    difference = sum(old) / len(old) - sum(new) / len(new)
    return student(freedom, loc=-difference, scale=math.sqrt(sum(parts)))


def test_few_items_of_which_fewer_tell_do_not_reject_more_than_they_should():
    """30 old items at .9 against 300 new ones at .98, for the model and its controls alike: .083 without the guard."""
    rng, rejected, count = np.random.default_rng(5), 0, 1500
    for seed in range(count):
        sides = []
        for items, accuracy in ((30, 0.9), (300, 0.98)):
            hard, own = rng.normal(size=items), rng.normal(size=(3, items))
            right = (hard + own < math.sqrt(2) * norm.ppf(accuracy)).astype(float)
            sides.append(item_differences(right[0], right[1:]))
        rejected += gap_test(*sides, seed=seed, permutations=199) <= 0.05
    assert rejected / count <= 0.064


@settings(max_examples=40, deadline=None)
@given(SIDE, SIDE)
def test_the_test_equals_an_enumeration_of_all_assignments(old, new):
    pooled = [*old, *new]
    found = welch(old, new)
    every = [
        welch([pooled[i] for i in chosen], [pooled[i] for i in range(len(pooled)) if i not in chosen])
        for chosen in itertools.combinations(range(len(pooled)), len(old))
    ]
    one = sum(t >= found - 1e-9 for t in every) / len(every)
    two = sum(abs(t) >= abs(found) - 1e-9 for t in every) / len(every)
    # Never below Welch's test in which each side has half a square more.
    guard = guarded(old, new)
    # 9,999 draws: the standard error of a share is at most .005.
    assert gap_test(old, new, seed=1) == pytest.approx(max(one, guard.sf(0)), abs=0.025)
    both = 2 * min(guard.sf(0), guard.cdf(0))
    assert gap_test(old, new, seed=1, alternative="two-sided") == pytest.approx(max(two, both), abs=0.025)


def test_p_is_never_zero_and_depends_on_nothing_but_values_and_seed():
    old, new = np.ones(50), np.zeros(50)
    assert gap_test(old, new, seed=0, permutations=199) == 1 / 200
    thirds = np.array([1 / 3, 2 / 3, 1.0, 0.0] * 20)
    again = np.array([1 - 2 / 3, 1 - 1 / 3, 1.0, 0.0] * 20)  # the same numbers but for the last bit
    assert gap_test(thirds, again, seed=3) == gap_test(again, thirds[::-1], seed=3)
    assert gap_test(np.ones(5), np.ones(9), seed=0) == 1.0


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # scipy's, where one side is constant
@settings(max_examples=40, deadline=None)
@given(st.lists(WHOLE, min_size=2, max_size=9), st.lists(WHOLE, min_size=2, max_size=9))
def test_the_interval_is_that_of_scipy(old, new):
    found = performance_gap(old, new)
    assert found is not None
    assert found.estimate == pytest.approx(np.mean(old) - np.mean(new))
    if len(set(old)) == len(set(new)) == 1:
        assert (found.low, found.high, found.standard_error) == (None, None, 0.0)
        return
    interval = ttest_ind(old, new, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_a_side_of_one_item_says_nothing():
    assert performance_gap([0.5], [0.1, 0.2]) is None
    assert gap_test([0.5, 0.2], [], seed=0) is None


def test_an_item_that_is_hard_for_all_says_nothing():
    model, controls = np.array([1.0, 0.0, 1.0]), np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])
    assert item_differences(model, controls).tolist() == [0.0, 0.0, 0.5]


def simulated(seed: int, replicates: int, seen: float, items: int = 400) -> dict[str, float]:
    """Return rejection rates when new items are 10 points harder for all, and the model knows a share of the old."""
    rng = np.random.default_rng(seed)
    rejected = {"gap": 0, "naive": 0}
    for replicate in range(replicates):
        model = rng.random((2, items)) < np.array([[0.6 + seen], [0.5]])
        control = rng.random((2, items)) < np.array([[0.6], [0.5]])
        e = [item_differences(model[side], control[[side]]) for side in (0, 1)]
        p = gap_test(*e, seed=replicate, permutations=499)
        naive = gap_test(*model.astype(float), seed=replicate, permutations=499)
        assert p is not None and naive is not None
        rejected["gap"] += p <= 0.05
        rejected["naive"] += naive <= 0.05
    return {name: count / replicates for name, count in rejected.items()}


def test_a_clean_model_is_not_flagged_because_items_got_harder():
    rates = simulated(0, 1500, seen=0.0)
    assert 0.036 <= rates["gap"] <= 0.064
    assert rates["naive"] >= 0.8, "the naive drop is what this is for"


def test_a_model_that_knows_old_items_is_flagged():
    assert simulated(1, 200, seen=0.1)["gap"] >= 0.5
    assert simulated(2, 200, seen=0.2)["gap"] >= 0.95


def test_unequal_variances_and_sides_keep_the_level():
    # Old items near the ceiling vary little, new ones much, and there are few of these.
    rng, rejected = np.random.default_rng(5), 0
    for replicate in range(1500):
        old, new = (item_differences(*(rng.random((2, n)) < p)[:, None]) for n, p in ((400, 0.97), (60, 0.5)))
        p = gap_test(old[0], new[0], seed=replicate, permutations=499)
        assert p is not None
        rejected += p <= 0.05
    assert rejected / 1500 <= 0.064


def rejected_in_log_odds(model: tuple[float, float], control: tuple[float, float], replicates: int = 1500) -> float:
    """Return how often the one-sided 95% limit of the gap in log odds lies above 0."""
    rng, count = np.random.default_rng(11), 0
    for _ in range(replicates):
        old, new = (rng.random((2, 400)) < np.array([[model[side]], [control[side]]]) for side in (0, 1))
        found = log_odds_gap(old, new, 0.9)
        assert found is not None and found.low is not None
        count += found.low > 0
    return count / replicates


def test_a_strong_control_makes_no_gap_in_log_odds():
    # Half a unit of log odds harder for both: 12 points for the model, 5 for its control.
    assert rejected_in_log_odds((0.5, 0.378), (0.9, 0.845)) <= 0.064
    assert rejected_in_log_odds((0.8, 0.5), (0.6, 0.5), 200) >= 0.95


def test_log_odds_are_finite_where_all_is_right_or_wrong():
    found = log_odds_gap(np.ones((2, 9)), np.zeros((2, 7)))
    assert found is not None and found.low is not None and found.high is not None
    assert found.estimate == pytest.approx(0.0) and math.isfinite(found.low)
    assert log_odds_gap(np.ones((2, 1)), np.zeros((2, 7))) is None


def test_log_odds_of_many_items_are_the_definition():
    old, new = ((np.arange(10_000) % 100 < np.array([[a], [b]])).astype(float) for a, b in ((90, 60), (50, 50)))
    found = log_odds_gap(old, new)
    assert found is not None
    assert found.estimate == pytest.approx(math.log(9) - math.log(1.5), abs=1e-2)
