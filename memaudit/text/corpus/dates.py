"""Dates as records write them: a day, a month, a year."""

from __future__ import annotations

import calendar
import datetime
import email.utils
import re
from dataclasses import dataclass
from functools import lru_cache

_DATE = re.compile(r"(\d{4})(?:\.0)?(?:[-/.](\d{1,2}))?(?:[-/.](\d{1,2})(?:[T ].*)?)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Period:
    """The days that a date may mean: one, or a whole month or year; both ends included."""

    first: datetime.date
    last: datetime.date

    def side(self, cutoff: datetime.date) -> str | None:
        """Return ``old`` for days up to the cutoff, ``new`` for later ones, None for a period across it."""
        return "old" if self.last <= cutoff else "new" if self.first > cutoff else None


@lru_cache(maxsize=4096)
def parse_date(text: str) -> Period | None:
    """Return the days that a date means, or None if it is none.

    Args:
        text: ``2023``, ``2023-05``, ``2023-05-17`` (also with ``/`` or ``.``), the last also with a time of day, which
            is not read; seconds since 1970 in nine or ten digits; a date as mails write it (RFC 2822).
    """
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return _of_machines(text.strip())
    year, month, day = (None if part is None else int(part) for part in found.groups())
    try:
        first = datetime.date(year or 0, month or 1, day or 1)
    except ValueError:
        return None
    if day is not None:
        return Period(first, first)
    last_month = month or 12
    return Period(first, first.replace(month=last_month, day=calendar.monthrange(first.year, last_month)[1]))


def _of_machines(text: str) -> Period | None:
    try:
        if re.fullmatch(r"\d{9,10}", text):
            day = datetime.datetime.fromtimestamp(int(text), datetime.UTC).date()
        else:
            day = email.utils.parsedate_to_datetime(text).date()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return Period(day, day)
