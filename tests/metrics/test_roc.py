"""AUC, its interval and the ROC curve: against scikit-learn, brute force and simulation; honest at both ends."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from memaudit.metrics.roc import (
    auc,
    auc_covariance,
    auc_difference,
    cohens_d,
    roc_points,
    tpr_at,
)

quick = settings(deadline=None, max_examples=150)
tied = st.integers(-3, 3)
graded = st.floats(-100, 100, allow_subnormal=False)
a_side = st.lists(tied, min_size=2, max_size=12) | st.lists(graded, min_size=2, max_size=12)
RUNS = 1000
BAND = range(33, 70)
"""Of 1,000 binomial rejections at .05, 99% lie in this range."""


def wins(members, heldout):
    """Whether the member scores higher, for every pair: 1, 0, or .5 for a tie."""
    return [[1.0 if x > y else 0.5 if x == y else 0.0 for y in heldout] for x in members]


def naive_variance(table):
    """DeLong's variance of the mean of a table of pairs, term by term."""
    m, n = len(table), len(table[0])
    mean = math.fsum(math.fsum(row) for row in table) / (m * n)
    rows = [math.fsum(row) / n for row in table]
    columns = [math.fsum(row[j] for row in table) / m for j in range(n)]
    of_rows = math.fsum((value - mean) ** 2 for value in rows) / (m - 1)
    of_columns = math.fsum((value - mean) ** 2 for value in columns) / (n - 1)
    return of_rows / m + of_columns / n


def labels(members, heldout):
    return [1] * len(members) + [0] * len(heldout), [*members, *heldout]


@quick
@given(a_side, a_side)
@example([1, 1, 1, 1], [0, 0, 0, 0])
def test_auc_is_scikit_learns_and_the_share_of_pairs(members, heldout):
    area = auc(members, heldout)
    assert area.estimate == pytest.approx(roc_auc_score(*labels(members, heldout)), abs=1e-12)
    assert area.estimate == pytest.approx(np.mean(wins(members, heldout)), abs=1e-12)
    assert 0 <= area.low <= area.estimate <= area.high <= 1
    assert area.low < area.high


@quick
@given(a_side, a_side)
def test_variance_is_delongs(members, heldout):
    assert auc_covariance([members], [heldout])[1] == pytest.approx(naive_variance(wins(members, heldout)), abs=1e-14)


@quick
@given(a_side, a_side)
def test_turned_scores_and_turned_sides_turn_the_interval(members, heldout):
    area, turned = auc(members, heldout), auc(heldout, members)
    expected = pytest.approx((1 - area.estimate, 1 - area.high, 1 - area.low), abs=1e-9)
    assert (turned.estimate, turned.low, turned.high) == expected


@quick
@given(a_side, a_side, a_side, a_side)
def test_difference_is_the_paired_delong_test(members, heldout, others, more):
    m, n = min(len(members), len(others)), min(len(heldout), len(more))
    first, second = (members[:m], heldout[:n]), (others[:m], more[:n])
    difference = auc_difference(first, second)
    table = np.array(wins(*first)) - np.array(wins(*second))
    assert difference.estimate == pytest.approx(table.mean(), abs=1e-12)
    assert -1 <= difference.low <= difference.estimate + 1e-12
    assert difference.estimate - 1e-12 <= difference.high <= 1
    assert 0 < difference.p_value <= 1
    variance = naive_variance(table.tolist())
    if variance > 1e-20:
        error = math.sqrt(variance)
        assert difference.p_value == pytest.approx(norm.sf(table.mean() / error), rel=1e-6, abs=1e-300)
        assert difference.low == pytest.approx(max(-1, table.mean() - norm.ppf(0.975) * error), abs=1e-9)


def test_separated_sides_have_an_exact_bound():
    # Fifty pairs of their own that are all alike: by the binomial distribution at least 92.9% are.
    exact = binomtest(50, 50).proportion_ci(0.95, method="exact").low
    above, below = auc(range(100, 150), range(80)), auc(range(50), range(100, 180))
    assert (above.estimate, above.low, above.high) == pytest.approx((1, exact, 1))
    assert (below.estimate, below.low, below.high) == pytest.approx((0, 0, 1 - exact))
    assert auc([1, 2], [0, 0]).low == pytest.approx(math.sqrt(0.025))


def test_equal_scores_say_nothing_and_not_for_certain():
    area = auc([3] * 50, [3] * 50)
    assert area.estimate == 0.5
    assert 0.46 < area.low < 0.47
    assert area.high == pytest.approx(1 - area.low)


