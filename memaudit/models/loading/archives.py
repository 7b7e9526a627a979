"""Archives that ``torch.save`` wrote: which tensors they hold, and where in the file each of them lies.

An archive is a zip file of a pickle and of one record a storage. ``torch.load(weights_only=True)`` runs no code, but
takes what memory it is told to and builds more than tensors. So nothing is unpickled at all: a reader that knows a
dictionary of tensors and nothing else follows zip and pickle, and the tensors are read from their places, as those of
safetensors are. What is other than torch writes a state dict is refused.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.pickles import LARGEST, PickledTensor, RefusedError, tensors_of

SAVE_AGAIN = "load it where you trust it, and save it with save_pretrained"
LARGEST_DIRECTORY = 8 << 20
"""Bytes of the list of records: that of 80,000 tensors."""
_RECORD = re.compile(
    r"[^/\\\x00-\x1f]{1,255}/(data\.pkl|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/serialization_id|data/[A-Za-z0-9_]{1,20})"
)
_END, _END_64, _LOCATOR, _LOCAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class _Record:
    start: int
    """Of its bytes in the file."""
    size: int


@dataclass(frozen=True, slots=True)
class ArchivedTensor:
    """A tensor of an archive."""

    kind: str
    """Type of its values, as safetensors call it."""
    shape: tuple[int, ...]
    start: int
    """Place of its first byte in the file."""
    strides: tuple[int, ...]
    """Values between neighbours of each dimension; empty where they lie in their order without gaps."""


def archived_tensors(file: Path) -> dict[str, ArchivedTensor]:
    """Return what an archive declares, name by name, once all of it is seen to lie in the file.

    Raises:
        ModelError: It is of another format, holds anything but a flat dictionary of tensors, or is not as torch writes
            it: records that are packed or overlap, tensors beyond their storage or many times as large.
    """
    try:
        with file.open("rb") as stream:
            _check_start(file, stream)
            records = _records(stream)
            data = _read(stream, records, "data.pkl", LARGEST)
            if "byteorder" in records and _read(stream, records, "byteorder", 16) != b"little":
                raise RefusedError("its numbers are in another order of bytes")
        tensors = tensors_of(data)
        _check_memory(tensors, {name: record.size for name, record in records.items()})
    except RefusedError as error:
        raise ModelError(f"{file}: {error}", SAVE_AGAIN) from None
    except (OSError, ValueError, zipfile.BadZipFile, struct.error, LookupError, NotImplementedError) as error:
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{file}: no archive of torch.save: {reason}", "download it again") from None
    return {name: _placed(tensor, records[f"data/{tensor.storage.key}"].start) for name, tensor in tensors.items()}


def _placed(tensor: PickledTensor, storage: int) -> ArchivedTensor:
    """Return a tensor whose storage begins at a byte of the file."""
    plain = [prod(tensor.shape[side + 1 :]) for side in range(len(tensor.shape))]
    steps = zip(tensor.shape, tensor.strides, plain, strict=True)
    in_order = not prod(tensor.shape) or all(step == own for side, step, own in steps if side > 1)
    start = storage + tensor.offset * tensor.storage.width
    return ArchivedTensor(tensor.storage.kind, tensor.shape, start, () if in_order else tensor.strides)


def _check_start(file: Path, stream: IO[bytes]) -> None:
    start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"{file}: git-LFS pointer, not weights", "fetch the file with git lfs pull")
    if not start:
        raise ValueError("it is empty")
    if not start.startswith(_LOCAL):
        raise RefusedError("not the zip format of torch.save: an old file, which is one pickle, or none of torch")


def _records(stream: IO[bytes]) -> dict[str, _Record]:
    """Return the records of an archive, by their names below its own; they lie side by side, and nothing is packed."""
    directory = _directory(stream)
    with zipfile.ZipFile(stream) as opened:
        listed = sorted(opened.infolist(), key=lambda info: info.header_offset)
    root = listed[0].orig_filename.partition("/")[0] if listed else ""
    found: dict[str, _Record] = {}
    seen: set[str] = set()
    end = 0
    for info in listed:
        name = info.orig_filename
        known = _RECORD.fullmatch(name)
        if known is None or not name.startswith(f"{root}/"):
            raise RefusedError(f"holds {one_line(repr(name), 80)}, which no state dict has")
        if known[1].lower() in seen:  # torch finds them whatever their case
            raise RefusedError(f"holds two records {known[1]}")
        seen.add(known[1].lower())
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 0x61:
            raise RefusedError(f"its record {known[1]} is compressed or encrypted")
        start = _start_of(stream, info)
        if info.header_offset < end or start + info.file_size > directory:
            raise RefusedError(f"its record {known[1]} overlaps with another")
        end = start + info.file_size
        found[known[1]] = _Record(start, info.file_size)
    return found


def _directory(stream: IO[bytes]) -> int:
    """Return where the list of records begins, which ends where the last lines of the file begin, as torch writes it.

    Readers of zip files differ in what else they accept; here there is one way to read it.
    """
    size = stream.seek(0, os.SEEK_END)
    at = size - 22
    length, offset, comment = _unpacked(stream, at, _END, "<12xIIH")
    if at >= 20 and _bytes(stream, at - 20, 4) == _LOCATOR:
        [at] = _unpacked(stream, at - 20, _LOCATOR, "<8xQ4x")
        length, offset = _unpacked(stream, at, _END_64, "<40xQQ")
    if comment or length > LARGEST_DIRECTORY or offset + length != at:
        raise RefusedError("its list of records is too long, or elsewhere than torch writes it")
    return int(offset)


def _unpacked(stream: IO[bytes], at: int, mark: bytes, layout: str) -> tuple[int, ...]:
    read = _bytes(stream, at, struct.calcsize(layout))
    if not read.startswith(mark):
        raise RefusedError("the end of the file is not that of an archive of torch.save")
    return struct.unpack(layout, read)


def _start_of(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Return where the bytes of a record begin, behind its own header, which names it as the list does."""
    header = _bytes(stream, info.header_offset, 30)
    if not header.startswith(_LOCAL):
        raise RefusedError("a record is not where the list of records says")
    name, extra = struct.unpack("<26xHH", header)
    if _bytes(stream, info.header_offset + 30, name) != info.orig_filename.encode("utf-8"):
        raise RefusedError("a record has another name than the list of records says")
    return info.header_offset + 30 + int(name) + int(extra)


