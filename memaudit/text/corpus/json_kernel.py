"""The grammar of JSON lines as a kernel: whole lines in, their texts without escapes out.

It is sure of a line or says that it is not; what is wrong with a line it never says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK, ZERO, copy_block, load_word, lowest_bit, span_mask

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_NAMES, _DEPTH, _DIGITS = 256, 60, 300
"""Names in open objects, open containers and characters of a number beyond which the kernel is not sure."""
_UNSURE = -1
_VALUE, _NAME, _AFTER = range(3)
LABELS = "id", "copies", "domain", "date"
"""Fields of a record beside its text, in the order of their hashes."""
_NO_LABEL: Any = np.int64(-1)  # a type of its own would be compiled for besides
_ID, _COPIES = 0, 1
_COPIES_DIGITS = 9
NO_ID = np.uint64(0)
_NEWLINE, _QUOTE, _ESCAPE, _COMMA, _COLON = 0x0A, 0x22, 0x5C, 0x2C, 0x3A
_OPEN_ARRAY, _OPEN_OBJECT = 0x5B, 0x7B
_NO = np.bool_(False)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def parse_lines(
    buffer: Bytes, at: int, end: int, key: Bytes, arena: Bytes, offsets: Ints, lines: Ints,
    labels: Hashes, ids: Hashes, line: int, count: int, empty: int,
) -> tuple[int, int, int, int, int]:  # fmt: skip
    """Parse lines from ``at`` on up to ``end`` or the first that the kernel is not sure of.

    Labels are looked at where the hashes of their names are given; then ``ids`` gets the hash of each record's id.
    Returns where that line starts and ends, its number, the texts written so far, and the empty lines.
    """
    names, bases = np.empty(_NAMES, np.uint64), np.zeros(_DEPTH + 1, np.int64)
    while at < end:
        used = offsets[count]
        start = _skip_space(buffer, at)
        stop, text_end, identity = start, used, NO_ID
        if buffer[start] != _NEWLINE:
            stop, text_end, identity = _parse_record(buffer, start, key, arena, used, names, bases, labels)
            if stop == _UNSURE or text_end == _UNSURE or buffer[stop] != _NEWLINE:
                return at, _line_end(buffer, at), line, count, empty
        if _is_blank(arena, used, text_end):
            empty += 1
        else:
            lines[count] = line
            if len(labels):
                ids[count] = identity
            count += 1
            offsets[count] = text_end
        at = stop + 1
        line += 1
    return end, end, line, count, empty


@njit(cache=True, nogil=True)
def _parse_record(
    buffer: Bytes, i: int, key: Bytes, arena: Bytes, used: int, names: Hashes, bases: Ints, labels: Hashes
) -> tuple[int, int, np.uint64]:
    """Return what follows the object at ``i`` but for space, the end of its text in the arena, and its id's hash.

    ``names`` holds the hashes of the names in the objects that are open, ``bases`` where those of each begin.
    """
    identity, unsure = NO_ID, (_UNSURE, _UNSURE, NO_ID)
    if buffer[i] != _OPEN_OBJECT:
        return unsure
    text_end, is_text, label, expected = _UNSURE, _NO, _NO_LABEL, _VALUE
    depth, objects, known = 0, 0, 0
    while True:
        i = _skip_space(buffer, i)
        byte = buffer[i]
        if expected == _NAME:
            name_end, name = _read_name(buffer, i)
            if name_end == _UNSURE or known == _NAMES:
                return unsure
            for k in range(bases[depth], known):
                if names[k] == name:
                    return unsure
            names[known] = name
            known += 1
            is_text = depth == 1 and _equals(buffer, i + 1, name_end, key)
            label = _label_named(name, labels) if depth == 1 and not is_text else _NO_LABEL
            i = _skip_space(buffer, name_end + 1)
            if buffer[i] != _COLON:
                return unsure
            i += 1
            expected = _VALUE
        elif expected == _AFTER:
            if depth == 0:
                return i, text_end, identity
            if byte == _COMMA:
                expected = _NAME if objects & 1 else _VALUE
            elif byte == (_OPEN_OBJECT if objects & 1 else _OPEN_ARRAY) + 2:
                known = bases[depth]
                depth -= 1
                objects >>= 1
            else:
                return unsure
            i += 1
        elif label != _NO_LABEL:
            i, found = _read_label(buffer, i, label)
            if i == _UNSURE:
                return unsure
            identity = found if label == _ID else identity
            label, expected = _NO_LABEL, _AFTER
        elif byte == _QUOTE:
            i, written = _read_string(buffer, i + 1, arena, used, is_text)
            if i == _UNSURE:
                return unsure
            text_end = written if is_text else text_end
            is_text, expected = _NO, _AFTER
        elif is_text or depth == _DEPTH:
            return unsure
        elif byte in (_OPEN_OBJECT, _OPEN_ARRAY):
            depth += 1
            bases[depth] = known
            objects = objects << 1 | (byte == _OPEN_OBJECT)
            i = _skip_space(buffer, i + 1)
            expected = _NAME if byte == _OPEN_OBJECT else _VALUE
            if buffer[i] == byte + 2:
                expected = _AFTER
        else:
            i = _skip_scalar(buffer, i)
            if i == _UNSURE:
                return unsure
            expected = _AFTER


@njit(cache=True, nogil=True)
def _label_named(name: int, labels: Hashes) -> int:
    """Return which label has a name of this hash; a name that shares it by chance is left to the strict reader."""
    for k in range(len(labels)):
        if labels[k] == name:
            return k
    return _NO_LABEL


@njit(cache=True, nogil=True)
def _read_label(buffer: Bytes, i: int, label: int) -> tuple[int, np.uint64]:
    """Return what follows the value of a label, and its hash if it is not empty; unsure of all but the plainest."""
    start = i
    if buffer[i] == _QUOTE:
        end, found = _read_name(buffer, i)
        if end == _UNSURE or label == _COPIES:
            return _UNSURE, NO_ID
        return end + 1, found if end > start + 1 else NO_ID
    end = _skip_scalar(buffer, i)
    if buffer[start] == 0x6E:
        return end, NO_ID
    i = _skip_digits(buffer, start)
    if i == start or i != end or (label == _COPIES and end - start > _COPIES_DIGITS):
        return _UNSURE, NO_ID
    return end, hash_bytes(buffer, start, end)


@njit(cache=True, nogil=True)
def _skip_space(buffer: Bytes, i: int) -> int:
    while buffer[i] == 0x20 or buffer[i] == 0x09 or buffer[i] == 0x0D:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _line_end(buffer: Bytes, i: int) -> int:
    stop = span_mask(buffer, i, _NEWLINE, _NEWLINE)
    while stop == 0:
        i += BLOCK
        stop = span_mask(buffer, i, _NEWLINE, _NEWLINE)
    return i + lowest_bit(stop)


@njit(cache=True, nogil=True)
def _read_name(buffer: Bytes, i: int) -> tuple[int, int]:
    """Return where the name at ``i`` ends, and a hash of it; unsure of one with escapes."""
    if buffer[i] != _QUOTE:
        return _UNSURE, np.uint64(0)
    start = i + 1
    end, _ = _read_string(buffer, start, buffer, ZERO, _NO)
    if end == _UNSURE:
        return _UNSURE, np.uint64(0)
    end -= 1
    name = hash_bytes(buffer, start, end)
    for k in range(start, end):
        if buffer[k] == _ESCAPE:
            return _UNSURE, name
    return end, name


@njit(cache=True, nogil=True)
def hash_bytes(buffer: Bytes, start: int, end: int) -> np.uint64:
    """Return a hash of bytes, of which eight more than they are can be read; not one against an adversary."""
    found = np.uint64(end - start)
    for k in range(start, end, 8):
        part = load_word(buffer, k)
        if end - k < 8:
            part &= (np.uint64(1) << np.uint64(8 * (end - k))) - np.uint64(1)
        found = (found ^ part) * _MIX
        found ^= found >> np.uint64(32)
    return found


@njit(cache=True, nogil=True)
def _equals(buffer: Bytes, start: int, end: int, key: Bytes) -> bool:
    same = end - start == len(key)
    k = 0
    while same and k < len(key):
        same = buffer[start + k] == key[k]
        k += 1
    return same


@njit(cache=True, nogil=True)
def _read_string(buffer: Bytes, i: int, arena: Bytes, used: int, keep: bool) -> tuple[int, int]:
    """Check the string that starts at ``i`` and write it to the arena if it is to be kept.

    Returns what follows its closing quote, and the end of what is written.
    """
    while True:
        stop = span_mask(buffer, i, _QUOTE, _QUOTE) | span_mask(buffer, i, _ESCAPE, _ESCAPE)
        stop |= span_mask(buffer, i, 0x80, 0xFF) | span_mask(buffer, i, _NEWLINE, _NEWLINE)
        if keep:
            copy_block(buffer, i, arena, used)
        plain = lowest_bit(stop)
        i += plain
        used += plain
        if plain == BLOCK:
            continue
        byte = buffer[i]
        if byte == _QUOTE:
            return i + 1, used
        if byte == _NEWLINE:
            return _UNSURE, used
        if byte == _ESCAPE:
            point, size = _escaped(buffer, i)
            if size == 0:
                return _UNSURE, used
            i += size
            used = _write(arena, used, point) if keep else used
            continue
        while buffer[i] >= 0x80:
            size = _encoded_size(buffer[i], buffer[i + 1], buffer[i + 2], buffer[i + 3])
            if size == 0:
                return _UNSURE, used
            if keep:
                for k in range(4):
                    arena[used + k] = buffer[i + k]
            i += size
            used += size


@njit(cache=True, nogil=True)
def _escaped(buffer: Bytes, i: int) -> tuple[int, int]:
    """Return the character that is escaped at ``i`` and the bytes that say so: 0 if it is not a whole one."""
    byte = buffer[i + 1]
    if byte == 0x6E:
        return 0x0A, 2
    if byte in (_QUOTE, _ESCAPE, 0x2F):
        return np.int64(byte), 2
    if byte == 0x74:
        return 0x09, 2
    if byte == 0x72:
        return 0x0D, 2
    if byte == 0x62:
        return 0x08, 2
    if byte == 0x66:
        return 0x0C, 2
    if byte != 0x75:
        return 0, 0
    point = _hexadecimal(buffer, i + 2)
    if point < 0 or 0xDC00 <= point < 0xE000:
        return 0, 0
    if point < 0xD800 or point >= 0xE000:
        return point, 6
    if buffer[i + 6] != _ESCAPE or buffer[i + 7] != 0x75:
        return 0, 0
    low = _hexadecimal(buffer, i + 8)
    if low < 0xDC00 or low >= 0xE000:
        return 0, 0
    return 0x10000 + ((point - 0xD800) << 10 | low - 0xDC00), 12


@njit(cache=True, nogil=True)
def _hexadecimal(buffer: Bytes, i: int) -> int:
    value = 0
    for k in range(i, i + 4):
        byte = np.int64(buffer[k])
        lower = byte | 0x20
        if 0x30 <= byte <= 0x39:
            value = value << 4 | byte - 0x30
        elif 0x61 <= lower <= 0x66:
            value = value << 4 | lower - 0x57
        else:
            return -1
    return value


@njit(cache=True, nogil=True)
def _write(arena: Bytes, used: int, point: int) -> int:
    """Write a character as UTF-8; return the end of what is written."""
    if point < 0x80:
        arena[used] = point
        return used + 1
    size = 2 if point < 0x800 else 3 if point < 0x10000 else 4
    for k in range(size - 1, 0, -1):
        arena[used + k] = 0x80 | point & 0x3F
        point >>= 6
    arena[used] = 0xF00 >> size & 0xFF | point
    return used + size


@njit(cache=True, nogil=True)
def _encoded_size(lead: int, second: int, third: int, fourth: int) -> int:
    """Return the bytes of the UTF-8 sequence that starts with these, 0 if it is none (RFC 3629)."""
    if second & 0xC0 != 0x80 or lead < 0xC2:
        return 0
    if lead < 0xE0:
        return 2
    if third & 0xC0 != 0x80:
        return 0
    if lead < 0xF0:
        overlong, surrogate = lead == 0xE0 and second < 0xA0, lead == 0xED and second >= 0xA0
        return 0 if overlong or surrogate else 3
    overlong, too_high = lead == 0xF0 and second < 0x90, lead > 0xF4 or (lead == 0xF4 and second >= 0x90)
    return 0 if fourth & 0xC0 != 0x80 or overlong or too_high else 4


@njit(cache=True, nogil=True)
def _skip_scalar(buffer: Bytes, i: int) -> int:
    """Return what follows the number, true, false or null at ``i``."""
    byte = buffer[i]
    if byte == 0x74 or byte == 0x6E or byte == 0x66:
        word = load_word(buffer, i) & np.uint64(0xFFFFFFFF)
        if word == 0x65757274 or word == 0x6C6C756E:
            return i + 4
        return i + 5 if word == 0x736C6166 and buffer[i + 4] == 0x65 else _UNSURE
    start = i
    i += byte == 0x2D
    whole = _skip_digits(buffer, i)
    if whole == i or (buffer[i] == 0x30 and whole > i + 1):
        return _UNSURE
    i = whole
    if buffer[i] == 0x2E:
        i = _skip_digits(buffer, whole + 1)
        if i == whole + 1:
            return _UNSURE
    if buffer[i] | 0x20 == 0x65:
        digits = i + 2 if buffer[i + 1] == 0x2B or buffer[i + 1] == 0x2D else i + 1
        i = _skip_digits(buffer, digits)
        if i == digits:
            return _UNSURE
    return i if i - start <= _DIGITS else _UNSURE


@njit(cache=True, nogil=True)
def _skip_digits(buffer: Bytes, i: int) -> int:
    while 0x30 <= buffer[i] <= 0x39:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _is_blank(text: Bytes, i: int, end: int) -> bool:
    """Return whether there is nothing but white space, as ``str.isspace`` has it."""
    while i < end:
        byte = np.int64(text[i])
        if byte < 0x80:
            if not (byte == 0x20 or 0x09 <= byte <= 0x0D or 0x1C <= byte <= 0x1F):
                return False
            i += 1
        elif byte == 0xC2:
            if text[i + 1] != 0x85 and text[i + 1] != 0xA0:
                return False
            i += 2
        elif 0xE1 <= byte <= 0xE3:
            point = (byte & 0x0F) << 12 | (np.int64(text[i + 1]) & 0x3F) << 6 | np.int64(text[i + 2]) & 0x3F
            dashes = point == 0x2028 or point == 0x2029 or point == 0x202F or point == 0x205F
            if not (dashes or 0x2000 <= point <= 0x200A or point == 0x1680 or point == 0x3000):
                return False
            i += 3
        else:
            return False
    return True
