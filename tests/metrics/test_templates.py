"""What follows from its prefix alone, and what does not."""

from __future__ import annotations

import random
from pydoc_data.topics import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.metrics.templates import template_of


def cut(text: str, share: float = 0.5) -> tuple[str, str]:
    return text[: int(len(text) * share)], text[int(len(text) * share) :]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab cd " * 30, "repeating"),
        ("0, " * 60, "repeating"),
        ("=-" * 40, "repeating"),
        (", ".join(str(i) for i in range(100, 160)), "counting"),
        ("\n".join(f"item_{i}: row {2 * i}" for i in range(7, 40)), "counting"),
        (", ".join(str(i) for i in range(90, 20, -2)), "counting"),
        ("\n".join(f"from {a}{b} import {b}{a}" for a in "abcdef" for b in "uvwx") + "\n", "one shape"),
        ("\n".join(f"    self.{w} = {w}" for w in map("x".__mul__, range(1, 12))) + "\n", "one shape"),
    ],
)  # fmt: skip
def test_patterns_are_seen(text: str, expected: str) -> None:
    assert template_of(*cut(text)) == expected


def test_prose_and_random_numbers_follow_no_rule() -> None:
    lot = random.Random(3)
    passages = [
        " ".join(text.split())[at : at + 400] for text in topics.values() for at in range(0, len(text) - 800, 800)
    ]
    called = [template_of(*cut(passage)) for passage in passages]
    assert len(called) > 200
    assert sum(kind is not None for kind in called) <= len(called) / 100
    numbers = ", ".join(str(lot.randrange(10**6)) for _ in range(60))
    assert template_of(*cut(numbers)) is None
    assert template_of("once " * 3, "") is None


@given(st.lists(st.sampled_from(["x", "yy", "3", "+"]), min_size=1, max_size=6), st.integers(3, 8))
def test_any_period_shown_twice_is_seen(period: list[str], times: int) -> None:
    prefix = " ".join(period * times) + " "
    assert template_of(prefix, " ".join(period * 2)) == "repeating"


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_has_an_answer(prefix: str, suffix: str) -> None:
    assert template_of(prefix, suffix) in (None, "repeating", "counting", "one shape")


def test_two_examples_are_needed() -> None:
    assert template_of("alpha beta ", "alpha beta alpha beta") is None
    assert template_of("alpha beta alpha beta ", "alpha beta alpha beta") == "repeating"
