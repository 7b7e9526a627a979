"""What a server sends that is no answer, read."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.models.remote.faults import is_quota, seconds_to_wait, tokens_used, what_is_said

NOON = 1_800_000_000


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        (" 90 ", 90.0),
        ("1.5", 1.5),
        ("9" * 300, 1e300),
        ("-1", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("9" * 400, None),
        (formatdate(NOON + 45, usegmt=True), 45.0),
        (formatdate(NOON - 45, usegmt=True), 0.0),
        ("Fri, 99 Foo 2027 25:00:00 GMT", None),
    ],
)
def test_the_time_to_wait(told: str, seconds: float | None) -> None:
    found = seconds_to_wait({"retry-after": told, "date": formatdate(NOON, usegmt=True)})
    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_a_date_without_a_clock_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memaudit.models.remote.faults.time.time", lambda: float(NOON))
    for now in ({}, {"date": "broken"}):
        assert seconds_to_wait({"retry-after": formatdate(NOON + 5, usegmt=True), **now}) == 5
    assert seconds_to_wait({}) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_is_too_odd(told: str, date: str) -> None:
    found = seconds_to_wait({"retry-after": told, "date": date})
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("status", "said", "quota"),
    [
        (429, "Rate limit reached, try again in 20s", False),
        (429, "insufficient_quota", True),
        (429, "Check your plan and BILLING details", True),
        (429, "credit balance too low", True),
        (402, "", True),
        (500, "quota service down", False),
    ],
)
def test_what_was_paid_for_is_used_up(status: int, said: str, quota: bool) -> None:
    assert is_quota(status, said) is quota


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "m", "type": "t", "code": 400}}, "t: m"),
        ({"error": {"message": "m", "code": "c"}}, "c: m"),
        ({"error": "plain"}, "plain"),
        ({"detail": "d"}, "d"),
        ({"detail": [{"loc": 1}]}, '{"detail": [{"loc": 1}]}'),
        ([1], "[1]"),
        (None, "null"),
    ],
)
def test_what_an_error_says(body: object, said: str) -> None:
    assert what_is_said(json.dumps(body).encode()) == said


def test_what_a_page_says() -> None:
    assert what_is_said(b"[" * 600 + b"]" * 600) == "[" * 600 + "]" * 600
    assert what_is_said(b"<html>\n  <b>\xff no</b>" + b"x" * 10**6)[:20] == "<html> <b>\ufffd no</b>xx"
    assert what_is_said(b"") == ""


@given(st.binary(max_size=60))
def test_no_body_is_too_odd(body: bytes) -> None:
    assert isinstance(what_is_said(body), str)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"usage": {"prompt_tokens": 4, "completion_tokens": 32}}, 36),
        ({"meta_info": {"prompt_tokens": 4, "completion_tokens": 1}}, 5),
        ({"tokens_evaluated": 4, "tokens_predicted": 2, "usage": None}, 6),
        ({"usage": {"prompt_tokens": 4}}, None),
        ({"usage": {"prompt_tokens": -4, "completion_tokens": 2}}, None),
        ({"usage": {"prompt_tokens": True, "completion_tokens": 2}}, None),
        ({"usage": {"prompt_tokens": 4.5, "completion_tokens": 2}}, None),
        ({"usage": {"prompt_tokens": 2**63, "completion_tokens": 2**63}}, None),
        ({"usage": "many"}, None),
        ({}, None),
        ([{"usage": {}}], None),
        (None, None),
    ],
)
def test_what_an_answer_took(answer: object, tokens: int | None) -> None:
    assert tokens_used(answer) == tokens
