"""One shard of an index: the symbols of some documents, their suffix array, and the documents themselves.

A shard never changes. Its files are plain numpy arrays, mapped into memory when it is opened, and two
compressed stores of strings.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.errors import InputError, one_line
from memaudit.records import Document
from memaudit.text.index.search import first_ranges
from memaudit.text.index.store import Strings, StringWriter
from memaudit.text.index.suffix import suffix_array
from memaudit.text.index.units import Keys

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

END = 0
"""The symbol behind every document."""
MAX_SYMBOLS = 2**31 - 1
PIECE = 2**15
"""Keys that are numbered at once: room is made for as many new ones."""
AGAIN = "build the index again"
"""How to go on after damage."""
ARRAYS: dict[str, type[np.generic]] = {
    "symbols": np.int32,
    "suffixes": np.int32,
    "buckets": np.int64,
    "documents": np.int64,
    "domains": np.int32,
    "vocabulary": np.uint64,
    "texts": np.int64,
    "sources": np.int64,
}
STORES = ("texts", "sources")
FILES = (*(f"{name}.npy" for name in ARRAYS), *(f"{name}.zst" for name in STORES))
"""What a shard consists of."""


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Some documents of a corpus, ready to be searched."""

    symbols: Int32Array
    """The documents' symbols, from 1, and `END` behind each; shape [symbols]."""
    suffixes: Int32Array
    """Suffix array of ``symbols``."""
    buckets: Int64Array
    """Suffixes that begin with symbol ``s`` are ``suffixes[buckets[s]:buckets[s + 1]]``; shape [alphabet + 1]."""
    documents: Int64Array
    """Document ``i`` is ``symbols[documents[i]:documents[i + 1] - 1]``; shape [documents + 1]."""
    domains: Int32Array
    """Domain of every document: its number in the index's list, -1 for none; shape [documents]."""
    vocabulary: Keys
    """Key of symbol ``s`` is ``vocabulary[s - 1]``, in ascending order; empty where keys are symbols."""
    texts: Strings
    """The documents as they were read."""
    sources: Strings
    """``[source, id]`` of every document, as JSON."""

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.domains)

    @property
    def size(self) -> int:
        """Symbols of all documents, without what separates them."""
        return len(self.symbols) - len(self)

    def symbols_of(self, keys: Keys) -> Int32Array:
        """Return the symbols of keys; -1 for those that this shard does not hold."""
        alphabet = len(self.buckets) - 1
        if not len(self.vocabulary):
            return np.where(keys < alphabet, keys.astype(np.int64), -1).astype(np.int32)
        ranks = np.searchsorted(self.vocabulary, keys)
        known = self.vocabulary[np.minimum(ranks, len(self.vocabulary) - 1)] == keys
        return np.where(known, ranks + 1, -1).astype(np.int32)

    def keys_of(self, symbols: Int32Array) -> Keys:
        """Return the keys of symbols of this shard; 0 for `END`.

        Raises:
            InputError: If they are damaged.
        """
        if len(symbols) and not 0 <= symbols.min() <= symbols.max() < len(self.buckets) - 1:
            raise InputError("a shard holds symbols that it has no words for", AGAIN)
        if not len(self.vocabulary):
            return symbols.astype(np.uint64)
        return np.where(symbols == END, np.uint64(0), self.vocabulary[np.maximum(symbols, 1) - 1])

    def document_at(self, positions: NDArray[np.integer[Any]]) -> Int64Array:
        """Return which document each position of ``symbols`` lies in."""
        return np.searchsorted(self.documents, positions, side="right") - 1

    def document_symbols(self, document: int) -> Int32Array:
        """Return the symbols of one document."""
        return self.symbols[self.documents[document] : self.documents[document + 1] - 1]

    def source(self, document: int) -> tuple[str, str]:
        """Return ``file:line`` and id of a document."""
        source, identity = json.loads(self.sources[document])
        return source, identity


