"""The overlap guard: held-out text that also occurs in the training text is not held out.

Two documents overlap when they share a span of 50 tokens, as they are or after normalisation. Spans are
found by a rolling hash over token ids and then compared token by token, so a reported overlap is real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memaudit.records import Document, TokenIds
from memaudit.text.tokenize import Tokenizer
from memaudit.text.words.normalize import normalize

OVERLAP_SPAN = 50
"""Tokens that train and held-out text may not share in a row."""

_BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)

View = Literal["exact", "after normalisation"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A held-out document and the first training document with which it shares a span."""

    heldout: str
    train: str
    view: View


class OverlapGuard:
    """Remembers the spans of held-out documents and meets the training documents one batch at a time.

    Args:
        heldout: The held-out documents that may be sampled.
        tokenizer: Spans are counted in the tokens of the audited model.
        span: Length of a shared span in tokens.
    """

    def __init__(self, heldout: Sequence[Document], tokenizer: Tokenizer, span: int) -> None:
        self.tokenizer = tokenizer
        self.overlaps: dict[str, Overlap] = {}
        self._heldout = heldout
        ids = [encoding.ids for encoding in tokenizer.encode_batch([document.text for document in heldout])]
        self._spans: dict[View, Spans] = {
            "exact": Spans(ids, span, tokenizer.unknown_id),
            "after normalisation": Spans(self._normalised_ids(heldout), span, tokenizer.unknown_id),
        }

    def check(self, documents: Sequence[Document], ids: Sequence[TokenIds]) -> None:
        """Compare training documents, given with their token ids, with the remembered spans."""
        views: dict[View, Sequence[TokenIds]] = {
            "exact": ids,
            "after normalisation": self._normalised_ids(documents),
        }
        for view, sequences in views.items():
            for document, sequence in zip(documents, sequences, strict=True):
                for position in self._spans[view].found_in(sequence):
                    found = self._heldout[position]
                    self.overlaps.setdefault(found.id, Overlap(found.source, document.source, view))

    def _normalised_ids(self, documents: Sequence[Document]) -> list[TokenIds]:
        texts = [normalize(document.text) for document in documents]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]


class Spans:
    """Every span of ``length`` tokens of some sequences, sorted by hash.

    Spans with an unknown token are left out: equal ids do not make them equal text.
    """

    def __init__(self, sequences: Sequence[TokenIds], length: int, unknown: int | None) -> None:
        self.sequences, self.length, self.unknown = sequences, length, unknown
        found = [self._distinct(ids) for ids in sequences]
        owners = np.repeat(np.arange(len(found)), [len(places) for _, places in found])
        hashes = np.concatenate([h for h, _ in found] or [np.empty(0, np.uint64)])
        places = np.concatenate([p for _, p in found] or [np.empty(0, np.int64)])
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.owners, self.places = hashes[order], owners[order], places[order]

    def found_in(self, ids: TokenIds) -> list[int]:
        """Return the positions of the remembered sequences that share a span with ``ids``."""
        hashes, starts = self._distinct(ids)
        first = np.searchsorted(self.hashes, hashes, side="left")
        last = np.searchsorted(self.hashes, hashes, side="right")
        found: set[int] = set()
        for hit in np.flatnonzero(first < last):
            span = ids[starts[hit] : starts[hit] + self.length]
            for row in range(first[hit], last[hit]):
                owner = int(self.owners[row])
                if owner not in found and self._equals(owner, int(self.places[row]), span):
                    found.add(owner)
        return sorted(found)

    def _distinct(self, ids: TokenIds) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return the hashes of the different spans of a sequence, sorted, and where each occurs first."""
        hashes = span_hashes(ids, self.length)
        places = np.arange(len(hashes))
        if self.unknown is not None and len(hashes):
            unknown = np.concatenate([[0], np.cumsum(ids == self.unknown)])
            places = np.flatnonzero(unknown[self.length :] == unknown[: -self.length])
        distinct, at = np.unique(hashes[places], return_index=True)
        return distinct, places[at]

    def _equals(self, owner: int, place: int, span: TokenIds) -> bool:
        return np.array_equal(self.sequences[owner][place : place + self.length], span)


def span_hashes(ids: NDArray[np.integer], length: int) -> NDArray[np.uint64]:
    """Return the polynomial hash modulo 2**64 of every span of ``length`` ids, shape [len(ids) - length + 1].

    Prefix sums of ``mixed id * base**i`` give every span in two passes; dividing by ``base**i`` (times
    the modular inverse) makes the hash independent of where the span is.
    """
    count = len(ids) - length + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    with np.errstate(over="ignore"):
        mixed = (ids.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed * _powers(_BASE, len(ids)))])
        hashes: NDArray[np.uint64] = (sums[length:] - sums[:-length]) * _powers(_INVERSE, count)
    return hashes


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
