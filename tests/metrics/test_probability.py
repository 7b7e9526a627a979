"""(n, p) formulas against 60-digit arithmetic and against counting."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memaudit.metrics.probability import attempts_needed, hit_probability, least_log_p

quick = settings(deadline=None, max_examples=150)
log_ps = st.floats(-2000, 0)
attempts = st.one_of(st.integers(0, 10**6), st.integers(0, 10**900))
probabilities = st.floats(1e-6, 1 - 1e-6)


def exact(log_p, n):
    """1 - (1 - e^log_p)^n with as many digits as that takes."""
    with localcontext() as context:
        context.prec = 40 + 2 * math.ceil(-log_p / math.log(10)) + (300 if log_p > -1e-3 else 0)
        miss = 1 - Decimal(log_p).exp()
        return float(1 - (Decimal(n) * miss.ln()).exp()) if miss else float(n > 0)


def alone(log_p, n):
    return float(hit_probability([log_p], [n])[0, 0])


@pytest.mark.parametrize(
    "log_p", [-2000.0, -746.0, -690.0, -300.5, -40.01, -40.0, -39.99, -36.7, -5.0, -math.log(2), -0.1, -1e-9, -1e-300]
)
@pytest.mark.parametrize(
    "n", [0, 1, 2, 100, 10**6, 10**17 + 1, 10**868, 10**900], ids=lambda n: f"{float(math.log10(n or 1)):.0f}"
)
def test_a_hit_in_n_attempts_is_that_of_long_arithmetic(log_p, n):
    assert alone(log_p, n) == pytest.approx(exact(log_p, n), rel=1e-11, abs=1e-300)


@quick
@given(log_ps, st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_attempts_never_hit_less(log_p, n, more):
    assert alone(log_p, n) <= alone(log_p, n + more)


@quick
@given(log_ps, log_ps, attempts)
def test_likelier_texts_are_never_hit_less(a, b, n):
    assert alone(min(a, b), n) <= alone(max(a, b), n)


@quick
@given(log_ps, probabilities, probabilities)
def test_more_certainty_never_needs_fewer_attempts(log_p, a, b):
    assert attempts_needed(log_p, min(a, b)) <= attempts_needed(log_p, max(a, b))


@quick
@given(log_ps, log_ps, probabilities)
def test_likelier_texts_never_need_more_attempts(a, b, probability):
    assert attempts_needed(max(a, b), probability) <= attempts_needed(min(a, b), probability)


@quick
@given(st.floats(-12, -1e-4), probabilities)
@example(math.log(0.1), 0.19)
@example(math.log(0.5), 0.75)
@example(math.log(0.5), 0.5)
def test_attempts_needed_are_the_first_that_suffice(log_p, probability):
    n = attempts_needed(log_p, probability)
    assert exact(log_p, n) >= probability * (1 - 1e-11)
    assert n == 1 or exact(log_p, n - 1) < probability


@pytest.mark.parametrize(("log_p", "probability"), [(-2000.0, 0.5), (-2000.0, 0.9), (-745.2, 0.9), (-60.0, 0.5)])
def test_attempts_beyond_every_float_are_right_to_eleven_digits(log_p, probability):
    with localcontext() as context:
        context.prec = 1800
        quotient = (1 - Decimal(probability)).ln() / (1 - Decimal(log_p).exp()).ln()
        assert abs(Decimal(attempts_needed(log_p, probability)) / quotient - 1) < Decimal("1e-11")


def test_the_edges():
    assert attempts_needed(-math.inf, 0.5) is None
    assert attempts_needed(0.0, 0.999) == 1
    assert attempts_needed(1e-9, 0.5) == 1
    assert attempts_needed(-1e-300, 0.5) == 1
    np.testing.assert_array_equal(
        hit_probability([-math.inf, 0.0, 1e-9], [0, 1, 10**400]), [[0, 0, 0]] + [[0, 1, 1]] * 2
    )
    assert hit_probability([], [1, 2]).shape == (0, 2)


@quick
@given(log_ps, st.integers(1, 10**7), probabilities)
def test_the_least_log_p_is_where_attempts_needed_reach_n(log_p, n, probability):
    least = least_log_p(n, probability)
    if abs(log_p - least) > 1e-9:
        assert (log_p >= least) == (attempts_needed(log_p, probability) <= n)
    assert alone(least, n) == pytest.approx(probability, rel=1e-9)
    assert attempts_needed(least + 1e-9, probability) <= n


def test_a_greedy_hit_counts_whatever_is_asked():
    assert least_log_p(1, 1 - 1e-16) <= 0


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, math.nan])
def test_a_probability_that_no_number_or_any_number_reaches_is_refused(probability):
    with pytest.raises(ValueError, match="probability must lie in"):
        attempts_needed(-1.0, probability)
    with pytest.raises(ValueError, match="probability must lie in"):
        least_log_p(3, probability)


@pytest.mark.parametrize("value", [0.1, math.nan, math.inf])
def test_what_is_no_log_probability_is_refused(value):
    with pytest.raises(ValueError, match="not the logarithm"):
        hit_probability([value], [1])


def test_the_curve_is_what_counting_gives():
    random = np.random.default_rng(0)
    p, n = 0.03, 40
    found = (random.random((20_000, n)) < p).any(axis=1).mean()
    assert alone(math.log(p), n) == pytest.approx(found, abs=4 * 0.5 / math.sqrt(20_000))