def test_a_side_of_one_has_no_auc():
    assert auc([1], [0, 0, 0]) is None
    assert auc([1, 2], []) is None
    assert auc_difference(([1], [0, 0]), ([1], [0, 0])) is None


@pytest.mark.parametrize("hostile", [math.nan, math.inf])
def test_scores_that_are_none_are_refused(hostile):
    with pytest.raises(ValueError, match="finite"):
        auc([1, hostile], [0, 1])
    with pytest.raises(ValueError, match="finite"):
        roc_points([1, 2], [hostile])


def test_two_scorers_score_the_same_documents():
    with pytest.raises(ValueError, match="same documents"):
        auc_difference(([1, 2], [0, 0]), ([1, 2, 3], [0, 0]))


def test_scorers_that_do_not_differ_have_no_difference():
    rng = np.random.default_rng(0)
    members, heldout = rng.normal(size=30), rng.normal(size=40)
    same = auc_difference((members, heldout), (members**3, heldout**3))
    assert (same.estimate, same.p_value) == (0, 1)
    assert same.low < 0 < same.high
    perfect = (range(10, 20), range(10))
    assert auc_difference(perfect, perfect).p_value == 1


def test_a_difference_of_every_pair_has_the_sign_tests_p_value():
    perfect, blank, reverse = (range(20, 40), range(12)), ([0] * 20, [0] * 12), (range(20), range(30, 42))
    assert auc_difference(perfect, blank).p_value == 2.0**-12
    better, worse = auc_difference(perfect, reverse), auc_difference(reverse, perfect)
    assert (better.estimate, better.high, better.p_value) == (1, 1, 2.0**-12)
    assert (worse.estimate, worse.low, worse.p_value) == (-1, -1, 1)
    assert better.low < 0.9 < 1  # twelve pairs: not for certain
    many = auc_difference((range(5000, 9000), range(4000)), ([0] * 4000, [0] * 4000))
    assert 0 < many.p_value < 1e-300


@pytest.mark.parametrize(("true_auc", "size"), [(0.5, 20), (0.5, 100), (0.7, 50), (0.9, 50), (0.98, 50)])
def test_interval_covers(true_auc, size):
    rng = np.random.default_rng(1)
    shift = math.sqrt(2) * norm.ppf(true_auc)
    areas = [auc(rng.normal(shift, 1, size), rng.normal(0, 1, size)) for _ in range(RUNS)]
    # The normal approximation at 20 documents and near the ends: 93% at least.
    assert sum(area.low <= true_auc <= area.high for area in areas) >= 930


def test_exact_bound_of_separated_sides_covers():
    rng = np.random.default_rng(2)
    shift = math.sqrt(2) * norm.ppf(0.995)
    areas = [auc(rng.normal(shift, 1, 12), rng.normal(0, 1, 12)) for _ in range(RUNS)]
    assert sum(area.estimate == 1 for area in areas) > 500
    assert sum(area.low <= 0.995 <= area.high for area in areas) >= 930


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_null_of_the_difference_keeps_its_level(correlation):
    """Two scorers, equally good and alike or not: documents are drawn, the better one is chance."""
    rng, p_values = np.random.default_rng(3), []
    for _ in range(RUNS):
        shared, *own = (rng.normal(size=200) for _ in range(3))
        one, two = (math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * part for part in own)
        for scores in (one, two):
            scores[:100] += 0.5
        p_values.append(auc_difference((one[:100], one[100:]), (two[:100], two[100:])).p_value)
    assert sum(p <= 0.05 for p in p_values) in BAND
    assert sum(p <= 0.01 for p in p_values) <= 17


def test_a_real_difference_is_found_where_unpaired_intervals_overlap():
    rng = np.random.default_rng(4)
    shared = rng.normal(size=400)
    better, worse = shared.copy(), shared + rng.normal(0, 0.3, 400)
    better[:200] += 0.4
    worse[:200] += 0.2
    difference = auc_difference((better[:200], better[200:]), (worse[:200], worse[200:]))
    one, two = auc(better[:200], better[200:]), auc(worse[:200], worse[200:])
    assert one.low < two.high
    assert difference.p_value < 1e-3
    assert difference.low > 0


def area_below(points):
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


def above(scores, threshold):
    return float(np.mean(np.asarray(scores) > threshold))


@quick
@given(a_side, a_side)
def test_curve_runs_from_corner_to_corner_over_scikit_learns_corners(members, heldout):
    points = roc_points(members, heldout)
    fpr, tpr, _ = roc_curve(*labels(members, heldout), drop_intermediate=False)
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)
    assert points == sorted(points)
    assert set(points) <= {(float(x), float(y)) for x, y in zip(fpr, tpr, strict=True)}
    assert area_below(points) == pytest.approx(auc(members, heldout).estimate, abs=1e-12)


