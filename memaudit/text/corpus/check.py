"""Whether a file can be read to its end, at half a gigabyte a second and without its documents.

Of JSON lines a kernel reads what is plain and the strict reader all else, so that both refuse the same. Small files are
not worth the kernel, whose compiler takes half a second to load. A text is fine if it is UTF-8.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memaudit.text.corpus.containers import MAX_RECORD, ByteStream
from memaudit.text.corpus.specs import CorpusFile

LARGE = 4 << 20
"""Bytes of a file, compressed or not, from which on the kernel reads it."""


class Checked(NamedTuple):
    """What was found in a file."""

    documents: int
    empty: int
    """Records without text that the kernel itself passed over."""
    unique: bool
    """Whether no two records share an id, for sure."""


def is_fast(file: CorpusFile) -> bool:
    """Return whether the kernel reads a file, and is worth it."""
    path = Path(file.path)
    return file.format == "jsonl" and path.is_file() and path.stat().st_size >= LARGE


def check_json_lines(stream: ByteStream, text_field: str, read_line: Callable[[int, bytes], str | None]) -> Checked:
    """Read a file of JSON lines.

    Args:
        stream: The file.
        text_field: Field that holds the text.
        read_line: Reads a line (its number, its bytes) that the kernel is not sure of, by the strict reader; returns
            the id of the document, or None if there is none.

    Raises:
        InputError: The file cannot be read; also whatever ``read_line`` raises.
    """
    from memaudit.text.corpus.json_kernel import NO_ID
    from memaudit.text.corpus.jsonl import hash_text, parse_json_lines

    strict: list[np.uint64] = []

    def noted(line: int, data: bytes) -> None:
        label = read_line(line, data)
        if label is not None:
            strict.append(hash_text(label))

    documents = empty = 0
    hashes = []
    for parsed in parse_json_lines(stream, stream.name, text_field, noted, labels=True):
        documents += len(parsed.lines)
        empty += parsed.empty
        hashes.append(parsed.ids[parsed.ids != NO_ID])
    found = np.concatenate([*hashes, np.array(strict, np.uint64)])
    return Checked(documents + len(strict), empty, len(np.unique(found)) == len(found))


def is_plain_text(stream: ByteStream) -> bool:
    """Return whether a file is a text that no reader refuses, however it is cut: UTF-8, with something to read in it.

    Raises:
        InputError: The file cannot be read.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    size, blank = 0, True
    try:
        for chunk in stream:
            if b"\r" in chunk and b"\n" not in chunk:  # lines that end in CR alone
                return False
            size, text = size + len(chunk), decoder.decode(chunk)
            blank = blank and (not text or text.isspace())
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return not blank and size <= MAX_RECORD
