"""The texts that are searched for, as tables: what one pass over a corpus needs of a whole benchmark.

Every text (needle) is a sequence of words. All its runs of five words are its seeds, by which it is found;
longer runs are counted for the published rules. Equal runs have one id, whichever needles they occur in.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from memaudit.text.scan.generic import weights_of
from memaudit.text.scan.substrings import Substrings, build_substrings
from memaudit.text.scan.tables import fill_filter, fill_table
from memaudit.text.scan.tally import Tables
from memaudit.text.scan.weights import MIN_COMMON, Weights, information_of_each, needed_information, weigh
from memaudit.text.words.words import Words, encode_texts, hash_words, words_of

SEED = 5
"""Words of a seed: the shortest run by which a needle is found."""
MIN_SHARE = 0.2
"""Share of the weight of its different seeds that a document must hold to become a candidate of a needle."""
SHORT = 13
"""Needles of fewer words are often alike but for one: documents that hold nearly all of one are candidates."""
GPT3_LENGTHS = (8, 13)
"""Least and greatest length of the n-grams of GPT-3's rule."""
PILE_LENGTH = 13
PALM_LENGTH = 8

_FILTER_BITS = 16
"""Bits of the filter per seed: one word position in so many passes it by chance."""


@dataclass(frozen=True, slots=True)
class Needle:
    """One text of a benchmark that is searched for."""

    item: int
    """Number of the item it belongs to."""
    part: str
    """Which text of the item: ``question``, ``answer``, ``both`` ..."""
    text: str
    joined: bool = False
    """Whether it joins the other parts of its item."""
    choice: bool = False
    """Whether it is an answer that the item offers to choose."""
    benchmark: int = 0
    """Number of the file that its item is in."""
    lead: str | None = None
    """The part that it begins with, and without which it flags nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """All runs of one length in the needles; equal runs have one id."""

    length: int
    ids: NDArray[np.int32]
    """Shape [words of all needles]: the run that starts at each word, -1 where none does."""
    first: NDArray[np.int64]
    """Shape [runs]: a word at which each run starts."""


class _LazyWords(Sequence[Words]):
    """The words of each needle with their spellings, worked out again when they are asked for."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self._needles = needles
        self._words = lru_cache(4096)(words_of)

    def __len__(self) -> int:
        return len(self._needles)

    @overload
    def __getitem__(self, index: int) -> Words: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Words]: ...
    def __getitem__(self, index: int | slice) -> Words | Sequence[Words]:
        if isinstance(index, slice):
            return [self._words(needle.text) for needle in self._needles[index]]
        return self._words(self._needles[index].text)


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """All needles of a benchmark and the tables by which they are found."""

    needles: tuple[Needle, ...]
    hashes: NDArray[np.uint64]
    """Words of all needles, one after the other."""
    offsets: NDArray[np.int64]
    """Shape [needles + 1]: first word of each needle."""
    words: Sequence[Words]
    """Words of each needle with spellings and character offsets, worked out when asked for."""
    grams: dict[int, Grams]
    """Runs of 5 words (seeds) and of every length that a rule asks for, by length."""
    gpt3_lengths: dict[str, int]
    """Length of the n-grams of GPT-3's rule, by part."""
    substrings: Substrings
    """Pieces of text for GPT-4's rule."""
    weights: Weights
    """What each word and run weighs as evidence."""
    generic: NDArray[np.bool_]
    """Shape [needles]: whether it says too little to flag an item, even word for word."""
    common: NDArray[np.bool_]
    """Shape [needles]: whether the very text is a part of several items, such as a stem or an answer of many."""
    exact: NDArray[np.bool_]
    """Shape [needles]: whether so little of it is its own that only the whole of it, word for word, may flag it."""
    tables: Tables
    digest: str
    """Hexadecimal digest of the needles; scans for other needles cannot be merged."""

    @property
    def seeds(self) -> int:
        """Number of different seeds."""
        return len(self.grams[SEED].first)

    @property
    def longer_grams(self) -> dict[int, Grams]:
        """The runs that are no seeds, by length."""
        return {length: grams for length, grams in self.grams.items() if length != SEED}

    def span(self, needle: int) -> slice:
        """Return where the words of a needle stand among those of all."""
        return slice(int(self.offsets[needle]), int(self.offsets[needle + 1]))

    def length(self, needle: int) -> int:
        """Return the number of words of a needle."""
        return int(self.offsets[needle + 1] - self.offsets[needle])

    def seed_ids(self, needle: int) -> NDArray[np.int32]:
        """Return the seed that starts at each word of a needle, -1 at its last four words."""
        return self.gram_ids(needle, SEED)

    def gram_ids(self, needle: int, length: int) -> NDArray[np.int32]:
        """Return the run of ``length`` words that starts at each word of a needle, -1 where none does."""
        return self.grams[length].ids[self.offsets[needle] : self.offsets[needle + 1]]

    def distinct_seeds(self, needle: int) -> NDArray[np.int32]:
        """Return the different seeds by which a needle is found, in order of their ids: boilerplate only if all is."""
        first, last = self.tables.needle_seeds[needle : needle + 2]
        return self.tables.seeds_of_needle[first:last]

    def seed_weights(self, needle: int) -> NDArray[np.int32]:
        """Return what each of `distinct_seeds` weighs, in eighths of a word."""
        first, last = self.tables.needle_seeds[needle : needle + 2]
        return self.tables.pair_weights[first:last]


