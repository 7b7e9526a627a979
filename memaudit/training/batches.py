"""Documents -> batches of token ids: padded rows for transformers, parallel streams for recurrent networks.

A layout is a pure function of (documents, seed, epoch): a resumed run asks for batch k of epoch e and gets
what the interrupted run would have got. numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from memaudit.records import TokenIds

IGNORED = -100
"""Target of a position that is not learned: padding, and what stands in no document."""

POOL_BATCHES = 32
"""Batches whose rows are sorted by length together, so that little is padded and order stays random."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Ids that the model reads and the id it is to give at each position."""

    inputs: NDArray[np.int64]
    """Shape [rows, length]; padding is ``<eos>``."""
    targets: NDArray[np.int64]
    """Shape [rows, length]; `IGNORED` where nothing is learned."""
    continues: bool = False
    """Whether the rows continue where those of the batch before ended (recurrent state is carried)."""

    @property
    def tokens(self) -> int:
        """Number of positions that are learned."""
        return int((self.targets != IGNORED).sum())


class Batches(Protocol):
    """What the training loop asks for: the length of an epoch, and any batch of any epoch."""

    def __len__(self) -> int:
        """Batches in one epoch."""

    def batch(self, epoch: int, index: int) -> Batch:
        """Return one batch of one epoch."""


class RowBatches:
    """Every document starts a row after ``<eos>``; rows of about equal length are padded into a batch.

    A document longer than ``length`` is cut into several rows, at places that change with the epoch so
    that no place stays a border; each row starts after ``<eos>`` again, as a window does when it is scored.
    The ``<eos>`` after a document is a target (next-token) and every token is one exactly once per epoch.

    Args:
        documents: Token ids of each document, without ``<eos>``.
        eos: The id that stands before each row and after each document.
        batch_size: Rows of a batch.
        length: Longest row; None for whole documents.
        seed: Fixes order and cuts together with the epoch.
        masked: Rows for a masked objective: the targets are the inputs, without any ``<eos>``.
        shuffle: False keeps the rows sorted by length (evaluation).
    """

    def __init__(
        self,
        documents: Sequence[TokenIds],
        eos: int,
        batch_size: int,
        length: int | None,
        seed: int = 0,
        *,
        masked: bool = False,
        shuffle: bool = True,
    ) -> None:
        self.eos, self.batch_size, self.seed = eos, batch_size, seed
        self.masked, self.shuffle = masked, shuffle
        self.text = np.concatenate([np.append(document, eos) for document in documents]).astype(np.int64)
        lengths = np.array([len(document) for document in documents], dtype=np.int64)
        self.starts = np.cumsum(lengths + 1) - lengths - 1
        self.sizes = lengths if masked else lengths + 1
        self.length = int(self.sizes.max()) if length is None else length - masked
        self.rows = -(-self.sizes // self.length)
        self._epoch = -1
        self._order: list[NDArray[np.int64]] = []

    def __len__(self) -> int:
        return math.ceil(int(self.rows.sum()) / self.batch_size)

    def batch(self, epoch: int, index: int) -> Batch:
        """Return batch ``index`` of ``epoch``."""
        if epoch != self._epoch:
            self._order, self._epoch = self._layout(epoch), epoch
        return self._padded(self._order[index])

    def _layout(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the rows of each batch as (start, stop) places in the joined text, shape [rows, 2]."""
        random = np.random.default_rng([self.seed, epoch])
        spans = self._spans(random)
        if not self.shuffle:
            spans = spans[np.argsort(spans[:, 1] - spans[:, 0], kind="stable")]
            return [spans[i : i + self.batch_size] for i in range(0, len(spans), self.batch_size)]
        spans = spans[random.permutation(len(spans))]
        pool = POOL_BATCHES * self.batch_size
        batches = []
        for first in range(0, len(spans), pool):
            rows = spans[first : first + pool]
            rows = rows[np.argsort(rows[:, 1] - rows[:, 0], kind="stable")]
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        return [batches[i] for i in random.permutation(len(batches))]

    def _spans(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Cut documents into rows; the first row's length is drawn so that their number never changes."""
        rest = self.sizes - (self.rows - 1) * self.length
        drawn = random.integers(rest, self.length + 1) if self.shuffle else self.length
        first = np.where(self.rows > 1, drawn, rest)
        document = np.repeat(np.arange(len(self.rows)), self.rows)
        place = np.arange(len(document)) - np.repeat(np.cumsum(self.rows) - self.rows, self.rows)
        begin = np.where(place > 0, first[document] + (place - 1) * self.length, 0)
        end = np.minimum(first[document] + place * self.length, self.sizes[document])
        spans: NDArray[np.int64] = np.stack([begin, end], axis=1) + self.starts[document][:, None]
        return spans

    def _padded(self, spans: NDArray[np.int64]) -> Batch:
        width = int((spans[:, 1] - spans[:, 0]).max()) + self.masked
        inputs = np.full((len(spans), width), self.eos, dtype=np.int64)
        targets = np.full((len(spans), width), IGNORED, dtype=np.int64)
        for row, (start, stop) in enumerate(spans):
            ids = self.text[start:stop]
            if self.masked:
                inputs[row, 1 : len(ids) + 1] = targets[row, 1 : len(ids) + 1] = ids
            else:
                inputs[row, 1 : len(ids)] = ids[:-1]
                targets[row, : len(ids)] = ids
        return Batch(inputs, targets)


class StreamBatches:
    """All documents of an epoch, shuffled and joined by ``<eos>``, as parallel streams cut into chunks.

    Truncated back-propagation through time: chunk k + 1 continues chunk k of the same epoch row by row,
    so the recurrent state is carried across; an epoch starts from the zero state. Every token and the
    ``<eos>`` after every document is a target exactly once per epoch.

    Args:
        documents: Token ids of each document, without ``<eos>``.
        eos: The id that stands before, between and after documents.
        batch_size: Parallel streams.
        length: Tokens of a chunk.
        seed: Fixes the order of documents together with the epoch.
    """

    def __init__(self, documents: Sequence[TokenIds], eos: int, batch_size: int, length: int, seed: int = 0) -> None:
        self.documents = [np.append(document, eos).astype(np.int64) for document in documents]
        self.eos, self.length, self.seed = eos, length, seed
        tokens = sum(len(document) for document in self.documents)
        self.streams = min(batch_size, tokens)
        self.width = math.ceil(tokens / self.streams)
        self._epoch = -1
        self._layout = Batch(np.empty((0, 0), np.int64), np.empty((0, 0), np.int64))

    def __len__(self) -> int:
        return math.ceil(self.width / self.length)

    def batch(self, epoch: int, index: int) -> Batch:
        """Return chunk ``index`` of ``epoch``."""
        if epoch != self._epoch:
            self._layout, self._epoch = self._streams(epoch), epoch
        part = slice(index * self.length, (index + 1) * self.length)
        return Batch(self._layout.inputs[:, part], self._layout.targets[:, part], continues=index > 0)

    def _streams(self, epoch: int) -> Batch:
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.documents))
        targets = np.full(self.streams * self.width, IGNORED, dtype=np.int64)
        text = np.concatenate([self.documents[i] for i in order])
        targets[: len(text)] = text
        inputs = np.full_like(targets, self.eos)
        inputs[1 : len(text)] = text[:-1]
        shape = self.streams, self.width
        return Batch(inputs.reshape(shape), targets.reshape(shape))
