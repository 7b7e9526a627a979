import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, betabinom, binom, binomtest, hypergeom, mannwhitneyu, rankdata, t

from memaudit.stats import (
    Interval,
    Rate,
    clopper_pearson,
    difference_interval,
    document_means,
    document_rate,
    documents_needed,
    fewest_documents,
    holm,
    lower_bound,
    midranks,
    paired_difference,
    permutation,
    permutation_test,
    power_sentence,
    rank_test,
    sign_flip_test,
    upper_bound,
)
from memaudit.stats.rates import effective_size
from memaudit.stats.rounding import percent
from memaudit.stats.two_sides import beta_binomial

quick = settings(deadline=None, max_examples=100)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
p_lists = st.lists(st.floats(0, 1), max_size=7)
NULL_RUNS = 1000
BAND = range(33, 70)
"""Of 1,000 binomial rejections at .05, 99% lie in this range."""


def names(documents, windows=1):
    return [f"d{i:04}" for i in range(documents) for _ in range(windows)]


@quick
@given(counts, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_is_scipys_exact_one(count, confidence):
    hits, n = count
    exact = binomtest(hits, n).proportion_ci(confidence, method="exact")
    interval = clopper_pearson(hits, n, confidence)
    assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=1e-10)


@quick
@given(counts)
def test_one_sided_limits_are_scipys(count):
    hits, n = count
    above = binomtest(hits, n, alternative="greater").proportion_ci(0.95, method="exact")
    below = binomtest(hits, n, alternative="less").proportion_ci(0.95, method="exact")
    assert lower_bound(hits, n) == pytest.approx(above.low, abs=1e-10)
    assert upper_bound(hits, n) == pytest.approx(below.high, abs=1e-10)


@pytest.mark.parametrize("n", [1, 7, 30])
def test_interval_covers_at_every_true_rate(n):
    intervals = [clopper_pearson(hits, n) for hits in range(n + 1)]
    for rate in np.linspace(0, 1, 101):
        inside = [interval.low <= rate <= interval.high for interval in intervals]
        assert binom.pmf(np.arange(n + 1), n, rate)[inside].sum() >= 0.95 - 1e-12


@quick
@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_limits_grow_with_shares_of_hits(n, one, other):
    fewer, more = sorted((one * n, other * n))
    assert clopper_pearson(fewer, n).low <= clopper_pearson(more, n).low + 1e-12
    assert clopper_pearson(fewer, n).high <= clopper_pearson(more, n).high + 1e-12


def test_no_trials_have_no_interval():
    assert clopper_pearson(0, 0) is None
    assert lower_bound(0, 0) is None
    assert upper_bound(0, 0) is None


@pytest.mark.parametrize("hits", [-1, 6, math.nan])
def test_impossible_hits_are_refused(hits):
    with pytest.raises(ValueError, match="hits must lie"):
        clopper_pearson(hits, 5)


def test_one_window_a_document_is_the_binomial_case():
    rate = document_rate([True] * 3 + [False] * 17, names(20))
    interval = clopper_pearson(3, 20)
    assert rate == Rate(3, 20, 20, 0.15, interval.low, interval.high, 20.0)


def test_every_document_weighs_the_same():
    rate = document_rate([True, False, False, False, True], ["a", "a", "a", "a", "b"])
    assert (rate.hits, rate.n, rate.documents, rate.rate) == (2, 5, 2, (0.25 + 1) / 2)
    assert 2 <= rate.effective_n <= 5


def test_the_effective_size_is_korn_and_graubards():
    rng = np.random.default_rng(20)
    windows = rng.integers(1, 9, 40)
    hits = [rng.random(m) < rng.beta(1, 3) for m in windows]
    rate = document_rate(np.concatenate(hits), [f"d{i:02}" for i, m in enumerate(windows) for _ in range(m)])
    shares = [part.mean() for part in hits]
    p, n, m = statistics.mean(shares), 40, int(windows.sum())
    simple = p * (1 - p) / (statistics.variance(shares) / n)  # p (1 - p) / n over the variance of the mean, times n
    expected = simple * (t.ppf(0.975, m - 1) / t.ppf(0.975, n - 1)) ** 2
    assert n < expected < m
    assert rate.effective_n == pytest.approx(expected)


