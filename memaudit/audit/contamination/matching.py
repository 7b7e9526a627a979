"""From candidates to matches: how much of an item stands in a document, weighed by how rare it is there.

The scan says which seeds (five words in a row) of an item stand in which document. Here they are weighed by
inverse document frequency, so that what stands everywhere says little, and what is left of the item is
aligned with the passage of the document, so that a few changed words do not hide it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Candidate, Scan
from memaudit.text.words import Words, words_of

MIN_COVERAGE = 0.25
"""Least share of an item's seeds, weighed by inverse document frequency, that one document must hold."""
AMPLE_COVERAGE = 0.6
"""Share that is enough by itself: a copy with a sentence put in between is less alike, but holds the seeds."""
MIN_SIMILARITY = 0.8
"""Least similarity of the item and the passage, both without common text, after normalisation."""
COMMON_SHARE, COMMON_DOCUMENTS = 0.1, 10
"""A seed in more than this share of the documents, and in this many, is common text and no evidence."""
SHORT, SHORT_SIMILARITY = 13, 0.97
"""Sentences of fewer words are often alike but for one: they may differ by a slip of the pen only ..."""
FEWEST_FUZZY_WORDS = 8
"""... and those of fewer than this many must stand in a document word for word."""
LONG = 200
"""Words of an item beyond which the likest stretch of a passage is found by words."""
FEWEST_COPIED = 3
"""Words in a row below which agreement is not marked: any two texts share single words."""

Kind = Literal["raw", "normalised", "edited"]
Marked = list[tuple[str, bool]]
"""Pieces of a text, each with whether it was copied; joined, they give the text back."""


@dataclass(frozen=True, slots=True)
class Match:
    """One part of an item beside one document that holds some of it."""

    needle: int
    """Which text: its place in the patterns."""
    candidate: Candidate
    kind: Kind
    """How it stands there: character for character, the same words after normalisation, or with edits."""
    similarity: float
    """Of the item and the passage without common text, in [0, 1]."""
    coverage: float
    """Share of the item's seeds in the document, weighed by inverse document frequency, in [0, 1]."""
    documents: int
    """Document frequency of the rarest seed they share."""
    found: bool
    common: bool
    """Whether all that they share is common text."""


class Matcher:
    """Judges candidates by the document frequencies of one finished scan."""

    def __init__(self, patterns: Patterns, scan: Scan) -> None:
        self.patterns = patterns
        frequency = scan.seed_documents.astype(np.float64)
        self._frequency = scan.seed_documents
        common = (frequency >= COMMON_DOCUMENTS) & (frequency > COMMON_SHARE * scan.documents)
        self._weights = np.where(common, 0, np.log1p(scan.documents / np.maximum(frequency, 1)))
        self._common_words = _CommonWords(patterns, common)

    def match(self, candidate: Candidate) -> Match:
        """Weigh and align one candidate."""
        needle = candidate.needle
        words, passage = self.patterns.words[needle], words_of(candidate.text)
        shared = np.array(candidate.seeds, dtype=np.int64)
        every = self.patterns.distinct_seeds(needle)
        total = float(self._weights[every].sum())
        coverage = float(self._weights[shared].sum()) / total if total else 0.0
        kind = self._kind(needle, passage, candidate.text)
        ours, theirs = self._common_words.without(words), self._common_words.without(passage)
        enough = len(ours) >= min(SEED, len(words))
        similarity = 1.0 if kind != "edited" and enough else _similarity(ours, theirs) if enough else 0.0
        long = len(words.texts) >= SHORT
        alike = kind != "edited" or similarity >= _least_similarity(len(words.texts))
        found = enough and coverage >= MIN_COVERAGE and (alike or (long and coverage >= AMPLE_COVERAGE))
        return Match(
            needle=needle,
            candidate=candidate,
            kind=kind,
            similarity=similarity,
            coverage=coverage,
            documents=int(self._frequency[shared].min()),
            found=found,
            common=not found and bool(self._common_words.flags[shared].all()),
        )

    def _kind(self, needle: int, passage: Words, raw: str) -> Kind:
        if self.patterns.needles[needle].text.strip() in raw:
            return "raw"
        return "normalised" if _contains(passage.hashes, self.patterns.words[needle].hashes) else "edited"


