"""From candidates to matches: how much of what is an item's own stands in a document.

The words of an item are laid beside those of the document in order, and each counts by what it weighs as evidence
(`weights`): boilerplate of the benchmark and the wording of tests nothing, grammar little. What is decided here depends
on the benchmark and on one document, on nothing else of the corpus: neither more copies nor other documents change it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import DamerauLevenshtein, LCSseq

from memaudit.text.scan.patterns import SHORT, Patterns
from memaudit.text.scan.weights import TERSE, information, needed_information
from memaudit.text.words import Words, words_of

MIN_SIMILARITY = 0.7
"""Least share of an item's own words, by weight, that stand in the document in their order, less ..."""
GAP = 0.5
"""... this much of the share that its largest gap has: a copy is changed here and there, another text in blocks."""
AMPLE_COVERAGE = 0.6
"""Least share of its runs of five words, by weight, that is enough in any order: sentences moved, or put between."""
FEW_WORDS = 6.3
"""Of a text whose own words weigh ``w``, the cube of ``FEW_WORDS / w`` more: of few words hardly one may be another."""
SUBJECT = 3.0
"""How often a word counts that the item repeats and the document never has: it is what the item is about."""
FORM, FORM_WORDS, FORM_SIMILARITY = 0.5, 6.0, 0.9
"""A text of which less than this share, and less than so many words, is its own is a form: of all of its words, this
share must stand there."""
AMPLE_COVERAGE = 0.6
"""Least share of its runs of five words, by weight, that is enough in any order: sentences moved, or put between."""
SHORT_SIMILARITY = 0.97
"""Texts of fewer than `SHORT` words are often alike but for one: they may differ by a slip of the pen only."""
CHOICE_WORDS = 20
"""Fewest words of an answer offered for choice that convict without its question."""
SLIP = 10
"""Characters of a word, or of words written together or apart, that may differ in one, longer ones in two: a slip of
the pen, where *minimum* and *maximum* are other words."""
LETTERS = 3
"""Letters of a word that is too short to be misspelt: another is another word."""
PATCH = 8
"""Words of a stretch that was changed within which misspelt words are looked for."""
PLACES = 100
"""Places of a text that are looked at: of one that repeats itself without end, not all."""
LONG = 2000
"""Words beyond which a text is compared by its runs of five words alone: alignment takes the square of the length."""

Kind = Literal["raw", "normalised", "edited"]
Why = Literal["copy", "generic", "boilerplate", "choice", "short", "little", "other"]
"""Why a match convicts (``copy``), or why it does not: too generic, boilerplate of the benchmark, an answer offered for
choice alone, a short text that is not the same, too little of it, or another item of the benchmark explains it."""

_DIGIT = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that may hold a needle, as the kernel found it."""

    needle: int
    source: str
    """File and place of the document, as its corpus names it."""
    start: int
    """Character of the document at which ``text`` begins."""
    text: str
    """Raw text of the region where the needle would lie, with slack on either side."""
    seeds: tuple[int, ...]
    """Seeds by which the needle is found that stand anywhere in the document, in order of their ids."""


@dataclass(frozen=True, slots=True)
class Match:
    """One needle beside one document that holds some of it."""

    candidate: Candidate
    kind: Kind
    """How it stands there: character for character, the same words after normalisation, or with edits."""
    similarity: float
    """Share of the needle's words, by weight, that stand in the passage in order, in [0, 1]."""
    coverage: float
    """Share of the runs of five words by which it is found, by weight, that stand in the document, in [0, 1]."""
    why: Why

    @property
    def found(self) -> bool:
        """Whether it convicts."""
        return self.why == "copy"

    @property
    def strength(self) -> tuple[float, ...]:
        """Key by which the matches of a needle are ranked, the greatest first."""
        kinds: dict[Kind, int] = {"edited": 0, "normalised": 1, "raw": 2}
        return self.found, self.similarity, kinds[self.kind], self.coverage


@dataclass(frozen=True, slots=True, eq=False)
class _Laid:
    """A needle laid beside a passage."""

    credit: NDArray[np.float64]
    """Shape [words of the needle]: in [0, 1], how well each word stands in the passage."""
    places: NDArray[np.int64]
    """Shape [words of the needle]: the word of the passage that is equal, -1 where none is."""


