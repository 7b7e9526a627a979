"""Differences, copies and texts as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.report.wording import copies, point_interval, points, visible


def test_differences_of_rates_are_in_points() -> None:
    assert points(None) == point_interval(None) == "–"
    assert points({"estimate": -0.123, "low": -0.2, "high": 0.0}) == "−12.3"
    assert point_interval({"estimate": 0.1, "low": -0.05, "high": 0.25}) == "[−5.0, +25.0]"


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
