"""The bytes of a file, hashed and decompressed as they stream by, and the lines in them.

A file that is not wholly there, that is no text, or that grows beyond reason is refused by name: half
a download must never pass for a smaller corpus.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from memaudit.errors import InputError
from memaudit.runs.inputs import Stamp, current

CHUNK = 1 << 20
MAX_RECORD = 256 << 20
"""Largest line or document in bytes; anything longer is refused instead of swallowed."""
FREE_EXPANSION = 64 << 20
MAX_RATIO = 200
"""A compressed file may give ``FREE_EXPANSION`` bytes, and beyond that ``MAX_RATIO`` times its own size."""

COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
ARCHIVES = (".tar", ".tgz", ".tbz2", ".txz", ".zip", ".7z", ".rar", ".xz", ".bz2", ".lz4", ".br")

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    **{bytes([0x50 + i]) + b"\x2a\x4d\x18": "zstd" for i in range(16)},  # a frame that is to be skipped
}
_FOREIGN = {
    b"\x1f\x8b": "gzip data, compressed once more",
    b"\x28\xb5\x2f\xfd": "zstd data, compressed once more",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    **{b"BZh%d1AY&SY" % level: "bzip2 data" for level in range(1, 10)},
    b"\xfd7zXZ": "xz data",
    b"\x04\x22\x4d\x18": "lz4 data",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!\x1a": "a rar archive",
    b"PAR1\x15": "a Parquet file",
    b"ARROW1\0": "an Arrow file",
    b"\xff\xff\xff\xff": "an Arrow stream",
    b"FEA1\0": "a Feather file of version 1",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"SQLite format 3\0": "an SQLite database",
    b"%PDF-": "a PDF document",
    b"{\\rtf": "an RTF document",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF87a": "an image",
    b"GIF89a": "an image",
    b"\x7fELF": "a program",
    b"GGUF\2\0": "the weights of a model",
    b"GGUF\3\0": "the weights of a model",
    **{bytes([0x80, version]): "a pickle" for version in range(2, 6)},
    b"version https://git-lfs": "a git-LFS pointer, not the data",
    b"\xff\xfe": "UTF-16, not UTF-8 at byte 1",
    b"\xfe\xff": "UTF-16, not UTF-8 at byte 1",
}
"""How files begin that are no text; gzip and zstd only where one was unpacked already."""
_BOM = b"\xef\xbb\xbf"


class ByteStream:
    """The decompressed bytes of one file, in chunks; ``sha256`` and ``bytes`` are of the file itself.

    Whether it is compressed, and how, its first bytes say; its name only where they do not.

    Args:
        name: Path as the user gave it, which all messages repeat.
        max_expand: Bytes that a compressed file may give; None: 64 MiB, and beyond that 200 times its size.
        path: Where it lies, if not under that name: standard input is kept in a file.

    Raises:
        InputError: While iterating: the file is unreadable, truncated, damaged, no text, or expands too far.
    """

    def __init__(self, name: str, max_expand: int | None = None, path: str | None = None) -> None:
        self.name = name
        self.path = path or name
        self.bytes = 0
        self._max_expand = max_expand
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the bytes read so far: of the whole file after a full iteration."""
        return self._hash.hexdigest()

    def raw(self) -> Iterator[bytes]:
        """Yield the bytes as they lie on disk."""
        try:
            stamp = Stamp.of(self.path)
            with Path(self.path).open("rb", buffering=0) as file:
                while chunk := file.read(CHUNK):
                    self._hash.update(chunk)
                    self.bytes += len(chunk)
                    yield chunk
        except OSError as error:
            raise InputError(f"{self.name}: {error.strerror}") from error
        current().add(self.path, self.sha256, stamp)

    def __iter__(self) -> Iterator[bytes]:
        chunks = self.raw()
        first = next(chunks, b"")
        named = COMPRESSED.get(Path(self.name).suffix.lower())
        kind = compression(first) or named
        if named and len(first) > 3 and not compression(first):
            hint = f"it begins like no {named} data: if it is plain, take the ending off its name"
            raise InputError(f"{self.name}: damaged {named} stream", hint)
        whole = chain([first], chunks)
        yield from _checked_head(whole if kind is None else self._expanded(kind, whole), self.name)

    def _expanded(self, kind: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        new_decoder, step, failures = _decoder(kind)
        decoder, frames, size = new_decoder(), 0, 0
        for chunk in chunks:
            for start in range(0, len(chunk), step):
                piece = chunk[start : start + step]
                while piece:
                    if decoder.eof:
                        piece = piece.lstrip(b"\0") if kind == "gzip" else piece  # padding, as gzip takes it
                        if not piece:
                            break
                        decoder, frames = new_decoder(), frames + 1
                    try:
                        out = decoder.decompress(piece)
                    except failures as error:
                        what = "bytes after the end of the" if frames else "damaged"
                        raise InputError(f"{self.name}: {what} {kind} stream", str(error)) from error
                    piece = decoder.unused_data if decoder.eof else b""
                    size += len(out)
                    self.refuse_expansion(size)
                    yield out
        if not decoder.eof:
            problem = f"{self.name}: truncated stream after {self.bytes:,} bytes"
            raise InputError(problem, "fetch the file again")

    def refuse_expansion(self, size: int) -> None:
        """Refuse a file that has given, or would give, more bytes than it may; all that was read of it counts."""
        limit = self._max_expand
        if limit is None:
            limit = max(FREE_EXPANSION, MAX_RATIO * self.bytes)
        if size > limit:
            hint = f"more than {limit:,} bytes from {self.bytes:,}; use --max-expand if that is right"
            raise InputError(f"{self.name}: expands over limit", hint)


def compression(first: bytes) -> str | None:
    """Return how a file that begins so is compressed."""
    return next((kind for magic, kind in _MAGIC.items() if first.startswith(magic)), None)


def split_lines(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    r"""Yield the lines of a byte stream without their ``\n``, the only character that ends a line here."""
    number = 1
    tail: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *lines = chunk.split(b"\n")
        tail.append(first)
        size += len(first)
        if size > MAX_RECORD:
            raise InputError(f"{name}:{number}: line longer than {MAX_RECORD:,} bytes")
        if lines:
            yield b"".join(tail)
            tail = [lines.pop()]
            size = len(tail[0])
            yield from lines
            number += 1 + len(lines)
    if size:
        yield b"".join(tail)


def _decoder(kind: str) -> tuple[Callable[[], Any], int, tuple[type[Exception], ...]]:
    """Return a factory of decoders, the bytes to feed at once, and what decoders raise.

    A step is so small that its output stays within 64 MiB at the format's highest ratio (deflate
    1,032:1, zstd about 32,700:1): a bomb is noticed before it fills the memory.
    """
    if kind == "gzip":
        return lambda: zlib.decompressobj(wbits=31), 32 << 10, (zlib.error,)
    import zstandard

    return lambda: zstandard.ZstdDecompressor().decompressobj(), 1 << 10, (zstandard.ZstdError,)


def _checked_head(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Pass the chunks on, without a byte order mark, once their beginning looks like text."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 512:
            break
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{name}: {what}", "give plain UTF-8 text, .gz or .zst")
    if head[257:262] == b"ustar":
        raise InputError(f"{name}: a tar archive", "unpack it and name the files in it")
    sample = head[:64]
    if len(sample) >= 8 and (not any(sample[1::2]) or not any(sample[::2])) and any(sample):
        raise InputError(f"{name}: UTF-16, not UTF-8 at byte 1", "convert it to UTF-8")
    yield head.removeprefix(_BOM)
    yield from chunks


def joined(chunks: Iterable[bytes], name: str) -> bytes:
    """Return the bytes of a file that has to be read as a whole; InputError if it is too long for that."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > MAX_RECORD:
            raise InputError(f"{name}: document over {MAX_RECORD:,} bytes", "cut it, or use JSON lines")
    return bytes(data)


def line_of(error: UnicodeDecodeError) -> int:
    """Return the line, from 1, on which bytes are no UTF-8."""
    return error.object.count(b"\n", 0, error.start) + 1