def limits_by_hand(rate, tail):
    """The formula of the docs, in scipy's distributions."""

    def low(hits, n):
        return beta.ppf(tail, hits, n - hits + 1) if hits else 0.0

    def high(hits, n):
        return beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0

    p, size, unseen = rate.rate, rate.effective_n, 1 - tail ** (1 / rate.documents)
    below, above = p - low(p * size, size), high(p * size, size) - p
    hits = p * rate.documents
    return (
        max(low(hits, rate.documents), p - math.sqrt(below**2 + (unseen * p) ** 2)),
        min(high(hits, rate.documents), p + math.sqrt(above**2 + (unseen * (1 - p)) ** 2)),
    )


@pytest.mark.parametrize("seed", range(6))
def test_all_limits_are_of_one_formula(seed):
    rng = np.random.default_rng(seed)
    shares = rng.beta(0.4, (0.4, 4, 40)[seed % 3], 30)
    rate = document_rate((rng.random((30, 6)) < shares[:, None]).ravel(), names(30, 6))
    assert (rate.low, rate.high) == pytest.approx(limits_by_hand(rate, 0.025))
    assert (rate.lower(), rate.upper()) == pytest.approx(limits_by_hand(rate, 0.05))
    assert (rate.lower(0.9), rate.upper(0.9)) == pytest.approx(limits_by_hand(rate, 0.1))


any_rate = st.tuples(st.integers(1, 30), st.integers(1, 8), st.integers(0, 2**32)).map(
    lambda drawn: (drawn, np.random.default_rng(drawn[2]).random((drawn[0], drawn[1])))
)


@quick
@given(any_rate, st.floats(0, 1))
def test_limits_hold_the_rate_and_are_never_wider_than_those_of_documents(drawn, p):
    (documents, windows, _), values = drawn
    rate = document_rate((values < p).ravel(), names(documents, windows))
    wide = clopper_pearson(rate.rate * documents, documents)
    assert wide.low - 1e-12 <= rate.low <= rate.lower() <= rate.rate + 1e-12
    assert rate.rate - 1e-12 <= rate.upper() <= rate.high <= wide.high + 1e-12
    assert documents <= rate.effective_n <= documents * windows
    if windows == 1:
        assert Interval(rate.low, rate.high) == wide


@quick
@given(any_rate, st.floats(0, 0.3))
def test_a_hit_never_shows_that_there_are_fewer_than_none_would(drawn, p):
    (documents, windows, _), values = drawn
    rate = document_rate((values < p).ravel(), names(documents, windows))
    assert rate.upper() >= upper_bound(0, documents) - 1e-12


def test_no_hit_and_all_hits_tell_of_documents_alone():
    for hit in (True, False):
        assert document_rate([hit] * 120, names(20, 6)).effective_n == 20
    assert document_rate([True, False] * 20, names(20, 2)).effective_n == 40  # every document the same
    one = document_rate([True, False, False], names(1, 3))
    assert (one.effective_n, one.documents) == (1, 1)
    nothing = document_rate([], [])
    assert nothing.lower() is None
    assert nothing.upper() is None


def test_order_of_windows_does_not_matter():
    rng = np.random.default_rng(1)
    values, documents = rng.random(60) < 0.4, np.array(names(12, 5))
    shuffled = rng.permutation(60)
    assert document_rate(values, documents) == document_rate(values[shuffled], documents[shuffled])


def test_no_window_has_no_rate():
    assert document_rate([], []) == Rate(0, 0, 0, None, None, None)


def test_document_means_of_several_metrics():
    values = [[1, 0.5], [0, 0.25], [1, 1]]
    assert document_means(values, ["b", "b", "a"]).tolist() == [[1, 1], [0.5, 0.375]]
    with pytest.raises(ValueError, match="3 values for 2 windows"):
        document_means(values, ["a", "b"])


def drawn_shares(rng, mean, correlation, windows, runs, throughout=False):
    """Shape [runs, documents]: a beta-binomial, or documents recited throughout among others."""
    shape = (runs, len(windows))
    if throughout:
        whole = mean * correlation
        rates = np.where(rng.random(shape) < whole, 1.0, (mean - whole) / (1 - whole))
    else:
        spread = 1 / correlation - 1
        rates = rng.beta(mean * spread, (1 - mean) * spread, shape)
    return rng.binomial(windows, rates) / windows


