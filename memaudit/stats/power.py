"""What a number of documents can show, in figures and in words."""

from __future__ import annotations

import math

from memaudit.stats.rates import Rate, upper_bound
from memaudit.stats.rounding import percent, stated


def documents_needed(limit: float, confidence: float = 0.95) -> int | None:
    """Return how many documents without a hit put the one-sided upper limit below ``limit``.

    299 for a limit of 1%; None for a limit of 0, which no number of documents can show.
    """
    if limit <= 0:
        return None
    if limit >= 1:
        return 1
    needed = max(1, math.floor(math.log1p(-confidence) / math.log1p(-limit)))
    while (upper_bound(0, needed, confidence) or 0.0) >= limit:
        needed += 1
    return needed


def power_sentence(rate: Rate, limit: float, confidence: float = 0.95, *, remedy: bool = True) -> str:
    """Say in one sentence what a rate can show about a limit.

    Args:
        rate: Of training text.
        limit: The rate that is tolerated.
        confidence: Of the one-sided upper limit.
        remedy: Whether to say how many documents are needed: not where something else has to be mended first.

    >>> power_sentence(Rate(0, 100, 100, 0.0, 0.0, 0.036, 100.0), 0.01)
    '0 of 100: the rate may be up to 3.0%; 299 documents needed for 1%'
    """
    upper = rate.upper(confidence)
    needed = documents_needed(limit, confidence)
    tolerated = stated(limit)
    wanted = f"; {needed} documents needed for {tolerated}" if needed else "; no number of documents shows a rate of 0"
    wanted = wanted if remedy else ""
    if upper is None:
        return f"0 of 0: nothing is known of the rate{wanted}"
    documents = f" windows in {rate.documents} documents" if rate.n != rate.documents else ""
    sentence = f"{rate.hits} of {rate.n}{documents}: the rate may be up to {percent(upper)}"
    if upper < limit:
        return f"{sentence}, below {tolerated}"
    return f"{sentence}, above {tolerated}" if rate.hits else f"{sentence}{wanted}"