def open_shard(folder: Path) -> Shard:
    """Map the files of a shard into memory.

    Raises:
        InputError: If a file is missing, or not of the kind that it should be.
    """
    arrays = {name: _load(folder / f"{name}.npy", kind, 1 + (name in STORES)) for name, kind in ARRAYS.items()}
    stores: dict[str, Strings] = {}
    for name in STORES:
        path = folder / f"{name}.zst"
        data = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)
        stores[name] = Strings(data, arrays.pop(name), str(path))
    arrays["buckets"] = np.array(arrays["buckets"])  # read at every query, and small
    shard = _shard(arrays, stores)
    if not _is_whole(shard):
        raise InputError(f"{folder}: its files do not belong together", AGAIN)
    return shard


def _is_whole(shard: Shard) -> bool:
    """Whether the small arrays fit each other and the large ones: all that the kernels trust without a look."""
    if not (len(shard.documents) and len(shard.buckets) and shard.texts.is_whole and shard.sources.is_whole):
        return False
    if not len(shard.suffixes) == len(shard.symbols) == shard.buckets[-1] == shard.documents[-1]:
        return False
    if not len(shard.documents) == len(shard) + 1 == len(shard.texts) + 1 == len(shard.sources) + 1:
        return False
    if len(shard.vocabulary) not in (0, len(shard.buckets) - 2):
        return False
    ascending = np.diff(shard.buckets).min(initial=0) >= 0 and np.diff(shard.documents).min(initial=1) >= 1
    return bool(ascending and shard.buckets[0] == shard.documents[0] == 0)


class ShardBuilder:
    """Takes documents one by one and becomes a shard.

    Args:
        folder: Where its files go; None keeps everything in memory.
        by_vocabulary: Whether keys are hashes, which are numbered; else they are the symbols.
    """

    def __init__(self, folder: Path | None, *, by_vocabulary: bool) -> None:
        self._folder = folder
        if folder is not None:
            folder.mkdir()
        self._symbols = array("i")
        self._documents = array("q", [0])
        self._domains = array("i")
        self._numbers = _Numbers() if by_vocabulary else None
        self._files: dict[str, BinaryIO] = {
            name: io.BytesIO() if folder is None else (folder / f"{name}.zst").open("wb") for name in STORES
        }
        self._stores = {name: StringWriter(file) for name, file in self._files.items()}

    def __len__(self) -> int:
        """Return the number of symbols so far, separators included."""
        return len(self._symbols)

    def add(self, document: Document, keys: Keys, domain: int) -> None:
        """Append a document, given its keys and the number of its domain."""
        symbols = keys.astype(np.int32) if self._numbers is None else self._numbers.of(keys)
        self._symbols.frombytes(symbols.tobytes())
        self._symbols.append(END)
        self._documents.append(len(self._symbols))
        self._domains.append(domain)
        self._stores["texts"].add(document.text)
        self._stores["sources"].add(json.dumps([document.source, document.id]))

    def finish(self) -> Shard:
        """Sort the suffixes, write what belongs on disk, and return the shard."""
        symbols: Int32Array = np.frombuffer(self._symbols, np.int32)
        vocabulary = np.empty(0, np.uint64)
        if self._numbers is not None:
            vocabulary, ranks = self._numbers.ranked()
            for first in range(0, len(symbols), 2**20):
                symbols[first : first + 2**20] = ranks[symbols[first : first + 2**20]]
        suffixes = suffix_array(symbols)
        alphabet = int(symbols[suffixes[-1]]) + 1 if len(suffixes) else 1
        arrays: dict[str, NDArray[Any]] = {
            "symbols": symbols,
            "suffixes": suffixes,
            "buckets": first_ranges(symbols, suffixes, alphabet),
            "documents": np.frombuffer(self._documents, np.int64),
            "domains": np.frombuffer(self._domains, np.int32),
            "vocabulary": vocabulary,
        }
        frames = {name: store.finish() for name, store in self._stores.items()}
        if self._folder is None:
            stores = {
                name: Strings(np.frombuffer(file.getvalue(), np.uint8), frames[name], name)
                for name, file in self._files.items()
                if isinstance(file, io.BytesIO)
            }
            return _shard(arrays, stores)
        for name, values in (arrays | frames).items():
            _save(self._folder / f"{name}.npy", values)
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.close()
        return open_shard(self._folder)

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            with suppress(OSError):  # of a full disk, which was reported
                file.close()


