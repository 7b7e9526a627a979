"""What occurs more than once in a shard, from its suffix array in linear passes.

A repeat never crosses the end of a document: where two suffixes agree beyond it, the agreement is cut there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.index.shard import END, Int32Array, Int64Array, Shard
from memaudit.text.index.suffix import lcp_array

COPIES = (2, 3, 5, 9, 17, 65, 257)
"""Least copies of each class of the histogram: 2, 3-4, 5-8, 9-16, 17-64, 65-256, over 256."""
SAMPLED = 16
"""Occurrences of a span, and symbols of each, that tell whether it is a variant of one chosen before."""


class Repeats(NamedTuple):
    """Agreements within a shard."""

    shared: Int32Array
    """Symbols that each suffix shares with the one before it in the suffix array, its document's end excluded."""
    longest: Int32Array
    """Longest repeat that begins at each position; both of shape [symbols]."""


class Spans(NamedTuple):
    """Maximal repeats: neither all their occurrences can be extended by a symbol to the left, nor to the right."""

    length: Int32Array
    first: Int32Array
    last: Int32Array
    """The occurrences are ``suffixes[first:last]``."""
    extent: Int64Array
    """Bound of the symbols that lie in some occurrence."""


def find_repeats(shard: Shard) -> Repeats:
    """Return the repeats of a shard; 12 bytes per symbol while at work."""
    shared = lcp_array(shard.symbols, shard.suffixes)
    longest = np.empty(len(shared), np.int32)
    _cut(shard.symbols, shard.suffixes, shared, longest)
    return Repeats(shared, longest)


def covered_symbols(repeats: Repeats, lengths: Sequence[int]) -> list[int]:
    """Return how many symbols lie in a repeated span of at least each length (Lee et al. 2022)."""
    return [int(count) for count in _covered(repeats.longest, np.array(lengths, np.int64))]


def copies_histogram(repeats: Repeats, length: int) -> tuple[list[int], list[int]]:
    """Return distinct repeated spans of exactly ``length`` symbols, and their occurrences, by class of `COPIES`."""
    spans, places = _histogram(repeats.shared, length, np.array(COPIES, np.int64))
    return spans.tolist(), places.tolist()


def maximal_repeats(shard: Shard, repeats: Repeats, least: int) -> Spans:
    """Return the maximal repeats of at least ``least`` symbols, in no particular order."""
    return Spans(*_maximal(shard.symbols, shard.suffixes, repeats.shared, least))


def most_repeated(shard: Shard, spans: Spans, most: int) -> Int64Array:
    """Return which spans occupy the most symbols, none a variant of one before it.

    A variant lies for more than half in what those before it occupy, by a sample of its occurrences. The order
    goes by a bound that counts twice what an occurrence shares with the next.

    Args:
        shard: What the spans are of.
        spans: See `maximal_repeats`.
        most: Spans wanted.

    Returns:
        Their numbers, shape [at most ``most``].
    """
    order = np.lexsort((spans.first, spans.first - spans.last, -spans.extent))
    occupied = np.zeros(len(shard.symbols), np.bool_)
    return _choose(shard.suffixes, spans, order, occupied, most)


@njit(cache=True, nogil=True)
def _cut(symbols: Int32Array, suffixes: Int32Array, shared: Int32Array, longest: Int32Array) -> None:
    """Cut ``shared`` at the ends of documents and fill ``longest``, which first holds the way to these ends."""
    rest = 0
    for i in range(len(symbols) - 1, -1, -1):
        rest = 0 if symbols[i] == END else rest + 1
        longest[i] = rest
    above = 0
    for i in range(len(suffixes)):
        here = min(shared[i], longest[suffixes[i]])
        shared[i] = here
        if i:
            longest[suffixes[i - 1]] = max(above, here)
        above = here
    if len(suffixes):
        longest[suffixes[-1]] = above


