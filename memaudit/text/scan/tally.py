"""What the kernel of a scan reads and writes: plain arrays over needles, their words, seeds and n-grams."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memaudit.text.scan.tables import Slots

KEPT = 10
"""Documents that are kept as evidence for one needle."""
WINDOW_BITS = 12


class Tables(NamedTuple):
    """What the kernel needs of the needles; a pair is one needle with one of its different seeds."""

    words: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    reach: int
    """Words of the longest needle."""
    needle_of: NDArray[np.int32]
    filter: NDArray[np.uint64]
    filter_bits: int
    seed_slots: Slots
    seed_first: NDArray[np.int64]
    posting_first: NDArray[np.int64]
    postings: NDArray[np.int64]
    """Every word at which each seed starts."""
    before: NDArray[np.uint64]
    """The word before each posting, 0 at the start of a needle."""
    holder_first: NDArray[np.int64]
    holders: NDArray[np.int32]
    """The different needles that are found by each seed: needles of the pairs, by seed."""
    holder_weights: NDArray[np.int32]
    """Weight of the seed for each of ``holders``, in eighths of a word."""
    needle_seeds: NDArray[np.int64]
    """Shape [needles + 1]: first pair of each needle."""
    seeds_of_needle: NDArray[np.int32]
    """Seed of each pair."""
    pair_weights: NDArray[np.int32]
    """Weight of each pair."""
    seed_places: NDArray[np.int32]
    """Word of the needle at which the seed of each pair starts first."""
    needed: NDArray[np.int32]
    """Weight of different seeds that makes a document a candidate of each needle."""
    short: NDArray[np.bool_]
    """Needles of which a document must hold nearly every word to become a candidate."""
    lengths: NDArray[np.int64]
    gram_bases: NDArray[np.int64]
    gram_slots: Slots
    gram_first: NDArray[np.int64]


class Tally(NamedTuple):
    """What a scan counts, and its working memory."""

    seed_documents: NDArray[np.uint32]
    gram_documents: NDArray[np.uint32]
    longest: NDArray[np.int32]
    covered: NDArray[np.bool_]
    settled: NDArray[np.bool_]
    """Needles of which enough whole copies are known: a document of no others is not wanted as evidence."""
    serial: NDArray[np.int64]
    """Number of the document that is being read, shape [1]."""
    seed_seen: NDArray[np.int64]
    """The last document in which each seed was seen."""
    gram_seen: NDArray[np.int64]
    needle_seen: NDArray[np.int64]
    needle_weight: NDArray[np.int32]
    """Weight of the seeds that this document holds."""
    ready: NDArray[np.int32]
    """Needles of whose seeds the document holds enough."""
    pair_of: NDArray[np.int64]
    """The pair that each seed makes with the candidate at hand."""
    windows: NDArray[np.uint64]
    """Hashes of the words around hits, each in the slot that its high bits name."""
    inside: NDArray[np.int32]
    """How often the seed of each pair occurs in the window."""


def new_tally(tables: Tables) -> Tally:
    """Return a tally of nothing."""
    seeds, grams = len(tables.seed_first), len(tables.gram_first)
    needles, pairs = len(tables.offsets) - 1, len(tables.seeds_of_needle)
    return Tally(
        seed_documents=np.zeros(seeds, np.uint32),
        gram_documents=np.zeros(grams, np.uint32),
        longest=np.zeros(needles, np.int32),
        covered=np.zeros(len(tables.words), np.bool_),
        settled=np.zeros(needles, np.bool_),
        serial=np.zeros(1, np.int64),
        seed_seen=np.zeros(seeds, np.int64),
        gram_seen=np.zeros(grams, np.int64),
        needle_seen=np.zeros(needles, np.int64),
        needle_weight=np.zeros(needles, np.int32),
        ready=np.zeros(needles, np.int32),
        pair_of=np.full(seeds, -1, np.int64),
        windows=np.zeros(1 << WINDOW_BITS, np.uint64),
        inside=np.zeros(pairs, np.int32),
    )
