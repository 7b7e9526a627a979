"""GPT-4's rule: does a piece of a text occur in a document, if only letters and digits count?

Documents are stripped of all else, 64 bytes at a time. Twelve bytes of the rest are looked up at regular steps,
so short that one of these blocks lies within each copy of a piece, and there document and piece are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.scan.tables import Slots, fill_filter, fill_table, lookup, passes
from memaudit.text.words.blocks import BLOCK as WIDE
from memaudit.text.words.blocks import ZERO, compress_block, load_word, lowest_bit, read_only, span_mask

Word = TypeVar("Word", np.uint64, NDArray[np.uint64])

PIECES = 3
LENGTH = 50
SHORTEST = 20
"""Characters; a text of fewer letters and digits has no piece."""

_BLOCK = 12
_FILTER_BITS = 16
"""Bits of the filter per block."""
_ALNUM = np.strings.isalnum(np.arange(0x110000, dtype=np.uint32).view("U1"))
"""``str.isalnum`` of every code point."""
_LOWER_A, _LOWER_Z, _UPPER_A, _UPPER_Z, _DIGIT_0, _DIGIT_9 = np.frombuffer(b"azAZ09", np.uint8)
_FIRST_FOREIGN, _LAST_FOREIGN = np.uint8(0x80), np.uint8(0xFF)
_ONE, _FOUR_BYTES, _MIX = np.uint64(1), np.uint64(32), np.uint64(0xD6E8FEB86659FD93)


class Blocks(NamedTuple):
    """The blocks of all pieces and where in them they are."""

    step: int
    """Bytes of a stripped document from one block that is looked up to the next."""
    data: NDArray[np.uint8]
    """UTF-8 of the pieces, end to end."""
    offsets: NDArray[np.int64]
    filter: NDArray[np.uint64]
    filter_bits: int
    slots: Slots
    first: NDArray[np.int64]
    """Shape [blocks + 1]: first entry of each different block."""
    pieces: NDArray[np.int32]
    """Shape [entries]: which piece holds the block."""
    places: NDArray[np.int32]
    """Shape [entries]: byte of the piece at which the block starts."""


@njit(cache=True, nogil=True, forceinline=True)
def _key(eight: Word, four: Word) -> Word:
    """Return the key of a block: of its first eight bytes and its last four."""
    return (eight ^ eight >> _FOUR_BYTES) * _MIX ^ four


@dataclass(frozen=True, slots=True, eq=False)
class Substrings:
    """Pieces of texts and the tables by which they are found."""

    pieces: tuple[str, ...]
    """Letters and digits only; all different."""
    _of_text: tuple[tuple[int, ...], ...]
    _blocks: Blocks | None
    """None where there is no piece."""

    def of(self, text: int) -> tuple[int, ...]:
        """Return the pieces of a text; none if it is too short."""
        return self._of_text[text]

    def find(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], found: NDArray[np.bool_]) -> None:
        """Mark the pieces that occur in one of these documents.

        Args:
            data: UTF-8 of the documents, end to end.
            offsets: Shape [documents + 1].
            found: Shape [pieces].
        """
        if self._blocks is not None:
            _find(self._blocks, _ALNUM, read_only(data, np.uint8), read_only(offsets, np.int64), found)


def build_substrings(texts: Sequence[str]) -> Substrings:
    """Draw the pieces of texts: three of 50 letters and digits, or all of a text that has no more.

    They are drawn by a digest of the text, so that they are the same in every run and every benchmark.
    """
    numbers: dict[str, int] = {}
    of_text = []
    for text in texts:
        drawn = dict.fromkeys(_draw("".join(filter(str.isalnum, text))))
        of_text.append(tuple(numbers.setdefault(piece, len(numbers)) for piece in drawn))
    pieces = tuple(numbers)
    return Substrings(pieces, tuple(of_text), _blocks(pieces) if pieces else None)


def _draw(stripped: str) -> Iterator[str]:
    if len(stripped) < SHORTEST:
        return
    digest = hashlib.blake2b(stripped.encode(), digest_size=8 * PIECES).digest()
    for draw in range(PIECES):
        number = int.from_bytes(digest[8 * draw : 8 * draw + 8], "little")
        start = number % max(1, len(stripped) - LENGTH + 1)
        yield stripped[start : start + LENGTH]


def _blocks(pieces: Sequence[str]) -> Blocks:
    encoded = [piece.encode() for piece in pieces]
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    lengths = np.array([len(piece) for piece in encoded], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    step = int(lengths.min()) - _BLOCK + 1
    owners = np.repeat(np.arange(len(pieces), dtype=np.int32), step)
    places = np.tile(np.arange(step, dtype=np.int32), len(pieces))
    windows = np.lib.stride_tricks.sliding_window_view(data, _BLOCK)[offsets[owners] + places]
    first_eight, last_eight = (windows[:, k : k + 8].copy().view("<u8")[:, 0] for k in (0, _BLOCK - 8))
    blocks = _key.py_func(first_eight, last_eight >> _FOUR_BYTES)
    order = np.argsort(blocks, kind="stable")
    keys, first = np.unique(blocks[order], return_index=True)
    bits = max(15, (_FILTER_BITS * len(keys)).bit_length())
    return Blocks(
        step=step,
        data=data,
        offsets=offsets,
        filter=fill_filter(keys, bits),
        filter_bits=bits,
        slots=fill_table(keys),
        first=np.append(first, len(order)),
        pieces=owners[order],
        places=places[order],
    )


@njit(cache=True, nogil=True)
def _find(
    blocks: Blocks,
    alnum: NDArray[np.bool_],
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    found: NDArray[np.bool_],
) -> None:
    # It ends: `place` grows by `step`, which is 9 or more as pieces have 20 bytes or more, and `lookup` meets a free
    # slot, for a table is at most half full.
    step, bits_set, bits, slots, first = blocks.step, blocks.filter, blocks.filter_bits, blocks.slots, blocks.first
    longest = np.int64(0)
    for document in range(len(offsets) - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    stripped = np.zeros(longest + 2 * WIDE, np.uint8)
    passed = np.empty(longest // step + 1, np.int64)
    for document in range(len(offsets) - 1):
        end = _strip(alnum, data, offsets[document], offsets[document + 1], stripped)
        count = 0
        for place in range(0, end - _BLOCK + 1, step):
            passed[count] = place
            count += passes(bits_set, bits, _key_at(stripped, place))
        for place in passed[:count]:
            key = lookup(slots, _key_at(stripped, place))
            if key < 0:
                continue
            for k in range(first[key], first[key + 1]):
                piece = blocks.pieces[k]
                start = place - blocks.places[k]
                last = start + blocks.offsets[piece + 1] - blocks.offsets[piece]
                if start >= 0 and last <= end and not found[piece]:
                    found[piece] = _stand(stripped, start, last, blocks.data, blocks.offsets[piece])


@njit(cache=True, nogil=True, forceinline=True)
def _key_at(stripped: NDArray[np.uint8], place: int) -> np.uint64:
    return _key(load_word(stripped, place), load_word(stripped, place + 4) >> _FOUR_BYTES)


@njit(cache=True, nogil=True)
def _stand(stripped: NDArray[np.uint8], start: int, end: int, data: NDArray[np.uint8], first: int) -> bool:
    """Return whether the eight bytes or more ``stripped[start:end]`` are those of ``data`` from ``first`` on."""
    # The end first: pieces of one template differ there.
    if load_word(stripped, end - 8) != load_word(data, first + end - start - 8):
        return False
    for k in range(0, end - start - 8, 8):  # noqa: SIM110 (any() over a generator is not compiled)
        if load_word(stripped, start + k) != load_word(data, first + k):
            return False
    return True


@njit(cache=True, nogil=True)
def _strip(alnum: NDArray[np.bool_], data: NDArray[np.uint8], start: int, end: int, stripped: NDArray[np.uint8]) -> int:
    """Copy the letters and digits of a document to ``stripped``; return their end."""
    # It ends: each round reads a byte or more, for `size` is 0 only where the next byte is foreign, and decoded.
    place, wide_end, used = start, len(data) - WIDE, int(ZERO)
    while place < end:
        if place <= wide_end:
            foreign = lowest_bit(span_mask(data, place, _FIRST_FOREIGN, _LAST_FOREIGN))
            size = min(foreign, end - place)
            used = _strip_ascii(data, place, size, stripped, used)
            place += size
            if size == WIDE or place == end:
                continue
        while place < end and (data[place] >= _FIRST_FOREIGN or place > wide_end):
            width, code = decode_character(data, place, end)
            if alnum[code]:
                for k in range(width):
                    stripped[used + k] = data[place + k]
                used += width
            place += width
    return used


@njit(cache=True, nogil=True, forceinline=True)
def _strip_ascii(data: NDArray[np.uint8], place: int, size: int, stripped: NDArray[np.uint8], used: int) -> int:
    """Copy the letters and digits of up to 64 bytes; what is written beyond them is junk."""
    mask = (
        span_mask(data, place, _LOWER_A, _LOWER_Z)
        | span_mask(data, place, _UPPER_A, _UPPER_Z)
        | span_mask(data, place, _DIGIT_0, _DIGIT_9)
    )
    if size < WIDE:
        mask &= (_ONE << np.uint64(size)) - _ONE
    return int(compress_block(data, place, stripped, used, mask))


@njit(cache=True, nogil=True)
def decode_character(data: NDArray[np.uint8], place: int, end: int) -> tuple[int, int]:
    """Return width and code point of the character at a place, a space for what is cut off."""
    code = np.int64(data[place])
    if code < 0x80:
        return 1, int(code)
    width = 2 if code < 0xE0 else 3 if code < 0xF0 else 4
    if place + width > end:
        return int(end - place), 0x20
    code &= 0x7F >> width
    for k in range(1, width):
        code = code << 6 | np.int64(data[place + k]) & 0x3F
    return width, min(int(code), 0x10FFFF)
