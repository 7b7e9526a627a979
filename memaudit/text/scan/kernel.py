"""The inner loop of a scan: words of documents in, counts and candidates out, nothing in Python per hit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.scan.tables import lookup, passes
from memaudit.text.scan.tally import WINDOW_BITS, Tables, Tally

_SEED = 5
_SEED_WORDS: Any = np.int64(_SEED)
"""The same, as an argument (`memaudit.text.words.blocks.ZERO`)."""
MIN_SPAN, MIN_RUN, MAX_MISSES = 11, 10, 4
"""Words of a span that Llama 2's rule calls contaminated; of the run that it begins with; mismatches after it."""

SLIPS = 1
"""Words of a short needle that a candidate may lack."""
MIN_SEEDS = 4
"""Different seeds that a second place of a document must add to be shown beside the first."""
REGIONS = 3
"""Places of a document that are shown for one needle: beside a boilerplate that it holds, the item itself."""
_FAR = 1 << 40
"""Words: more than any text has."""
_MANY, _DENSE = 64, 16
"""Repeats are looked for in documents of more hits than this, and more than one in so many words."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def scan_documents(
    tables: Tables, tally: Tally, hashes: NDArray[np.uint64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Add documents to a tally.

    Args:
        tables: The needles.
        tally: Is added to.
        hashes: Words of the documents, one after the other.
        offsets: First word of each document, shape [documents + 1].

    Returns:
        The new candidates, one after the other: needle, document, first and last word (exclusive) of a
        region where the needle may lie, number of seeds found in the document, and their ids.
    """
    places, seeds = _find_seeds(tables, hashes)
    found, used = np.empty(256, np.int64), 0
    regions = np.empty((REGIONS, 2), np.int64)
    hit = 0
    for document in range(len(offsets) - 1):
        start, end = offsets[document], offsets[document + 1]
        while hit < len(places) and places[hit] < start:
            hit += 1
        first = hit
        while hit < len(places) and places[hit] + _SEED <= end:
            hit += 1
        if hit == first:
            continue
        tally.serial[0] += 1
        _count_grams(tables, tally, hashes, places[first:hit])
        _follow_matches(tables, tally, hashes, start, end, places[first:hit], seeds[first:hit])
        ready = tally.ready[: _count_seeds(tables, tally, seeds[first:hit])]
        unsettled = 0
        for needle in ready:
            unsettled += not tally.settled[needle]
        if unsettled == 0:
            continue
        for needle in ready:
            near = tables, needle, hashes, start, end, places[first:hit], seeds[first:hit]
            if tables.short[needle] and not _nearly_whole(*near):
                continue
            size = 5 + tables.needle_seeds[needle + 1] - tables.needle_seeds[needle]
            if used + REGIONS * size > len(found):
                larger = np.empty(2 * (used + REGIONS * size), np.int64)
                for k in range(used):
                    larger[k] = found[k]
                found = larger
            count = _held_seeds(tables, tally, needle, found[used + 5 :])
            seeds_found = found[used + 5 : used + 5 + count]
            for region in range(_locate(tables, tally, needle, places[first:hit], seeds[first:hit], regions)):
                found[used], found[used + 1] = needle, document
                found[used + 2] = max(start, regions[region, 0]) - start
                found[used + 3] = min(end, regions[region, 1]) - start
                found[used + 4] = count
                for k in range(count):
                    found[used + 5 + k] = seeds_found[k]
                used += 5 + count
    return found[:used]


