"""Escapes and tags resolved in UTF-8: what saving a text in a page, a string or an address writes for its characters.

HTML entities that end in a semicolon (``don&#39;t``) and tags (``one<br>two``), escapes of strings (``one\\ntwo``,
``caf\\u00e9``) and percent-encoding (``caf%C3%A9``), and up to twice more what that leaves: ``&amp;#39;`` is an
apostrophe too. Anything else stays as it is.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import (
    BLOCK,
    ZERO,
    as_read_only,
    copy_block,
    lowest_bit,
    read_only,
    span_mask,
    store_word,
)
from memaudit.text.words.escape_kernels import (
    AMPERSAND,
    BACKSLASH,
    LESS,
    PERCENT,
    Table,
    may_begin,
    read_escape,
    read_short,
)
from memaudit.text.words.markup import markup_table

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]

TIMES = 3
"""How often a text is taken for escaped."""
_SHORTEST = 2
"""Bytes of the shortest escape."""


def resolve(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """Return texts with their escapes resolved: the very arrays where there are none.

    Args:
        data: UTF-8 of the texts, end to end.
        offsets: Shape [texts + 1].
    """
    table = markup_table()
    view, bounds = read_only(data, np.uint8), read_only(offsets, np.int64)
    # One text after the other: what the next begins with may make a command of an escape.
    if all(find_escape(view, start, end, table) == end for start, end in pairwise(bounds.tolist())):
        return data, offsets
    resolved, ends = np.empty(room.py_func(int(bounds[-1] - bounds[0])), np.uint8), np.zeros_like(offsets)
    used = resolve_texts(view, bounds, table, resolved, ends)
    return resolved[:used], ends


def resolve_text(data: Bytes) -> tuple[Bytes, Int32s | None]:
    """Return the UTF-8 of one text with its escapes resolved, and the sources of its characters; None: as before.

    Sources, shape [characters + 2], are the characters of the text that each, and what stands behind the last, comes
    from: those from its source to the next larger one.
    """
    table, sources = markup_table(), None
    for _ in range(TIMES):
        view = read_only(data, np.uint8)
        place = find_escape(view, 0, len(view), table)
        if place == len(view):
            break
        resolved = np.empty(room.py_func(len(view)), np.uint8)
        edits = np.empty(((len(view) - place) // _SHORTEST + 1, 4), np.int64)
        used, count = resolve_once(view, 0, place, len(view), table, resolved, edits)
        data, found = resolved[:used], np.empty(used + 2, np.int32)
        found = found[: trace_characters(view, data, edits[:count], found)]
        sources = found if sources is None else sources[found]
    return data, sources


@njit(inline="always")
def room(size: int) -> int:
    """Return the bytes that as many may become, with a block that is written too much: only &nGt; and &nLt; grow."""
    return size + size // 5 + BLOCK


@njit(cache=True, nogil=True)
def resolve_texts(data: Bytes, offsets: Ints, table: Table, out: Bytes, ends: Ints) -> int:
    """Write the texts and where each ends; return how many bytes were written."""
    used, seen, scratch = 0, np.empty(0, np.uint8), np.empty(0, np.uint8)
    for text in range(len(offsets) - 1):
        size, seen, scratch = resolve_document(data, offsets[text], offsets[text + 1], table, seen, scratch)
        found = size >= 0
        used = _copy(seen, 0, size, out, used) if found else _copy(data, offsets[text], offsets[text + 1], out, used)
        ends[text + 1] = used
    return used


@njit(cache=True, nogil=True)
def resolve_document(
    data: Bytes, start: int, end: int, table: Table, seen: Bytes, scratch: Bytes
) -> tuple[int, Bytes, Bytes]:
    """Resolve the escapes of ``data[start:end]``.

    Returns the size of the text in the first of the two arrays that follow, -1 if there are no escapes, and arrays
    to be used again, as large as need be.
    """
    place = find_escape(data, start, end, table)
    if place == end:
        return -1, seen, scratch
    if len(seen) < room(end - start):
        seen, scratch = np.empty(room(2 * (end - start)), np.uint8), np.empty(room(2 * (end - start)), np.uint8)
    no_edits = np.empty((0, 4), np.int64)
    size, _ = resolve_once(data, start, place, end, table, seen, no_edits)
    for _ in range(1, TIMES):
        text = as_read_only(seen)
        place = find_escape(text, ZERO, size, table)
        if place == size:
            break
        seen, scratch = scratch, seen
        size, _ = resolve_once(text, ZERO, place, size, table, seen, no_edits)
    return size, seen, scratch


@njit(cache=True, nogil=True)
def resolve_once(
    data: Bytes, start: int, place: int, end: int, table: Table, out: Bytes, edits: Ints
) -> tuple[int, int]:
    """Write ``data[start:end]``, whose first escape is at ``place``, resolved once, and if there is room the edits.

    An edit is where an escape begins and ends in ``data``, and where what it stands for begins and ends in ``out``.
    Returns how many bytes and edits there are.
    """
    used, count = _copy(data, start, place, out, 0), 0
    while place < end:
        short = read_short(data, place, end)
        stop, word, size = place + 2, np.uint64(short), 1
        if short == 0:
            stop, word, size = read_escape(data, place, end, table)
        store_word(out, used, word)
        if len(edits):
            edits[count, 0], edits[count, 1] = place, stop
            edits[count, 2], edits[count, 3] = used, used + size
        count += 1
        used += size
        place = find_escape(data, stop, end, table)
        used = _copy(data, stop, place, out, used)
    return used, count


@njit(cache=True, nogil=True)
def trace_characters(data: Bytes, out: Bytes, edits: Ints, sources: Int32s) -> int:
    """Fill in the sources in ``data`` of what ``out`` holds; return how many there are."""
    at, character, made = 0, 0, 0
    for edit in range(len(edits) + 1):
        last = edit == len(edits)
        for k in range(at, len(data) if last else edits[edit, 0]):
            if data[k] & 0xC0 != 0x80:
                sources[made] = character
                made, character = made + 1, character + 1
        if not last:
            at, first = edits[edit, 1], character
            for k in range(edits[edit, 0], at):
                character += data[k] & 0xC0 != 0x80
            for k in range(edits[edit, 2], edits[edit, 3]):
                if out[k] & 0xC0 != 0x80:
                    sources[made] = first
                    made += 1
    sources[made], sources[made + 1] = character, character + 1
    return made + 2


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
def find_escape(data: Bytes, start: int, end: int, table: Table) -> int:
    """Return where the first escape or tag begins in ``data[start:end]``; ``end`` where there is none."""
    i = start
    while i < end:
        if i + BLOCK <= len(data):
            likely = span_mask(data, i, PERCENT, AMPERSAND)
            likely |= span_mask(data, i, LESS, LESS) | span_mask(data, i, BACKSLASH, BACKSLASH)
            while likely:
                place = i + lowest_bit(likely)
                if place >= end or _is_escape(data, place, end, table):
                    return int(min(place, end))
                likely &= likely - np.uint64(1)
            i += BLOCK
        elif _is_escape(data, i, end, table):
            return i
        else:
            i += 1
    return end


@njit(inline="always")
def _is_escape(data: Bytes, place: int, end: int, table: Table) -> bool:
    """Return whether an escape or a tag begins at ``place``; what is not read calls no function."""
    if read_short(data, place, end) > 0:
        return True
    return may_begin(data, place, end) and read_escape(data, place, end, table)[0] > place
