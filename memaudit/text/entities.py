"""HTML entities resolved in UTF-8: a page that was saved as HTML writes ``don&#39;t`` for ``don't``.

References that end in a semicolon, by number or by a name of HTML 5, are resolved as `html.unescape` of the standard
library does, and once more what that leaves: ``&amp;#39;`` is an apostrophe too. Anything else stays as it is.
"""

from __future__ import annotations

import html
from functools import cache
from html.entities import html5
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.blocks import BLOCK, copy_block, lowest_bit, read_only, span_mask, store_word

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]

TIMES = 2
"""How often a text is taken for escaped."""
_SHORTEST = 4
"""Bytes of the shortest entity."""
_SLOTS = 1 << 13
_AMPERSAND, _HASH, _SEMICOLON, _X = ord("&"), ord("#"), ord(";"), ord("x")
_SEED, _PRIME, _LAST_SLOT = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(_SLOTS - 1)


class EntityTable(NamedTuple):
    """What references stand for: up to eight bytes of UTF-8, the first lowest, and how many."""

    keys: NDArray[np.uint64]
    """Shape [slots]: FNV-1a of the names, each in the first free slot from the one that its lowest bits say."""
    spellings: NDArray[np.uint64]
    """Shape [slots]."""
    sizes: NDArray[np.uint8]
    """Shape [slots]."""
    numbers: NDArray[np.uint64]
    """Shape [256]: spellings of the first numbers, some of which HTML reads as Windows-1252."""
    number_sizes: NDArray[np.uint8]
    """Shape [256]."""


class Origins(NamedTuple):
    """The characters ``[start, end)`` of a text that those of a changed one, and what stands behind it, come from."""

    starts: Ints | Int32s
    """Shape [characters + 1]."""
    ends: Ints | Int32s
    """Shape [characters + 1]."""

    def at(self, places: Ints | Int32s) -> Origins:
        """Return those of some characters."""
        return Origins(self.starts[places], self.ends[places])

    def of(self, other: Origins) -> Origins:
        """Return where the characters of a text come from that ``other`` leads to this one."""
        return Origins(self.starts[other.starts], self.ends[other.ends - 1])


@cache
def entity_table() -> EntityTable:
    """Return the table of HTML 5."""
    keys, spellings, sizes = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint8)
    for name, text in html5.items():
        if name.endswith(";"):
            key = _key(name[:-1])
            slot = key % _SLOTS
            while keys[slot]:
                slot = (slot + 1) % _SLOTS
            keys[slot] = key
            spellings[slot], sizes[slot] = _spelled(text)
    numbers, number_sizes = zip(*(_spelled(html.unescape(f"&#{number};")) for number in range(256)), strict=True)
    return EntityTable(keys, spellings, sizes, np.array(numbers, np.uint64), np.array(number_sizes, np.uint8))


def _key(name: str) -> int:
    """Return what `_hash` does: a kernel that is called once a name would take a third of a second."""
    key = int(_SEED)
    for byte in name.encode():
        key = (key ^ byte) * int(_PRIME) % 2**64
    return key


def _spelled(text: str) -> tuple[int, int]:
    raw = text.encode()
    return int.from_bytes(raw, "little"), len(raw)