@njit(cache=True, nogil=True)
def _covered(longest: Int32Array, lengths: Int64Array) -> Int64Array:
    counts = np.zeros(len(lengths), np.int64)
    reached = np.zeros(len(lengths), np.int64)
    for i in range(len(longest)):
        for k in range(len(lengths)):
            if longest[i] >= lengths[k]:
                reached[k] = max(reached[k], i + longest[i])
            counts[k] += i < reached[k]
    return counts


@njit(cache=True, nogil=True)
def _histogram(shared: Int32Array, length: int, classes: Int64Array) -> tuple[Int64Array, Int64Array]:
    spans, places = np.zeros(len(classes), np.int64), np.zeros(len(classes), np.int64)
    copies = 1
    for i in range(1, len(shared) + 1):
        if i < len(shared) and shared[i] >= length:
            copies += 1
            continue
        if copies > 1:
            k = len(classes) - 1
            while copies < classes[k]:
                k -= 1
            spans[k] += 1
            places[k] += copies
        copies = 1
    return spans, places


@njit(cache=True, nogil=True)
def _maximal(
    symbols: Int32Array, suffixes: Int32Array, shared: Int32Array, least: int
) -> tuple[Int32Array, Int32Array, Int32Array, Int64Array]:
    """Visit the intervals of equal prefixes from the inside out (Abouelhoda, Kurtz & Ohlebusch 2004).

    An interval on the stack: its depth, first suffix, what precedes all its suffixes (-1: not all the same), and
    its least and greatest position.
    """
    n = len(suffixes)
    stack = np.zeros((64, 5), np.int64)
    size = 1  # the root, of depth 0
    found = np.empty((64, 3), np.int32)
    extents = np.empty(64, np.int64)
    count = 0
    for i in range(1, n + 1):
        depth = shared[i] if i < n else 0
        place = suffixes[i - 1]
        before = symbols[place - 1] if place > 0 else END
        first, before, least_place, most_place = i - 1, np.int64(before if before != END else -1), place, place
        while stack[size - 1, 0] > depth:
            top = stack[size - 1]
            size -= 1
            first = top[1]
            before = before if before == top[2] else -1
            least_place, most_place = min(least_place, top[3]), max(most_place, top[4])
            if top[0] >= least and before < 0:
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                    extents = np.concatenate((extents, np.empty_like(extents)))
                found[count, 0], found[count, 1], found[count, 2] = top[0], first, i
                extents[count] = min((i - first) * top[0], most_place - least_place + top[0])
                count += 1
        top = stack[size - 1]
        if top[0] == depth:
            top[2] = before if before == top[2] else -1
            top[3], top[4] = min(least_place, top[3]), max(most_place, top[4])
        else:
            if size == len(stack):
                stack = np.concatenate((stack, np.empty_like(stack)))
            stack[size] = depth, first, before, least_place, most_place
            size += 1
    return found[:count, 0].copy(), found[:count, 1].copy(), found[:count, 2].copy(), extents[:count].copy()


@njit(cache=True, nogil=True)
def _choose(
    suffixes: Int32Array, spans: Spans, order: Int64Array, occupied: NDArray[np.bool_], most: int
) -> Int64Array:
    chosen = np.empty(most, np.int64)
    count = 0
    for number in order:
        if count == most:
            break
        if _is_variant(suffixes, spans, number, occupied):
            continue
        chosen[count] = number
        count += 1
        reached = 0
        for place in np.sort(suffixes[spans.first[number] : spans.last[number]]):
            end = place + spans.length[number]
            occupied[max(place, reached) : end] = True
            reached = end
    return chosen[:count]


@njit(cache=True, nogil=True)
def _is_variant(suffixes: Int32Array, spans: Spans, number: int, occupied: NDArray[np.bool_]) -> bool:
    copies = spans.last[number] - spans.first[number]
    length = spans.length[number]
    across, along = min(copies, SAMPLED), min(length, SAMPLED)
    taken = 0
    for i in range(across):
        place = suffixes[spans.first[number] + i * copies // across]
        for k in range(along):
            taken += occupied[place + k * length // along]
    return bool(2 * taken > across * along)
