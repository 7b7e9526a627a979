"""Suffix arrays and longest common prefixes of symbols of any alphabet, in linear time.

Induced sorting (SA-IS: Nong, Zhang & Chan 2009): a suffix is small (S) if it is less than the one that starts
a symbol later, else large (L). The small ones that follow a large one (LMS, at most every second) are
sorted by recursion on names of the pieces between them; two scans over the array then give the order of all
others. Beside symbols and array there are two tables of the alphabet and the LMS positions, twice: about 14 bytes
per symbol of text in all, 18 at worst, where hardly a symbol comes twice.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from memaudit.text.index.memory import Int32Array, UInt32Array, prefetch
from memaudit.text.words.blocks import ZERO, read_only

AHEAD = 64
"""Entries between the scan and what it fetches into the cache for later: some hundred nanoseconds of work."""


def suffix_array(symbols: Int32Array) -> Int32Array:
    """Return the positions of ``symbols`` in the order of the suffixes that start there; the end is least.

    Args:
        symbols: int32 of any values, shape [n], n < 2^31; may be a read-only memory map. Values in 0..n are
            sorted as they are; others cost time and room for a copy with ranks in their place.

    Returns:
        The suffix array, shape [n].

    Raises:
        ValueError: If there are 2^31 symbols or more.
    """
    if len(symbols) >= 2**31:
        raise ValueError(f"{len(symbols):,} symbols are too many for positions of 32 bits")
    if not len(symbols):
        return np.empty(0, np.int32)
    text, alphabet = _ranked(read_only(symbols, np.int32))
    suffixes = np.empty(len(text), np.int32)
    _sort(text, suffixes, alphabet)
    return suffixes


def lcp_array(symbols: Int32Array, suffixes: Int32Array) -> Int32Array:
    """Return how many symbols each suffix shares with the one before it in the suffix array.

    Args:
        symbols: int32, shape [n].
        suffixes: Their suffix array, shape [n].

    Returns:
        Lengths, shape [n]; 0 for the first suffix. Computed in linear time, in order of the text (Kärkkäinen,
        Manzini & Puglisi 2009).
    """
    text, order = read_only(symbols, np.int32), read_only(suffixes, np.int32)
    shared = np.empty(len(order), np.int32)
    _shared_prefixes(text, order, np.empty(len(order), np.int32), shared)
    return shared


def _ranked(symbols: Int32Array) -> tuple[UInt32Array, int]:
    """Return symbols of the same order with values from 0, and a bound above all of them."""
    least, most = int(symbols.min()), int(symbols.max())
    if least >= 0 and most <= len(symbols):
        return symbols.view(np.uint32), most + 1
    distinct = np.unique(symbols)
    ranks = np.empty(len(symbols), np.uint32)
    for first in range(0, len(symbols), 2**20):
        ranks[first : first + 2**20] = np.searchsorted(distinct, symbols[first : first + 2**20])
    return read_only(ranks, np.uint32), len(distinct)


def _sort(text: UInt32Array, suffixes: Int32Array, alphabet: int) -> None:
    """Fill ``suffixes`` with the suffix array of ``text``, whose symbols are below ``alphabet``."""
    starts = np.zeros(alphabet + 1, np.uint32)
    pieces = _pieces(text, _count(text, starts))
    count = len(pieces)
    _induce(text, starts, pieces, suffixes, False)
    names = _name(text, pieces, suffixes)
    order = suffixes[:count].copy()
    if names < count:
        _sort(read_only(suffixes[count : 2 * count].view(np.uint32), np.uint32), order, names)
        _take(pieces, order)
    del pieces  # its room is wanted
    _induce(text, starts, order, suffixes, True)


@njit(cache=True, nogil=True)
def _prefetch_next(text: UInt32Array, ends: UInt32Array, suffixes: Int32Array, i: int, ahead: int) -> None:
    """Fetch what `_induce` will want of the entries to come: the text, the symbol's place, the entry there.

    Without a branch, so that numba finds that it need not count references to the arrays.
    """
    n = len(suffixes)
    prefetch(text, max(suffixes[min(max(i + 3 * ahead, 0), n - 1)], 1) - 1)
    prefetch(ends, text[max(suffixes[min(max(i + 2 * ahead, 0), n - 1)], 1) - 1])
    prefetch(suffixes, ends[text[max(suffixes[min(max(i + ahead, 0), n - 1)], 1) - 1]])


@njit(cache=True, nogil=True)
def _count(text: UInt32Array, starts: UInt32Array) -> int:
    """Fill ``starts`` [alphabet + 1] with the first place of every symbol; return the number of LMS positions."""
    pieces = 0
    small = False
    starts[text[len(text) - 1] + 1] += 1
    for i in range(len(text) - 2, -1, -1):
        starts[text[i] + 1] += 1
        before = (text[i] < text[i + 1]) | (small & (text[i] == text[i + 1]))
        pieces += small & (not before)
        small = before
    for symbol in range(1, len(starts)):
        starts[symbol] += starts[symbol - 1]
    return pieces


@njit(cache=True, nogil=True)
def _pieces(text: UInt32Array, count: int) -> Int32Array:
    """Return the LMS positions in order, shape [count]."""
    pieces = np.empty(count + 1, np.int32)
    end = count
    small = False
    for i in range(len(text) - 2, -1, -1):
        before = (text[i] < text[i + 1]) | (small & (text[i] == text[i + 1]))
        pieces[end] = i + 1
        end -= small & (not before)
        small = before
    return pieces[1:]


@njit(cache=True, nogil=True)
def _induce(text: UInt32Array, starts: UInt32Array, pieces: Int32Array, suffixes: Int32Array, final: bool) -> None:
    """Sort all suffixes, given the LMS positions in sorted order.

    Those are put at the end of their symbols' places. Then a scan upwards derives from each entry the large
    position before it, and a scan downwards the small one; a complement stands where the scan at hand has
    nothing to derive. If not ``final``, the LMS positions may come in any order and are sorted by their pieces
    only; nothing is left but they, as ``~p``.
    """
    n = len(text)
    places = starts[1:].copy()
    suffixes[:] = 0
    for i in range(len(pieces) - 1, -1, -1):
        prefetch(text, pieces[max(i - 2 * AHEAD, 0)])
        prefetch(suffixes, places[text[pieces[max(i - AHEAD, 0)]]])
        symbol = text[pieces[i]]
        places[symbol] -= 1
        suffixes[places[symbol]] = pieces[i]
    for symbol in range(len(places)):
        places[symbol] = starts[symbol]
    last = text[n - 1]
    suffixes[places[last]] = ~(n - 1) if n > 1 and text[n - 2] < last else n - 1
    places[last] += 1
    for i in range(n):
        _prefetch_next(text, places, suffixes, i, ZERO + AHEAD)
        place = suffixes[i]
        suffixes[i] = ~place if final or place < 0 else 0
        if place > 0:
            place -= 1
            symbol = text[place]
            suffixes[places[symbol]] = ~place if place > 0 and text[place - 1] < symbol else place
            places[symbol] += 1
    for symbol in range(len(places)):
        places[symbol] = starts[symbol + 1]
    for i in range(n - 1, -1, -1):
        _prefetch_next(text, places, suffixes, i, ZERO - AHEAD)
        place = suffixes[i]
        if place > 0:
            if not final:
                suffixes[i] = 0
            place -= 1
            symbol = text[place]
            places[symbol] -= 1
            suffixes[places[symbol]] = place if place > 0 and text[place - 1] <= symbol else ~place
        elif final:
            suffixes[i] = ~place


@njit(cache=True, nogil=True)
def _name(text: UInt32Array, pieces: Int32Array, suffixes: Int32Array) -> int:
    """Gather the sorted LMS positions at the front, and behind them the ranks of their pieces in order of the text.

    Returns the number of different pieces.
    """
    n, count = len(text), len(pieces)
    end = 0
    for i in range(n):
        place = suffixes[i]
        suffixes[end] = ~place
        end += place < -1
    names = suffixes[count:]
    for i in range(count):
        following = pieces[i + 1] if i + 1 < count else n
        names[pieces[i] >> 1] = following - pieces[i] + 1
    rank = -1
    last, last_length = n, 0
    for i in range(count):
        far = suffixes[min(i + AHEAD, count - 1)]
        prefetch(text, far)
        prefetch(names, far >> 1)
        place = suffixes[i]
        length = names[place >> 1]
        same = length == last_length and max(place, last) + length <= n
        k = 0
        while same and k < length:
            same = text[place + k] == text[last + k]
            k += 1
        if not same:
            rank += 1
            last, last_length = place, length
        names[place >> 1] = rank
    for i in range(count):
        names[i] = names[pieces[i] >> 1]
    return rank + 1


@njit(cache=True, nogil=True)
def _take(values: Int32Array, indices: Int32Array) -> None:
    """Put in place of each index the value that it names."""
    for i in range(len(indices)):
        prefetch(values, indices[min(i + AHEAD, len(indices) - 1)])
        indices[i] = values[indices[i]]


@njit(cache=True, nogil=True)
def _shared_prefixes(text: Int32Array, order: Int32Array, room: Int32Array, shared: Int32Array) -> None:
    """Fill ``shared`` from neighbours' common lengths, found in order of the text, where they fall by at most 1."""
    n = len(order)
    for i in range(n):
        prefetch(room, order[min(i + AHEAD, n - 1)])
        room[order[i]] = order[i - 1] if i else n
    length = 0
    for i in range(n):
        prefetch(text, room[min(i + AHEAD, n - 1)] + length)
        other = room[i]
        most = n - max(i, other)
        while length < most and text[i + length] == text[other + length]:
            length += 1
        length = min(length, most)
        room[i] = length
        length = max(0, length - 1)
    for i in range(n):
        prefetch(room, order[min(i + AHEAD, n - 1)])
        shared[i] = room[order[i]]
