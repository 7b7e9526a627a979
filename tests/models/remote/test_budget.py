"""Budgets: whatever threads do, never more is booked than is allowed, and what was not needed is given back."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import EndpointError
from memaudit.models.remote.budget import Booking, Budget, Limits
from memaudit.models.remote.journal import Journal, Spent
from memaudit.models.remote.waits import StoppedError

NEVER = threading.Event()


def budget(requests: int | None = None, tokens: int | None = None) -> tuple[Budget, Journal]:
    journal = Journal()
    return Budget(Limits(requests, tokens), journal, "http://h/v1"), journal


def book(made: Budget, tokens: int, *, again: bool = False) -> Booking:
    return made.book(tokens, again=again, stopping=NEVER)


def test_words() -> None:
    spent = Spent(1204, 61000, 14)
    assert spent.words() == "1,204 requests, 61,000 tokens, 14 asked again"
    assert spent.words(5000, 10**6) == "1,204 of 5,000 requests, 61,000 of 1,000,000 tokens, 14 asked again"


def test_a_booking_counts_until_it_is_settled() -> None:
    made, journal = budget()
    with book(made, 100) as booking:
        assert journal.spent == Spent(1, 100, 0)
        booking.took(30)
    assert journal.spent == Spent(1, 30, 0)
    with book(made, 100, again=True):
        pass
    assert journal.spent == Spent(2, 130, 1), "nobody said what it took"
    with book(made, 100, again=True) as booking:
        booking.was_not_sent()
    assert journal.spent == Spent(2, 130, 1)
    with book(made, 10) as booking:
        booking.took(25)
        journal.note(booking.settled())
    assert journal.spent == Spent(3, 155, 1), "more than was thought counts too"


def test_an_error_settles_a_booking() -> None:
    made, journal = budget(tokens=100)
    with pytest.raises(ZeroDivisionError), book(made, 100):
        raise ZeroDivisionError
    with pytest.raises(EndpointError, match="the budget is used up"):
        book(made, 1)
    assert journal.spent.tokens == 100


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ((2, None), "2 of 2 requests, 8 tokens, 0 asked again (--max-requests 2) (what was answered is kept; raise"),
        ((None, 10), "2 requests, 8 of 10 tokens, 0 asked again (--max-tokens 10); the next request may take 4 (what"),
        ((2, 10), "2 of 2 requests, 8 of 10 tokens, 0 asked again (--max-requests 2)"),
    ],
)
def test_what_does_not_fit_is_refused(limits: tuple[int | None, int | None], said: str) -> None:
    made, journal = budget(*limits)
    for _ in range(2):
        with book(made, 4) as booking:
            booking.took(4)
    with pytest.raises(EndpointError) as caught:
        book(made, 4)
    assert f"http://h/v1: the budget is used up: {said}" in str(caught.value)
    assert journal.spent == Spent(2, 8, 0)


def test_one_that_does_not_fit_at_once_waits_for_the_others() -> None:
    made, journal = budget(tokens=100)
    begun, booked = threading.Event(), threading.Event()

    def second() -> None:
        begun.set()
        with book(made, 60) as booking:
            booked.set()
            booking.took(60)

    with book(made, 60) as booking:
        thread = threading.Thread(target=second)
        thread.start()
        begun.wait()
        assert not booked.wait(0.05)
        booking.took(40)
    thread.join()
    assert journal.spent == Spent(2, 100, 0)
    with book(made, 0), pytest.raises(EndpointError):
        book(made, 1)


def test_a_wait_ends_when_the_run_does() -> None:
    made, _ = budget(tokens=100)
    stopping = threading.Event()
    stopping.set()
    with book(made, 60), pytest.raises(StoppedError):
        made.book(60, again=False, stopping=stopping)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=24),
    st.integers(0, 30),
    st.integers(0, 300),
)
def test_no_order_of_threads_exceeds_a_limit(costs: list[tuple[int, int]], requests: int, tokens: int) -> None:
    made, journal = budget(requests, tokens)
    highest = [Spent(0, 0, 0)]
    work = iter(costs)

    def ask() -> None:
        for most, took in work:
            try:
                with book(made, most) as booking:
                    highest.append(Spent(*map(max, highest[-1], journal.spent)))
                    booking.took(min(most, took))
            except EndpointError:
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert highest[-1].requests <= requests
    assert highest[-1].tokens <= tokens
    assert journal.spent.tokens >= 0
