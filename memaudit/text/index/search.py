"""Queries of a suffix array: how often patterns occur, the longest match at every position, what comes next.

A query is a search for its place among the sorted suffixes: its longest match starts one of the two
neighbours, and the suffixes that share it lie around them. A search is a chain of cache misses, so a
batch runs many at once, each a step at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from memaudit.errors import InputError
from memaudit.text.index.memory import Int32Array, Int64Array, prefetch
from memaudit.text.words.blocks import ZERO, read_only

LANES = 24
"""Searches in flight at once."""

NEAR = 32
"""Symbols that are compared before a run of equal ones counts as long."""

RUNS = 1024
"""Long equal runs that are remembered, a power of 2."""

DAMAGED = "the suffix array names places that do not exist"
_NO_PLACE = -(2**31)
"""What stands at a place that does not exist."""

PLACE, LAST, FIRST = 0, 1, 2
"""What a search looks for, in this order: the query's place, the ends of its match's range."""

LANE = np.dtype(
    [
        (name, np.int64)
        for name in (
            "query begin end phase goal",  # goal: how many symbols of text[begin:end] are compared
            "bucket_low bucket_high",  # range of the first symbol
            "low high low_shared high_shared",  # what is looked for lies in low..high; shared by low - 1 and high
            "probe place step",  # the entry to look at, the position that stands there, the next stride
            "length before first last",  # the longest match; does the suffix before the query's place have it?
        )
        for name in name.split()
    ]
)
"""The state of a search."""


def first_ranges(symbols: Int32Array, suffixes: Int32Array, alphabet: int) -> Int64Array:
    """Return where in the suffix array the suffixes of each first symbol lie.

    Args:
        symbols: int32 in 0..alphabet-1, shape [n].
        suffixes: Their suffix array, shape [n].
        alphabet: Number of symbols.

    Returns:
        Suffixes that start with ``s`` are ``suffixes[r[s]:r[s + 1]]``; shape [alphabet + 1].
    """
    ranges = np.zeros(alphabet + 1, np.int64)
    found, counts = next_symbols(symbols, suffixes, 0, len(suffixes), 0)
    ranges[found.astype(np.int64) + 1] = counts
    return np.cumsum(ranges)


def find(
    symbols: Int32Array, suffixes: Int32Array, buckets: Int64Array, patterns: Int32Array, offsets: Int64Array
) -> Int64Array:
    """Return the range of the suffix array where each pattern starts; ends minus starts are the counts.

    Args:
        symbols: int32, shape [n].
        suffixes: Their suffix array, shape [n].
        buckets: Their `first_ranges`.
        patterns: Patterns laid end to end, int32; a symbol outside the alphabet occurs nowhere.
        offsets: Pattern ``i`` is ``patterns[offsets[i]:offsets[i + 1]]``, shape [patterns + 1].

    Returns:
        Start and end, (0, 0) for a pattern that does not occur, shape [patterns, 2]. The empty pattern starts
        everywhere.
    """
    bounds = np.column_stack([offsets[:-1], offsets[1:]]).astype(np.int64)
    _, ranges = _matches(symbols, suffixes, buckets, read_only(patterns, np.int32), bounds, whole=True)
    ranges[bounds[:, 0] == bounds[:, 1], 1] = len(suffixes)
    return ranges


def longest_matches(
    symbols: Int32Array, suffixes: Int32Array, buckets: Int64Array, text: Int32Array
) -> tuple[Int32Array, Int64Array]:
    """Return the longest match at every position of a text (matching statistics: Chang & Lawler 1994).

    Args:
        symbols: int32, shape [n].
        suffixes: Their suffix array, shape [n].
        buckets: Their `first_ranges`.
        text: int32, shape [t]; symbols below 1 or outside the alphabet match nothing.

    Returns:
        For each position, the greatest ``k`` for which ``text[i:i + k]`` occurs, shape [t], and the range of
        the suffix array where it starts, (0, 0) where ``k`` is 0, shape [t, 2].
    """
    text = read_only(text, np.int32)
    positions = np.arange(len(text), dtype=np.int64)
    known = (text >= 1) & (text < len(buckets) - 1)
    ends = np.minimum.accumulate(np.where(known, len(text), positions)[::-1])[::-1]
    return _matches(symbols, suffixes, buckets, text, np.column_stack([positions, ends]), whole=False)


def next_symbols(
    symbols: Int32Array, suffixes: Int32Array, first: int, last: int, depth: int
) -> tuple[Int32Array, Int64Array]:
    """Return the distinct symbols that follow a match, in order, and how often each does.

    Args:
        symbols: int32, shape [n].
        suffixes: Their suffix array, shape [n].
        first: Start of the match's range in the suffix array.
        last: End of the range.
        depth: Length of the match.

    Returns:
        Symbols and counts, both of shape [distinct]; a match at the very end of ``symbols`` is followed by none.
    """
    found, counts = _next_symbols(read_only(symbols, np.int32), read_only(suffixes, np.int32), first, last, depth)
    if (found == _NO_PLACE).any():
        raise InputError(DAMAGED, "build the index again")
    return found, counts


def _matches(
    symbols: Int32Array, suffixes: Int32Array, buckets: Int64Array, text: Int32Array, bounds: Int64Array, *, whole: bool
) -> tuple[Int32Array, Int64Array]:
    lengths = np.zeros(len(bounds), np.int32)
    ranges = np.zeros_like(bounds)
    corpus = read_only(symbols, np.int32), read_only(suffixes, np.int32), read_only(buckets, np.int64)
    if not _match(*corpus, text, bounds, whole, lengths, ranges):
        raise InputError(DAMAGED, "build the index again")
    return lengths, ranges


@njit(cache=True, nogil=True)
def _match(
    symbols: Int32Array,
    suffixes: Int32Array,
    buckets: Int64Array,
    text: Int32Array,
    bounds: Int64Array,
    whole: bool,
    lengths: Int32Array,
    ranges: Int64Array,
) -> bool:
    """Fill the longest match of ``text[begin:end]`` from ``begin`` on, for each row of ``bounds`` [queries, 2].

    With ``whole``, only for the queries that occur as a whole. Returns False if the suffix array names a place
    that does not exist.
    """
    lanes = np.zeros(LANES, LANE)
    runs = np.full((RUNS, 3), -1, np.int64)
    following, active = ZERO, 0
    while active or following < len(bounds):
        while active < LANES and following < len(bounds):
            if _enter(lanes[active], following, bounds[following], text, buckets):
                prefetch(suffixes, lanes[active].probe)
                active += 1
            following += 1
        for i in range(active):
            lane = lanes[i]
            lane.place = suffixes[lane.probe]
            if not 0 <= lane.place < len(symbols):
                return False
            prefetch(symbols, lane.place + min(lane.low_shared, lane.high_shared))
        i = 0
        while i < active:
            lane = lanes[i]
            if _move(lane, *_compare(symbols, text, lane, runs), whole):
                prefetch(suffixes, lane.probe)
                i += 1
            else:
                if not whole or lane.length == lane.end - lane.begin:
                    lengths[lane.query] = lane.length
                    ranges[lane.query, 0], ranges[lane.query, 1] = lane.first, lane.last
                active -= 1
                lanes[i] = lanes[active]
    return True


@njit(cache=True, nogil=True)
def _enter(lane: Any, query: int, bounds: Int64Array, text: Int32Array, buckets: Int64Array) -> bool:
    """Begin a search among the suffixes with the query's first symbol; return whether there are any."""
    begin, end = bounds
    if begin == end or not 0 <= text[begin] < len(buckets) - 1:
        return False
    low, high = buckets[text[begin]], buckets[text[begin] + 1]
    lane.query, lane.begin, lane.end, lane.phase, lane.goal = query, begin, end, PLACE, end - begin
    lane.bucket_low, lane.bucket_high = low, high
    lane.low, lane.high, lane.low_shared, lane.high_shared = low, high, 1, 1
    lane.probe = (low + high) >> 1
    return bool(low < high)


