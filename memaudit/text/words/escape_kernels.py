"""One escape or tag read from UTF-8: what it stands for and where it ends.

Each reader gets the place of the first byte and returns where the escape ends, the UTF-8 that it stands for (up to
eight bytes, the first lowest) and its length; or the place itself if there is none.
"""

from __future__ import annotations

import string

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.markup import SLOTS, find_name, hash_byte, no_bytes

Bytes = NDArray[np.uint8]
Table = NDArray[np.uint64]

LONGEST_TAG = 256
"""Bytes of the longest tag that is read."""
MIN_IN_VALUE = 5
"""Words of an attribute that may hold a passage: fewer are no seed of the scan (`memaudit.text.scan`)."""
AMPERSAND, PERCENT, BACKSLASH, LESS = 0x26, 0x25, 0x5C, 0x3C
_HASH, _SEMICOLON, _SLASH, _EQUALS, _GREATER, _X, _U = 0x23, 0x3B, 0x2F, 0x3D, 0x3E, 0x78, 0x75
_QUOTE, _APOSTROPHE = 0x22, 0x27
_TAB, _LINE_FEED, _FORM_FEED, _RETURN, _SPACE = 0x09, 0x0A, 0x0C, 0x0D, 0x20
_NONE = np.uint64(0)
_TWO, _FOUR, _EIGHT = np.int64(2), np.int64(4), np.int64(8)
"""Numbers of digits, all of one type (`memaudit.text.words.blocks.ZERO`)."""
_AFTER_PERCENT, _AFTER_BACKSLASH = np.int64(1), np.int64(2)
"""Bytes that lead the two digits of a byte."""
_MEANT = np.zeros(256, np.uint8)
"""What a byte behind a backslash stands for, where it alone tells; else 0."""
for _written, _meant in zip(b"nrtNRT\\\"'/", b"\n\r\t\n\r\t\\\"'/", strict=True):
    _MEANT[_written] = _meant
_BEHIND = np.zeros((256, 256), np.bool_)
"""Which bytes may follow which sign where an escape or a tag begins."""
for _sign, _following in {
    AMPERSAND: b"#0123456789",
    PERCENT: b"0123456789ABCDEFabcdef",
    BACKSLASH: b"nrtuxNRTUX",
    LESS: b"/",
}.items():
    _BEHIND[_sign, list(_following)] = True
for _sign in (AMPERSAND, LESS):
    _BEHIND[_sign, list(string.ascii_letters.encode())] = True


@njit(inline="always")
def read_short(data: Bytes, place: int, end: int) -> int:
    r"""Return the character that a backslash and one byte stand for: ``\n \r \t \\ \" \' \/``; 0 if they do not.

    Letters behind the white space ones may make a command of them.
    """
    meant = _MEANT[data[place + 1]] if place + 1 < end and data[place] == BACKSLASH else 0
    return 0 if 0 < meant < _SPACE and place + 2 < end and _is_letter(data[place + 2]) else meant


@njit(inline="always")
def may_begin(data: Bytes, place: int, end: int) -> bool:
    """Return whether a longer escape or a tag may begin at ``place``, which the next byte tells."""
    return place + 1 < end and _BEHIND[data[place], data[place + 1]]


@njit(inline="always")
def read_escape(data: Bytes, place: int, end: int, table: Table) -> tuple[int, np.uint64, int]:
    """Read what `read_short` does not, from the sign at ``place`` on: one of ``& % \\\\ <``."""
    sign = data[place]
    if sign == AMPERSAND:
        return _read_entity(data, place, end, table)
    if sign == LESS:
        return _read_tag(data, place, end, table)
    if sign == PERCENT:
        return _read_percent(data, place, end)
    return _read_backslash(data, place, end, table)


@njit(inline="always")
def _is_white(byte: int) -> bool:
    return byte in (_SPACE, _LINE_FEED, _TAB, _RETURN, _FORM_FEED)


@njit(inline="always")
def _is_letter(byte: int) -> bool:
    return 0x61 <= byte | 0x20 <= 0x7A


@njit(inline="always")
def _is_alphanumeric(byte: int) -> bool:
    return _is_letter(byte) or 0x30 <= byte <= 0x39


