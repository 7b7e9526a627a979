"""Numbers are rounded in one place, and never to what they are not."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.stats import rounding
from memaudit.stats.rounding import (
    auc,
    auc_with,
    number,
    p_equals,
    p_value,
    per_thousand,
    percent,
    points,
    points_between,
    short_count,
    significant,
    stated,
    tick,
)


def test_examples_hold() -> None:
    done = doctest.testmod(rounding)
    assert done.attempted and not done.failed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (1.0, "100%"),
        (1e-9, "<0.0001%"),
        (0.0001, "0.01%"),
        (0.000299, "0.0299%"),
        (0.139, "13.9%"),
        (0.02951, "3.0%"),
        (0.00994, "0.994%"),
        (0.99999, ">99.9%"),
        (0.0301, "3.0%"),
        (0.5, "50.0%"),
        (-0.25, "-25.0%"),
        (-0.0003, "-0.03%"),
        (-1e-9, ">-0.0001%"),
        (-0.99999, "<-99.9%"),
        (1.5, "150.0%"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@given(st.floats(-1, 1))
def test_percent_says_none_and_all_only_of_none_and_all(value: float) -> None:
    text = percent(value)
    assert (text == "0%") == (value == 0)
    assert (text == "100%") == (value == 1)
    assert text.strip("-") not in ("0.0%", "100.0%")


@given(st.floats(1.01e-6, 0.0099))
def test_small_shares_keep_three_digits(value: float) -> None:
    shown = percent(value)
    assert float(shown[:-1]) == pytest.approx(100 * value, rel=0.005)
    assert "e" not in shown


def test_what_somebody_stated_is_not_rounded() -> None:
    assert [stated(share) for share in (0.8, 0.001, 0.0333, 3 * 0.05)] == ["80%", "0.1%", "3.33%", "15%"]


def test_points_have_a_sign_and_zero_has_none_below_it() -> None:
    assert [points(share) for share in (0.1904, -0.123, -0.0002, 0.0, None)] == ["+19.0", "−12.3", "+0.0", "+0.0", "–"]
    assert points(0.05, sign=False) == "5.0"
    assert points_between(-0.05, 0.25) == "[−5.0, +25.0]"
    assert points_between(None, 0.25) == "–"


def test_p_values_keep_three_digits_and_are_never_zero() -> None:
    assert [p_value(p) for p in (None, 1e-6, 0.00012, 0.04961, 0.5, 1.0)] == [
        "–",
        "<0.0001",
        "0.00012",
        "0.0496",
        "0.5",
        "1",
    ]
    assert [p_equals(p) for p in (None, 1e-6, 0.0504)] == ["p unknown", "p < 0.0001", "p = 0.0504"]


def test_other_quantities() -> None:
    assert [auc(None), auc(0.5), auc_with(0.6123, 0.54, 0.6834), auc_with(0.6123, None, None)] == [
        "–",
        "0.500",
        "0.612 [0.540, 0.683]",
        "0.612",
    ]
    assert [number(n) for n in (None, 1234567, 0.5)] == ["–", "1,234,567", "0.50"]
    assert [significant(n) for n in (None, 12345, 12.345, 0.0012345)] == ["–", "12,345", "12.35", "0.00123"]
    assert [significant(n, sign=True) for n in (0.2149, -0.2149, 2.0)] == ["+0.215", "-0.215", "+2"]
    assert [per_thousand(share) for share in (None, 0.0123, 0.1234)] == ["unknown", "12.3", "123"]
    assert [short_count(n) for n in (999, 1234, 999_600)] == ["999", "1.2k", "1.0M"]
    assert tick(123456.0) == 120000.0