@pytest.mark.parametrize("throughout", [False, True])
@pytest.mark.parametrize(("mean", "correlation"), [(0.01, 0.5), (0.05, 0.3), (0.3, 0.1)])
def test_interval_of_clustered_windows_covers_and_is_shorter(mean, correlation, throughout):
    rng = np.random.default_rng(2)
    windows = np.resize([1, 5, 25], 90)
    covered = wrong = 0
    width = old = 0.0
    for shares in drawn_shares(rng, mean, correlation, windows, 1000, throughout):
        size = effective_size(shares, int(windows.sum()))
        rate = Rate(0, int(windows.sum()), 90, float(shares.mean()), None, None, size)
        low, high = rate.lower(0.975), rate.upper(0.975)
        covered += low <= mean <= high
        wrong += rate.upper() < mean
        exact = clopper_pearson(rate.rate * 90, 90)
        width, old = width + high - low, old + exact.high - exact.low
    assert covered >= 930  # of 1,000; 95% would give fewer once in 400 times
    assert wrong <= 70
    assert width < old


@pytest.mark.parametrize(("documents", "windows", "correlation"), [(300, 25, 0.5), (300, 5, 0.3), (600, 25, 0.3)])
@pytest.mark.parametrize("throughout", [False, True])
def test_a_rate_at_the_limit_is_hardly_ever_called_clean(documents, windows, correlation, throughout):
    rng = np.random.default_rng(3)
    shares = drawn_shares(rng, 0.01, correlation, np.full(documents, windows), 1000, throughout)
    wrong = sum(
        Rate(0, 0, documents, float(s.mean()), None, None, effective_size(s, documents * windows)).upper() < 0.01
        for s in shares
    )
    assert wrong <= 70


def test_difference_follows_the_formula():
    train, heldout = document_rate([1] * 6 + [0] * 4, names(10)), document_rate([1] + [0] * 9, names(10))
    difference = difference_interval(train, heldout)
    assert difference.estimate == pytest.approx(0.5)
    below = math.sqrt((0.6 - train.low) ** 2 + (heldout.high - 0.1) ** 2)
    above = math.sqrt((train.high - 0.6) ** 2 + (0.1 - heldout.low) ** 2)
    assert (difference.low, difference.high) == pytest.approx((0.5 - below, 0.5 + above))
    turned = difference_interval(heldout, train)
    assert (turned.low, turned.high) == pytest.approx((-difference.high, -difference.low))


@pytest.mark.parametrize(("p_train", "p_heldout"), [(0.3, 0.1), (0.5, 0.5), (0.05, 0.0), (0.95, 0.02)])
def test_difference_interval_covers(p_train, p_heldout):
    n = 30
    rates = [document_rate([1] * hits + [0] * (n - hits), names(n)) for hits in range(n + 1)]
    weights = np.outer(binom.pmf(range(n + 1), n, p_train), binom.pmf(range(n + 1), n, p_heldout))
    covered = 0.0
    for (i, train), (j, heldout) in itertools.product(enumerate(rates), enumerate(rates)):
        difference = difference_interval(train, heldout)
        if difference.low <= p_train - p_heldout <= difference.high:
            covered += weights[i, j]
    assert covered >= 0.95


def test_difference_needs_both_rates():
    nothing = document_rate([], [])
    some = document_rate([True], ["a"])
    assert difference_interval(some, nothing) is None
    assert difference_interval(nothing, some) is None


def welch(train, heldout):
    """Welch's t in exact fractions, as its sign and its square; without any spread, infinite."""
    n, m = len(train), len(heldout)
    means = [sum(train) / n, sum(heldout) / m]
    spreads = [sum((x - mean) ** 2 for x in side) for side, mean in zip((train, heldout), means, strict=True)]
    variance = spreads[0] / Fraction(max(n - 1, 1) * n) + spreads[1] / Fraction(max(m - 1, 1) * m)
    difference = means[0] - means[1]
    if not variance:
        return math.inf * ((difference > 0) - (difference < 0)) if difference else 0
    return abs(difference) * difference / variance


