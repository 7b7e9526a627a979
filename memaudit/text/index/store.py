"""Many strings in one compressed file, each to be had on its own: the texts of an index and their sources."""

from __future__ import annotations

from collections import OrderedDict
from typing import BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from memaudit.errors import InputError

FRAME = 32 << 10
"""Bytes that strings are gathered to before they are compressed: what one string costs to read."""
LEVEL = 3
CACHED_FRAMES = 64
LARGEST_CACHED = 1 << 20
"""Bytes of a frame that is kept once it was read; a longer one holds one long text."""


class StringWriter:
    """Appends strings to a file in frames.

    A frame is compressed by zstd with a checksum: little-endian int64 ends of its strings, then the strings as
    UTF-8 (lone surrogates as three bytes).

    Args:
        file: Where the frames go.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._frames: list[tuple[int, int]] = [(0, 0)]

    def add(self, text: str) -> None:
        """Append a string."""
        encoded = text.encode("utf-8", "surrogatepass")
        self._pending.append(encoded)
        self._pending_bytes += len(encoded)
        if self._pending_bytes >= FRAME:
            self._flush()

    def finish(self) -> NDArray[np.int64]:
        """Write what is left and return where the frames begin: (byte, number of its first string), [frames + 1, 2].

        The last row holds the bytes and the number of strings in all.
        """
        if self._pending:
            self._flush()
        return np.array(self._frames, np.int64)

    def _flush(self) -> None:
        ends = np.cumsum([len(piece) for piece in self._pending], dtype="<i8")
        frame = self._compressor.compress(ends.tobytes() + b"".join(self._pending))
        self._file.write(frame)
        start, first = self._frames[-1]
        self._frames.append((start + len(frame), first + len(self._pending)))
        self._pending, self._pending_bytes = [], 0


class Strings:
    """Reads single strings back; the frames read last are kept.

    Args:
        data: The bytes of the file, which may be a memory map.
        frames: What `StringWriter.finish` returned.
        name: What messages call the file.
    """

    def __init__(self, data: NDArray[np.uint8], frames: NDArray[np.int64], name: str) -> None:
        self.data = data
        self.frames = frames
        self.name = name
        self._cache: OrderedDict[int, tuple[NDArray[np.int64], bytes]] = OrderedDict()

    def __len__(self) -> int:
        return int(self.frames[-1, 1])

    @property
    def is_whole(self) -> bool:
        """Whether the frames lie end to end and fill the file."""
        if self.frames.shape[1:] != (2,) or not len(self.frames):
            return False
        bounds = self.frames[[0, -1]].tolist()
        return bool(bounds[0] == [0, 0] and bounds[1][0] == len(self.data) and (np.diff(self.frames, axis=0) > 0).all())

    def __getitem__(self, index: int) -> str:
        """Return string ``index``, at least 0.

        Raises:
            InputError: If the file is damaged there.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self.frames[:, 1], index, side="right")) - 1
        ends, data = self._frame(number)
        place = index - int(self.frames[number, 1])
        start = int(ends[place - 1]) if place else 0
        return data[start : int(ends[place])].decode("utf-8", "surrogatepass")

    def _frame(self, number: int) -> tuple[NDArray[np.int64], bytes]:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        (start, first), (end, last) = self.frames[number], self.frames[number + 1]
        try:
            raw = zstandard.ZstdDecompressor().decompress(self.data[start:end].tobytes())
            count = int(last - first)
            ends, strings = np.frombuffer(raw, "<i8", count), raw[8 * count :]
            if int(ends[-1]) != len(strings):
                raise ValueError("its strings are not of the stated length")
        except (zstandard.ZstdError, ValueError, IndexError, MemoryError) as error:
            raise InputError(f"{self.name}: damaged at byte {start:,}: {error}", "build the index again") from error
        if len(raw) <= LARGEST_CACHED:
            self._cache[number] = ends, strings
        if len(self._cache) > CACHED_FRAMES:
            self._cache.popitem(last=False)
        return ends, strings
