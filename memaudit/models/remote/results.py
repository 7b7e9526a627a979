"""What a server says of given tokens, and what it writes, whatever dialect it speaks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scored:
    """What a server says of given tokens, one value a token."""

    log_prob: list[float]
    """Natural logarithms."""
    rank: list[int]
    """Tokens that it prefers to the true one; one that is not among the `Dialect.listed` likeliest has just that."""
    mean: list[float] | None = None
    """Of log p over the vocabulary; None where not all of it is listed."""
    std: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a server put behind a prompt."""

    text: str
    ids: list[int] | None
    """Its tokens, without the end token; None where the server gives text alone."""
    ended: bool
    """Whether it stopped by itself: at its end token."""
    log_prob: list[float] | None = None
    """Of the tokens, where the server gives them."""