def _bytes(stream: IO[bytes], at: int, count: int) -> bytes:
    if at < 0:
        raise RefusedError("it is cut off")
    stream.seek(at)
    return stream.read(count)


def _read(stream: IO[bytes], records: dict[str, _Record], name: str, largest: int) -> bytes:
    if name not in records:
        raise RefusedError(f"it holds no {name}")
    if records[name].size > largest:
        raise RefusedError(f"its {name} has {records[name].size:,} bytes, more than {largest:,}")
    return _bytes(stream, records[name].start, records[name].size)


def _check_memory(tensors: dict[str, PickledTensor], sizes: dict[str, int]) -> None:
    """Refuse storages that the archive does not hold, and tensors that are more than twice what their storage is."""
    taken: Counter[str] = Counter()
    for name, tensor in tensors.items():
        storage = tensor.storage
        size = sizes.get(f"data/{storage.key}")
        if size is None or size != storage.values * storage.width:
            raise RefusedError(
                f"tensor {one_line(name, 80)} is of {storage.values:,} values that the archive does not hold"
            )
        last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
        if prod(tensor.shape) and not (last < storage.values and prod(tensor.shape) <= storage.values):
            raise RefusedError(f"tensor {one_line(name, 80)} is larger than its storage")
    for view in {(t.storage.key, t.offset, t.shape, t.strides) for t in tensors.values()}:
        taken[view[0]] += prod(view[2])
    for tensor in tensors.values():
        if taken[tensor.storage.key] > 2 * tensor.storage.values:
            raise RefusedError("its tensors are many views of one storage, which together are larger than the file")