def exact_p(train, heldout, two_sided=False):
    """All splits of the pooled documents."""
    pooled, places = [Fraction(x) for x in (*train, *heldout)], range(len(train) + len(heldout))

    def statistic(chosen):
        t = welch([pooled[i] for i in chosen], [pooled[i] for i in places if i not in chosen])
        return abs(t) if two_sided else t

    observed = statistic(range(len(train)))
    splits = [statistic(chosen) for chosen in itertools.combinations(places, len(train))]
    return sum(value >= observed for value in splits) / len(splits)


thirds = st.lists(st.integers(0, 9).map(lambda i: Fraction(i, 9)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=50)
@given(thirds, thirds, st.booleans())
def test_permutations_agree_with_all_splits(train, heldout, two_sided):
    exact = exact_p(train, heldout, two_sided)
    b = 4999
    (p,) = permutation_test(
        [float(v) for v in train],
        [float(v) for v in heldout],
        seed=3,
        permutations=b,
        alternative="two-sided" if two_sided else "greater",
    )
    # Five standard errors; one tie that is missed would be off by far more.
    assert abs(p - exact) <= 5 * math.sqrt(exact * (1 - exact) / b) + 1.01 / (b + 1)


def test_equal_sums_are_ties_however_they_are_rounded():
    train, heldout = [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]
    assert permutation_test([0.1] * 7, [0.1] * 5, seed=0) == [1.0]
    assert permutation_test(train, heldout, seed=0, alternative="two-sided") == [1.0]


def test_smallest_p_value_counts_the_observed_order():
    assert permutation_test([1] * 40, [0] * 40, seed=0, permutations=999) == [1 / 1000]


def test_metrics_share_the_permutations():
    rng = np.random.default_rng(4)
    train, heldout = rng.random((30, 3)), rng.random((40, 3))
    together = permutation_test(train, heldout, seed=5)
    alone = [permutation_test(train[:, m], heldout[:, m], seed=5)[0] for m in range(3)]
    assert together == alone
    assert together != permutation_test(train, heldout, seed=6)


def test_scale_and_shift_do_not_matter():
    rng = np.random.default_rng(7)
    train, heldout = rng.random(50), rng.random(50)
    p = permutation_test(train, heldout, seed=8)
    assert permutation_test(train * 1e9, heldout * 1e9, seed=8) == p
    assert permutation_test(train - 5, heldout - 5, seed=8) == p


def test_an_empty_side_has_no_p_value():
    assert permutation_test([], [1.0], seed=0) == [None]
    assert permutation_test(np.ones((3, 2)), np.empty((0, 2)), seed=0) == [None, None]


def test_missing_values_are_refused():
    with pytest.raises(ValueError, match="finite"):
        permutation_test([1.0, math.nan], [0.0], seed=0)


def rejections(train, heldout, alternative="greater"):
    """How many null runs (columns) reject at .05; 50 runs share their permutations, to save time."""
    p_values = [
        p
        for seed, first in enumerate(range(0, train.shape[1], 50))
        for p in permutation_test(
            train[:, first : first + 50],
            heldout[:, first : first + 50],
            seed=seed,
            permutations=999,
            alternative=alternative,
        )
    ]
    return sum(p <= 0.05 for p in p_values)


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_null_of_single_windows_keeps_its_level(alternative):
    rng = np.random.default_rng(9)
    train, heldout = (rng.random((1000, NULL_RUNS)) < 0.4 for _ in range(2))
    assert rejections(train, heldout, alternative) in BAND


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
def test_null_of_graded_values_keeps_its_level(alternative):
    rng = np.random.default_rng(10)
    train, heldout = (rng.beta(0.5, 2, (size, NULL_RUNS)) for size in (60, 90))
    assert rejections(train, heldout, alternative) in BAND


def test_null_of_clustered_windows_keeps_its_level_where_windows_would_not():
    rng = np.random.default_rng(11)
    documents, windows, mean, spread = 50, 50, 0.3, 1 / 0.3 - 1  # intra-class correlation .3
    train, heldout = (
        rng.binomial(windows, rng.beta(mean * spread, (1 - mean) * spread, (documents, NULL_RUNS))) for _ in range(2)
    )
    assert rejections(train / windows, heldout / windows) in BAND
    # The same windows, taken as independent by the exact test of a fourfold table.
    size, hits = documents * windows, train.sum(axis=0)
    naive = hypergeom.sf(hits - 1, 2 * size, hits + heldout.sum(axis=0), size)
    assert (naive <= 0.05).mean() > 0.25


UNEQUAL = [
    # documents and windows of both sides, rate, correlation, rejections at .05 where documents are just permuted
    (40, 1, 400, 25, 0.2, 0.0, 0.15),
    (100, 1, 400, 10, 0.2, 0.0, 0.1),
    (20, 25, 20, 1, 0.05, 0.0, None),
    (50, 5, 80, 25, 0.1, 0.3, None),
]


@pytest.mark.parametrize(("n", "ours", "m", "theirs", "rate", "correlation", "plain"), UNEQUAL)
def test_null_of_unequal_windows_keeps_its_level(n, ours, m, theirs, rate, correlation, plain):
    rng = np.random.default_rng(12)
    windows = np.full(n, ours), np.full(m, theirs)
    sides = [drawn_shares(rng, rate, correlation or 1e-4, side, 1000).T for side in windows]
    rejected = sum(
        p <= 0.05
        for seed, first in enumerate(range(0, 1000, 50))
        for p in permutation_test(
            *(side[:, first : first + 50] for side in sides), seed=seed, permutations=199, windows=windows
        )
    )
    assert rejected <= BAND[-1]
    if plain:
        # What these sides do to a test that permutes them and compares their difference as it is.
        pooled = np.concatenate(sides)
        order = np.argsort(rng.random((400, n + m)), axis=1)[:, :n]
        sums = pooled[order].sum(axis=1)
        naive = (sums >= pooled[:n].sum(axis=0)).mean(axis=0)
        assert (naive <= 0.05).mean() > plain


def test_a_side_without_a_hit_is_no_evidence_where_it_is_small():
    """20 windows without a hit beside 4 of 1,000: nothing strange, though the side shows no variance."""
    train = [3 / 25] * 4 + [0.0] * 36
    windows = [25] * 40, [1] * 20
    (p,) = permutation_test(train, [0.0] * 20, seed=0, windows=windows)
    assert p > 0.3
    assert permutation_test([0.0] * 40, [0.0] * 20, seed=0, windows=windows) == [1.0]
    assert permutation_test([1.0] * 40, [0.0] * 20, seed=0, windows=windows)[0] < 0.001


def test_windows_change_nothing_where_both_sides_have_one_each():
    rng = np.random.default_rng(13)
    train, heldout = rng.random((60, 2)) < 0.4, rng.random((40, 2)) < 0.3
    plain = permutation_test(train, heldout, seed=1)
    assert permutation_test(train, heldout, seed=1, windows=([1] * 60, [1] * 40)) == plain


@pytest.mark.parametrize(("trials", "rate", "rho"), [(5, 0.2, 0.3), (25, 0.01, 0.8), (1, 0.4, 0.5), (7, 0.3, 0.0)])
def test_hits_are_drawn_from_scipys_beta_binomial(trials, rate, rho):
    spread = 1 / rho - 1 if rho else 1e9
    expected = betabinom.pmf(np.arange(trials + 1), trials, rate * spread, (1 - rate) * spread)
    assert beta_binomial(trials, rate, rho) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("alpha", "documents"), [(0.05, 3), (0.01, 5), (0.5, 1), (0.001, 7)])
