import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from memaudit.stats.blocks import (
    PAGE,
    block_length,
    block_means,
    block_test,
    blocks_needed,
    correlation_at,
    differ_test,
    left_between_blocks,
    mean_interval,
    page_means,
    reach_of_dependence,
    series_test,
    share_interval,
)

quick = settings(deadline=None, max_examples=40)
shares = st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.25, 0.5, 1.0])
few_blocks = st.lists(shares, min_size=2, max_size=5)


def welch(ours: list[float], theirs: list[float]) -> float:
    """Return t as a textbook has it; equal values have no variance."""
    difference = np.mean(ours) - np.mean(theirs)
    error = math.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    if abs(difference) < 1e-12:
        return 0.0
    return difference / error if error > 1e-12 else math.copysign(math.inf, difference)


def enumerated(ours: list[float], theirs: list[float]) -> float:
    """Return p of all exchanges of blocks, one by one."""
    everything, first = ours + theirs, welch(ours, theirs)
    reached = []
    for places in itertools.combinations(range(len(everything)), len(ours)):
        one = [everything[i] for i in places]
        other = [value for i, value in enumerate(everything) if i not in places]
        reached.append(welch(one, other) >= first - 1e-9 * max(1.0, abs(first)) if first < math.inf
                       else welch(one, other) == math.inf)  # fmt: skip
    return float(np.mean(reached))


@quick
@given(few_blocks, few_blocks)
def test_p_is_that_of_every_exchange_or_of_students_t(ours: list[float], theirs: list[float]) -> None:
    n, m = len(ours), len(theirs)
    spreads = np.var(ours, ddof=1), np.var(theirs, ddof=1)
    pooled = ((n - 1) * spreads[0] + (m - 1) * spreads[1]) / (n + m - 2) * (1 / n + 1 / m)
    error = math.sqrt(max(spreads[0] / n + spreads[1] / m, pooled))
    difference = np.mean(ours) - np.mean(theirs)
    t = difference / error if error > 0 else (math.inf if difference > 0 else 0.0)
    student = scipy_stats.t.sf(t, min(n, m) - 1)
    assert block_test(ours, theirs, seed=1) == [pytest.approx(max(enumerated(ours, theirs), student), abs=1e-9)]


@quick
@given(few_blocks, few_blocks, st.floats(0, 0.4), st.randoms())
def test_the_order_of_blocks_changes_nothing(ours, theirs, correlation, random) -> None:
    p = block_test(ours, theirs, correlation=correlation, seed=1, permutations=50)
    for side in (ours, theirs):
        random.shuffle(side)
    assert block_test(ours, theirs, correlation=correlation, seed=1, permutations=50) == p


@quick
@given(few_blocks, few_blocks, st.floats(0, 0.4))
def test_dependence_never_makes_p_smaller(ours, theirs, correlation) -> None:
    free, dependent = (block_test(ours, theirs, correlation=r, seed=1)[0] for r in (0.0, correlation))
    assert dependent >= free or np.mean(ours) < np.mean(theirs)


def test_one_block_against_many_is_a_rank_and_pays_for_dependence() -> None:
    others = [0.0] * 18 + [0.1]
    assert block_test([0.9], others, seed=1) == [pytest.approx(1 / 20)]
    assert block_test([0.9], others, correlation=0.2, seed=1) == [pytest.approx(1.5 / 20)]
    assert block_test([0.05], others, seed=1)[0] == pytest.approx(2 / 20)


def test_cases_are_columns() -> None:
    ours, theirs = np.array([[0.5, 0.0], [0.7, 0.0], [0.9, 0.1]]), np.zeros((4, 2))
    assert block_test(ours, theirs, seed=1) == [block_test(ours[:, i], theirs[:, i], seed=1)[0] for i in range(2)]


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 30))
def test_blocks_share_out_all_values_and_read_backwards_alike(values: list[float], count: int) -> None:
    count = min(count, len(values))
    means = block_means(values, count)
    assert len(means) == count
    assert means.mean() == pytest.approx(np.mean(values), abs=1e-9)
    assert means[::-1] == pytest.approx(block_means(values[::-1], count), abs=1e-9)


def test_pages_have_about_250_tokens() -> None:
    assert len(page_means(np.zeros(4000), 10)) == 40_000 // PAGE
    assert len(page_means(np.zeros(3), 10)) == 1
    assert len(page_means(np.zeros(7), 1000)) == 7  # no more pages than windows


