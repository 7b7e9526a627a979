"""GGUF files that nobody vetted: header, settings and places of tensors, each checked against the size of the file.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.weights import Declared, one_name

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LONGEST_NAME = 1 << 10
LONGEST_STRING = 16 << 20
"""Bytes: the longest are chat templates, of some 20,000."""
MOST_TENSORS, MOST_SETTINGS = 100_000, 10_000
MOST_VALUES = 4_000_000
"""Values of all lists together; a vocabulary of 262,144 tokens with its merges has 1.3 million."""
MOST_SIDES = 4
ALIGNMENT = 32
STRING, LIST = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of settings, as `struct` calls them."""
AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies in a file, and how."""

    name: str
    shape: tuple[int, ...]
    """Rows first, as torch has it."""
    kind: str
    """``F32``, ``Q8_0``, ..."""
    start: int
    """Byte of the file at which it begins."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What a file says of itself."""

    path: Path
    settings: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]

    @property
    def architecture(self) -> str:
        """The name that llama.cpp has for the family; empty where there is none."""
        named = self.settings.get("general.architecture")
        return named if isinstance(named, str) else ""

    def declared(self) -> dict[str, Declared]:
        """Return the tensors as a weight file would declare them."""
        return {tensor.name: Declared(self.path, tensor.kind, tensor.shape) for tensor in self.tensors}

    def kinds(self) -> str:
        """Return how many tensors are of which type, the commonest first: ``Q8_0 (12 tensors), F32 (5)``."""
        counts: dict[str, int] = {}
        for tensor in self.tensors:
            counts[tensor.kind] = counts.get(tensor.kind, 0) + 1
        told = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return ", ".join(f"{kind} ({count}{'' if i else ' tensors'})" for i, (kind, count) in enumerate(told))


def is_gguf(file: Path) -> bool:
    """Return whether a file is called or begins like one."""
    if file.suffix == ".gguf":
        return True
    with file.open("rb") as stream:
        return stream.read(4) == MAGIC


def read_gguf(file: Path, sizes: Mapping[str, tuple[int, int]], kinds: Mapping[int, str]) -> GgufFile:
    """Read all of a file but its tensors.

    Args:
        file: A regular file.
        sizes: Of every type of tensors that is known, how many values a block has, and how many bytes.
        kinds: The names of these types, by their number.

    Raises:
        ModelError: It is no such file, of another version, cut short, or its parts lie outside of it or overlap.
    """
    if not file.is_file():
        raise ModelError(f"{file}: not a regular file")
    if file.stat().st_size < 32:
        raise ModelError(f"{file}: not a GGUF file: too short", AGAIN)
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:12] == b"version http":
                raise ModelError(f"{file}: git-LFS pointer, not weights", "fetch the file with git lfs pull")
            return _read(file, _Cursor(file, data), sizes, kinds)
    except (struct.error, UnicodeDecodeError) as error:
        raise ModelError(f"{file}: not a GGUF file: {one_line(str(error), 80)}", AGAIN) from None
    except OSError as error:
        raise ModelError(f"{file}: {error.strerror}") from None


class _Cursor:
    """A place in a file that moves on as is read; what lies beyond its end is never asked for."""

    def __init__(self, file: Path, data: mmap.mmap) -> None:
        self.file, self.data, self.place, self.values = file, data, 0, 0

    def wrong(self, what: str) -> ModelError:
        return ModelError(f"{self.file}: not a GGUF file: {what}", AGAIN)

    def unpack(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.place)
        self.place += struct.calcsize(f"<{form}")
        return found

    def string(self, longest: int = LONGEST_STRING) -> str:
        (length,) = self.unpack("Q")
        if length > min(longest, len(self.data) - self.place):
            raise self.wrong(f"a string of {length:,} bytes")
        self.place += length
        return self.data[self.place - length : self.place].decode()

    def value(self, kind: int) -> Any:
        if kind in SCALARS:
            return self.unpack(SCALARS[kind])[0]
        if kind == STRING:
            return self.string()
        if kind != LIST:
            raise self.wrong(f"a setting of type {kind}")
        inner, count = self.unpack("IQ")
        self.values += count
        if self.values > MOST_VALUES or (inner != STRING and inner not in SCALARS):
            raise self.wrong(f"a list of {count:,} values of type {inner}")
        if inner == STRING:
            return [self.string() for _ in range(count)]
        if count * struct.calcsize(f"<{SCALARS[inner]}") > len(self.data) - self.place:
            raise self.wrong(f"a list of {count:,} values")
        return list(self.unpack(f"{count}{SCALARS[inner]}"))