def test_fewest_documents_that_can_be_told_apart(alpha, documents):
    assert fewest_documents(alpha) == documents
    n = documents
    assert exact_p([1] * n, [0] * n) <= alpha
    assert n == 1 or exact_p([1] * (n - 1), [0] * (n - 1)) > alpha


@quick
@given(st.lists(st.integers(-5, 5) | st.floats(-5, 5), max_size=30))
def test_midranks_are_scipys(values):
    ranks, tied = midranks(np.array(values, dtype=np.float64))
    assert ranks.tolist() == (rankdata(values).tolist() if values else [])
    assert tied is (len(set(values)) < len(values))


def exact_rank_p(members, heldout):
    """All splits of the pooled documents by the pairs that their first side wins, ties as half."""

    def statistic(ours, theirs):
        return sum((x > y) + (x >= y) for x in ours for y in theirs)

    pooled, places = [*members, *heldout], range(len(members) + len(heldout))
    splits = [
        statistic([pooled[i] for i in chosen], [pooled[i] for i in places if i not in chosen])
        for chosen in itertools.combinations(places, len(members))
    ]
    return sum(value >= statistic(members, heldout) for value in splits) / len(splits)


few_scores = st.lists(st.integers(0, 3), min_size=1, max_size=5)


@settings(deadline=None, max_examples=50)
@given(few_scores, few_scores)
def test_rank_test_agrees_with_all_splits(members, heldout):
    exact, b = exact_rank_p(members, heldout), 4999
    p = rank_test(members, heldout, seed=1, permutations=b)
    # Five standard errors; one tie that is missed would be off by far more.
    assert abs(p - exact) <= 5 * math.sqrt(exact * (1 - exact) / b) + 1.01 / (b + 1)