@njit(cache=True, nogil=True)
def _read_entity(data: Bytes, place: int, end: int, table: Table) -> tuple[int, np.uint64, int]:
    """Read a reference that ends in a semicolon, by number or by a name of HTML 5, as `html.unescape` does."""
    stop = place + 1
    while stop < end and (_is_alphanumeric(data[stop]) or (stop == place + 1 and data[stop] == _HASH)):
        stop += 1
    if stop >= end or data[stop] != _SEMICOLON:
        return place, _NONE, 0
    if data[place + 1] == _HASH:
        number = _read_number(data, place + 2, stop)
        if number < 0:
            return place, _NONE, 0
        if number < 256:
            return stop + 1, table[SLOTS + number, 1], np.int64(table[SLOTS + number, 2])
        word, size = _encode(number)
        return stop + 1, word, size
    key = no_bytes()
    for k in range(place + 1, stop):
        key = hash_byte(key, data[k])
    slot = find_name(key, table)
    if slot < 0:
        return place, _NONE, 0
    return stop + 1, table[slot, 1], np.int64(table[slot, 2])


@njit(inline="always")
def _digit(byte: int) -> int:
    """Return the value of a hexadecimal digit; 16 or more if it is none, of a letter or a digit."""
    return int(byte) - 0x30 if byte <= 0x39 else int(byte | 0x20) - 0x57


@njit(cache=True, nogil=True)
def _read_number(data: Bytes, start: int, end: int) -> int:
    """Return the decimal or hexadecimal number, at most one past the last code point; -1 where it is none."""
    base = 16 if start < end and data[start] | 0x20 == _X else 10
    first = start + (base == 16)
    number = 0 if first < end else -1
    for k in range(first, end):
        digit = _digit(data[k])
        if digit >= base:
            return -1
        number = min(number * base + digit, 0x110000)
    return number


@njit(cache=True, nogil=True)
def _encode(point: int) -> tuple[np.uint64, int]:
    """Return the UTF-8 of a code point from 128 on and its length; nothing for one that is no character."""
    if 0xD800 <= point <= 0xDFFF or point > 0x10FFFF:
        point = 0xFFFD
    if point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF:
        return _NONE, 0
    if point < 0x800:
        return np.uint64(0xC0 | point >> 6 | (0x80 | point & 0x3F) << 8), 2
    if point < 0x10000:
        tail = (0x80 | point >> 6 & 0x3F) << 8 | (0x80 | point & 0x3F) << 16
        return np.uint64(0xE0 | point >> 12 | tail), 3
    tail = (0x80 | point >> 12 & 0x3F) << 8 | (0x80 | point >> 6 & 0x3F) << 16 | (0x80 | point & 0x3F) << 24
    return np.uint64(0xF0 | point >> 18 | tail), 4


@njit(cache=True, nogil=True)
def _read_hex(data: Bytes, start: int, digits: int, end: int) -> int:
    """Return the number of so many hexadecimal digits from ``start`` on; -1 where there are others."""
    if start + digits > end:
        return -1
    number = 0
    for k in range(start, start + digits):
        digit = _digit(data[k]) if _is_alphanumeric(data[k]) else 16
        if digit >= 16:
            return -1
        number = number << 4 | digit
    return number


@njit(cache=True, nogil=True)
def _read_utf8(data: Bytes, place: int, end: int, lead: int) -> tuple[int, np.uint64, int]:
    """Read the character that escaped bytes spell in UTF-8: two digits each, behind the ``lead`` bytes at ``place``."""
    first = _read_hex(data, place + lead, _TWO, end)
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC2 or first > 0xF4:
        return place, _NONE, 0
    word, point, step = np.uint64(first), first & 0x7F >> size, lead + 2
    for k in range(1, size):
        at = place + k * step
        byte = _read_hex(data, at + lead, _TWO, end)
        if (
            byte & ~0x3F != 0x80
            or data[at] != data[place]
            or data[at + lead - 1] | 0x20 != data[place + lead - 1] | 0x20
        ):
            return place, _NONE, 0
        word |= np.uint64(byte) << np.uint64(8 * k)
        point = point << 6 | byte & 0x3F
    least = 0x80 if size == 2 else 0x800 if size == 3 else 0x10000
    if point < least or point > 0x10FFFF or 0xD800 <= point <= 0xDFFF:
        return place, _NONE, 0
    return place + size * step, word, size


@njit(cache=True, nogil=True)
def _read_percent(data: Bytes, place: int, end: int) -> tuple[int, np.uint64, int]:
    """Read ``%C3%A9``: white space, what prints of ASCII, or UTF-8. Other bytes stay: ``%02d``, ``50%fa``."""
    byte = _read_hex(data, place + 1, _TWO, end)
    if _SPACE <= byte < 0x7F or byte in (_TAB, _LINE_FEED, _RETURN):
        return place + 3, np.uint64(byte), 1
    return _read_utf8(data, place, end, _AFTER_PERCENT)


