"""Numbers are rounded only here, and never to what they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.report.wording import copies, number, p_value, percent, point_interval, points, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (1.0, "100%"),
        (1e-9, "<0.1%"),
        (0.99999, ">99.9%"),
        (0.0301, "3.0%"),
        (0.5, "50.0%"),
    ],
)
def test_percent(value: float | None, text: str) -> None:
    assert percent(value) == text


@given(st.floats(0, 1))
def test_percent_says_none_and_all_only_of_none_and_all(value: float) -> None:
    text = percent(value)
    assert (text == "0%") == (value == 0)
    assert (text == "100%") == (value == 1)
    assert text not in ("0.0%", "100.0%")


def test_differences_and_p_values() -> None:
    assert points(None) == point_interval(None) == p_value(None) == number(None) == "–"
    assert points({"estimate": -0.123}) == "−12.3"
    assert point_interval({"low": -0.05, "high": 0.25}) == "[−5.0, +25.0]"
    assert [p_value(p) for p in (1e-6, 0.00012, 0.034, 0.5, 1.0)] == [
        "<0.0001",
        "0.00012",
        "0.034",
        "0.50",
        "1.00",
    ]
    assert [number(n) for n in (1234567, 0.5)] == ["1,234,567", "0.50"]


@given(st.text(st.characters(categories=("Cc", "Cs", "Cf", "Zl", "Zp", "L", "Zs"))))
def test_visible_text_hides_nothing_and_can_be_written(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not set(shown) & {
        "\x1b",
        "\x9b",
        "\x00",
        "\r",
        "\u202e",
        "\u2066",
        "\u200b",
        "\u2028",
        "\ufeff",
        "\xad",
    }


def test_joiners_stay_where_scripts_need_them() -> None:
    assert visible("👩\u200d👧 می\u200cخواهم") == "👩\u200d👧 می\u200cخواهم"
    assert visible("pass\u200dword\u200c") == r"pass\u200dword\u200c"
    assert visible("a\tb\nc é") == "a\tb\nc é"


@pytest.mark.parametrize(
    ("exact", "normalised", "said"),
    [
        (None, None, None),
        (0, 0, "does not occur in the index of the training text"),
        (1, 1, "occurs once in training, 1 exact"),
        (0, 2, "occurs 2 times in training, 0 exact"),
        (9_000, 10_000, "occurs 10,000 times in training, 9,000 exact"),
        (9_000, 10_001, "occurs 10,001 times in training, at least 9,000 exact"),
    ],
)
def test_copies_are_said_as_they_were_counted(exact: int | None, normalised: int | None, said: str | None) -> None:
    assert copies(exact, normalised) == said