def test_a_work_that_is_known_throughout_depends_on_nothing() -> None:
    rng = np.random.default_rng(0)
    known, control = (rng.random(2000) < share for share in (0.97, 0.01))
    pages = [page_means(known, 10), page_means(control, 10)]
    assert reach_of_dependence(pages) <= 1
    assert abs(correlation_at(pages, 1)) < 0.3
    assert correlation_at([np.zeros(9), np.ones(9)], 1) is None
    assert reach_of_dependence([np.zeros(9)]) == 0
    assert left_between_blocks([np.zeros(9)], [np.ones(9)]) == 0


def test_the_reach_of_dependence_is_the_length_of_stretches() -> None:
    rng = np.random.default_rng(1)
    reaches = []
    for length in (1, 4, 16):
        states = np.repeat(rng.random(1600 // length) < 0.3, length)
        reaches.append(reach_of_dependence([states.astype(float)]))
    assert reaches[0] <= 1
    assert 3 <= reaches[1] <= 5
    assert 12 <= reaches[2] <= 20
    assert block_length([states.astype(float)]) == 2 * reaches[2] * PAGE


def test_correlation_of_neighbours_is_that_of_the_series() -> None:
    rng, rho = np.random.default_rng(2), 0.3
    found = []
    for _ in range(200):
        values = [rng.standard_normal()]
        for _ in range(19):
            values.append(rho * values[-1] + math.sqrt(1 - rho**2) * rng.standard_normal())
        found.append(correlation_at([np.array(values)], 1) + 1 / 20)
    assert np.mean(found) == pytest.approx(rho, abs=0.06)  # centring is made good


def test_one_work_against_a_small_sample_is_crawford_and_howells() -> None:
    controls = [0.01, 0.03, 0.02]
    t = (0.2 - 0.02) / (np.std(controls, ddof=1) * math.sqrt(1 + 1 / 3))
    assert series_test([0.2], controls) == pytest.approx(scipy_stats.t.sf(t, 2))
    assert series_test([0.2], [0.0]) is None
    assert series_test([0.2], [0.0, 0.0]) == 0
    assert series_test([0.0], [0.0, 0.0]) == 1


def test_works_that_differ_are_told_from_works_that_do_not() -> None:
    rng = np.random.default_rng(3)
    alike = [differ_test(list(rng.random((2, 8))), seed=i, permutations=99) for i in range(200)]
    assert np.mean(np.array(alike) <= 0.1) < 0.16
    assert differ_test([rng.random(8) / 10, rng.random(8) / 10 + 0.2], seed=1) < 0.01
    assert differ_test([np.zeros(4), np.zeros(9)], seed=1) == 1
    assert differ_test([rng.random(8)], seed=1) is None


def test_intervals_are_wider_where_hits_come_in_stretches() -> None:
    apart = np.random.default_rng(5).random(4000) < 0.1
    together = np.repeat([False, True, False, False, False, False, False, False, False, False], 400)
    narrow, wide = share_interval(apart, 10), share_interval(together, 10)
    assert narrow.low <= 0.1 <= narrow.high
    assert wide.low <= 0.1 <= wide.high
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_intervals_without_a_hit_count_pages() -> None:
    pages = 160
    assert share_interval(np.zeros(4000), 10).high == pytest.approx(1 - 0.025 ** (1 / pages))
    assert share_interval(np.ones(4000), 10).low == pytest.approx(0.025 ** (1 / pages))
    assert share_interval(np.zeros(4000), 10, 2500).high == pytest.approx(1 - 0.025 ** (1 / 16))
    assert share_interval(np.zeros(0), 10) is None
    assert mean_interval(np.zeros(0), 0) is None


def test_intervals_hold_the_mean_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(4), 0
    for _ in range(200):
        stretches = rng.random(400) < 0.2  # of 1,000 tokens each
        held += (interval := share_interval(np.repeat(stretches, 4), PAGE)).low <= 0.2 <= interval.high
    assert held >= 183  # 95%, less three standard errors


def test_blocks_that_are_needed() -> None:
    assert [blocks_needed(n, 0.05) for n in (1, 2, 3, 19)] == [19, 5, 3, 1]
