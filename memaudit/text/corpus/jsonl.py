"""JSON lines to batches of text at the speed of the disk, with the outcome of the strict reader.

A kernel walks over whole lines: it checks the grammar, UTF-8 and repeated names, and writes the text field
without its escapes. Whatever it is not sure of (a lone surrogate, an escape in a name, very long numbers,
deep nesting, the text field missing or no string, any error at all) is left to the strict reader, line by
line, so there is one place that says what is wrong, and one meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from memaudit.errors import InputError
from memaudit.text.corpus.containers import CHUNK, MAX_RECORD
from memaudit.text.corpus.json_kernel import LABELS, Bytes, Hashes, Ints, hash_bytes, parse_lines
from memaudit.text.words.blocks import BLOCK

_SHORTEST = 8
"""A record with text has more bytes, its line end counted."""


class ParsedLines(NamedTuple):
    """The texts of whole lines of a file."""

    data: Bytes
    """UTF-8 of the texts, end to end."""
    offsets: Ints
    """Shape [texts + 1]."""
    lines: Ints
    """Shape [texts]: line of each, from 1."""
    empty: int
    """Lines without text, or with white space only, that the kernel itself passed over."""
    ids: Hashes
    """Shape [texts], where labels were looked at: hash of the id that the kernel itself read; 0: it read none."""


class _Fields(NamedTuple):
    """What is read of a record."""

    text: Bytes
    """Name of the field that holds the text."""
    labels: Hashes
    """Of the names of its labels; none where they are not looked at."""


def hash_text(text: str) -> np.uint64:
    """Return the hash that the kernel has of a name or an id."""
    data = text.encode("utf-8", "surrogatepass")
    return np.uint64(hash_bytes(np.frombuffer(data + bytes(8), np.uint8), 0, len(data)))


def parse_json_lines(
    chunks: Iterable[bytes],
    name: str,
    text_field: str,
    read_line: Callable[[int, bytes], str | None],
    *,
    labels: bool = False,
) -> Iterator[ParsedLines]:
    """Yield the texts of a file of JSON lines, about a megabyte of lines at a time.

    Args:
        chunks: The bytes of the file.
        name: The file, for messages.
        text_field: Field of the object on each line that holds the text.
        read_line: Reads a line (its number, its bytes) that the kernel is not sure of; None: there is no text.
        labels: Whether it is not sure of a line with a label (id, domain, date, copies) that is not plain either.

    Raises:
        InputError: A line is over 256 MiB; also whatever ``chunks`` and ``read_line`` raise, in the order of lines.
    """
    fields = _Fields(
        np.frombuffer(text_field.encode("utf-8", "surrogatepass"), np.uint8),
        np.array([hash_text(label) for label in LABELS] if labels else [], np.uint64),
    )
    buffer = np.zeros(2 * CHUNK, np.uint8)
    filled, line = 0, 1
    for chunk in _large(chunks):
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
        if filled + (first if first >= 0 else len(chunk)) > MAX_RECORD:
            raise InputError(f"{name}:{line}: line longer than {MAX_RECORD:,} bytes")
        buffer = _with_room(buffer, filled, len(chunk))
        buffer[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        end, filled = filled + last + 1, filled + len(chunk)
        if last >= 0:
            parsed, line = _parse(buffer, end, fields, line, read_line)
            yield parsed
            buffer[: filled - end] = buffer[end:filled]
            filled -= end


def _large(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Join small chunks, cut large ones, and end the last line; where reading fails, give what came before."""
    parts: list[bytes] = []
    size, last = 0, b"\n"
    try:
        for chunk in chunks:
            parts.append(chunk)
            size, last = size + len(chunk), chunk[-1:] or last
            if size >= CHUNK // 2:
                yield from _cut(b"".join(parts))
                parts, size = [], 0
    except InputError:
        yield from _cut(b"".join(parts))
        raise
    yield from _cut(b"".join(parts) + (b"" if last == b"\n" else b"\n"))


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


def _with_room(buffer: Bytes, filled: int, more: int) -> Bytes:
    """Return the buffer, or a larger one with the same beginning; a block of slack stays behind."""
    needed = filled + more + BLOCK
    if needed <= len(buffer):
        return buffer
    larger = np.zeros(needed + needed // 2, np.uint8)
    larger[:filled] = buffer[:filled]
    return larger


def _parse(
    buffer: Bytes, end: int, fields: _Fields, line: int, read_line: Callable[[int, bytes], str | None]
) -> tuple[ParsedLines, int]:
    """Return what stands on the lines of ``buffer[:end]`` and the number of the line after them."""
    arena = np.empty(end + BLOCK, np.uint8)
    most = end // _SHORTEST + 1
    offsets, lines = np.empty(most + 1, np.int64), np.empty(most, np.int64)
    ids = np.zeros(most if len(fields.labels) else 0, np.uint64)
    offsets[0] = 0
    at = count = empty = 0
    while True:
        at, stop, line, count, empty = parse_lines(
            buffer, at, end, fields.text, arena, offsets, lines, fields.labels, ids, line, count, empty
        )
        if at == end:
            break
        text = read_line(line, buffer[at:stop].tobytes())
        if text is not None:
            encoded = np.frombuffer(text.encode(), np.uint8)
            used = offsets[count] + len(encoded)
            arena[offsets[count] : used] = encoded
            offsets[count + 1], lines[count] = used, line
            count += 1
        at, line = stop + 1, line + 1
    return ParsedLines(arena[: offsets[count]], offsets[: count + 1], lines[:count], empty, ids[:count]), line
