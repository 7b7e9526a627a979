"""Which scripts a text is written in, counted over the letters at the beginning of every document."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.scan.substrings import decode_character
from memaudit.text.words.blocks import read_only

_RANGES = (
    ("Latin", ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF))),
    ("Greek", ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    ("Cyrillic", ((0x400, 0x52F),)),
    ("Armenian or Georgian", ((0x530, 0x58F), (0x10A0, 0x10FF))),
    ("Hebrew", ((0x590, 0x5FF),)),
    ("Arabic", ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF))),
    ("Indic", ((0x900, 0xDFF),)),
    ("Thai, Lao, Myanmar or Khmer", ((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF))),
    ("Hangul", ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF))),
    ("Kana", ((0x3040, 0x30FF),)),
    ("Han", ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2FA1F))),
)
SCRIPTS = tuple(name for name, _ in _RANGES)
"""Names of the scripts that are told apart; letters of no other are counted."""

SAMPLE = 64
"""Bytes of a document that are looked at."""

_STARTS, _ENDS, _OWNERS = (
    np.array(column, np.int64)
    for column in zip(
        *sorted((first, last, place) for place, (_, spans) in enumerate(_RANGES) for first, last in spans), strict=True
    )
)


def count_scripts(data: NDArray[np.uint8], offsets: NDArray[np.int64], sample: int = SAMPLE) -> NDArray[np.int64]:
    """Return how many letters of each of `SCRIPTS` occur in the first ``sample`` bytes of documents.

    Args:
        data: UTF-8 of the documents, end to end.
        offsets: Shape [documents + 1].
        sample: Bytes of each that are looked at.
    """
    counts = np.zeros(len(SCRIPTS), np.int64)
    _count(read_only(data, np.uint8), read_only(offsets, np.int64), sample, _STARTS, _ENDS, _OWNERS, counts)
    return counts


@njit(cache=True, nogil=True)
def _count(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    sample: int,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    owners: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    for document in range(len(offsets) - 1):
        place = offsets[document]
        end = min(place + sample, offsets[document + 1])
        while place < end:
            if data[place] < 0x80:
                counts[0] += 0x61 <= data[place] | 0x20 <= 0x7A  # a Latin letter, small or capital
                place += 1
                continue
            width, code = decode_character(data, place, end)
            place += width
            span = np.searchsorted(starts, code, side="right") - 1
            if span >= 0 and code <= ends[span]:
                counts[owners[span]] += 1