@njit(cache=True, nogil=True)
def _compare(symbols: Int32Array, text: Int32Array, lane: Any, runs: Int64Array) -> tuple[bool, int]:
    """Return whether what is looked for lies behind the probe, and how many symbols query and probe share.

    Long runs are remembered by their diagonal, the distance between corpus and text, so that the positions of
    a copied passage do not each walk to its end.
    """
    place, begin = lane.place, lane.begin
    shared = min(lane.low_shared, lane.high_shared)
    most = min(lane.goal, len(symbols) - place)
    near = min(most, shared + NEAR)
    while shared < near and symbols[place + shared] == text[begin + shared]:
        shared += 1
    if shared == near and near < most:
        diagonal = place - begin
        run = runs[diagonal & (RUNS - 1)]
        if run[0] == diagonal and run[1] <= begin <= run[2]:
            shared = max(shared, min(most, run[2] - begin))
        else:
            run[0], run[1], run[2] = diagonal, begin, begin
        while shared < most and symbols[place + shared] == text[begin + shared]:
            shared += 1
        run[2] = max(run[2], begin + shared)
    if lane.phase == LAST:
        return shared == lane.goal, shared
    if lane.phase == FIRST or shared == lane.goal:
        return shared < lane.goal, shared
    return place + shared == len(symbols) or symbols[place + shared] < text[begin + shared], shared


