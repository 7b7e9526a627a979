"""Headers of safetensors files: read and checked without mapping the file, which may be larger than memory.

The format: the length of the header in 8 bytes, little-endian; the header, an object of JSON that gives every tensor a
type, a shape and the place of its bytes; then the bytes of all tensors, one behind the other without a gap
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import orjson

from memaudit.errors import ModelError, one_line

LONGEST = 100_000_000
"""Bytes of a header, as the format has it."""
MOST_SIDES = 64
"""Dimensions of a tensor of torch."""
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "U64": 64, "I32": 32, "U32": 32, "I16": 16, "U16": 16,
    "I8": 8, "U8": 8, "BOOL": 8, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Types that the format has, and how many bits a value of each takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header says of a tensor."""

    kind: str
    shape: tuple[int, ...]
    start: int
    """Place of its first byte in the file."""
    bytes: int


def read_header(file: Path) -> dict[str, Entry]:
    """Return what a file declares, by the names of the tensors.

    Raises:
        ModelError: It is a git-LFS pointer, or is not what the format says; one line names the file and the reason.
    """
    try:
        return _read(file)
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{file}: not a safetensors file: {reason}", "download it again") from None


def _read(file: Path) -> dict[str, Entry]:
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(8)
        if first == b"version ":
            raise ModelError(f"{file}: git-LFS pointer, not weights", "fetch the file with git lfs pull")
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > min(LONGEST, size - 8):
            raise ValueError("its header does not fit into it")
        tensors = orjson.loads(stream.read(length))
    if not isinstance(tensors, dict):
        raise ValueError("its header is no JSON object")
    tensors.pop("__metadata__", None)
    entries = {name: _entry(name, told, 8 + length) for name, told in tensors.items()}
    end = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].bytes)):
        if entry.start != end:
            raise ValueError(f"tensor {one_line(name, 80)} does not lie behind the one before it")
        end += entry.bytes
    if end != size:
        raise ValueError(f"its tensors end at byte {end:,} of {size:,}")
    return entries


def _entry(name: str, told: Any, data: int) -> Entry:
    """Return what is told of a tensor whose file has its tensors' bytes from ``data`` on."""
    keys = ("dtype", "shape", "data_offsets")
    values: list[Any] = [told.get(key) if isinstance(told, dict) else None for key in keys]
    kind, shape, places = values
    known = isinstance(kind, str) and kind in BITS
    if not known or not _counts(shape) or len(shape) > MOST_SIDES or not _counts(places) or len(places) != 2:
        raise ValueError(f"tensor {one_line(name, 80)} has no type, shape and place that are known")
    size = places[1] - places[0]
    if prod(shape) * BITS[kind] != 8 * size:
        raise ValueError(f"tensor {one_line(name, 80)} has {size:,} bytes, which are not those of its type and shape")
    return Entry(kind, tuple(shape), data + places[0], size)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)
