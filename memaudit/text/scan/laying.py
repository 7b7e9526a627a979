"""A text laid beside a passage: which of its words occur there in order, and how much is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import DamerauLevenshtein, LCSseq

SLIP = 10
"""Characters of a word, or of words written together or apart, that may differ in one, longer ones in two: a slip of
the pen, where *minimum* and *maximum* are other words."""
LETTERS = 3
"""Letters of a word that is too short to be misspelt: another is another word."""
PATCH = 8
"""Words of a stretch that was changed within which misspelt words are looked for."""
GLUED, LONGEST = 3, 64
"""A longer stretch, up to so many words, may be written together: in a third of its words, at most."""
PLACES = 100
"""Places of a text that are looked at: of one that repeats itself without end, not all."""

_DIGIT = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A text laid beside a passage."""

    credit: NDArray[np.float64]
    """Shape [words of the text]: in [0, 1], how well each is matched in the passage."""
    places: NDArray[np.int64]
    """Shape [words of the text]: the word of the passage that is equal, -1 where none is."""


def lay(text: NDArray[np.uint64], passage: NDArray[np.uint64]) -> Laid:
    """Lay the words of a text beside those of a passage, as many equal ones in order as there are.

    Args:
        text: Hashes of its words.
        passage: Hashes of its words.
    """
    credit, places = np.zeros(len(text)), np.full(len(text), -1, np.int64)
    for block in LCSseq.opcodes(text.tolist(), passage.tolist()):
        if block.tag == "equal":
            credit[block.src_start : block.src_end] = 1
            places[block.src_start : block.src_end] = np.arange(block.dest_start, block.dest_end)
    return Laid(credit, places)


def credit_at_best(laid: Laid, words: int) -> NDArray[np.float64]:
    """Return the credit that words misspelt or written together could have, for a passage of so many words."""
    credit = laid.credit.copy()
    for ours, _ in changed(laid.places, words):
        credit[ours] = 1
    return credit


def largest_gap(credit: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return by which share of the weight, at most, more is missing than there is in any stretch of words."""
    sums = np.concatenate([[0.0], np.cumsum(weights * (1 - 2 * credit))])
    gap = float((sums - np.minimum.accumulate(sums)).max())
    total = float(weights.sum())
    return gap / total if total else 0.0


def share(credit: NDArray[np.float64] | NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Return the share of the weight that has credit; 0 where there is no weight."""
    total = float(weights.sum())
    return float((credit * weights).sum()) / total if total else 0.0


def places_of(run: NDArray[np.uint64], text: NDArray[np.uint64], most: int = PLACES) -> list[int]:
    """Return where a run of words occurs in a text, the first ``most`` of them."""
    data, wanted, width = text.tobytes(), run.tobytes(), run.itemsize
    places: list[int] = []
    at = data.find(wanted) if wanted else -1
    while at >= 0 and len(places) < most:
        if at % width == 0:
            places.append(at // width)
        at = data.find(wanted, at + 1)
    return places


def changed(places: NDArray[np.int64], words: int) -> Iterator[tuple[slice, slice]]:
    """Yield the stretches of a needle that have no equal and may be the same, each with what is in their place.

    A long one may be written together there, as an address is without its marks.
    """
    known = np.flatnonzero(places >= 0)
    ends = [-1, *known.tolist(), len(places)]
    there = [-1, *places[known].tolist(), words]
    for k in range(len(ends) - 1):
        ours, theirs = slice(ends[k] + 1, ends[k + 1]), slice(there[k] + 1, there[k + 1])
        mine, others = ours.stop - ours.start, theirs.stop - theirs.start
        if mine and others and (mine <= PATCH or GLUED * others <= mine <= LONGEST):
            yield ours, slice(theirs.start, min(theirs.stop, theirs.start + 2 * PATCH))


def likeness(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return how alike a changed stretch is to what is in its place; 0 where it is not the same, misspelt.

    Words may be written together or apart; numbers are equal or not alike: ``1``, ``23`` is not ``12``, ``3``.
    """
    one, other = "".join(ours), "".join(theirs)
    if one == other:
        cuts, others = (set(accumulate(map(len, words))) for words in (ours, theirs))
        return float(cuts <= others or cuts >= others or not _DIGIT.search(one))
    if not other or _DIGIT.search(one):
        return 0.0
    slips = 1 if len(one) < SLIP else 2 * len(ours)
    if len(ours) > PATCH:
        return 0.0
    distance = DamerauLevenshtein.distance(one, other, score_cutoff=slips)
    return 1 - distance / len(one) if distance <= slips and len(one) > LETTERS else 0.0
