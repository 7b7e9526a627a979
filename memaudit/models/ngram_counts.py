"""Counting: every n-gram of a training text up to any order, as one trie in four flat arrays.

All positions of the text are sorted by the tokens that start there, so an n-gram of any order is a run of
neighbours, and one walk over the sorted positions writes the trie. An n-gram that occurs in the text only
once is not unfolded any further: it points at the place in the text where it goes on. Time and memory
therefore grow with the text, hardly with the order: the order may be longer than any context.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.records import TokenIds

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

SEPARATOR = -1
"""Stands in the text before, between and after documents; no n-gram holds it."""


class Trie(NamedTuple):
    """The n-grams in breadth-first order: node 0 is the empty one, then all unigrams, all bigrams, and so on.

    A node is an n-gram and at the same time the context of its children, the n-grams that are one token
    longer. Children stand side by side in the order of their last token.
    """

    tokens: Int32Array
    """Last token of each n-gram, shape [nodes]."""
    counts: Int32Array
    """How often it was seen, shape [nodes]; ``~p`` (below 0) for an n-gram that was seen once, ending
    right before position ``p`` of ``text``: it has no children here, because it continues as the text does."""
    first: Int64Array
    """Node ``i`` has the children ``first[i]:first[i + 1]``; for all nodes but those of the highest order."""
    text: Int32Array
    """The training text, a separator before, between and after its documents."""


class Counts(NamedTuple):
    """A trie and what smoothing wants to know about each order."""

    trie: Trie
    ngrams: Int64Array
    """Number of different n-grams of each order, shape [order]."""
    counts_of_counts: Int64Array
    """How many n-grams of each order have the counts 1, 2, 3 and 4, shape [order, 4]."""


def count_ngrams(
    documents: Sequence[TokenIds], order: int, vocab_size: int, eos_id: int | None, *, continuation: bool
) -> Counts:
    """Count all n-grams of 1 to ``order`` tokens; none reaches over the end of a document.

    Args:
        documents: Token ids below ``vocab_size``, one array per document.
        order: Length of the longest n-gram, at least 1, with no upper limit.
        vocab_size: Number of ids.
        eos_id: Stands after every document and is counted as part of it; None for no such token.
        continuation: For orders below the highest, count in how many different ways the n-gram is preceded
            (by a token, or by the start of a document as one more) in place of how often it occurs.
    """
    text = _joined(documents, vocab_size, eos_id)
    room = np.empty_like(text)
    positions = _sorted_positions(text, order, room)
    shared, length = np.zeros(len(positions) + 1, np.int32), np.empty_like(positions)
    nodes, ngrams = _measure(text, positions, room, order, shared, length)
    starts = np.concatenate([[1], 1 + np.cumsum(nodes)])
    trie = Trie(
        np.full(starts[-1], SEPARATOR, np.int32),
        np.zeros(starts[-1], np.int32),
        np.full(starts[-2] + 1, starts[-1], np.int64),
        text,
    )
    _fill(trie, positions, shared, length, starts, np.full(vocab_size + 1, -1, np.int32), continuation)
    return Counts(trie, ngrams, _counts_of_counts(trie.counts, starts, ngrams))


def _joined(documents: Sequence[TokenIds], vocab_size: int, eos_id: int | None) -> Int32Array:
    ends = [SEPARATOR] if eos_id is None else [eos_id, SEPARATOR]
    end = np.array(ends, np.int32)
    parts: list[TokenIds] = [np.array([SEPARATOR], np.int32)]
    for document in documents:
        parts += [check_ids(document, vocab_size), end]
    text = np.concatenate(parts)
    if len(text) == 1 + len(end) * len(documents):
        raise InputError("the training text holds no token", "give at least one document that is not empty")
    if len(text) >= 2**31:
        raise InputError(f"{len(text):,} tokens are too many for an n-gram model", "it counts up to 2**31")
    return text


def check_ids(ids: TokenIds, vocab_size: int) -> Int32Array:
    """Return ``ids`` as int32, refusing any that the vocabulary does not have (kernels check no bounds)."""
    if len(ids) and (np.min(ids) < 0 or np.max(ids) >= vocab_size):
        raise InputError(
            f"token ids from {np.min(ids)} to {np.max(ids)} do not fit a vocabulary of {vocab_size}",
            "encode the text with the model's own tokenizer",
        )
    return np.ascontiguousarray(ids, dtype=np.int32)


def _sorted_positions(text: Int32Array, order: int, room: Int32Array) -> Int32Array:
    """Return the positions of all tokens, sorted by the (up to) ``order`` tokens that start there.

    As many tokens as fit are packed into one integer and sorted at once; positions that still tie are
    sorted by the ranks found so far (prefix doubling: Manber & Myers 1993). Fills ``room``, the number
    of tokens from each position to the end of its document.
    """
    seen = np.bincount(text + 1) > 0
    codes = (np.cumsum(seen, dtype=np.int32) - 1)[text + 1]
    bits = int(codes.max()).bit_length()
    depth = min(order, 63 // bits)
    keys = _pack(codes, bits, depth, room)
    separators = len(text) - np.count_nonzero(room)
    positions = np.argsort(keys)[separators:].astype(np.int32)
    if depth < order:
        _deepen(positions, keys[positions], room, depth, order)
    return positions


def _deepen(positions: Int32Array, keys: Int64Array, room: Int32Array, depth: int, order: int) -> None:
    """Sort ``positions``, in order by their first ``depth`` tokens, by ``order`` tokens or more, in place."""
    places = np.arange(len(positions))
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    group = np.maximum.accumulate(np.where(new, places, 0))
    rank = np.zeros(len(room), np.int64)
    rank[positions] = group + 1
    while depth < order:
        tied = ~(new & np.append(new[1:], True)) & (room[positions] >= depth)
        slots = np.flatnonzero(tied)
        if not len(slots):
            return
        members = positions[slots]
        pairs = group[slots] << 32 | rank[members + depth]
        by_pair = np.argsort(pairs)
        pairs = pairs[by_pair]
        positions[slots] = members[by_pair]
        new[slots] = np.concatenate([[True], pairs[1:] != pairs[:-1]])
        group[slots] = np.maximum.accumulate(np.where(new[slots], slots, 0))
        rank[positions[slots]] = group[slots] + 1
        depth *= 2


@njit(cache=True, nogil=True)
def _pack(codes: Int32Array, bits: int, depth: int, room: Int32Array) -> Int64Array:
    """Pack the ``depth`` codes from each position on, zeros after the end of a document, into one integer."""
    keys = np.zeros(len(codes), np.int64)
    key = np.int64(0)
    left = 0
    for i in range(len(codes) - 1, -1, -1):
        if codes[i] == 0:
            key, left = np.int64(0), 0
        else:
            key = np.int64(codes[i]) << (bits * (depth - 1)) | key >> bits
            left += 1
        keys[i], room[i] = key, left
    return keys


@njit(cache=True, nogil=True)
def _measure(
    text: Int32Array,
    positions: Int32Array,
    room: Int32Array,
    order: int,
    shared: Int32Array,
    length: Int32Array,
) -> tuple[Int64Array, Int64Array]:
    """Return the number of nodes and of different n-grams of each order, from comparing neighbours.

    Fills ``shared``, the number of tokens that a sorted position has in common with the one before it (0 for
    the first and behind the last), and ``length``, the number it has at all; both at most ``order``.
    """
    nodes = np.zeros(order + 2, np.int64)
    ngrams = np.zeros(order + 2, np.int64)
    for i in range(len(positions)):
        here = positions[i]
        length[i] = min(order, room[here])
        if i:
            before = positions[i - 1]
            most = min(length[i], length[i - 1])
            same = 0
            while same < most and text[here + same] == text[before + same]:
                same += 1
            shared[i] = same
        ngrams[shared[i] + 1] += 1
        ngrams[length[i] + 1] -= 1
    for i in range(len(positions)):
        nodes[shared[i] + 1] += 1
        nodes[min(max(shared[i], shared[i + 1]) + 1, length[i]) + 1] -= 1
    return np.cumsum(nodes)[1:-1], np.cumsum(ngrams)[1:-1]


@njit(cache=True, nogil=True)
def _fill(
    trie: Trie,
    positions: Int32Array,
    shared: Int32Array,
    length: Int32Array,
    starts: Int64Array,
    last: Int32Array,
    continuation: bool,
) -> None:
    """Write all nodes in one walk over the sorted positions.

    The n-grams at a position have nodes up to one order beyond what it shares with its neighbours.
    Different predecessors are counted by remembering where each token last was the predecessor (``last``):
    it is a new one for exactly those open n-grams whose run began later.
    """
    order = len(starts) - 1
    free = np.append(starts[:-1], 0)
    open_node = np.zeros(order + 1, np.int64)
    run_start = np.zeros(order + 1, np.int64)
    trie.first[0] = 1
    for i in range(len(positions)):
        here = positions[i]
        repeated = max(shared[i], shared[i + 1])
        deepest = min(repeated + 1, length[i])
        for n in range(shared[i] + 1, deepest + 1):
            node = free[n - 1]
            free[n - 1] += 1
            open_node[n], run_start[n] = node, i
            trie.tokens[node] = trie.text[here + n - 1]
            if n < order:
                trie.first[node] = free[n]
        lowest_plain = order if continuation else 1
        for n in range(lowest_plain, deepest + 1):
            trie.counts[open_node[n]] += 1
        if continuation:
            left = trie.text[here - 1] + 1
            n = min(deepest, order - 1)
            while n > 0 and last[left] < run_start[n]:
                trie.counts[open_node[n]] += 1
                n -= 1
            last[left] = i
        if deepest > repeated:
            trie.counts[open_node[deepest]] = ~(here + deepest)


def _counts_of_counts(counts: Int32Array, starts: Int64Array, ngrams: Int64Array) -> Int64Array:
    """Count the counts 1 to 4 of every order; n-grams without a node of their own were seen once."""
    table = np.zeros((len(ngrams), 4), np.int64)
    for n, (first, end) in enumerate(pairwise(starts)):
        level = np.clip(counts[first:end], 0, 5)
        table[n] = np.bincount(level, minlength=6)[1:5]
        once = ngrams[n] - (end - first) + np.count_nonzero(level == 0)
        table[n, 0] += once
    return table