def build_patterns(needles: Sequence[Needle]) -> Patterns:
    """Return the tables for a set of needles; one of fewer than five words has no seed and is never found.

    Args:
        needles: The texts; equal texts may occur more than once.
    """
    needles = tuple(needles)
    hashes, offsets = hash_words(*encode_texts([needle.text for needle in needles]))
    gpt3_lengths = _gpt3_lengths(needles, np.diff(offsets))
    lengths = sorted({SEED, PALM_LENGTH, PILE_LENGTH, *gpt3_lengths.values()})
    # Published rules ask about whole items alone: longer runs of a text that is but another way to print one are not.
    again = np.repeat(np.array([needle.lead is not None for needle in needles], np.bool_), np.diff(offsets))
    grams = {length: _grams(hashes, offsets, length, None if length == SEED else again) for length in lengths}
    weights = weigh(hashes, offsets, grams[SEED].ids, _part_numbers(needles), SEED)
    generic, exact = (_says_little(hashes, offsets, each) for each in (weights.plain, weights.own))
    return Patterns(
        needles=needles,
        hashes=hashes,
        offsets=offsets,
        words=_LazyWords(needles),
        grams=grams,
        gpt3_lengths=gpt3_lengths,
        substrings=build_substrings([needle.text if needle.lead is None else "" for needle in needles]),
        weights=weights,
        generic=generic,
        common=_common(needles, hashes, offsets),
        exact=exact,
        tables=_tables(hashes, offsets, grams, weights, exact),
        digest=_digest(needles),
    )