def test_long_curves_are_thinned_and_keep_their_left_end():
    rng = np.random.default_rng(5)
    members, heldout = rng.normal(1, 1, 20_000), rng.normal(0, 1, 20_000)
    points = roc_points(members, heldout)
    assert 100 < len(points) <= 200
    assert len(set(points)) == len(points)
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert set(points) <= set(roc_points(members, heldout, most=10**6))
    assert sum(0 < fpr <= 0.01 for fpr, _ in points) >= 30
    assert area_below(points) == pytest.approx(auc(members, heldout).estimate, abs=2e-3)


def test_no_curve_without_two_sides():
    assert roc_points([], [1.0]) == []
    assert roc_points([1.0], []) == []
    assert roc_points([1.0], [0.0]) == [(0, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("heldout", "fpr", "told"),
    [
        (200, 0.01, False),
        (200, 0.001, False),
        (999, 0.01, False),
        (1000, 0.01, True),
        (9_999, 0.001, False),
        (10_000, 0.001, True),
        (49, 0.2, False),
        (50, 0.2, True),
        (10, 1.0, True),
    ],
)
def test_rates_that_a_handful_of_documents_would_decide_are_not_told(heldout, fpr, told):
    rate = tpr_at(np.arange(30.0), np.arange(float(heldout)), fpr)
    assert (rate is not None) is told


@quick
@given(st.lists(tied, min_size=1, max_size=40), st.lists(tied, min_size=50, max_size=120), st.sampled_from([0.2, 0.5]))
def test_no_threshold_lets_more_than_the_share_pass(members, heldout, fpr):
    rate = tpr_at(members, heldout, fpr)
    honest = [t for t in {*heldout, -math.inf} if above(heldout, t) <= fpr]
    assert rate.tpr == max(above(members, t) for t in honest)
    assert rate.hits == round(rate.tpr * rate.members)
    assert 0 <= rate.low <= rate.tpr <= rate.high <= 1
    assert (rate.low == 0) >= (rate.hits == 0) and (rate.high == 1) >= (rate.hits == len(members))


@pytest.mark.parametrize("tied", [False, True])
def test_limits_of_a_rate_are_quantiles_over_thresholds_and_rates(tied):
    """The distribution of the docstring, drawn instead of summed."""
    rng = np.random.default_rng(8)
    members, heldout = rng.normal(1, 1, 80), rng.normal(0, 1, 400)
    if tied:
        members, heldout = np.floor(members * 2), np.floor(heldout * 2)
    rate = tpr_at(members, heldout, 0.1)
    falling = np.concatenate([[math.inf], np.sort(heldout)[::-1], [-math.inf]])
    place = rng.binomial(400, 0.1, 400_000) + rng.integers(0, 2, 400_000)
    hits = (members[None] > falling[:, None]).sum(axis=1)[place]
    drawn = rng.beta(hits + 0.5, 80 - hits + 0.5)
    assert (rate.low, rate.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=2e-3)


def test_interval_of_a_rate_knows_that_the_threshold_is_sampled():
    """Of 400 intervals, 95% should hold the truth: those of the members alone hold it in about half."""
    rng, truth, covered, alone = np.random.default_rng(9), float(norm.sf(norm.isf(0.01) - 2)), 0, 0
    for _ in range(400):
        rate = tpr_at(rng.normal(2, 1, 1000), rng.normal(0, 1, 1000), 0.01)
        covered += rate.low <= truth <= rate.high
        exact = binomtest(rate.hits, 1000).proportion_ci(0.95, method="exact")
        alone += exact.low <= truth <= exact.high
    assert 368 <= covered <= 396
    assert alone < 260


def test_rate_without_members_is_none():
    assert tpr_at([], range(5000), 0.01) is None


def test_effect_size_is_the_difference_in_deviations():
    rng = np.random.default_rng(7)
    members, heldout = rng.normal(3, 2, 40), rng.normal(2, 2, 60)
    pooled = math.sqrt((39 * members.var(ddof=1) + 59 * heldout.var(ddof=1)) / 98)
    assert cohens_d(members, heldout) == pytest.approx((members.mean() - heldout.mean()) / pooled)
    assert cohens_d(heldout, members) == -cohens_d(members, heldout)


@pytest.mark.parametrize("sides", [([1], [0, 1]), ([], []), ([1, 1], [0, 0]), ([0.1] * 7, [0.1] * 5)])
def test_no_effect_size_without_variance(sides):
    assert cohens_d(*sides) is None