def _read(file: Path, cursor: _Cursor, sizes: Mapping[str, tuple[int, int]], kinds: Mapping[int, str]) -> GgufFile:
    magic, version, tensors, count = cursor.unpack("4sIQQ")
    if magic != MAGIC:
        raise cursor.wrong("it begins otherwise")
    if version not in VERSIONS:
        raise ModelError(f"{file}: GGUF version {version}, versions 2 and 3 are read", "convert the model again")
    if tensors > MOST_TENSORS or count > MOST_SETTINGS:
        raise cursor.wrong(f"{tensors:,} tensors and {count:,} settings")
    settings: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.string(LONGEST_NAME)
        if key in settings:
            raise cursor.wrong(f"the setting {one_line(key, 60)} twice")
        settings[key] = cursor.value(*cursor.unpack("I"))
    places = [_place(cursor, kinds) for _ in range(tensors)]
    alignment = settings.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= 1 << 16 or alignment % 8:
        raise cursor.wrong(f"alignment {one_line(repr(alignment), 40)}")
    start = -(-cursor.place // alignment) * alignment
    found = tuple(_tensor(cursor, place, start, alignment, sizes) for place in places)
    _check_places(cursor, found)
    return GgufFile(file, settings, found)


def _place(cursor: _Cursor, kinds: Mapping[int, str]) -> tuple[str, tuple[int, ...], str, int]:
    name = cursor.string(LONGEST_NAME)
    (sides,) = cursor.unpack("I")
    if not 0 < sides <= MOST_SIDES:
        raise cursor.wrong(f"tensor {one_name(name)} has {sides:,} dimensions")
    shape = cursor.unpack(f"{sides}Q")
    kind, offset = cursor.unpack("IQ")
    if kind not in kinds:
        raise cursor.wrong(f"tensor {one_name(name)} is of type {kind}")
    return name, tuple(reversed(shape)), kinds[kind], offset


def _tensor(
    cursor: _Cursor, place: tuple[str, tuple[int, ...], str, int], start: int, alignment: int,
    sizes: Mapping[str, tuple[int, int]],
) -> GgufTensor:  # fmt: skip
    name, shape, kind, offset = place
    values, block_bytes = sizes[kind]
    size = prod(shape) // values * block_bytes
    inside = min(shape) > 0 and start + offset + size <= len(cursor.data)
    if not inside or offset % alignment or shape[-1] % values:
        raise cursor.wrong(f"tensor {one_name(name)}, {kind} {list(shape)}, does not lie inside of it")
    return GgufTensor(name, shape, kind, start + offset, size)


def _check_places(cursor: _Cursor, tensors: tuple[GgufTensor, ...]) -> None:
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise cursor.wrong("two tensors of one name")
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.start):
        if tensor.start < end:
            raise cursor.wrong(f"tensor {one_name(tensor.name)} overlaps another")
        end = tensor.start + tensor.size


def gguf_of(folder: Path) -> Path | None:
    """Return the GGUF file that a folder holds in the place of a configuration; None where there is none.

    Raises:
        ModelError: It holds several.
    """
    if (folder / "config.json").exists() or (folder / "memaudit.json").exists():
        return None
    files = sorted(folder.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"{folder}: {len(files)} GGUF files", f"name one of them, {one_line(files[0].name, 80)} say")
    return files[0] if files else None


def files_of(file: Path) -> list[Path]:
    """Return the files that decide what the model of a GGUF file is: it, and a tokenizer beside it."""
    names = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
    beside = [file.parent / name for name in names if (file.parent / "tokenizer.json").is_file()]
    return [file, *(one for one in beside if one.is_file())]
