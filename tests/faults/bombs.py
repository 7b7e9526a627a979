"""Files that are small on the disk and large in memory, or endless in depth: each must be refused by name, and soon."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import zstandard

from memaudit.text.corpus.read import read_corpus

GIB = 1 << 30
ROOM = 2 << 20


def _zstd(path: Path) -> None:
    with path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as stream:
        for _ in range(GIB // ROOM):
            stream.write(bytes(ROOM))


def _gzip(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(GIB // ROOM):
            stream.write(b"a" * ROOM)


def _members(path: Path) -> None:
    """Many frames, each of which expands by little less than is suspicious."""
    path.write_bytes(gzip.compress(b"a" * (1 << 20)) * 2048)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, GIB)


def _one_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'{"text": "')
        for _ in range(GIB // ROOM):
            file.write(b"a" * ROOM)


def _cell(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b'text\n"')
        for _ in range(GIB // ROOM):
            file.write(b"a\n" * (ROOM // 2))


def _deep(path: Path) -> None:
    path.write_text('{"text": "a"}\n{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")


def _deep_array(path: Path) -> None:
    path.write_text("[" * 100_000 + "]" * 100_000)


def _deep_objects(path: Path) -> None:
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)


def _digits(path: Path) -> None:
    path.write_text(json.dumps({"text": "a"})[:-1] + ', "copies": ' + "9" * 1_000_000 + "}\n")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.txt", "text")


BOMBS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "zstd to 1 GiB": ("bomb.jsonl.zst", _zstd),
    "gzip to 1 GiB": ("bomb.txt.gz", _gzip),
    "gzip of 2,048 members": ("bomb.jsonl.gz", _members),
    "holes of 1 GiB": ("bomb.txt", _sparse),
    "holes of 1 GiB as lines": ("bomb.jsonl", _sparse),
    "holes of 1 GiB as a table": ("bomb.csv", _sparse),
    "a line of 1 GiB": ("line.jsonl", _one_line),
    "an array of 1 GiB": ("line.json", _one_line),
    "a cell of 1 GiB": ("cell.csv", _cell),
    "nested 100,000 deep": ("deep.jsonl", _deep),
    "an array 100,000 deep": ("deep.json", _deep_array),
    "objects 100,000 deep": ("objects.jsonl", _deep_objects),
    "a number of a million digits": ("digits.jsonl", _digits),
    "a zip archive that leaves its folder": ("outside.txt", _zip),
    "a pipe": ("pipe.jsonl", lambda path: os.mkfifo(path)),
    "an endless device": ("zero.txt", lambda path: path.symlink_to("/dev/zero")),
    "holes as Parquet": ("bomb.parquet", _sparse),
}


def read_all(path: Path) -> int:
    """Read a corpus as any command does; return how many documents it has."""
    return sum(1 for _ in read_corpus([str(path)], split="file"))
