"""A text as a reader sees it, for matching: words set apart by blanks that are no white space.

The blank braille pattern and the Hangul fillers take up room: between words they stand for spaces, between single
letters they only hide them, and the skeleton (`memaudit.text.normalize`) drops them. The length of a text stays, so
that places in it do.
"""

from __future__ import annotations

import re
from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

BLANKS = "\u2800\u3164\uffa0\u115f\u1160"
_BLANK = re.compile(f"[{BLANKS}]")
_RUN = re.compile(r"\S+")
_BETWEEN = re.compile(f"(?<=[^{BLANKS}])[{BLANKS}]+(?=[^{BLANKS}])")
_RAW_BLANKS = {blank.encode() for blank in BLANKS}
_LEADING = sorted({(raw[0], raw[1]) for raw in _RAW_BLANKS})


def as_seen(text: str) -> str:
    """Return a text of the same length with spaces for blanks that set words apart."""
    if not text.isascii() and any(blank in text for blank in BLANKS):
        text = _RUN.sub(_spaced, text)
    return text


def documents_as_seen(
    data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return documents as `as_seen` makes them, most often the very arrays that were given.

    Args:
        data: UTF-8 of the documents, end to end.
        offsets: Shape [documents + 1].
    """
    # Most text has no such signs, and a corpus is read fast: whole arrays are asked before any place is.
    places = _blank_places(data) if len(data) and data.max() > 0x7F else []
    if not places:
        return data, offsets
    raw = data.tobytes()
    bounds = offsets.tolist()
    changed = sorted({bisect_right(bounds, place) - 1 for place in places} & set(range(len(bounds) - 1)))
    pieces, lengths, last = [], np.diff(offsets), bounds[0]
    for document in changed:
        start, end = bounds[document], bounds[document + 1]
        seen = as_seen(raw[start:end].decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
        pieces += [raw[last:start], seen]
        lengths[document], last = len(seen), end
    whole = b"".join([*pieces, raw[last : bounds[-1]]])
    return np.frombuffer(whole, np.uint8), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _blank_places(data: NDArray[np.uint8]) -> list[int]:
    places: list[int] = []
    for first, second in _LEADING:
        likely = data[1:] == second  # second bytes tell blanks from most text that is not ASCII
        if likely.any():
            likely &= data[:-1] == first
            places += np.flatnonzero(likely).tolist()
    return [place for place in places if data[place : place + 3].tobytes() in _RAW_BLANKS]


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
