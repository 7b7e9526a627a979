"""What every word of a benchmark weighs as evidence, from the benchmark alone.

A run of five words that many texts of the benchmark share is its boilerplate (templates, scaffolds of few-shot prompts,
licences) and weighs nothing; of what is left, `generic` says how informative each word is. No weight depends on the
corpus, so that neither copies of an item nor other documents change whether it is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.text.scan.generic import weights_of

COMMON_TEXTS = 10
"""A run in so many different texts of one part (questions, answers ...) is boilerplate ..."""
COMMON_SHARE, MIN_COMMON = 0.05, 3
"""... and in a small benchmark a run in this share of them, and in no fewer than so many."""

MIN_BULK = 0.5
"""Weight of a missing word that is uninformative, such as a letter of a formula."""
FEW_TEXTS = 100
"""Texts below which a benchmark hardly shows which words are rare."""

MIN_INFORMATION, GREATEST_INFORMATION, INFORMATION_A_WORD = 2.25, 5.0, 0.16
"""Weight of different words that makes a text of ``n`` words evidence: ``INFORMATION_A_WORD * n`` between these."""
AGAIN = 0.5
"""What a word adds that was there before, of its weight."""
TERSE, TERSE_INFORMATION = 8, 4.0
"""Texts of fewer words are stock phrases more often than not: they need this much."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Weights of the words and runs of all needles."""

    plain: NDArray[np.float64]
    """Shape [words]: by `generic` alone, in [0, 1]."""
    own: NDArray[np.float64]
    """Shape [words]: the same, 0 within boilerplate of the benchmark."""
    bulk: NDArray[np.float64]
    """Shape [words]: what a word weighs that is missing, 0 within boilerplate: more where fewer texts of a benchmark
    hold it; letters of a formula and the wording of tests too, which are uninformative."""
    boilerplate: NDArray[np.bool_]
    """Shape [seeds]: whether the run of five words is boilerplate."""


def weigh(
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    seed_ids: NDArray[np.int32],
    parts: NDArray[np.int64],
    seed_words: int,
) -> Weights:
    """Weigh the words of all needles.

    Args:
        hashes: Words of all needles, one after the other; shape [words].
        offsets: First word of each needle; shape [needles + 1].
        seed_ids: Run that starts at each word, -1 where none does; shape [words].
        parts: Number of the part that each needle is; -1 for those that join others, which are not counted again.
        seed_words: Words of a run.
    """
    boilerplate = _boilerplate(hashes, offsets, seed_ids, parts)
    plain = weights_of(hashes)
    starts = np.flatnonzero(seed_ids >= 0)
    starts = starts[boilerplate[seed_ids[starts]]]
    within = np.zeros(len(hashes), np.bool_)
    for k in range(seed_words):
        within[starts + k] = True
    own = np.where(within, 0.0, plain)
    bulk = np.where(within, 0.0, np.where(plain == 0, MIN_BULK, plain))
    return Weights(plain, own, bulk * _rarity(hashes, offsets, parts), boilerplate)


@njit(cache=True, nogil=True)
def information(hashes: NDArray[np.uint64], weights: NDArray[np.float64]) -> float:
    """Return the weight of the different words among these, each at the most that it weighs somewhere.

    An informative word counts half each time that it occurs again: formulas and listings repeat their names.
    """
    total, most, again = 0.0, 0.0, 0.0
    order = np.argsort(hashes)
    for k in range(len(order)):
        weight = weights[order[k]]
        if k == 0 or hashes[order[k]] != hashes[order[k - 1]]:
            total += most + AGAIN * again
            most, again = weight, 0.0
            continue
        lesser = min(most, weight)
        most = max(most, weight)
        again += lesser if lesser >= 1 else 0.0
    return total + most + AGAIN * again


@njit(cache=True, nogil=True)
def information_of_each(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the information of every text, those of ``offsets`` [texts + 1] being end to end."""
    told = np.empty(len(offsets) - 1)
    for text in range(len(told)):
        first, last = offsets[text], offsets[text + 1]
        told[text] = information(hashes[first:last], weights[first:last])
    return told


def needed_information(words: int) -> float:
    """Return the information without which a text of so many words is too generic to judge by."""
    if words < TERSE:
        return TERSE_INFORMATION
    return min(GREATEST_INFORMATION, max(MIN_INFORMATION, INFORMATION_A_WORD * words))


def _rarity(hashes: NDArray[np.uint64], offsets: NDArray[np.int64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each word 1 less the logarithm of the texts that hold it, to the base of all texts; in (0, 1].

    Two texts by one template differ in their rare words, a text and its edited copy in any.
    """
    needles = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    counted = parts[needles] >= 0
    words, ids = np.unique(hashes, return_inverse=True)
    held = _texts_of_each(ids[counted], needles[counted], len(words)).clip(min=1)
    texts = int((parts >= 0).sum())
    rarity: NDArray[np.float64] = 1 - np.log(held) / np.log(max(texts + 1, FEW_TEXTS))
    return rarity[ids]


def _boilerplate(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], seed_ids: NDArray[np.int32], parts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which runs occur in many different texts of one part; a text that repeats counts once."""
    seeds = int(seed_ids.max(initial=-1)) + 1
    boilerplate = np.zeros(seeds, np.bool_)
    needles = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    different = _first_of_equals(hashes, offsets, parts)
    for part in np.unique(parts[parts >= 0]):
        chosen = different & (parts == part)
        runs = np.flatnonzero((seed_ids >= 0) & chosen[needles])
        counts = _texts_of_each(seed_ids[runs], needles[runs], seeds)
        boilerplate |= counts >= COMMON_TEXTS
        boilerplate |= (counts >= MIN_COMMON) & (counts >= COMMON_SHARE * int(chosen.sum()))
    return boilerplate


def _first_of_equals(
    hashes: NDArray[np.uint64], offsets: NDArray[np.int64], parts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which texts have words, and are the first of those of their part that have the same."""
    seen = set[tuple[int, bytes]]()
    first = np.zeros(len(parts), np.bool_)
    for needle, (part, start, end) in enumerate(zip(parts.tolist(), offsets[:-1], offsets[1:], strict=True)):
        key = part, hashes[start:end].tobytes()
        first[needle] = end > start and key not in seen
        seen.add(key)
    return first


def _texts_of_each(
    things: NDArray[np.int64] | NDArray[np.int32], texts: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Return in how many different texts each of ``count`` things occurs, given pairs of one and a text."""
    width = int(texts.max(initial=0)) + 1
    pairs = np.unique(things.astype(np.int64) * width + texts)
    return np.bincount(pairs // width, minlength=count)