class Matcher:
    """Judges candidates of the needles of a benchmark."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        last = {needle.item: place for place, needle in enumerate(patterns.needles)}
        self._whole = frozenset(last.values())

    def is_whole(self, needle: int) -> bool:
        """Return whether a needle stands for its item as a whole: its last part joins the others."""
        return needle in self._whole

    def is_generic(self, needle: int) -> bool:
        """Return whether a needle says too little to convict, even word for word."""
        return self._patterns.information(needle, own=False) < needed_information(self._patterns.length(needle))

    def match_document(self, candidates: Sequence[Candidate]) -> list[Match]:
        """Judge all candidates of one document.

        A passage that is another item of the same file, word for word, is no copy of an item that is merely like that
        one: what stands there is a template that both fill in.
        """
        passages = [words_of(candidate.text) for candidate in candidates]
        judged = [self._match(candidate, passage) for candidate, passage in zip(candidates, passages, strict=True)]
        whole = [m.candidate.needle for m, _ in judged if m.kind != "edited" and self.is_whole(m.candidate.needle)]
        return [
            self._explained(match, laid, passage, whole) if whole and match.found and match.kind == "edited" else match
            for (match, laid), passage in zip(judged, passages, strict=True)
        ]

    def _match(self, candidate: Candidate, passage: Words) -> tuple[Match, _Laid]:
        needle, patterns = candidate.needle, self._patterns
        words = patterns.words[needle]
        kind = self._kind(needle, passage, candidate.text)
        laid = _whole(words) if kind != "edited" else _lay(words, passage)
        span = patterns.span(needle)
        plain, own, bulk = patterns.weights.plain[span], patterns.weights.own[span], patterns.weights.bulk[span]
        seeds, weights = patterns.distinct_seeds(needle), patterns.seed_weights(needle)
        coverage = float(weights[np.isin(seeds, candidate.seeds)].sum() / weights.sum()) if len(seeds) else 0.0
        if len(words) > LONG and kind == "edited":
            laid = _Laid(np.full(len(words), coverage), laid.places)
        weights_of_missing = _with_subjects(words.hashes, laid.credit, plain, plain if patterns.exact[needle] else bulk)
        similarity = _share(laid.credit, weights_of_missing)
        known = information(words.hashes, own * laid.credit)
        if kind == "edited":
            more = min(1.0, FEW_WORDS / max(FEW_WORDS, float(own.sum()))) ** 3
            alike = similarity - GAP * _largest_gap(laid.credit, bulk) >= min(1 - 1e-9, MIN_SIMILARITY + more)
            whole = _share(laid.credit, plain)
            form = own.sum() < min(FORM_WORDS, FORM * plain.sum())
            held = (alike or coverage >= AMPLE_COVERAGE + more) and not (form and whole < FORM_SIMILARITY)
            why = _why_edited(len(words), held, whole, known)
        else:
            why = self._why_whole(needle, known)
        return Match(candidate, kind, similarity, coverage, why), laid

    def _kind(self, needle: int, passage: Words, raw: str) -> Kind:
        if self._patterns.needles[needle].text.strip() in raw:
            return "raw"
        return "normalised" if _places_of(self._patterns.words[needle].hashes, passage.hashes) else "edited"

    def _why_whole(self, needle: int, known: float) -> Why:
        """Say whether a text that stands there word for word convicts; ``known`` is what is its own in it."""
        if self.is_generic(needle):
            return "generic"
        if self.is_whole(needle):
            return "copy"
        if self._patterns.needles[needle].choice and self._patterns.length(needle) < CHOICE_WORDS:
            return "choice"
        return "copy" if known >= needed_information(self._patterns.length(needle)) else "boilerplate"

    def _explained(self, match: Match, laid: _Laid, passage: Words, whole: Sequence[int]) -> Match:
        """Return the match, convicting no more if all that it shares with the passage is another item."""
        patterns, needle = self._patterns, match.candidate.needle
        ours = patterns.needles[needle]
        weights = patterns.weights.plain[patterns.span(needle)] * (laid.places >= 0)
        for other in dict.fromkeys(whole):
            theirs = patterns.needles[other]
            if theirs.item == ours.item or theirs.benchmark != ours.benchmark:
                continue
            for place in _places_of(patterns.words[other].hashes, passage.hashes):
                inside = (laid.places >= place) & (laid.places < place + patterns.length(other))
                if weights[inside].sum() >= EXPLAINED * weights.sum():
                    return dataclasses.replace(match, why="other")
        return match


EXPLAINED = 0.95
"""Share of what a match has in common with a passage that another item must hold to explain it."""


def _why_edited(words: int, alike: bool, plain: float, known: float) -> Why:
    """Say whether a text with edits convicts.

    Args:
        words: Words of the needle.
        alike: Whether enough of its own words stand there.
        plain: Share of all of its words in order, boilerplate too.
        known: Weight of the different words of its own that stand there.
    """
    if words < SHORT:
        slip = words >= TERSE and plain >= SHORT_SIMILARITY
        return ("copy" if known >= needed_information(words) else "generic") if slip else "short"
    if not alike:
        return "little"
    return "copy" if known >= needed_information(words) else "generic"


def _whole(words: Words) -> _Laid:
    return _Laid(np.ones(len(words)), np.arange(len(words)))


def _lay(words: Words, passage: Words) -> _Laid:
    """Lay the words of a needle beside those of a passage in order; misspelt words count by their likeness."""
    credit, places = np.zeros(len(words)), np.full(len(words), -1, np.int64)
    if len(words) > LONG:
        return _Laid(credit, places)
    for block in LCSseq.opcodes(words.hashes.tolist(), passage.hashes.tolist()):
        ours, theirs = slice(block.src_start, block.src_end), slice(block.dest_start, block.dest_end)
        if block.tag == "equal":
            credit[ours] = 1
            places[ours] = np.arange(theirs.start, theirs.stop)
    for ours, theirs in _changed(places, len(passage)):
        credit[ours] = _likeness(words.texts[ours], passage.texts[theirs])
    return _Laid(credit, places)


def _changed(places: NDArray[np.int64], words: int) -> Iterable[tuple[slice, slice]]:
    """Yield the short stretches of a needle that have no equal, each with what stands in their stead."""
    known = np.flatnonzero(places >= 0)
    ends = [-1, *known.tolist(), len(places)]
    there = [-1, *places[known].tolist(), words]
    for k in range(len(ends) - 1):
        ours, theirs = slice(ends[k] + 1, ends[k + 1]), slice(there[k] + 1, there[k + 1])
        if 0 < ours.stop - ours.start <= PATCH:
            yield ours, slice(theirs.start, min(theirs.stop, theirs.start + 2 * PATCH))


def _likeness(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return how alike a changed stretch is to what stands in its stead; 0 where it is not the same, misspelt.

    Numbers are never alike.
    """
    one, other = "".join(ours), "".join(theirs)
    if not other or _DIGIT.search(one):
        return 0.0
    slips = 1 if len(one) < SLIP else 2 * len(ours)
    distance = DamerauLevenshtein.distance(one, other, score_cutoff=slips)
    return 1 - distance / len(one) if distance <= slips and len(one) > LETTERS else 0.0


