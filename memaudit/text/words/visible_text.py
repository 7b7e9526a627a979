"""A text as a reader sees it, for matching: escapes and tags resolved, words set apart by blanks of no space.

The blank braille pattern and the Hangul fillers take up room and are no white space: between words they stand for
spaces, between single letters they only hide them, and the skeleton (`memaudit.text.words.normalize`) drops them.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, lowest_bit, read_only, span_mask
from memaudit.text.words.escapes import resolve, resolve_text

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

BLANKS = "\u2800\u3164\uffa0\u115f\u1160"
_BLANK = re.compile(f"[{BLANKS}]")
_RUN = re.compile(r"\S+")
_BETWEEN = re.compile(f"(?<=[^{BLANKS}])[{BLANKS}]+(?=[^{BLANKS}])")


def documents_as_seen(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """Return documents as they are seen, most often the very arrays that were given.

    Args:
        data: UTF-8 of the documents, end to end.
        offsets: Shape [documents + 1].
    """
    return _without_blanks(*resolve(data, offsets))


def text_as_seen(data: Bytes) -> tuple[Bytes, NDArray[np.int32] | None]:
    """Return the UTF-8 of one text as it is seen, and the sources of its characters, as `resolve_text` does."""
    resolved, sources = resolve_text(data)
    seen, _ = _without_blanks(resolved, np.array([0, len(resolved)]))
    return seen, sources


def _without_blanks(data: Bytes, offsets: Ints) -> tuple[Bytes, Ints]:
    """Return documents with a space for each blank that sets words apart: as many characters."""
    view, raw, bounds = read_only(data, np.uint8), data.data, offsets.tolist()
    place, last, lengths = find_blank(view, bounds[0], bounds[-1]), bounds[0], np.diff(offsets)
    if place == bounds[-1]:
        return data, offsets
    pieces: list[bytes | memoryview] = []
    while place < bounds[-1]:
        document = bisect_right(bounds, place) - 1
        start, end = bounds[document : document + 2]
        text = str(raw[start:end], "utf-8", "surrogateescape")  # whatever bytes there are stay
        seen = _RUN.sub(_spaced, text).encode("utf-8", "surrogateescape")
        pieces += [raw[last:start], seen]
        lengths[document], last = len(seen), end
        place = find_blank(view, end, bounds[-1])
    whole = b"".join([*pieces, raw[last : bounds[-1]]])
    return np.frombuffer(whole, np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@njit(cache=True, nogil=True)
def find_blank(data: Bytes, start: int, end: int) -> int:
    """Return where the first of `BLANKS` stands in ``data[start:end]``; ``end`` where there is none."""
    i = start
    while i < end:
        if i + BLOCK < len(data):
            if span_mask(data, i, 0x80, 0xFF):
                # Two bytes tell blanks from most text that is not ASCII: E1 85, E3 85, E2 A0, EF BE.
                likely = span_mask(data, i, 0xE1, 0xE1) | span_mask(data, i, 0xE3, 0xE3)
                likely &= span_mask(data, i + 1, 0x85, 0x85)
                likely |= span_mask(data, i, 0xE2, 0xE2) & span_mask(data, i + 1, 0xA0, 0xA0)
                likely |= span_mask(data, i, 0xEF, 0xEF) & span_mask(data, i + 1, 0xBE, 0xBE)
                while likely:
                    place = i + lowest_bit(likely)
                    if place >= end or _is_blank(data, place, end):
                        return int(min(place, end))
                    likely &= likely - np.uint64(1)
            i += BLOCK
        elif _is_blank(data, i, end):
            return i
        else:
            i += 1
    return end


@njit(inline="always")
def _is_blank(data: Bytes, place: int, end: int) -> bool:
    if data[place] < 0xE1 or place + 2 >= end:
        return False
    sign = int(data[place]) << 16 | int(data[place + 1]) << 8 | int(data[place + 2])
    return sign in (0xE1859F, 0xE185A0, 0xE2A080, 0xE385A4, 0xEFBEA0)


def _spaced(match: re.Match[str]) -> str:
    """Put spaces for the blanks within a run, unless most of what they part are single letters."""
    run = match[0]
    pieces = _BLANK.split(run.strip(BLANKS))
    if len(pieces) < 2:
        return run
    letters = sum(sum(map(str.isalnum, piece)) <= 1 for piece in pieces if piece)
    if 2 * letters > sum(map(bool, pieces)):
        return run
    return _BETWEEN.sub(lambda blanks: " " * len(blanks[0]), run)