def resolve(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """Return texts with their entities resolved: the very arrays where there are none.

    Args:
        data: UTF-8 of the texts, end to end.
        offsets: Shape [texts + 1].
    """
    for _ in range(TIMES):
        resolved = _resolve_once(data, offsets, np.empty((0, 4), np.int64))
        if resolved is None:
            break
        data, offsets, _ = resolved
    return data, offsets


def resolve_text(data: Bytes) -> tuple[Bytes, Origins | None]:
    """Return the UTF-8 of one text with its entities resolved, and where its characters come from; None: as before."""
    origins = None
    for _ in range(TIMES):
        resolved = _resolve_once(data, np.array([0, len(data)]), np.empty((len(data) // _SHORTEST + 1, 4), np.int64))
        if resolved is None:
            break
        found = _origins(_characters_before(data), _characters_before(resolved[0]), resolved[2])
        data, origins = resolved[0], origins.of(found) if origins else found
    return data, origins


def _resolve_once(data: Bytes, offsets: Ints, edits: Ints) -> tuple[Bytes, Ints, Ints] | None:
    """Return resolved texts, where each begins, and the edits there was room to note; None if there are none."""
    table = entity_table()
    data, offsets = read_only(data, np.uint8), read_only(offsets, np.int64)
    if find_entity(data, offsets[0], offsets[-1], table) == offsets[-1]:
        return None
    size = int(offsets[-1] - offsets[0])
    # Only &nGt; and &nLt; grow, from five bytes to six; up to a block is written too much.
    resolved, ends = np.empty(size + size // 5 + BLOCK, np.uint8), np.zeros_like(offsets)
    used, noted = resolve_texts(data, offsets, table, resolved, ends, edits)
    return resolved[:used], ends, edits[:noted]


def _characters_before(data: Bytes) -> Ints:
    """Return how many characters begin before each byte, and in all; shape [bytes + 1]."""
    counts: Ints = np.concatenate([[0], np.cumsum(data & 0xC0 != 0x80)]).astype(np.int64)
    return counts


def _origins(before: Ints, after: Ints, edits: Ints) -> Origins:
    """Return the characters that those of a resolved text come from.

    Args:
        before: `_characters_before` of the text as it was.
        after: Those of the resolved one.
        edits: From the one to the other, as `resolve_texts` notes them.
    """
    first, last, begin, end = (side[edits[:, k]] for k, side in enumerate((before, before, after, after)))
    shifts = np.zeros(after[-1] + 1, np.int64)
    np.add.at(shifts, end, (last - first) - (end - begin))
    starts = np.arange(len(shifts)) + np.cumsum(shifts)
    ends = np.append(starts[1:], starts[-1] + 1)
    double = end - begin == 2  # of two characters both come from the whole
    starts[begin[double] + 1], ends[begin[double]] = first[double], last[double]
    return Origins(starts, ends)


@njit(inline="always")
def _hash(data: Bytes, start: int, end: int) -> np.uint64:
    """Return the FNV-1a hash of ``data[start:end]``."""
    key = _SEED
    for k in range(start, end):
        key = (key ^ np.uint64(data[k])) * _PRIME
    return key


@njit(cache=True, nogil=True)
def resolve_texts(
    data: Bytes, offsets: Ints, table: EntityTable, out: Bytes, ends: Ints, edits: Ints
) -> tuple[int, int]:
    """Write the resolved texts, where each ends, and if there is room the edits.

    An edit is where an entity begins and ends in ``data``, and where what it stands for begins and ends in ``out``.
    Returns how many bytes and edits were written.
    """
    used, noted = 0, 0
    for text in range(len(offsets) - 1):
        i, end = offsets[text], offsets[text + 1]
        while i < end:
            place = find_entity(data, i, end, table)
            used = _copy(data, i, place, out, used)
            i = place
            if place < end:
                i, word, size = _read_entity(data, place, end, table)
                store_word(out, used, word)
                if len(edits):
                    edits[noted, 0], edits[noted, 1] = place, i
                    edits[noted, 2], edits[noted, 3] = used, used + size
                    noted += 1
                used += size
        ends[text + 1] = used
    return used, noted


@njit(inline="always")
def _copy(data: Bytes, start: int, end: int, out: Bytes, used: int) -> int:
    """Copy ``data[start:end]``, a block at a time, which may write a block too much; return what is used then."""
    for i in range(start, end, BLOCK):
        if i + BLOCK <= len(data):
            copy_block(data, i, out, used + i - start)
        else:
            for k in range(i, end):
                out[used + k - start] = data[k]
    return used + end - start


@njit(cache=True, nogil=True)
def find_entity(data: Bytes, start: int, end: int, table: EntityTable) -> int:
    """Return where the first entity begins in ``data[start:end]``; ``end`` where there is none."""
    i = start
    while i < end:
        if i + BLOCK <= len(data):
            likely = span_mask(data, i, _AMPERSAND, _AMPERSAND)
            while likely:
                place = i + lowest_bit(likely)
                if place >= end or _read_entity(data, place, end, table)[0] > place:
                    return int(min(place, end))
                likely &= likely - np.uint64(1)
            i += BLOCK
        elif data[i] == _AMPERSAND and _read_entity(data, i, end, table)[0] > i:
            return i
        else:
            i += 1
    return end


@njit(cache=True, nogil=True)
def _read_entity(data: Bytes, place: int, end: int, table: EntityTable) -> tuple[int, np.uint64, int]:
    """Return where the entity that begins at ``place`` ends, its spelling and size; ``place`` if there is none."""
    stop = place + 1
    while stop < end and _may_name(data[stop], stop == place + 1):
        stop += 1
    if stop >= end or data[stop] != _SEMICOLON:
        return place, np.uint64(0), 0
    if data[place + 1] == _HASH:
        number = _read_number(data, place + 2, stop)
        if number < 0:
            return place, np.uint64(0), 0
        if number < 256:
            return stop + 1, table.numbers[number], int(table.number_sizes[number])
        word, size = _encode(number)
        return stop + 1, word, size
    key = _hash(data, place + 1, stop)
    slot = np.int64(key & _LAST_SLOT)
    while table.keys[slot]:
        if table.keys[slot] == key:
            return stop + 1, table.spellings[slot], int(table.sizes[slot])
        slot = (slot + 1) % _SLOTS
    return place, np.uint64(0), 0


@njit(inline="always")
def _may_name(byte: int, first: bool) -> bool:
    return 0x61 <= byte | 0x20 <= 0x7A or 0x30 <= byte <= 0x39 or (first and byte == _HASH)


@njit(cache=True, nogil=True)
def _read_number(data: Bytes, start: int, end: int) -> int:
    """Return the decimal or hexadecimal number, at most one past the last code point; -1 where it is none."""
    base = 16 if start < end and data[start] | 0x20 == _X else 10
    first = start + (base == 16)
    number = 0 if first < end else -1
    for k in range(first, end):
        digit = int(data[k]) - 0x30 if data[k] <= 0x39 else int(data[k] | 0x20) - 0x57
        if digit >= base:
            return -1
        number = min(number * base + digit, 0x110000)
    return number


@njit(cache=True, nogil=True)
def _encode(point: int) -> tuple[np.uint64, int]:
    """Return the UTF-8 of a code point from 256 on and its length; nothing for one that is no character."""
    if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
        point = 0xFFFD
    if point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF:
        return np.uint64(0), 0
    if point < 0x800:
        return np.uint64(0xC0 | point >> 6 | (0x80 | point & 0x3F) << 8), 2
    if point < 0x10000:
        tail = (0x80 | point >> 6 & 0x3F) << 8 | (0x80 | point & 0x3F) << 16
        return np.uint64(0xE0 | point >> 12 | tail), 3
    tail = (0x80 | point >> 12 & 0x3F) << 8 | (0x80 | point >> 6 & 0x3F) << 16 | (0x80 | point & 0x3F) << 24
    return np.uint64(0xF0 | point >> 18 | tail), 4
