"""From UTF-8 to word hashes: text is folded into a small buffer; `span_kernels` cuts words out of it and hashes them.

The buffer holds the UTF-8 of what words are made of and zeros between them. Plain ASCII goes through 64
bytes at a time; any other character, and an apostrophe that may join two letters, is written from the table
of folds. The buffer stays in the first cache, and of a long document only the last word is carried over when
it is emptied.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, ZERO, as_read_only, fold_block, lowest_bit, span_mask, store_word
from memaudit.text.words.escapes import resolve_document
from memaudit.text.words.span_kernels import find_edges, hash_spans
from memaudit.text.words.visible_text import find_blank

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Hashes = NDArray[np.uint64]

BUFFER = 8 << 10
SLACK = 4 * BLOCK
"""Bytes behind the limit of a buffer: the longest spelling of a character and blocks that are read."""

LENGTH, CLASS, FIRST_CLASS, LAST_CLASS = 0xFF, 0xFF, 8, 16
"""Mask of the length in ``FoldTable.shapes``; mask and shifts of the two combining classes."""
STARTS_WITH_MARK, ENDS_ALONE, LONG, KNOWN, WANTED = 1 << 24, 1 << 25, 1 << 26, 1 << 27, 1 << 28
STARTS_WITH_LETTER, STARTS_WITH_JOINER = 1 << 29, 1 << 30
"""A letter that is no word of its own; an apostrophe with nothing or such a letter after it."""

ALONE_END, CLASSED_END, JOINER_END, STATES = 0, 1, 2, 6
"""What folding remembers from one call to the next: where in the buffer a word of one character ended, where
a run of marks that have an order ended, and where what may join two letters did; then the highest class of these
marks, the number of the next character, and what has to follow the joiner."""
_LETTER, _LINE_END, _LETTER_OF_NEXT_LINE = 0, 1, 2
"""An apostrophe waits for a letter, a hyphen for white space with a line end in it and then for a letter."""

_ONE, _BYTE, _LAST = np.uint64(1), np.uint64(8), np.uint64(1 << BLOCK - 1)


class FoldTable(NamedTuple):
    """For every code point the bytes it is written as: UTF-8 of what words hold, 0 for what separates them.

    A character that is a word of its own stands between zeros.
    """

    spellings: NDArray[np.uint64]
    """Shape [code points, 2]: up to 16 bytes, the first lowest; where there are more, their place in ``long``."""
    shapes: NDArray[np.uint32]
    """Shape [code points]: length, combining class of the first and last character, flags; 0: not worked out."""
    long: Bytes
    wanted: Int32s
    """How many characters a kernel met before they were worked out, then these characters, as far as there is room."""


@njit(cache=True, nogil=True)
def hash_documents(
    data: Bytes,
    offsets: Ints,
    table: FoldTable,
    markup: Hashes,
    escaped: bool,
    hashes: Hashes,
    firsts: Ints,
    first: int,
) -> tuple[Hashes, int]:
    """Hash the words of the documents from ``first`` on, up to one with a character that is not worked out yet.

    Where documents may be ``escaped``, up to one with a blank of `memaudit.text.words.visible_text` too.
    Fills ``hashes``, and in ``firsts``, shape [documents + 1], where each document's begin.
    Returns the hashes, in a larger array if need be, and the document that is next.
    """
    buffer = np.zeros(BUFFER + SLACK, np.uint8)
    edges = np.empty(BUFFER + SLACK, np.int32)
    state = np.zeros(STATES, np.int64)
    no_origins = np.zeros(0, np.int32)
    seen, scratch = np.empty(0, np.uint8), np.empty(0, np.uint8)
    for document in range(first, len(offsets) - 1):
        count = firsts[document]
        text, i, end, used = data, offsets[document], offsets[document + 1], ZERO
        if escaped:
            size, seen, scratch = resolve_document(data, i, end, markup, seen, scratch)
            if size >= 0:
                text, i, end = as_read_only(seen), ZERO, size
            if find_blank(text, i, end) < end:
                return hashes, document
        state[: JOINER_END + 1] = -1
        while i < end:
            i, used = fold_text(text, i, end, buffer, used, table, state, no_origins)
            found = find_edges(buffer, used, edges)
            words = found if i == end else max(0, found - 1)
            if count + words > len(hashes):
                hashes = _enlarged(hashes, 2 * len(hashes) + words)
            hash_spans(buffer, edges, words, hashes, count)
            count += words
            if i < end:
                used = _keep_from(buffer, edges[2 * words] if found else used, used, state)
                if used > len(buffer) // 2:
                    buffer = _enlarged(buffer, 2 * len(buffer))
                    edges = np.empty(len(buffer), np.int32)
        if table.wanted[0]:
            return hashes, document
        firsts[document + 1] = count
    return hashes, len(offsets) - 1


@njit(inline="always")
def _read_point(data: Bytes, i: int, end: int) -> tuple[int, int]:
    """Return the code point of the character at ``i`` and where the next begins; a space for one that ``end`` cuts."""
    point, size = np.int64(data[i]), 1
    if point >= 0x80:
        size = 2 if point < 0xE0 else 3 if point < 0xF0 else 4
        if i + size > end:
            point, size = 0x20, end - i
        else:
            point &= 0x7F >> size
            for k in range(i + 1, i + size):
                point = point << 6 | np.int64(data[k]) & 0x3F
            point = min(point, 0x10FFFF)
    return point, i + size


@njit(inline="always")
def _ends_in_letter(buffer: Bytes, used: int, shapes: NDArray[np.uint32]) -> bool:
    """Return whether the buffer ends in a letter, with its marks, that is no word of its own."""
    last = buffer[used - 1] if used > 0 else 0
    return 0x61 <= last <= 0x7A or (last >= 0x80 and _ends_in_foreign_letter(buffer, used, shapes))


@njit(cache=True, nogil=True)
def _ends_in_foreign_letter(buffer: Bytes, used: int, shapes: NDArray[np.uint32]) -> bool:
    end = used
    while end > 0 and buffer[end - 1]:
        start = _character_before(buffer, end)
        shape = np.int64(shapes[_point_at(buffer, start, end)])
        if shape & STARTS_WITH_MARK == 0:
            return shape & STARTS_WITH_LETTER != 0
        end = start
    return False


@njit(inline="always")
def _is_hyphen(point: int) -> bool:
    """Return whether a character at the end of a line says that its word goes on.

    The hyphens of Unicode, the not sign that they are taken for, and what PDFium writes (U+0002, U+FFFE).
    """
    return point in (0x2D, 0xAD, 0x2010, 0x2011, 0xFE63, 0xFF0D, 0xAC, 0x02, 0xFFFE)


@njit(inline="always")
def _is_line_end(point: int) -> bool:
    return 0x0A <= point <= 0x0D or point in (0x85, 0x2028, 0x2029)


@njit(inline="always")
def _is_space(point: int) -> bool:
    return point in (0x20, 0x09, 0xA0, 0x202F, 0x205F, 0x3000, 0x1680) or 0x2000 <= point <= 0x200A


@njit(cache=True, nogil=True)
def _ask_for(point: int, table: FoldTable) -> None:
    """Note a character that is not worked out yet, if there is room."""
    wanted = table.wanted
    if wanted[0] + 1 < len(wanted):
        table.shapes[point] = WANTED
        wanted[0] += 1
        wanted[wanted[0]] = point


@njit(inline="always")
def _close_up(data: Bytes, i: int, buffer: Bytes, used: int, joiners: np.uint64, plain: int) -> int:
    """Write a block again from behind each joiner that a letter of it follows; return how many these are."""
    joined = 0
    while lowest_bit(joiners) < plain - 1:
        behind = lowest_bit(joiners) + 1
        joined += 1
        fold_block(data, i + behind, buffer, used + behind - joined)
        joiners &= joiners - _ONE
    return joined


# Little is handed to helpers that are not written out in place: handing arrays on counts references, which costs
# more than the rest of the work on a character that is not ASCII.
@njit(cache=True, nogil=True, forceinline=True)
def _told_apart(data: Bytes, i: int, letters: np.uint64, traced: bool) -> tuple[np.uint64, np.uint64]:
    """Return what of a block has to be told from the table, and its apostrophes between letters, which are dropped."""
    special = span_mask(data, i, 0x7F, 0x08) | span_mask(data, i, 0x0E, 0x1B)
    joiners = span_mask(data, i, 0x27, 0x27) | span_mask(data, i, 0x60, 0x60)
    # Those between what may be letters; what stands before or behind the block is told from the table.
    joiners &= (letters << _ONE | _ONE) & ((letters | special) >> _ONE | _LAST)
    inner = np.uint64(0)
    if joiners:
        inner = np.uint64(0) if traced else joiners & letters << _ONE & letters >> _ONE
        special |= joiners & ~inner
    # Those behind what may be a letter and before none; what of these white space follows has to be told.
    hyphens = span_mask(data, i, 0x2D, 0x2D) & (letters << _ONE | _ONE) & ~(letters >> _ONE)
    if hyphens:
        white = span_mask(data, i, 0x09, 0x0D) | span_mask(data, i, 0x20, 0x20)
        special |= hyphens & ((white | special) >> _ONE | _LAST)
    return special, inner


@njit(cache=True, nogil=True, forceinline=True)
def _across_lines(buffer: Bytes, used: int, shapes: NDArray[np.uint32], point: int, length: int, state: Ints) -> int:
    """Note in the state where a hyphen, then a line end, may join two letters; return how long the separator is."""
    if _is_hyphen(point):
        if _ends_in_letter(buffer, used, shapes):
            state[2], state[5] = used + length, _LINE_END
    elif state[2] == used and state[5] != _LETTER:
        if _is_line_end(point):
            state[5] = _LETTER_OF_NEXT_LINE
        if _is_line_end(point) or _is_space(point):
            # A soft hyphen is nothing, so it is the first white space that separates.
            length = int(buffer[used - 1] > 0)
            state[2] += length
    return length


@njit(cache=True, nogil=True)
def fold_text(
    data: Bytes, i: int, end: int, buffer: Bytes, used: int, table: FoldTable, state: Ints, origins: Int32s
) -> tuple[int, int]:
    """Fold ``data[i:end]`` into the buffer from ``used`` on; stop early when it is full.

    Where ``origins`` is not empty, it gets the character that each byte of the buffer comes from.
    Returns what of ``data`` is read and what of the buffer is used; 64 zeros follow it.
    """
    spellings, shapes, long, _ = table
    limit, last_block, traced = len(buffer) - SLACK, len(data) - 2 * BLOCK, len(origins) > 0
    alone_end, classed_end, joiner_end = state[0], state[1], state[2]
    highest, character, awaited = state[3], state[4], state[5]
    while i < end and used < limit:
        if i <= last_block and joiner_end != used:
            special, inner = _told_apart(data, i, fold_block(data, i, buffer, used), traced)
            plain = min(lowest_bit(special), end - i)
            if traced and plain > 0:
                origins[used - (alone_end == used)] = character
                for k in range(plain):
                    origins[used + k] = character + k
                character += plain
            if inner:
                used -= _close_up(data, i, buffer, used, inner, plain)
            i += plain
            used += plain
            if i == end or plain == BLOCK:
                continue
        reading = True
        while reading:
            point, i = _read_point(data, i, end)
            shape = np.int64(shapes[point])
            length, word = shape & LENGTH, spellings[point, 0]
            if shape == 0:
                _ask_for(point, table)
            if shape & STARTS_WITH_JOINER and _ends_in_letter(buffer, used, shapes):
                if length > 1:
                    word, length = word >> _BYTE, length - 1
                elif i < end and 0x61 <= data[i] | 0x20 <= 0x7A:
                    length = 0
                else:
                    joiner_end, awaited = used + 1, _LETTER
            elif word == 0 and length <= 1:
                state[2], state[5] = joiner_end, awaited
                length = _across_lines(buffer, used, shapes, point, length, state)
                joiner_end, awaited = state[2], state[5]
            if length > 0:
                joins = alone_end == used and shape & STARTS_WITH_MARK != 0
                follows = classed_end == used
                first = used - joins
                if joiner_end == used and shape & STARTS_WITH_LETTER and awaited != _LINE_END:
                    first, joiner_end = used - 1, -1
                if shape & LONG:
                    _copy_long(buffer, first, long, np.int64(word), length)
                else:
                    store_word(buffer, first, word)
                    store_word(buffer, first + 8, spellings[point, 1])
                if traced:
                    for k in range(min(first, used - (alone_end == used)), first + length):
                        origins[k] = character
                used = first + length
                first_class, last_class = shape >> FIRST_CLASS & CLASS, shape >> LAST_CLASS & CLASS
                if follows and first_class > 0:
                    if first_class < highest:
                        _order_marks(buffer, used, table, origins)
                    highest = max(highest, last_class)
                else:
                    highest = last_class
                if joins and shape & ENDS_ALONE == 0:
                    buffer[used] = 0
                    used += 1
                if joins or shape & ENDS_ALONE:
                    alone_end = used
                if last_class > 0:
                    classed_end = used
            character += 1
            reading = i < end and data[i] >= 0x80 and used < limit
    state[0], state[1], state[2] = alone_end, classed_end, joiner_end
    state[3], state[4], state[5] = highest, character, awaited
    buffer[used : used + BLOCK] = 0
    return i, used


@njit(cache=True, nogil=True)
def _copy_long(buffer: Bytes, first: int, long: Bytes, place: int, length: int) -> None:
    for k in range(length):
        buffer[first + k] = long[place + k]


@njit(cache=True, nogil=True)
def _order_marks(buffer: Bytes, used: int, table: FoldTable, origins: Int32s) -> None:
    """Put the run of marks that ends at ``used`` into canonical order: a stable sort by combining class."""
    swapped = True
    while swapped:
        swapped = False
        middle, end = _character_before(buffer, used), used
        while middle > 0:
            start = _character_before(buffer, middle)
            left, right = _class_at(buffer, start, middle, table), _class_at(buffer, middle, end, table)
            if left == 0:
                break
            if left > right:
                _rotate(buffer, start, middle, end)
                if len(origins):
                    _rotate(origins, start, middle, end)
                middle = start + end - middle
                swapped = True
            middle, end = start, middle


@njit(cache=True, nogil=True)
def _character_before(buffer: Bytes, end: int) -> int:
    start = end - 1
    while start > 0 and buffer[start] & 0xC0 == 0x80:
        start -= 1
    return start


@njit(cache=True, nogil=True)
def _class_at(buffer: Bytes, start: int, end: int, table: FoldTable) -> int:
    """Return the combining class of the character ``buffer[start:end]``."""
    return np.int64(table.shapes[_point_at(buffer, start, end)]) >> FIRST_CLASS & CLASS


@njit(cache=True, nogil=True)
def _point_at(buffer: Bytes, start: int, end: int) -> int:
    """Return the code point of the character ``buffer[start:end]``."""
    point = np.int64(buffer[start])
    if end - start > 1:
        point &= 0x7F >> end - start
        for k in range(start + 1, end):
            point = point << 6 | np.int64(buffer[k]) & 0x3F
    return point


@njit(cache=True, nogil=True)
def _rotate(array: NDArray[np.generic], start: int, middle: int, end: int) -> None:
    """Exchange two neighbouring stretches, each of which keeps its order."""
    left = array[start:middle].copy()
    moved = end - middle
    for k in range(moved):
        array[start + k] = array[middle + k]
    for k in range(len(left)):
        array[start + moved + k] = left[k]


@njit(cache=True, nogil=True)
def _keep_from(buffer: Bytes, start: int, used: int, state: Ints) -> int:
    """Move ``buffer[start:used]`` to the front; return its length."""
    for k in range(used - start):
        buffer[k] = buffer[start + k]
    state[ALONE_END] -= start
    state[CLASSED_END] -= start
    state[JOINER_END] -= start
    return used - start


@njit(cache=True, nogil=True)
def _enlarged(array: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    larger = np.empty(length, array.dtype)
    for k in range(len(array)):
        larger[k] = array[k]
    return larger