@pytest.mark.parametrize("shift", [-0.5, 0, 0.5, 1])
def test_rank_test_of_few_documents_agrees_with_scipys_exact_one(shift):
    rng = np.random.default_rng(12)
    members, heldout = rng.normal(shift, 1, 20), rng.normal(0, 1, 30)
    exact = mannwhitneyu(members, heldout, alternative="greater", method="exact").pvalue
    assert abs(rank_test(members, heldout, seed=2) - exact) <= 5 * math.sqrt(exact / 9999) + 1e-4


@pytest.mark.parametrize("shift", [-0.2, 0, 0.3, 0.6])
def test_rank_test_of_many_documents_is_scipys(shift):
    rng = np.random.default_rng(13)
    members, heldout = rng.normal(shift, 1, 60), rng.normal(0, 1, 80)
    p = rank_test(members, heldout, seed=3)
    assert p == pytest.approx(
        mannwhitneyu(members, heldout, alternative="greater", method="asymptotic").pvalue, rel=1e-9
    )
    exact = mannwhitneyu(members, heldout, alternative="greater", method="exact").pvalue
    # Close where it matters, and larger where the tail is too thin for a normal one.
    assert exact * 0.99 <= p <= exact * 1.02 + 1e-4


def test_rank_test_sees_order_only():
    rng = np.random.default_rng(14)
    members, heldout = rng.normal(0.5, 1, 30), rng.normal(0, 1, 30)
    assert rank_test(members, heldout, seed=4) == rank_test(np.exp(members), np.exp(heldout), seed=4)


def test_scores_of_the_same_documents_are_tested_by_the_same_splits_drawn_once(monkeypatch):
    rng, drawn = np.random.default_rng(8), []
    scores = [rng.normal(size=(2, 12)) for _ in range(3)]
    draw = permutation._drawn
    monkeypatch.setattr(permutation, "_drawn", lambda *arguments: drawn.append(1) or draw(*arguments))
    permutation._few_splits.cache_clear()
    found = [rank_test(*sides, seed=6, permutations=500) for sides in scores]
    assert len(drawn) == 1
    monkeypatch.setattr(permutation, "CHUNK", 24 * 7)  # too many to be kept: drawn in parts, each time
    assert [rank_test(*sides, seed=6, permutations=500) for sides in scores] == found
    assert len(drawn) == 1 + 3 * math.ceil(500 / 7)
    assert rank_test(*scores[0], seed=7, permutations=500) != found[0]


def test_rank_test_is_never_zero():
    assert rank_test(range(10_000, 20_000), range(10_000), seed=0) > 0
    assert rank_test([1] * 40, [0] * 40, seed=0, permutations=999) == 1 / 1000
    assert rank_test([1] * 7, [1] * 9, seed=0) == 1.0


def test_rank_test_needs_both_sides_and_values():
    assert rank_test([], [1.0], seed=0) is None
    assert rank_test([1.0], [], seed=0) is None
    for hostile in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            rank_test([1.0, hostile], [0.0], seed=0)


@pytest.mark.parametrize(("sizes", "decimals"), [((60, 60), 9), ((20, 35), 9), ((100, 100), 0)])
def test_null_of_the_rank_test_keeps_its_level(sizes, decimals):
    """Normal approximation, permutations of few documents, permutations of ties."""
    rng = np.random.default_rng(15)
    draws = (rng.standard_t(2, sum(sizes)).round(decimals) for _ in range(NULL_RUNS))
    p_values = [
        rank_test(scores[: sizes[0]], scores[sizes[0] :], seed=seed, permutations=999)
        for seed, scores in enumerate(draws)
    ]
    assert sum(p <= 0.05 for p in p_values) in BAND
    assert sum(p <= 0.01 for p in p_values) <= 17