@njit(cache=True, nogil=True)
def _move(lane: Any, behind: bool, shared: int, whole: bool) -> bool:
    """Take note of a probe and choose the next one; return whether there is one.

    Bisection finds the query's place. The ends of the match's range mostly lie near it: strides of 1, 2, 4, ...
    away from it look for them.
    """
    if behind:
        lane.low, lane.low_shared = lane.probe + 1, shared
    else:
        lane.high, lane.high_shared = lane.probe, shared
    if lane.low == lane.high and lane.phase == PLACE:
        lane.length = max(lane.low_shared, lane.high_shared)
        if whole and lane.length < lane.goal:
            return False
        if lane.length == 1:
            lane.first, lane.last = lane.bucket_low, lane.bucket_high
            return False
        lane.first = lane.low
        lane.before = lane.low_shared == lane.length
        lane.phase, lane.goal, lane.step = LAST, lane.length, 1
        if lane.high_shared == lane.length:
            lane.low, lane.high = lane.low + 1, lane.bucket_high
            lane.low_shared, lane.high_shared = lane.length, 1
    if lane.low == lane.high and lane.phase == LAST:
        lane.last = lane.low
        lane.phase, lane.step = FIRST, 1
        if lane.before:
            lane.low, lane.high = lane.bucket_low, lane.first - 1
            lane.low_shared, lane.high_shared = 1, lane.length
    if lane.low == lane.high:
        lane.first = lane.low if lane.before else lane.first
        return False
    reach = (lane.high - lane.low) >> 1
    if lane.phase == PLACE:
        lane.probe = lane.low + reach
        return True
    reach = min(reach, lane.step - 1)
    lane.probe = lane.low + reach if lane.phase == LAST else lane.high - 1 - reach
    lane.step *= 2
    return True


@njit(cache=True, nogil=True)
def _symbol_at(symbols: Int32Array, place: int) -> int:
    return symbols[place] if 0 <= place < len(symbols) else _NO_PLACE


@njit(cache=True, nogil=True)
def _next_symbols(
    symbols: Int32Array, suffixes: Int32Array, first: int, last: int, depth: int
) -> tuple[Int32Array, Int64Array]:
    """Walk over the range from one symbol to the next, in strides of 1, 2, 4, ... and by bisection."""
    found, counts = np.empty(16, np.int32), np.empty(16, np.int64)
    size = 0
    while first < last and suffixes[first] + depth >= len(symbols):
        first += 1
    while first < last:
        symbol = _symbol_at(symbols, suffixes[first] + depth)
        step = 1
        while first + step < last and _symbol_at(symbols, suffixes[first + step] + depth) == symbol:
            step *= 2
        low, high = first + step // 2 + 1, min(first + step, last)
        while low < high:
            middle = (low + high) >> 1
            if _symbol_at(symbols, suffixes[middle] + depth) == symbol:
                low = middle + 1
            else:
                high = middle
        if size == len(found):
            found = np.concatenate((found, np.empty_like(found)))
            counts = np.concatenate((counts, np.empty_like(counts)))
        found[size], counts[size] = symbol, low - first
        size += 1
        first = low
    return found[:size].copy(), counts[:size].copy()