@njit(cache=True, nogil=True)
def _find_seeds(tables: Tables, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return where seeds start, and which; some may reach over the end of a document."""
    count = max(0, len(hashes) - _SEED + 1)
    places = np.empty(count, np.int64)
    passed = 0
    for i in range(count):
        places[passed] = i
        passed += passes(tables.filter, tables.filter_bits, _key(hashes, i, _SEED_WORDS))
    seeds = np.empty(passed, np.int32)
    hits = 0
    for k in range(passed):
        i = places[k]
        seed = lookup(tables.seed_slots, _key(hashes, i, _SEED_WORDS))
        if seed >= 0 and _same(tables.words, tables.seed_first[seed], hashes, i, _SEED_WORDS):
            places[hits], seeds[hits] = i, seed
            hits += 1
    return places[:hits], seeds[:hits]


@njit(cache=True, nogil=True, forceinline=True)
def _key(hashes: NDArray[np.uint64], first: int, length: int) -> np.uint64:
    key = np.uint64(0)
    for k in range(length):
        turn = np.uint64(13 * (k + 1) % 64)
        word = hashes[first + k]
        key ^= (word << turn) | (word >> (np.uint64(64) - turn))
    return key


@njit(cache=True, nogil=True, forceinline=True)
def _same(one: NDArray[np.uint64], i: int, other: NDArray[np.uint64], j: int, length: int) -> bool:
    for k in range(length):  # noqa: SIM110 (any() over a generator is not compiled)
        if one[i + k] != other[j + k]:
            return False
    return True


@njit(cache=True, nogil=True)
def _count_seeds(tables: Tables, tally: Tally, seeds: NDArray[np.int32]) -> int:
    """Count the seeds of one document; return the number of needles of which it holds enough."""
    seed_seen, seed_documents, holder_first, holders = (
        tally.seed_seen,
        tally.seed_documents,
        tables.holder_first,
        tables.holders,
    )
    needle_seen, needle_weight, needed, ready = tally.needle_seen, tally.needle_weight, tables.needed, tally.ready
    holder_weights = tables.holder_weights
    serial, count = tally.serial[0], 0
    for seed in seeds:
        if seed_seen[seed] == serial:
            continue
        seed_seen[seed] = serial
        seed_documents[seed] += 1
        for k in range(holder_first[seed], holder_first[seed + 1]):
            needle = holders[k]
            if needle_seen[needle] != serial:
                needle_seen[needle] = serial
                needle_weight[needle] = 0
            before = needle_weight[needle]
            needle_weight[needle] = before + holder_weights[k]
            if before < needed[needle] <= needle_weight[needle]:
                ready[count] = needle
                count += 1
    return count


@njit(cache=True, nogil=True)
def _count_grams(tables: Tables, tally: Tally, hashes: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
    """Count the longer n-grams of one document; they lie where seed follows seed."""
    words, lengths, bases, slots = tables.words, tables.lengths, tables.gram_bases, tables.gram_slots
    gram_first, gram_seen, gram_documents = tables.gram_first, tally.gram_seen, tally.gram_documents
    serial, run = tally.serial[0], _SEED
    for i in range(1, len(places)):
        run = run + 1 if places[i] == places[i - 1] + 1 else _SEED
        end = places[i] + _SEED
        for n in range(len(lengths)):
            length = lengths[n]
            if run < length:
                break
            gram = lookup(slots, _key(hashes, end - length, length))
            if gram < bases[n] or gram >= bases[n + 1] or gram_seen[gram] == serial:
                continue
            if _same(words, gram_first[gram], hashes, end - length, length):
                gram_seen[gram] = serial
                gram_documents[gram] += 1


@njit(cache=True, nogil=True)
def _follow_matches(
    tables: Tables,
    tally: Tally,
    hashes: NDArray[np.uint64],
    start: int,
    end: int,
    places: NDArray[np.int64],
    seeds: NDArray[np.int32],
) -> None:
    """Follow every match of five words or more between one document and a needle to where it ends."""
    words, offsets, needle_of, before = tables.words, tables.offsets, tables.needle_of, tables.before
    posting_first, postings, longest, covered = tables.posting_first, tables.postings, tally.longest, tally.covered
    repeats = np.zeros(len(places), np.bool_)
    if len(places) > _MANY and _DENSE * len(places) > end - start:
        _find_repeats(hashes[start:end], places - start, tables.reach, tally.windows, repeats)
    for i in range(len(places)):
        place, seed = places[i], seeds[i]
        if repeats[i]:
            continue
        for k in range(posting_first[seed], posting_first[seed + 1]):
            if place > start and hashes[place - 1] == before[k]:
                continue  # the match began earlier
            word = postings[k]
            needle = needle_of[word]
            room, length = min(offsets[needle + 1] - word, end - place), _SEED
            while length < room and words[word + length] == hashes[place + length]:
                length += 1
            longest[needle] = max(longest[needle], length)
            if length >= MIN_RUN:
                _cover(words, hashes, word, place, length, room, covered)


@njit(cache=True, nogil=True)
def _find_repeats(
    hashes: NDArray[np.uint64],
    places: NDArray[np.int64],
    reach: int,
    windows: NDArray[np.uint64],
    repeats: NDArray[np.bool_],
) -> None:
    """Mark the hits amid the same words as another shortly before, such as those in a long run of zeros.

    ``reach`` words on either side are all that a match can come to know, so that nothing new follows.
    """
    sums = np.zeros(len(hashes) + 1, np.uint64)
    for i in range(len(hashes)):
        sums[i + 1] = sums[i] * _BASE + hashes[i]
    power = np.uint64(1)
    for _ in range(2 * reach):
        power *= _BASE
    for i in range(len(places)):
        first, last = places[i] - reach, places[i] + reach
        if first >= 0 and last <= len(hashes):
            window = sums[last] - sums[first] * power
            slot = np.int64((window * _BASE) >> np.uint64(64 - WINDOW_BITS))
            repeats[i] = windows[slot] == window
            windows[slot] = window


@njit(cache=True, nogil=True, forceinline=True)
def _cover(
    words: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    word: int,
    place: int,
    length: int,
    room: int,
    covered: NDArray[np.bool_],
) -> None:
    """Mark the words that match in the span which a run begins; it continues over few mismatches and ends with a match.

    Spans that begin later in the run end no later, so this one holds them all.
    """
    span, misses = length, 0
    for k in range(length, room):
        if words[word + k] == hashes[place + k]:
            span = k + 1
        else:
            misses += 1
            if misses > MAX_MISSES:
                break
    if span >= MIN_SPAN:
        for k in range(span):
            if words[word + k] == hashes[place + k]:
                covered[word + k] = True


@njit(cache=True, nogil=True)
def _held_seeds(tables: Tables, tally: Tally, needle: int, found: NDArray[np.int64]) -> int:
    """Write the needle's seeds that occur in the document; return how many there are."""
    size = 0
    for pair in range(tables.needle_seeds[needle], tables.needle_seeds[needle + 1]):
        seed = tables.seeds_of_needle[pair]
        if tally.seed_seen[seed] == tally.serial[0]:
            found[size] = seed
            size += 1
    return size


@njit(cache=True, nogil=True)
def _nearly_whole(
    tables: Tables,
    needle: int,
    hashes: NDArray[np.uint64],
    start: int,
    end: int,
    places: NDArray[np.int64],
    seeds: NDArray[np.int32],
) -> bool:
    """Return whether all but `SLIPS` words of a short needle follow each other around one of its seeds.

    On either side of the seed, the words of the document may be one farther or one less far away: where a word was
    cut in two, or left out.
    """
    words, first, last = tables.words, tables.offsets[needle], tables.offsets[needle + 1]
    for i in range(len(places)):
        for k in range(tables.posting_first[seeds[i]], tables.posting_first[seeds[i] + 1]):
            word = tables.postings[k]
            if not first <= word < last:
                continue
            here = places[i]
            held = _SEED
            held += _most_equal(words, hashes, first, word, here - word, start, end)
            held += _most_equal(words, hashes, word + _SEED, last, here - word, start, end)
            if held >= last - first - SLIPS:
                return True
    return False


@njit(cache=True, nogil=True)
def _most_equal(
    words: NDArray[np.uint64], hashes: NDArray[np.uint64], first: int, last: int, shift: int, start: int, end: int
) -> int:
    """Return how many words of ``[first, last)`` occur in the document ``shift`` words farther, or one more or less."""
    most = 0
    for step in range(-1, 2):
        equal = 0
        for word in range(first, last):
            place = word + shift + step
            equal += start <= place < end and words[word] == hashes[place]
        most = max(most, equal)
    return most


@njit(cache=True, nogil=True)
def _locate(
    tables: Tables,
    tally: Tally,
    needle: int,
    places: NDArray[np.int64],
    seeds: NDArray[np.int32],
    regions: NDArray[np.int64],
) -> int:
    """Fill the words of the document among which the needle may lie, with slack; return how many regions there are.

    The best is the window of the needle's length and a quarter that holds most different seeds of it, the
    next the best for those that it does not hold, if there are as many as in a long run. Regions may exceed
    the document.
    """
    inside, pair_of, count = tally.inside, tally.pair_of, 0
    first, last = tables.needle_seeds[needle], tables.needle_seeds[needle + 1]
    for pair in range(first, last):
        pair_of[tables.seeds_of_needle[pair]] = pair
        inside[pair] = 0
    ours = np.empty(len(places), np.int64)
    while count < REGIONS:
        left_over = 0
        for i in range(len(places)):
            pair = pair_of[seeds[i]]
            if first <= pair < last and inside[pair] >= 0:
                ours[left_over] = i
                left_over += 1
        best = _best_window(tables, tally, needle, places, seeds, ours[:left_over], regions[count])
        if best == 0 or (count and best < MIN_SEEDS):
            break
        count += 1
    return count


@njit(cache=True, nogil=True)
def _best_window(
    tables: Tables,
    tally: Tally,
    needle: int,
    places: NDArray[np.int64],
    seeds: NDArray[np.int32],
    ours: NDArray[np.int64],
    region: NDArray[np.int64],
) -> int:
    """Fill the region of most different seeds among some hits, spend them, and return how many there are.

    There, the needle begins where half of the seeds say it begins earlier.
    """
    inside, pair_of = tally.inside, tally.pair_of
    size = tables.offsets[needle + 1] - tables.offsets[needle]
    best, best_left, best_right, different, left = 0, 0, -1, 0, 0
    for right in range(len(ours)):
        pair = pair_of[seeds[ours[right]]]
        different += inside[pair] == 0
        inside[pair] += 1
        while places[ours[right]] - places[ours[left]] >= size + size // 4:
            pair = pair_of[seeds[ours[left]]]
            inside[pair] -= 1
            different -= inside[pair] == 0
            left += 1
        if different > best:
            best, best_left, best_right = different, left, right
    if best == 0:
        return 0
    for i in ours[left:]:
        inside[pair_of[seeds[i]]] = 0
    # Unsigned and sorted by their places, as in `memaudit.text.scan.weights`: numba compiles a sort for every type.
    shifts = np.empty(best_right - best_left + 1, np.uint64)
    for i in range(len(shifts)):
        hit = ours[best_left + i]
        pair = pair_of[seeds[hit]]
        shifts[i] = places[hit] - tables.seed_places[pair] + _FAR
        inside[pair] = -1
    shift = np.int64(shifts[np.argsort(shifts)[len(shifts) // 2]]) - _FAR
    slack = size // 4 + 8
    region[0] = min(shift, places[ours[best_left]]) - slack
    region[1] = max(shift + size, places[ours[best_right]] + _SEED) + slack
    return best