def exact_sign_p(differences):
    sums = [
        sum(sign * d for sign, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= sum(differences) for total in sums) / len(sums)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-4, 9).map(lambda i: Fraction(i, 7)), min_size=1, max_size=9))
def test_few_pairs_try_all_signs(differences):
    assert sign_flip_test([float(d) for d in differences], seed=0) == exact_sign_p(differences)


def test_sign_flips_at_the_end_of_the_enumeration_agree_with_all_signs():
    rng = np.random.default_rng(16)
    for pairs in (13, 14, 15):
        differences = [int(i) for i in rng.integers(-5, 8, pairs)]
        exact = exact_sign_p(differences)
        p = sign_flip_test([d / 10 for d in differences], seed=5)
        assert abs(p - exact) <= (0 if pairs == 13 else 5 * math.sqrt(exact / 9999) + 1e-4)


def test_sign_flips_have_a_smallest_p_value():
    assert sign_flip_test([1.0], seed=0) == 0.5
    assert sign_flip_test([0.1] * 5, seed=0) == 2.0**-5
    assert sign_flip_test([0.1] * 60, seed=0, permutations=999) == 1 / 1000
    assert sign_flip_test([0.0] * 5, seed=0) == sign_flip_test([0.0] * 50, seed=0) == 1.0
    assert sign_flip_test([], seed=0) is None
    with pytest.raises(ValueError, match="finite"):
        sign_flip_test([math.nan], seed=0)


def test_sign_flips_depend_on_the_seed_and_not_on_the_order_of_summation():
    rng = np.random.default_rng(17)
    differences = rng.normal(0.1, 1, 90)
    p = sign_flip_test(differences, seed=6)
    assert p == sign_flip_test(differences * 1e9, seed=6)
    assert p != sign_flip_test(differences, seed=7)
    # Half of them 1/3 and half -1/3, in whatever order: the sum is 0, and so are its ties.
    even = [1 / 3] * 6 + [-1 / 3] * 6
    assert sign_flip_test(even, seed=0) == sign_flip_test(even[::-1], seed=0) == exact_sign_p([1] * 6 + [-1] * 6)


@pytest.mark.parametrize("pairs", [10, 40])
def test_null_of_the_sign_flip_test_keeps_its_level(pairs):
    rng = np.random.default_rng(18)
    p_values = [sign_flip_test(rng.standard_t(2, pairs), seed=s, permutations=999) for s in range(NULL_RUNS)]
    assert sum(p <= 0.05 for p in p_values) in BAND
    assert sum(p <= 0.01 for p in p_values) <= 17


def brute_force_holm(p_values):
    """The smallest level at which the step-down procedure rejects each hypothesis."""

    def rejected(level):
        found = set()
        for step, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[i] * (len(p_values) - step) > level:
                break
            found.add(i)
        return found

    levels = sorted({min(1.0, p * k) for p in p_values for k in range(1, len(p_values) + 1)} | {1.0})
    return [next((level for level in levels if i in rejected(level)), 1.0) for i in range(len(p_values))]


@quick
@given(p_lists)
def test_holm_is_the_step_down_procedure(p_values):
    assert holm(p_values) == brute_force_holm(p_values)


def test_holm_of_known_p_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize(("n", "bound"), [(10, 0.2589), (20, 0.1391), (100, 0.0295), (300, 0.0099)])
def test_upper_bounds_without_a_hit(n, bound):
    assert upper_bound(0, n) == pytest.approx(bound, abs=5e-5)
    assert upper_bound(0, n) == pytest.approx(1 - 0.05 ** (1 / n), abs=1e-12)


@pytest.mark.parametrize(
    ("limit", "needed"), [(0.01, 299), (0.05, 59), (0.001, 2995), (0.1, 29), (0.5, 5), (1, 1), (0, None)]
)
def test_documents_needed(limit, needed):
    assert documents_needed(limit) == needed


@quick
@given(st.floats(1e-4, 0.99), st.sampled_from([0.9, 0.95, 0.99]))
def test_documents_needed_are_the_fewest(limit, confidence):
    needed = documents_needed(limit, confidence)
    assert upper_bound(0, needed, confidence) < limit
    assert needed == 1 or upper_bound(0, needed - 1, confidence) >= limit


