"""Text that works in question and control works both hold: a licence, a quotation, or most of another edition.

What is known of such a text in the one is known of it in the other, so windows that touch it are set aside from the
test, on both sides. They stay in every share, every picture and every cost: those are of all tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.work.texts import WholeWork
from memaudit.findings import Control
from memaudit.metrics.surface import covered_by
from memaudit.stats.rounding import percent
from memaudit.text.windows.overlap import OVERLAP_SPAN, span_hashes
from memaudit.text.words.words import words_of

BoolArray = NDArray[np.bool_]
Symbols = NDArray[np.uint64]
WORDS = 30
"""Words in a row that make text shared, as they are after normalisation: about 50 tokens of English."""
MOST = 0.2
"""Share of a control work's windows that may be set aside: above it, it is the same text, or a collection."""
NAME = "control works are other works"


def shared_windows(works: Sequence[WholeWork]) -> list[BoolArray]:
    """Return which windows touch text that a work of the other side holds too, shape [windows] for every work.

    Text is shared where `OVERLAP_SPAN` tokens in a row are the same, or `WORDS` words after normalisation.

    Args:
        works: Those in question and the control works, in the tokens of one model.
    """
    flags = [np.zeros(len(work.ids), np.bool_) for work in works]
    if any(work.control for work in works):
        for own, shared in zip(flags, _shared([_known(work) for work in works], works, OVERLAP_SPAN), strict=True):
            own |= shared
        words = [words_of(work.document.text) for work in works]
        found = _shared([each.hashes for each in words], works, WORDS)
        for work, own, each, shared in zip(works, flags, words, found, strict=True):
            own |= _tokens(work, each.starts[shared], each.ends[shared])
    return [_touching(work, own) for work, own in zip(works, flags, strict=True)]


def shared_control(works: Sequence[WholeWork], shared: Sequence[BoolArray]) -> Control:
    """Return whether control works are other works than those in question; without any, nothing is clean."""
    told, failed = [], False
    for work, flags in zip(works, shared, strict=True):
        if work.control and flags.any():
            share = float(flags.mean())
            failed |= share > MOST
            told.append(f"{percent(share)} of the windows of {work.name}")
    if not any(work.control for work in works):
        return Control(NAME, None, "no control work was given")
    ours = sum(int(flags.sum()) for work, flags in zip(works, shared, strict=True) if not work.control)
    detail = "no text is shared" if not told else f"text of a work in question stands in {', '.join(told)}"
    if failed:
        detail += ": the same work, an edition of it, or a collection? Choose another control work"
    elif told:
        detail += f"; these and {ours:,} windows of the works in question are in no test"
    return Control(NAME, not failed, detail)


def _known(work: WholeWork) -> Symbols:
    """Return the tokens of a work, of which those that stand for unknown text are like no other."""
    apart = (np.uint64(work.number + 1) << np.uint64(40)) + np.arange(len(work.ids), dtype=np.uint64)
    return np.where(work.ids == work.unknown, apart, work.ids.astype(np.uint64))


def _shared(sequences: Sequence[Symbols], works: Sequence[WholeWork], length: int) -> list[BoolArray]:
    """Return which elements of every sequence lie in a run of ``length`` that the other side holds too."""
    hashes = [span_hashes(sequence, length) for sequence in sequences]
    ours, theirs = (
        np.concatenate([h for h, work in zip(hashes, works, strict=True) if work.control == control])
        for control in (False, True)
    )
    common = np.intersect1d(ours, theirs)
    return [
        covered_by(np.flatnonzero(np.isin(own, common)), length, len(sequence))
        for own, sequence in zip(hashes, sequences, strict=True)
    ]


def _tokens(work: WholeWork, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> BoolArray:
    """Return which tokens hold a character of the given stretches, which are in order."""
    if not len(starts):
        return np.zeros(len(work.ids), np.bool_)
    place = np.searchsorted(ends, work.encoding.starts, side="right")
    inside: BoolArray = starts[np.minimum(place, len(starts) - 1)] < work.encoding.ends
    return inside & (place < len(starts))


def _touching(work: WholeWork, flags: BoolArray) -> BoolArray:
    """Return which windows hold a flagged token, prefix and suffix alike."""
    total = np.concatenate([[0], np.cumsum(flags)])
    first = work.options.stride * np.arange(work.windows)
    touching: BoolArray = total[first + work.options.window] > total[first]
    return touching