class _CommonWords:
    """Takes the words out of a text that stand in it only as part of common text."""

    def __init__(self, patterns: Patterns, common: NDArray[np.bool_]) -> None:
        self.flags = common
        self._seeds: set[bytes] = set()
        for first in patterns.grams[SEED].first[common]:
            self._seeds.add(patterns.hashes[first : first + SEED].tobytes())

    def without(self, words: Words) -> list[str]:
        """Return the spellings of the words that are left."""
        if not self._seeds:
            return words.texts
        drop = np.zeros(len(words.texts), dtype=bool)
        for place in range(len(words.texts) - SEED + 1):
            if words.hashes[place : place + SEED].tobytes() in self._seeds:
                drop[place : place + SEED] = True
        return [text for text, dropped in zip(words.texts, drop, strict=True) if not dropped]


def best_matches(matches: Iterable[Match]) -> list[Match]:
    """Return the best match of every document, the best document first."""
    best: dict[str, Match] = {}
    for match in matches:
        known = best.get(match.candidate.source)
        if known is None or _strength(match) > _strength(known):
            best[match.candidate.source] = match
    return sorted(best.values(), key=lambda m: (*(-s for s in _strength(m)), m.candidate.order))


def mark_copied(ours: str, theirs: str) -> tuple[Marked, Marked, list[tuple[int, int]]]:
    """Mark what an item and a passage share, three or more normalised words in a row.

    Args:
        ours: Raw text of the item.
        theirs: Raw text of the passage.

    Returns:
        Both in pieces, and the shared runs as ``(first, last)`` words of the item, ``last`` exclusive.
    """
    one, other = words_of(ours), words_of(theirs)
    blocks = [
        (block.src_start, block.src_end, block.dest_start, block.dest_end)
        for block in Levenshtein.opcodes(one.hashes.tolist(), other.hashes.tolist())
        if block.tag == "equal" and block.src_end - block.src_start >= min(FEWEST_COPIED, len(one.texts))
    ]
    return (
        _pieces(ours, [(int(one.starts[a]), int(one.ends[b - 1])) for a, b, _, _ in blocks]),
        _pieces(theirs, [(int(other.starts[c]), int(other.ends[d - 1])) for _, _, c, d in blocks]),
        [(a, b) for a, b, _, _ in blocks],
    )


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> Marked:
    pieces, last = [], 0
    for start, end in spans:
        pieces += [(text[last:start], False), (text[start:end], True)]
        last = end
    return [(piece, copied) for piece, copied in [*pieces, (text[last:], False)] if piece]


def _strength(match: Match) -> tuple[float, ...]:
    kinds: dict[Kind, int] = {"edited": 0, "normalised": 1, "raw": 2}
    return match.found, match.similarity, kinds[match.kind], len(match.candidate.seeds), match.coverage


def _least_similarity(words: int) -> float:
    """Return how alike an item of so many words and a passage must be where the words are not the same."""
    if words >= SHORT:
        return MIN_SIMILARITY
    return SHORT_SIMILARITY if words >= FEWEST_FUZZY_WORDS else math.inf


def _similarity(ours: list[str], theirs: list[str]) -> float:
    """Return how alike our words are to the likest stretch of theirs; all of ours must be accounted for.

    The stretch of a long text is found by whole words, for by characters it takes the cube of its length.
    """
    if len(ours) > LONG and len(theirs) > len(ours):
        ids = {word: number for number, word in enumerate(dict.fromkeys([*ours, *theirs]))}
        stretch = fuzz.partial_ratio_alignment([ids[w] for w in ours], [ids[w] for w in theirs])
        if stretch is not None:
            theirs = theirs[stretch.dest_start : stretch.dest_end]
        return float(fuzz.ratio(" ".join(ours), " ".join(theirs))) / 100
    one, other = " ".join(ours), " ".join(theirs)
    compare = fuzz.partial_ratio if len(other) >= len(one) else fuzz.ratio
    return float(compare(one, other)) / 100


def _contains(text: NDArray[np.uint64], run: NDArray[np.uint64]) -> bool:
    starts = np.flatnonzero(text[: len(text) - len(run) + 1] == run[0]) if len(run) <= len(text) else ()
    return any(np.array_equal(text[start : start + len(run)], run) for start in starts)
