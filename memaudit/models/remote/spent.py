"""What requests cost, counted."""

from __future__ import annotations

from typing import NamedTuple


class Spent(NamedTuple):
    """Requests, tokens read and written, and how many of the requests repeated one that came to nothing."""

    requests: int = 0
    tokens: int = 0
    again: int = 0

    def plus(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(self.requests + other.requests, self.tokens + other.tokens, self.again + other.again)

    def words(self, requests: int | None = None, tokens: int | None = None) -> str:
        """Return it in words, beside the limits that there are."""
        of = [f" of {limit:,}" if limit is not None else "" for limit in (requests, tokens)]
        return f"{self.requests:,}{of[0]} requests, {self.tokens:,}{of[1]} tokens, {self.again:,} asked again"
