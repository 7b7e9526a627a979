"""What a model wrote beside the work: runs of the same words, in order, and the passages that they make up.

1. The longest run of words that work and output share is taken, of equals the one that stands earliest in the work and
   then in the output; so on with what stands before it in both, and with what stands behind it in both. No word is
   taken twice and all runs are in order: Ratcliff & Metzener 1988, as Python's ``difflib`` matches sequences. Runs of
   fewer than `SHORTEST` words are left out.
2. Runs that follow each other with at most two words between them, on either side, are one passage; passages of fewer
   than 20 words are left out. Passages that follow each other with at most ten words between them are one. What stands
   between is not counted: the words of a passage are those of its runs.

Two such steps, to close small gaps first and larger ones between what is long enough by then, follow Ahmed et al. 2026
(arXiv 2601.02671), who keep passages of at least 100 words. The numbers of words in both steps are ours.
``difflib`` takes quadratic time; here a suffix array of both texts gives the longest run in linear time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.index.suffix import lcp_array, suffix_array

Symbols = NDArray[np.int32]
Mask = NDArray[np.bool_]

SHORTEST = 5
"""Words of a run."""
CLOSE, SOLID = 2, 20
"""Words between runs of one passage, and words that such a passage must have."""
NEAR = 10
"""Words between such passages that are one."""
LEASTS = (100, 50, 25)
"""Words of a passage that counts; the first is that of the verdict."""
AHEAD = 100
"""Words that a model may leave out and still follow the work."""
PAIRS = 4
"""Pairs of places a word that are looked at together: more are texts that repeat themselves."""
SMALL = 1 << 16
"""Pairs of words up to which all are compared: a suffix array costs more than that."""


class Run(NamedTuple):
    """Words that stand in both texts."""

    work: int
    """The first of them, among the words of the work."""
    output: int
    words: int


class Part(NamedTuple):
    """A part of the work and the part of the output that it is compared with."""

    first: int
    last: int
    begin: int
    end: int

    def moved(self, work: int, output: int) -> Part:
        """Return the same part of texts that begin so many words earlier."""
        return Part(self.first + work, self.last + work, self.begin + output, self.end + output)

    def around(self, run: Run) -> list[Part]:
        """Return what stands before a run in both texts, and what stands behind it."""
        before = Part(self.first, run.work, self.begin, run.output)
        return [before, Part(run.work + run.words, self.last, run.output + run.words, self.end)]


@dataclass(frozen=True, slots=True)
class Passage:
    """Runs that stand close to each other in both texts."""

    runs: tuple[Run, ...]

    @property
    def words(self) -> int:
        """Words of its runs."""
        return sum(run.words for run in self.runs)

    @property
    def work(self) -> range:
        """From its first word of the work to its last."""
        return range(self.runs[0].work, self.runs[-1].work + self.runs[-1].words)

    @property
    def output(self) -> range:
        """From its first word of the output to its last."""
        return range(self.runs[0].output, self.runs[-1].output + self.runs[-1].words)


def symbols_of(
    work: NDArray[np.uint64], output: NDArray[np.uint64], apart: tuple[Mask, Mask] | None = None
) -> tuple[Symbols, Symbols]:
    """Return both texts with a small number for every word.

    Args:
        work: A hash a word.
        output: Likewise.
        apart: Words of either that are to match nothing.
    """
    names, numbers = np.unique(np.concatenate([work, output]), return_inverse=True)
    symbols = numbers.astype(np.int32)
    if apart is not None:
        alone = np.flatnonzero(np.concatenate(apart))
        symbols[alone] = len(names) + np.arange(len(alone))
    return symbols[: len(work)], symbols[len(work) :]


def matching_runs(work: Symbols, output: Symbols, shortest: int = SHORTEST) -> list[Run]:
    """Return the runs that the texts share, in order: step 1 of the module.

    Args:
        work: A number a word, from 0.
        output: Likewise.
        shortest: Words of a run at least.
    """
    found, open_ = [], [Part(0, len(work), 0, len(output))]
    while open_:
        part = open_.pop()
        here, there = work[part.first : part.last], output[part.begin : part.end]
        if min(len(here), len(there)) >= shortest:
            runs, rests = _longest_runs(here, there, shortest)
            found += [Run(run.work + part.first, run.output + part.begin, run.words) for run in runs]
            open_ += [rest.moved(part.first, part.begin) for rest in rests]
    return sorted(found)


def passages_of(runs: Sequence[Run], stretches: Sequence[int] = ()) -> list[Passage]:
    """Return the passages that runs make up: step 2 of the module.

    Args:
        runs: In order.
        stretches: Words of the output at which the model was given words of the work: no passage goes on over them.
    """
    parts = np.searchsorted(np.asarray(stretches, np.int64), [run.output for run in runs], side="right")
    close = _merged([Passage((run,)) for run in runs], [int(part) for part in parts], CLOSE)
    solid = [(passage, part) for passage, part in close if passage.words >= SOLID]
    return [passage for passage, _ in _merged([p for p, _ in solid], [part for _, part in solid], NEAR)]


def _merged(passages: Sequence[Passage], parts: Sequence[int], gap: int) -> list[tuple[Passage, int]]:
    """Return passages, those together that lie in one part with no more than a gap between them, and their parts."""
    starts = [0]
    for at, (one, other) in enumerate(pairwise(passages), 1):
        apart = max(other.work.start - one.work.stop, other.output.start - one.output.stop)
        if apart > gap or parts[at] != parts[at - 1]:
            starts.append(at)
    ends = [*starts[1:], len(passages)]
    return [
        (Passage(tuple(run for passage in passages[first:last] for run in passage.runs)), parts[first])
        for first, last in zip(starts, ends, strict=True)
        if first < last
    ]


def again(work: Symbols, given: Sequence[range], words: int = SOLID) -> Mask:
    """Return which words of a work are those that a model was given, or stand in as many words that it was given.

    Args:
        work: A number a word.
        given: Words of the work.
        words: How many words in a row make a copy of what was given.
    """
    found = np.zeros(len(work), bool)
    grams = _grams(work, words)
    told = np.zeros(len(grams), bool)
    for piece in given:
        found[piece.start : piece.stop] = True
        told[piece.start : max(piece.start, piece.stop - words + 1)] = True
    for at in np.flatnonzero(np.isin(grams, grams[told])):
        found[at : at + words] = True
    return found


def _grams(work: Symbols, words: int) -> NDArray[np.int64]:
    """Return a number for every run of so many words: equal runs have equal ones."""
    count = len(work) - words + 1
    if count <= 0:
        return np.empty(0, np.int64)
    grams: NDArray[np.int64] = work.astype(np.int64)
    size = 1
    while size < words:  # runs are named by two that cover them (Karp, Miller & Rosenberg 1972)
        step = min(size, words - size)
        pairs = grams[: len(grams) - step] * (int(grams.max()) + 1) + grams[step:]
        grams = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
        size += step
    return grams


class Progress:
    """How far a model follows a work, and whether it still finds new words of it, by runs of so many words.

    Attributes:
        reached: Words of the work up to which it was followed, what was given being followed too. A run that stands no
            more than `AHEAD` words behind them leads on; one farther off is found, and nothing is skipped for it.
    """

    def __init__(self, work: NDArray[np.uint64], words: int = SOLID) -> None:
        """Number the runs of a work.

        Args:
            work: A hash a word.
            words: Of a run.
        """
        self.words, self.reached = words, 0
        self._places: dict[bytes, list[int]] = {}
        self._found: dict[bytes, int] = {}
        for at, run in enumerate(self._runs(work)):
            self._places.setdefault(run, []).append(at)

    def note(self, output: NDArray[np.uint64]) -> bool:
        """Note what was written; return whether it leads on, or holds a run that was not written before.

        A run that the work has in several places is new as often as that.
        """
        before, new = self.reached, False
        for run in self._runs(output):
            places = self._places.get(run)
            if places is None:
                continue
            found = self._found.get(run, 0)
            new |= found < len(places)
            self._found[run] = found + 1
            following = bisect_right(places, self.reached - self.words)
            if following < len(places) and places[following] <= self.reached + AHEAD:
                self.reached = places[following] + self.words
        return new or self.reached > before

    def _runs(self, text: NDArray[np.uint64]) -> Iterator[bytes]:
        data, size = text.tobytes(), text.itemsize
        for at in range(len(text) - self.words + 1):
            yield data[at * size : (at + self.words) * size]


def _longest_runs(work: Symbols, output: Symbols, shortest: int) -> tuple[list[Run], list[Part]]:
    """Return the first runs that two texts share, and the parts that must be compared apart from others."""
    whole = Part(0, len(work), 0, len(output))
    if len(work) * len(output) <= SMALL:
        run = Run(*_longest_of_few(work, output))
        return ([run], whole.around(run)) if run.words >= shortest else ([], [])
    sorted_ = _Sorted.of(work, output)
    most = sorted_.most
    if most < shortest:
        return [], []
    least = max(shortest, (most + 1) // 2)
    shared = sorted_.maximal(least)
    if shared is None:  # both texts repeat themselves: one run at a time
        run = sorted_.first(most)
        return [run], whole.around(run)
    return _taken(whole, shared, least, shortest)


def _taken(whole: Part, shared: NDArray[np.int64], least: int, shortest: int) -> tuple[list[Run], list[Part]]:
    """Take the longest run, then those before and behind it, as long as they are of so many words; return the rest.

    Args:
        whole: All of both texts.
        shared: All runs of at least so many words that cannot be made longer, shape [runs, 3]: no other run of as many
            words is shared, so that in a part of the texts the longest of them, cut to it, is the longest there is.
        least: So many words.
        shortest: Words of any run; a part in which no longer ones can be is no rest.
    """
    found: list[Run] = []
    rests: list[Part] = []
    open_ = [(whole, shared)]
    while open_:
        part, known = open_.pop()
        skipped = np.maximum(0, np.maximum(part.first - known[:, 0], part.begin - known[:, 1]))
        ends = np.minimum(known[:, 2], np.minimum(part.last - known[:, 0], part.end - known[:, 1]))
        words, inside = ends - skipped, ends - skipped >= least
        if not inside.any():
            if least > shortest:
                rests.append(part)
            continue
        known, skipped, words = known[inside], skipped[inside], words[inside]
        starts = known[:, :2] + skipped[:, None]
        best = np.lexsort((starts[:, 1], starts[:, 0], -words))[0]
        run = Run(int(starts[best, 0]), int(starts[best, 1]), int(words[best]))
        found.append(run)
        open_ += [(rest, known) for rest in part.around(run)]
    return found, rests


@dataclass(frozen=True, slots=True, eq=False)
class _Sorted:
    """All ends of two texts in order, with a mark between the texts that stands nowhere else."""

    both: Symbols
    work: int
    """Words of the work: the mark stands there."""
    order: Symbols
    shared: Symbols
    """How many words each end begins with that the one before it begins with too."""

    @classmethod
    def of(cls, work: Symbols, output: Symbols) -> _Sorted:
        mark = max(int(work.max()), int(output.max())) + 1
        both = np.concatenate([work, [mark], output]).astype(np.int32)
        order = suffix_array(both)
        return cls(both, len(work), order, lcp_array(both, order))

    @property
    def _behind(self) -> Mask:
        return self.order > self.work

    @property
    def most(self) -> int:
        """Words of the longest run that the texts share."""
        crossing = np.append(False, self._behind[1:] != self._behind[:-1])
        return int(self.shared[crossing].max(initial=0))

    def first(self, most: int) -> Run:
        """Return the run of the most words that stands first in the work, then in the output."""
        group, behind, none = np.cumsum(self.shared < most), self._behind, len(self.both)
        first_work, first_output = (np.full(int(group[-1]) + 1, none, np.int64) for _ in range(2))
        np.minimum.at(first_work, group[~behind], self.order[~behind])
        np.minimum.at(first_output, group[behind], self.order[behind])
        first_work[first_output == none] = none
        best = int(np.argmin(first_work))
        return Run(int(first_work[best]), int(first_output[best]) - self.work - 1, most)

    def maximal(self, least: int) -> NDArray[np.int64] | None:
        """Return all runs of so many words or more that cannot be made longer, shape [runs, 3]; None if there are many.

        Many are more pairs of places than `PAIRS` times the words of both texts.
        """
        group, behind = np.cumsum(self.shared < least), self._behind
        counts = [np.bincount(group[side], minlength=int(group[-1]) + 1) for side in (~behind, behind)]
        pairs = int((counts[0].astype(np.int64) * counts[1]).sum())
        if pairs > PAIRS * len(self.both):
            return None
        runs = np.empty((pairs, 3), np.int64)
        return runs[: _fill_maximal(self.both, self.work, self.order, self.shared, least, runs)]


@njit(cache=True, nogil=True)
def _fill_maximal(
    both: Symbols, work: int, order: Symbols, shared: Symbols, least: int, runs: NDArray[np.int64]
) -> int:
    """Fill in the runs of `_Sorted.maximal`, and return their number."""
    count, first = 0, 0
    while first < len(order):
        last = first + 1
        while last < len(order) and shared[last] >= least:
            last += 1
        for one in range(first, last):
            here = order[one]
            if here >= work:
                continue
            for other in range(first, last):
                there = order[other]
                if there <= work or (here > 0 and there > work + 1 and both[here - 1] == both[there - 1]):
                    continue
                words = least
                while here + words < work and there + words < len(both) and both[here + words] == both[there + words]:
                    words += 1
                runs[count, 0], runs[count, 1], runs[count, 2] = here, there - work - 1, words
                count += 1
        first = last
    return count


@njit(cache=True, nogil=True)
def _longest_of_few(work: Symbols, output: Symbols) -> tuple[int, int, int]:
    """Return the same of short texts, by comparing every pair of words."""
    before, now = np.zeros(len(output) + 1, np.int64), np.zeros(len(output) + 1, np.int64)
    first, second, most = 0, 0, 0
    for i in range(len(work)):
        for j in range(len(output)):
            now[j + 1] = before[j] + 1 if work[i] == output[j] else 0
            if now[j + 1] > most:
                most = now[j + 1]
                first, second = i - most + 1, j - most + 1
        before, now = now, before
    return first, second, most


def words_in(passages: Sequence[Passage], least: int) -> Iterator[Run]:
    """Yield the runs of passages of at least so many words."""
    for passage in passages:
        if passage.words >= least:
            yield from passage.runs