def _with_subjects(
    hashes: NDArray[np.uint64],
    credit: NDArray[np.float64],
    plain: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the weights of words, greater for those that tell something, repeat, and have no credit anywhere."""
    _, ids, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    subject = (counts[ids] > 1) & (np.bincount(ids, weights=credit)[ids] == 0) & (plain >= 1)
    return np.where(subject, SUBJECT * weights, weights)


def _largest_gap(credit: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return by how much of the weight, at most, more is missing than there is in any stretch of words."""
    sums = np.concatenate([[0.0], np.cumsum(weights * (1 - 2 * credit))])
    gap = float((sums - np.minimum.accumulate(sums)).max())
    return gap / float(weights.sum()) if weights.any() else 0.0


def _share(credit: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    total = float(weights.sum())
    return float((credit * weights).sum()) / total if total else 0.0


def _places_of(run: NDArray[np.uint64], text: NDArray[np.uint64]) -> list[int]:
    """Return where a run of words stands in a text, the first `PLACES` of them."""
    data, wanted, width = text.tobytes(), run.tobytes(), run.itemsize
    places: list[int] = []
    at = data.find(wanted) if wanted else -1
    while at >= 0 and len(places) < PLACES:
        if at % width == 0:
            places.append(at // width)
        at = data.find(wanted, at + 1)
    return places