@pytest.mark.parametrize(
    ("hits", "n", "limit", "sentence"),
    [
        (0, 100, 0.01, "0 of 100: the rate may be up to 3.0%; 299 documents needed for 1%"),
        (0, 20, 0.01, "0 of 20: the rate may be up to 13.9%; 299 documents needed for 1%"),
        (0, 300, 0.01, "0 of 300: the rate may be up to 0.994%, below 1%"),
        (3, 100, 0.01, "3 of 100: the rate may be up to 7.6%, above 1%"),
        (0, 20, 0.0, "0 of 20: the rate may be up to 13.9%; no number of documents shows a rate of 0"),
        (0, 0, 0.01, "0 of 0: nothing is known of the rate; 299 documents needed for 1%"),
    ],
)
def test_power_sentences(hits, n, limit, sentence):
    rate = document_rate([i < hits for i in range(n)], names(n))
    assert power_sentence(rate, limit) == sentence
    assert power_sentence(rate, limit, remedy=False) == sentence.partition(";")[0]


def test_power_of_several_windows_is_told_with_their_documents():
    rate = document_rate([i < 5 for i in range(500)], names(100, 5))
    told = power_sentence(rate, 0.1)
    assert told == f"5 of 500 windows in 100 documents: the rate may be up to {percent(rate.upper())}, below 10%"


def in_pairs(both: int, first: int, second: int, neither: int) -> tuple[Rate, Rate, np.ndarray]:
    """Rates and shares of a fourfold table of documents with one window each."""
    rows = [(1, 1)] * both + [(1, 0)] * first + [(0, 1)] * second + [(0, 0)] * neither
    shares, names = np.array(rows, float).reshape(-1, 2), [str(i) for i in range(len(rows))]
    return document_rate(shares[:, 0] > 0, names), document_rate(shares[:, 1] > 0, names), shares


@pytest.mark.parametrize(
    "table", [(36, 12, 2, 0), (20, 12, 2, 16), (0, 24, 0, 0), (5, 1, 9, 3), (1, 0, 0, 0), (7, 0, 0, 9)]
)
def test_paired_differences_are_newcombes_method_with_exact_limits(table: tuple[int, int, int, int]) -> None:
    """Method 10 of Newcombe (1998b), written with the fourfold table, on Clopper-Pearson limits."""
    a, b, c, d = table
    ours, theirs, shares = in_pairs(*table)
    n, marginal = a + b + c + d, math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    product = a * d - b * c
    phi = 0.0 if not marginal else (max(product - n / 2, 0) if product > 0 else product) / marginal
    (l1, u1), (l2, u2) = [(rate.low, rate.high) for rate in (ours, theirs)]
    p1, p2 = (a + b) / n, (a + c) / n
    low = p1 - p2 - math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    high = p1 - p2 + math.sqrt((p2 - l2) ** 2 - 2 * phi * (p2 - l2) * (u1 - p1) + (u1 - p1) ** 2)
    found = paired_difference(ours, theirs, shares)
    assert found is not None
    assert found.estimate == pytest.approx((b - c) / n)
    assert (found.low, found.high) == (pytest.approx(max(-1, low)), pytest.approx(min(1, high)))


def test_paired_differences_of_nothing_and_without_correlation() -> None:
    ours, theirs, shares = in_pairs(0, 0, 0, 0)
    assert paired_difference(ours, theirs, shares) is None
    ours, theirs, shares = in_pairs(4, 4, 4, 4)
    assert paired_difference(ours, theirs, shares) == difference_interval(ours, theirs)


@pytest.mark.parametrize(("first", "second", "both"), [(0.3, 0.1, 0.08), (0.9, 0.5, 0.5), (0.05, 0.05, 0.04)])
def test_paired_intervals_cover(first: float, second: float, both: float) -> None:
    random, covered = np.random.default_rng(0), 0
    chances = [both, first - both, second - both, 1 - first - second + both]
    for table in random.multinomial(24, chances, 400):
        found = paired_difference(*in_pairs(*map(int, table)))
        assert found is not None
        covered += found.low <= first - second <= found.high
    assert covered >= 0.95 * 400