def _shard(arrays: Mapping[str, NDArray[Any]], stores: Mapping[str, Strings]) -> Shard:
    parts: dict[str, Any] = dict(stores)
    for name, values in arrays.items():
        parts[name] = np.asarray(values).view()
        parts[name].flags.writeable = False  # mapped or not: numba compiles a kernel for each type of array
    return Shard(**parts)


def file_digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file of a shard."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
    return found


def check_files(folder: Path, stated: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a shard of which a file is missing or of another size than its manifest says."""
    for name in FILES:
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", AGAIN) from error
        if size != stated[name]["bytes"]:
            problem = f"{path}: {size:,} bytes, expected {stated[name]['bytes']:,}"
            raise InputError(problem, "copy the whole folder again, or build the index again")


class _Numbers:
    """Numbers keys from 1 in the order of their first occurrence; an open-addressing hash table."""

    def __init__(self) -> None:
        self._count = 0
        self._keys = np.zeros(2 * PIECE, np.uint64)
        self._numbers = np.zeros(2 * PIECE, np.int32)

    def of(self, keys: Keys) -> Int32Array:
        """Return the numbers of keys, none of which is 0."""
        numbers = np.empty(len(keys), np.int32)
        for first in range(0, len(keys), PIECE):
            piece = np.ascontiguousarray(keys[first : first + PIECE])
            while 2 * (self._count + len(piece)) > len(self._keys):
                old = self._keys, self._numbers
                self._keys, self._numbers = (np.zeros(2 * len(values), values.dtype) for values in old)
                _move(*old, self._keys, self._numbers)
            self._count = _number(piece, self._keys, self._numbers, self._count, numbers[first : first + PIECE])
        return numbers

    def ranked(self) -> tuple[Keys, Int32Array]:
        """Return all keys in ascending order, and for every number the rank of its key from 1; 0 stays 0."""
        used = np.flatnonzero(self._keys)
        keys, numbers = self._keys[used], self._numbers[used]
        order = np.argsort(keys)
        ranks = np.zeros(len(keys) + 1, np.int32)
        ranks[numbers[order]] = np.arange(1, len(keys) + 1)
        return keys[order], ranks


@njit(cache=True, nogil=True)
def _slot(key: np.uint64, table: Keys) -> int:
    """Return where a key stands in a table of a power of two slots, or the free slot where it belongs."""
    mask = np.uint64(len(table) - 1)
    mixed = key * np.uint64(0x9E3779B97F4A7C15)
    slot = (mixed ^ (mixed >> np.uint64(32))) & mask
    while table[slot] != 0 and table[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return int(slot)


@njit(cache=True, nogil=True)
def _number(keys: Keys, table: Keys, numbers: Int32Array, count: int, out: Int32Array) -> int:
    """Fill ``out`` with the numbers of keys, give new ones the next, and return the number of keys known."""
    for i in range(len(keys)):
        slot = _slot(keys[i], table)
        if table[slot] == 0:
            count += 1
            table[slot] = keys[i]
            numbers[slot] = count
        out[i] = numbers[slot]
    return count


@njit(cache=True, nogil=True)
def _move(old_table: Keys, old_numbers: Int32Array, table: Keys, numbers: Int32Array) -> None:
    for i in range(len(old_table)):
        if old_table[i] != 0:
            slot = _slot(old_table[i], table)
            table[slot] = old_table[i]
            numbers[slot] = old_numbers[i]


def _load(path: Path, kind: type[np.generic], dimensions: int) -> NDArray[Any]:
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header makes numpy's parser raise anything
        raise InputError(f"{path}: cannot be read: {one_line(str(error), 100)}", AGAIN) from error
    if found.dtype != kind or found.ndim != dimensions:
        wanted = f"{np.dtype(kind)} ({dimensions}-dimensional)"
        problem = f"{path}: holds {found.dtype} ({found.ndim}-dimensional), expected {wanted}"
        raise InputError(problem, AGAIN)
    return found


def _save(path: Path, values: NDArray[Any]) -> None:
    """Write a .npy file through Python's file, whose errors say what failed."""
    values = np.ascontiguousarray(values)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        file.write(values.data.cast("B") if values.size else b"")
        file.flush()
        os.fsync(file.fileno())
