"""What a run may cost: requests and tokens are booked before they are sent, and never more than is allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from memaudit.errors import EndpointError
from memaudit.models.remote.journal import Journal, Spent
from memaudit.models.remote.waits import StoppedError

_PATIENCE = 0.1
"""Seconds between two looks at whether the run was stopped."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most requests and tokens of a run; None: no limit."""

    requests: int | None = None
    tokens: int | None = None


class Booking:
    """What one request can cost at most; what it did not cost is given back at the end of the block."""

    def __init__(self, booked: Spent, end: Callable[[Booking], None]) -> None:
        self.booked, self._end = booked, end
        self._change = Spent()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end(self)

    def took(self, tokens: int) -> None:
        """Note what it cost; without a word it counts as booked."""
        self._change = Spent(tokens=tokens - self.booked.tokens)

    def was_not_sent(self) -> None:
        """Note that nothing of it can have reached the server."""
        self._change = Spent(-self.booked.requests, -self.booked.tokens, -self.booked.again)

    def settled(self) -> Spent:
        """Return what is to be added to what was spent, once: whoever takes it writes it down."""
        change, self._change = self._change, Spent()
        return change


class Budget:
    """Books what requests can cost at most, and takes back what they did not.

    A request that does not fit beside what is under way waits for it: it may cost less than it could have.

    Args:
        limits: What is allowed.
        journal: Holds what was spent, over all sessions of a run.
        url: Of the server, for errors.
    """

    def __init__(self, limits: Limits, journal: Journal, url: str) -> None:
        self.limits, self._journal, self._url = limits, journal, url
        self._settled = threading.Condition()
        self._open: list[Booking] = []
        """Booked, and not yet known what it cost."""

    def book(self, tokens: int, *, again: bool, stopping: threading.Event) -> Booking:
        """Book a request and the most tokens that it can cost, until the block ends for which it is booked.

        Raises:
            EndpointError: It does not fit, whatever the requests under way will have cost.
            StoppedError: The job is to end.
        """
        booked = Spent(1, tokens, int(again))
        with self._settled:
            while name := self._exceeded_by(self._journal.spent.plus(booked)):
                if not self._open or self._exceeded_by(self._least().plus(booked)):
                    raise self._refusal(name, booked)
                self._settled.wait(_PATIENCE)
                if stopping.is_set():
                    raise StoppedError
            self._journal.note(booked)
            booking = Booking(booked, self._end)
            self._open.append(booking)
        return booking

    def _end(self, booking: Booking) -> None:
        """Write what is left to be settled, and let those go on that wait for it."""
        try:
            if any(change := booking.settled()):
                self._journal.note(change)
        finally:
            with self._settled:
                self._open = [one for one in self._open if one is not booking]
                self._settled.notify_all()

    def _least(self) -> Spent:
        """Return what is spent if the requests under way cost no tokens at all."""
        return self._journal.spent.plus(Spent(tokens=-sum(one.booked.tokens for one in self._open)))

    def _exceeded_by(self, spent: Spent) -> str:
        requests, tokens = self.limits.requests, self.limits.tokens
        if requests is not None and spent.requests > requests:
            return "requests"
        return "tokens" if tokens is not None and spent.tokens > tokens else ""

    def _refusal(self, name: str, booked: Spent) -> EndpointError:
        limit = self.limits.requests if name == "requests" else self.limits.tokens
        more = f"; the next request may take {booked.tokens:,}" if name == "tokens" else ""
        return EndpointError(
            f"{self._url}: the budget is used up: {self._journal.spent.words(self.limits.requests, self.limits.tokens)}"
            f" (--max-{name} {limit}){more}",
            f"what was answered is kept; raise --max-{name} and run the same again",
        )