@njit(cache=True, nogil=True)
def _read_backslash(data: Bytes, place: int, end: int, table: Table) -> tuple[int, np.uint64, int]:
    r"""Read a character or a byte by its number, ``\u00e9 \xe9``, or white space with letters behind: ``\ntwo``."""
    following = data[place + 1] | 0x20
    if following == _U:
        return _read_unit(data, place, end)
    if following != _X:
        key, stop = hash_byte(no_bytes(), BACKSLASH), place + 1
        while stop < end and _is_letter(data[stop]):
            key = hash_byte(key, data[stop] | 0x20)
            stop += 1
        if find_name(key, table) >= 0:
            return place, _NONE, 0
        return place + 2, np.uint64(_MEANT[following]), 1
    stop, word, size = _read_utf8(data, place, end, _AFTER_BACKSLASH)
    byte = _read_hex(data, place + 2, _TWO, end)
    if stop > place or byte < 0:
        return stop, word, size
    if byte < 0x80:
        return place + 4, np.uint64(byte), 1
    word, size = _encode(byte)
    return place + 4, word, size


@njit(cache=True, nogil=True)
def _read_unit(data: Bytes, place: int, end: int) -> tuple[int, np.uint64, int]:
    """Read ``u`` and four digits, a code unit of UTF-16 or two that are one character, or ``U`` and eight digits."""
    point, stop = _read_hex(data, place + 2, _EIGHT, end) if data[place + 1] != _U else -1, place + 10
    if point < 0:
        point, stop = _read_hex(data, place + 2, _FOUR, end), place + 6
    if point < 0:
        return place, _NONE, 0
    if 0xD800 <= point < 0xDC00 and stop + 2 <= end and data[stop] == BACKSLASH and data[stop + 1] | 0x20 == _U:
        low = _read_hex(data, stop + 2, _FOUR, end)
        if 0xDC00 <= low < 0xE000:
            point, stop = 0x10000 + ((point & 0x3FF) << 10 | low & 0x3FF), stop + 6
    if point < 0x80:
        return stop, np.uint64(point), 1
    word, size = _encode(point)
    return stop, word, size


@njit(cache=True, nogil=True)
def _read_tag(data: Bytes, place: int, end: int, table: Table) -> tuple[int, np.uint64, int]:
    """Read a tag of a known name; with attributes, if each has a value, none of which may hold a passage."""
    limit = min(end, place + LONGEST_TAG)
    i = place + 1
    if i < limit and data[i] == _SLASH:
        i += 1
    key = hash_byte(no_bytes(), LESS)
    while i < limit and _is_alphanumeric(data[i]):
        key = hash_byte(key, data[i] | 0x20)  # digits have the bit of lower case
        i += 1
    if i >= limit or not (_is_white(data[i]) or data[i] == _SLASH or data[i] == _GREATER):
        return place, _NONE, 0
    slot = find_name(key, table)
    while slot >= 0 and i < limit:
        if data[i] == _GREATER:
            return i + 1, table[slot, 1], np.int64(table[slot, 2])
        if _is_white(data[i]) or data[i] == _SLASH:
            i += 1
        elif _is_white(data[i - 1]):
            i = _skip_attribute(data, i, limit)
        else:
            break
    return place, _NONE, 0


@njit(inline="always")
def _is_bare(byte: int) -> bool:
    """Return whether a name or a value without quotes goes on."""
    return not (_is_white(byte) or byte in (_GREATER, LESS, _QUOTE, _APOSTROPHE))


@njit(cache=True, nogil=True)
def _skip_attribute(data: Bytes, start: int, limit: int) -> int:
    """Return where ``name="value"`` ends; ``limit`` if it is none, or the value has too many words."""
    i = start
    while i < limit and _is_bare(data[i]) and data[i] != _EQUALS and data[i] != _SLASH:
        i += 1
    named = i > start
    while i < limit and _is_white(data[i]):
        i += 1
    if not named or i >= limit or data[i] != _EQUALS:
        return limit
    i += 1
    while i < limit and _is_white(data[i]):
        i += 1
    quote = data[i] if i < limit and (data[i] == _QUOTE or data[i] == _APOSTROPHE) else np.uint8(0)
    i += quote > 0
    words, inside, first = 0, False, i
    while i < limit and (data[i] != quote and data[i] != LESS if quote else _is_bare(data[i])):
        # Characters beyond ASCII may be words of their own.
        words += data[i] >= 0xC0 or (_is_alphanumeric(data[i]) and not inside)
        inside = _is_alphanumeric(data[i])
        i += 1
    if i >= limit or words >= MIN_IN_VALUE or (data[i] != quote if quote else i == first):
        return limit
    return i + (quote > 0)
