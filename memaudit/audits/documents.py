"""What measures of whole documents share: the documents as items, the two sides, and groups of them."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypedDict, TypeVar

import numpy as np

import memaudit.stats as stats
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.records import Document, TokenIds, Window
from memaudit.runs.measured_lines import DocumentFields, SideFields, WindowFields
from memaudit.sections import Value
from memaudit.stats.rounding import percent


class _Sourced(TypedDict):
    source: str


SidedRecord = TypeVar("SidedRecord", bound=SideFields)
SourcedRecord = TypeVar("SourcedRecord", bound=_Sourced)
DocumentRecord = TypeVar("DocumentRecord", bound=DocumentFields)
MAX_GROUPS = 4
"""Groups of copies told apart in a chart, beside the two sides."""
LONGEST_NUMBER = 18
"""Digits of a place that are read as one number."""


class Member(NamedTuple):
    """A document and the side it is from."""

    member: bool
    document: Document


def members(subject: Subject) -> list[Member]:
    """Return the documents of both sides, training documents first.

    Raises:
        InputError: There is no document.
    """
    sides = (True, subject.train), (False, subject.heldout)
    found = [Member(side, document) for side, documents in sides for document in documents]
    if not found:
        raise InputError(
            "there are no documents, only windows", "give the training text with --train, or leave this out"
        )
    return found


def about(item: Member) -> DocumentFields:
    """Return the fields that say which document a record is of."""
    document = item.document
    return {
        "member": item.member,
        "document": document.id,
        "source": document.source,
        "domain": document.domain,
        "copies": document.copies,
    }


def about_window(window: Window) -> WindowFields:
    """Return the fields that say which window a record is of."""
    return {
        "member": window.member,
        "document": window.document,
        "source": window.source,
        "domain": window.domain,
        "copies": window.copies,
        "start": window.start,
    }


def encoded(
    subject: Subject, items: Sequence[Member], most: int | None = None
) -> Iterator[tuple[Member, TokenIds, int]]:
    """Yield every item with its first ``most`` tokens, or all, and how many the document has."""
    encodings = subject.model.tokenizer.encode_batch([item.document.text for item in items])
    for item, encoding in zip(items, encodings, strict=True):
        yield item, encoding.ids[:most], len(encoding)


def sides(records: Sequence[SidedRecord]) -> dict[str, list[SidedRecord]]:
    """Return the records of both sides by name, training documents first."""
    return {
        "Training documents": [r for r in records if r["member"]],
        "Held-out documents": [r for r in records if not r["member"]],
    }


def by_copies(records: Sequence[DocumentRecord]) -> dict[str, list[DocumentRecord]]:
    """Return the training documents by their copies, at most `MAX_GROUPS` groups; none where copies are unknown."""
    known = [(r["copies"], r) for r in records if r["member"] and r["copies"] is not None]
    values = sorted({copies for copies, _ in known})
    groups = {}
    for part in np.array_split(values, min(MAX_GROUPS, len(values))) if len(values) > 1 else []:
        low, high = int(part[0]), int(part[-1])
        name = f"{low:,} copies" if low == high else f"{low:,} to {high:,} copies"
        groups["1 copy" if low == high == 1 else name] = [r for copies, r in known if low <= copies <= high]
    return groups


def by_domain(records: Sequence[DocumentRecord]) -> dict[str, list[DocumentRecord]]:
    """Return the records of each domain and side; none where fewer than two domains are named."""
    names = sorted({r["domain"] for r in records if r["domain"] is not None})
    if len(names) < 2:
        return {}
    named = ((side, group) for side, group in sides(records).items())
    return {
        f"{name}, {side[:-10]}": [r for r in group if r["domain"] == name] for side, group in named for name in names
    }


def mean_share(shares: Sequence[float]) -> stats.Rate:
    """Return the mean of shares, one a document, with its Clopper-Pearson interval over documents.

    Conservative: shares vary less than whole hits of the same mean do.
    """
    interval = stats.clopper_pearson(math.fsum(shares), len(shares))
    if interval is None:
        return stats.Rate(0, 0, 0, None, None, None)
    any_of_it = sum(share > 0 for share in shares)
    n = len(shares)
    return stats.Rate(any_of_it, n, n, math.fsum(shares) / n, interval.low, interval.high, float(n))


def bounds(rate: stats.Rate) -> Value:
    """Return the interval of a rate as a table shows it."""
    return None if rate.low is None or rate.high is None else [rate.low, rate.high]


def shown(rate: stats.Rate) -> str:
    """Return a rate in words: ``12.0% [8.1%, 17.0%]``."""
    if rate.rate is None or rate.low is None or rate.high is None:
        return "an unknown share"
    return f"{percent(rate.rate)} [{percent(rate.low)}, {percent(rate.high)}]"


def median(values: Sequence[float]) -> float | None:
    """Return the median, or None of nothing."""
    return statistics.median(values) if values else None


def worst(
    records: Sequence[SourcedRecord], value: Callable[[SourcedRecord], float | None], most: int
) -> list[SourcedRecord]:
    """Return the records of the largest values above 0, at most ``most``, ties in the order of their places."""
    above = [(-found, record) for record in records if (found := value(record))]
    return [record for _, record in sorted(above, key=lambda pair: (pair[0], in_order(pair[1]["source"])))[:most]]


def in_order(place: str) -> tuple[tuple[int, str], ...]:
    """Return what places are sorted by, so that line 9 stands before line 10: numbers as numbers."""
    parts = re.split(rf"(\d{{1,{LONGEST_NUMBER}}})", place)
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def ties(
    records: Sequence[SourcedRecord],
    value: Callable[[SourcedRecord], float | None],
    most: int,
    said: Callable[[float], str],
) -> list[str]:
    """Say how many records share the smallest value that `worst` shows, where it shows only some of these.

    Args:
        records: As for `worst`.
        value: The same.
        most: The same.
        said: Returns what documents of a value have, in words.
    """
    shown = worst(records, value, most)
    last = value(shown[-1]) if shown else None
    alike, listed = (sum(value(record) == last for record in some) for some in (records, shown))
    if last is None or alike == listed:
        return []
    return [f"{alike:,} documents have {said(last)}; the first {listed:,} of them, by their place, are listed."]


def refuse_same_texts(works: Iterable[tuple[str, bool, str]]) -> None:
    """Refuse whole works of which two have the same text.

    Args:
        works: Digest of the text, whether it is a control work, and where it is from.

    Raises:
        InputError: A work is named twice, on one side or on both.
    """
    seen: dict[str, tuple[bool, str]] = {}
    for digest, control, source in works:
        if digest in seen:
            side, first = seen[digest]
            what = "a work is no control of itself" if control != side else "name it once"
            raise InputError(f"{source}: the same text as {first}", what)
        seen[digest] = control, source
