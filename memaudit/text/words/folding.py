"""Every character's part of the skeleton, laid out for kernels and worked out when it is first met."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np

from memaudit.text.words.normalize import fold
from memaudit.text.words.word_kernels import (
    ENDS_ALONE,
    FIRST_CLASS,
    KNOWN,
    LAST_CLASS,
    LONG,
    STARTS_WITH_JOINER,
    STARTS_WITH_LETTER,
    STARTS_WITH_MARK,
    FoldTable,
)

_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x3029),
    (0x3038, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
"""Thai and Lao, Myanmar, Khmer, Han and kana: letters and digits in these ranges are words of their own."""


_WANTED = 1 << 12
"""Characters that kernels can ask for at a time."""


class Folding:
    """The table of folds, filled in so far."""

    def __init__(self) -> None:
        points = 0x110000
        self.table = FoldTable(
            np.zeros((points, 2), np.uint64),
            np.zeros(points, np.uint32),
            np.zeros(0, np.uint8),
            np.zeros(1 + _WANTED, np.int32),
        )
        self._fill(range(0x100))

    def fill_wanted(self) -> bool:
        """Work out the characters that kernels asked for; return whether there were any."""
        wanted = self.table.wanted
        count = int(wanted[0])
        if count:
            self._fill(wanted[1 : count + 1].tolist())
            wanted[0] = 0
        return count > 0

    def _fill(self, points: Iterable[int]) -> None:
        folded = {point: fold(chr(point)) for point in points}
        # What a kernel has written it reads again, to put marks in order.
        folded |= {ord(character): fold(character) for text in list(folded.values()) for character in text}
        for point, text in folded.items():
            spelling, shape = _written(text)
            if shape & LONG:
                self.table.spellings[point, 0] = len(self.table.long)
                self.table = self.table._replace(long=np.append(self.table.long, np.frombuffer(spelling, np.uint8)))
            else:
                self.table.spellings[point] = np.frombuffer(spelling.ljust(16, b"\0"), "<u8")
            self.table.shapes[point] = shape


def _written(folded: str) -> tuple[bytes, int]:
    """Return the bytes that a folded character is written as, and its entry in ``shapes``."""
    written = b""
    alone = False
    for character in folded:
        kind = unicodedata.category(character)[0]
        if kind == "M":
            written = written.removesuffix(b"\0") if alone else written
            written += character.encode() + (b"\0" if alone else b"")
        elif kind in "LN":
            alone = _is_unspaced(character)
            written += b"\0" + character.encode() + b"\0" if alone else character.encode()
        else:
            alone = False
            written += b"\0"
    shape = KNOWN | LONG * (len(written) > 16) | ENDS_ALONE * alone | len(written)
    if folded:
        shape |= STARTS_WITH_MARK * (unicodedata.category(folded[0])[0] == "M")
        shape |= STARTS_WITH_LETTER * _can_be_joined(folded[0])
        shape |= STARTS_WITH_JOINER * (folded[0] == "'" and (len(folded) == 1 or _can_be_joined(folded[1])))
        shape |= unicodedata.combining(folded[0]) << FIRST_CLASS
        shape |= unicodedata.combining(folded[-1]) << LAST_CLASS
    return written, shape


def _can_be_joined(character: str) -> bool:
    """Return whether an apostrophe before or after this character may be part of its word."""
    return unicodedata.category(character)[0] == "L" and not _is_unspaced(character)


def _is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)


FOLDING = Folding()