def tells_little(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return which texts are too generic to flag an item, or the same in `MIN_COMMON` of them."""
    hashes, offsets = hash_words(*encode_texts(texts))
    held = Counter(texts)
    common = np.array([held[text] >= MIN_COMMON for text in texts], np.bool_)
    return _says_little(hashes, offsets, weights_of(hashes)) | common


def gram_hashes(hashes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """Return one hash for each run of ``length`` words, as the scan kernel makes it."""
    count = max(0, len(hashes) - length + 1)
    mixed = np.zeros(count, dtype=np.uint64)
    for k in range(length):
        turn = np.uint64(13 * (k + 1) % 64)
        word = hashes[k : k + count]
        mixed ^= (word << turn) | (word >> (np.uint64(64) - turn))
    return mixed


def _gpt3_lengths(needles: Sequence[Needle], lengths: NDArray[np.int64]) -> dict[str, int]:
    by_part: defaultdict[str, list[int]] = defaultdict(list)
    for needle, length in zip(needles, lengths, strict=True):
        if needle.lead is None:
            by_part[needle.part].append(int(length))
    return {
        part: int(np.clip(np.percentile(found, 5, method="lower"), *GPT3_LENGTHS)) for part, found in by_part.items()
    }


def _grams(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], length: int, left_out: NDArray[np.bool_] | None
) -> Grams:
    """Return the runs of ``length`` words within needles, but those of the words that are left out."""
    runs = gram_hashes(hashes, length)
    inside = np.zeros(len(hashes), dtype=bool)
    inside[: len(runs)] = True
    for back in range(1, length):
        ends = offsets[1:] - back
        inside[ends[ends >= offsets[:-1]]] = False
    starts = np.flatnonzero(inside if left_out is None else inside & ~left_out)
    _, first, ids = np.unique(runs[starts], return_index=True, return_inverse=True)
    every = np.full(len(hashes), -1, dtype=np.int32)
    every[starts] = ids
    return Grams(length, every, starts[first])


def _part_numbers(needles: Sequence[Needle]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([-1 if n.joined else numbers.setdefault(n.part, len(numbers)) for n in needles], np.int64)


def _common(needles: Sequence[Needle], hashes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which texts occur as a part in `MIN_COMMON` items that differ as a whole; repeated items count once."""
    texts = [hashes[first:last].tobytes() for first, last in pairwise(offsets.tolist())]
    whole = {needle.item: text for needle, text in zip(needles, texts, strict=True)}
    holders: defaultdict[tuple[str, bytes], set[bytes]] = defaultdict(set)
    for needle, text in zip(needles, texts, strict=True):
        holders[needle.part, text].add(whole[needle.item])
    sizes = [len(holders[needle.part, text]) for needle, text in zip(needles, texts, strict=True)]
    return np.array(sizes) >= MIN_COMMON


def _says_little(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return of which needles all words, by these weights, are less than it takes to flag an item."""
    needed = [needed_information(words) for words in np.diff(offsets).tolist()]
    return information_of_each(hashes, offsets, weights) < np.array(needed)


def _tables(
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    grams: dict[int, Grams],
    weights: Weights,
    exact: NDArray[np.bool_],
) -> Tables:
    seeds, longer = grams[SEED], [gram for length, gram in grams.items() if length != SEED]
    count = len(seeds.first)
    postings, posting_first = _grouped(seeds.ids, count)
    starts = np.zeros(len(hashes), dtype=bool)
    starts[offsets[:-1][offsets[:-1] < len(hashes)]] = True
    before = np.where(starts[postings], np.uint64(0), hashes[postings - 1])
    needle_of = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
    counted = exact[needle_of[postings]] | ~weights.boilerplate[seeds.ids[postings]]
    pairs = np.sort(needle_of[postings[counted]].astype(np.int64) * max(1, count) + seeds.ids[postings[counted]])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    pair_needles, pair_seeds = np.divmod(pairs, max(1, count))
    needle_seeds = np.searchsorted(pair_needles, np.arange(len(offsets))).astype(np.int64)
    seed_pairs, pair_first = _grouped(pair_seeds, count)
    seed_places = _first_places(pairs, needle_of, offsets, seeds.ids, max(1, count))
    pair_weights = _pair_weights(offsets[pair_needles] + seed_places, exact[pair_needles], weights)
    seed_keys = gram_hashes(hashes, SEED)[seeds.first]
    gram_keys = np.concatenate([gram_hashes(hashes, gram.length)[gram.first] for gram in longer])
    filter_bits = max(15, int(_FILTER_BITS * count).bit_length())
    return Tables(
        words=hashes,
        offsets=offsets,
        reach=int(np.diff(offsets).max(initial=0)),
        needle_of=needle_of,
        filter=fill_filter(seed_keys, filter_bits),
        filter_bits=filter_bits,
        seed_slots=fill_table(seed_keys),
        seed_first=seeds.first,
        posting_first=posting_first,
        postings=postings,
        before=before,
        holder_first=pair_first,
        holders=pair_needles[seed_pairs].astype(np.int32),
        needle_seeds=needle_seeds,
        seeds_of_needle=pair_seeds.astype(np.int32),
        holder_weights=pair_weights[seed_pairs],
        pair_weights=pair_weights,
        seed_places=seed_places,
        needed=_needed(pair_weights, needle_seeds, exact),
        short=np.diff(offsets) < SHORT,
        lengths=np.array([gram.length for gram in longer], dtype=np.int64),
        gram_bases=np.cumsum([0, *(len(gram.first) for gram in longer)]).astype(np.int64),
        gram_slots=fill_table(gram_keys),
        gram_first=np.concatenate([gram.first for gram in longer]),
    )


def _grouped(ids: NDArray[np.int32] | NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of the ids that are not negative, sorted by id, and where each id begins [count + 1]."""
    order = np.argsort(ids, kind="stable")
    first = np.searchsorted(ids, np.arange(count + 1), sorter=order)
    return order[first[0] :].astype(np.int64), (first - first[0]).astype(np.int64)


def _pair_weights(firsts: NDArray[np.int64], exact: NDArray[np.bool_], weights: Weights) -> NDArray[np.int32]:
    """Return the weight of the five words from each place on, in eighths of a word; 1 where only all of them count."""
    bulk = np.concatenate([[0.0], np.cumsum(weights.bulk)])
    eighths = np.rint(8 * (bulk[firsts + SEED] - bulk[firsts])).astype(np.int32)
    return np.asarray(np.where(exact, 1, np.maximum(eighths, 1)), np.int32)


def _needed(
    pair_weights: NDArray[np.int32], needle_seeds: NDArray[np.int64], exact: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the weight of different seeds that makes a document a candidate of each needle."""
    sums = np.concatenate([[0], np.cumsum(pair_weights, dtype=np.int64)])
    totals = sums[needle_seeds[1:]] - sums[needle_seeds[:-1]]
    needed = np.where(exact, totals, np.maximum(1, np.ceil(MIN_SHARE * totals - 1e-9)))
    return np.asarray(needed, np.int32)


def _first_places(
    pairs: NDArray[np.int64],
    needle_of: NDArray[np.int32],
    offsets: NDArray[np.int64],
    ids: NDArray[np.int32],
    count: int,
) -> NDArray[np.int32]:
    """Return for each pair of needle and seed the first word of the needle at which the seed starts."""
    places = np.flatnonzero(ids >= 0)[::-1]
    keys = needle_of[places].astype(np.int64) * count + ids[places]
    found = np.searchsorted(pairs, keys).clip(max=max(0, len(pairs) - 1))
    among = pairs[found] == keys if len(pairs) else np.zeros(len(places), np.bool_)
    places, found = places[among], found[among]
    first = np.zeros(len(pairs), dtype=np.int32)
    first[found] = places - offsets[needle_of[places]]
    return first


def _digest(needles: Sequence[Needle]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for needle in needles:
        for field in (
            str(needle.item),
            needle.part,
            needle.text,
            repr((needle.joined, needle.choice, needle.benchmark, needle.lead)),
        ):
            data = field.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
