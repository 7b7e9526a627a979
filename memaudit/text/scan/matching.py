"""From candidates to matches: how much of what is an item's own occurs in a document.

The words of an item are laid beside those of the document in order, and each counts by what it weighs as evidence
(`weights`): boilerplate of the benchmark and the wording of tests nothing, grammar little. What is decided here depends
on the benchmark and on one document, on nothing else of the corpus: neither more copies nor other documents change it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memaudit.text.scan.laying import Laid, changed, credit_at_best, largest_gap, lay, likeness, places_of, share
from memaudit.text.scan.patterns import SHORT, Patterns
from memaudit.text.scan.weights import TERSE, information, needed_information
from memaudit.text.words.words import words_of

MIN_SIMILARITY = 0.7
"""Least share of an item's own words, by weight, that occur in the document in their order, less ..."""
GAP = 0.5
"""... this much of the share that its largest gap has: a copy is changed here and there, another text in blocks."""
AMPLE_COVERAGE = 0.6
"""Least share of its runs of five words, by weight, that is enough in any order: sentences moved, or put between."""
FEW_WORDS = 6.3
"""Of a text whose own words weigh ``w``, the cube of ``FEW_WORDS / w`` more: of few words hardly one may be another."""
SUBJECT = 3.0
"""How often a word counts that the item repeats and the document never has: it is what the item is about."""
TEMPLATE, TEMPLATE_WORDS, TEMPLATE_SIMILARITY = 0.5, 6.0, 0.9
"""A text of which less than this share, and less than so many words, is its own is a template: of all of its words,
this share must occur there."""
SHORT_SIMILARITY = 0.97
"""Texts of fewer than `SHORT` words are often alike but for one: they may differ by a slip of the pen only."""
CHOICE_WORDS = 20
"""Fewest words of an answer offered for choice that flag it without its question."""
LONG = 10_000
"""Words beyond which a text is compared by its runs of five words alone: alignment takes the square of the length."""

REMEMBERED = 1 << 16
"""Likenesses of stretches of words that are kept."""
EXPLAINED = 0.95
"""Share of what a match has in common with a passage that another item must hold to explain it."""

Kind = Literal["raw", "normalised", "edited"]
Why = Literal["copy", "generic", "boilerplate", "choice", "short", "little", "other"]
"""Why a match counts (``copy``), or why it does not: too generic, boilerplate of the benchmark, an answer offered for
choice alone, a short text that is not the same, too little of it, or another item of the benchmark explains it."""


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
    """Seeds by which the needle is found that occur anywhere in the document, in order of their ids."""


@dataclass(frozen=True, slots=True)
class Match:
    """One needle beside one document that holds some of it."""

    candidate: Candidate
    kind: Kind
    """How it occurs there: character for character, the same words after normalisation, or with edits."""
    similarity: float
    """Share of the needle's words, by weight, that occur in the passage in order, in [0, 1]."""
    coverage: float
    """Share of the runs of five words by which it is found, by weight, that occur in the document, in [0, 1]."""
    why: Why

    @property
    def found(self) -> bool:
        """Whether it counts as contamination."""
        return self.why == "copy"

    @property
    def strength(self) -> tuple[float, ...]:
        """Key by which the matches of a needle are ranked, the greatest first.

        How it occurs there matters only where the match counts: the others need no text.
        """
        kinds: dict[Kind, int] = {"edited": 0, "normalised": 1, "raw": 2}
        return self.found, self.similarity, kinds[self.kind] if self.found else 0, self.coverage


Wanted = Callable[[int, bool, float, float], bool]
"""Called with a needle, whether the match counts, its similarity and its coverage."""


class Sighting(NamedTuple):
    """A region of a document where a needle may lie."""

    needle: int
    source: str
    seeds: Sequence[int]
    """Those by which the needle is found that occur in the document."""
    region: NDArray[np.uint64]
    """Words of the region."""
    excerpt: Callable[[], tuple[int, str]]
    """Gives the raw text of the region and the character of the document at which it begins."""


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What a needle brings to every match."""

    hashes: NDArray[np.uint64]
    plain: NDArray[np.float64]
    own: NDArray[np.float64]
    bulk: NDArray[np.float64]
    """What its words weigh (`weights.Weights`); of one that only counts as a whole, all as they are."""
    ids: NDArray[np.int64]
    """Number of each of its words, the same for equal ones."""
    repeated: NDArray[np.bool_]
    """Informative words that occur in it more than once."""
    needed: float
    """Information that it takes to count as contaminated."""
    more: float
    """What the similarity must be above the least."""
    templated: bool
    lead: int
    """Words at its beginning that must occur there too."""


class Matcher:
    """Judges candidates of the needles of a benchmark."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        last = {needle.item: place for place, needle in enumerate(patterns.needles)}
        self._whole = frozenset(last.values())
        parts = {(needle.item, needle.part): place for place, needle in enumerate(patterns.needles)}
        self._leads = {k: parts[n.item, n.lead] for k, n in enumerate(patterns.needles) if n.lead is not None}
        self._facts = cache(self._facts_of)
        self._likeness: dict[tuple[int, int, int, bytes], float] = {}
        """Of a stretch of a needle and the words in its place."""

    def is_whole(self, needle: int) -> bool:
        """Return whether a needle stands for its item as a whole: its last part joins the others."""
        return needle in self._whole

    def is_generic(self, needle: int) -> bool:
        """Return whether a needle is too generic to flag an item, even word for word."""
        return bool(self._patterns.generic[needle])

    def match_document(self, sightings: Sequence[Sighting], wanted: Wanted) -> list[Match]:
        """Judge all that was seen in one document.

        A passage that is another item of the same file, word for word, is no copy of an item that is merely like that
        one: what occurs there is a template that both fill in.

        Args:
            sightings: Of the needles in the document.
            wanted: Whether a needle has use for a match as strong as that: the texts of others are not even cut out.
        """
        judged = [(sighting, self._judge(sighting)) for sighting in sightings]
        whole = [seen.needle for seen, (laid, _, _, _) in judged if laid is None and self.is_whole(seen.needle)]
        matches = []
        for seen, (laid, similarity, coverage, why) in judged:
            if laid and whole and why == "copy" and self._is_other(seen, laid, whole):
                why = "other"
            if wanted(seen.needle, why == "copy", similarity, coverage):
                start, text = seen.excerpt()
                candidate = Candidate(seen.needle, seen.source, start, text, tuple(sorted(seen.seeds)))
                kind: Kind = "edited"
                if laid is None:
                    kind = "raw" if self._patterns.needles[seen.needle].text.strip() in text else "normalised"
                matches.append(Match(candidate, kind, similarity, coverage, why))
        return matches

    def _judge(self, seen: Sighting) -> tuple[Laid | None, float, float, Why]:
        """Return how the needle lies there, None if word for word, its similarity and coverage, and what follows."""
        if places_of(self._patterns.hashes[self._patterns.span(seen.needle)], seen.region, 1):
            return None, 1.0, 1.0, self._why_whole(seen.needle)
        facts = self._facts(seen.needle)
        coverage = self._coverage(seen.needle, seen.seeds)
        if len(facts.hashes) > LONG:
            laid = Laid(np.full(len(facts.hashes), coverage), np.full(len(facts.hashes), -1, np.int64))
        else:
            laid = lay(facts.hashes, seen.region)
        why = self._why_edited(facts, laid.credit, coverage)
        if why != "copy" and self._why_edited(facts, credit_at_best(laid, len(seen.region)), coverage) == "copy":
            self._like_words(laid, seen)
            why = self._why_edited(facts, laid.credit, coverage)
        return laid, _similarity(facts, laid.credit), coverage, why

    def _like_words(self, laid: Laid, seen: Sighting) -> None:
        """Give the words credit that are misspelt there, or written together or apart."""
        theirs: list[str] | None = None
        for ours, other in changed(laid.places, len(seen.region)):
            key = seen.needle, ours.start, ours.stop, seen.region[other].tobytes()
            known = self._likeness.get(key)
            if known is None:
                theirs = theirs or words_of(seen.excerpt()[1]).texts
                known = likeness(self._patterns.words[seen.needle].texts[ours], theirs[other])
                if len(self._likeness) < REMEMBERED:
                    self._likeness[key] = known
            laid.credit[ours] = known

    def _coverage(self, needle: int, seeds: Sequence[int]) -> float:
        weights = self._patterns.seed_weights(needle)
        held = np.searchsorted(self._patterns.distinct_seeds(needle), seeds)
        return float(weights[held].sum() / weights.sum())

    def _alike(self, facts: _Facts, credit: NDArray[np.float64], coverage: float) -> bool:
        """Return whether enough of what is a text's own occurs in the document."""
        if facts.templated and share(credit, facts.plain) < TEMPLATE_SIMILARITY:
            return False
        if facts.lead and not _stands(credit[: facts.lead], facts.plain[: facts.lead]):
            return False
        similarity = _similarity(facts, credit) - GAP * largest_gap(credit, facts.bulk)
        return similarity >= min(1 - 1e-9, MIN_SIMILARITY + facts.more) or coverage >= AMPLE_COVERAGE + facts.more

    def _why_edited(self, facts: _Facts, credit: NDArray[np.float64], coverage: float) -> Why:
        """Decide whether a text with edits counts as a copy."""
        words = len(facts.hashes)
        if words < SHORT and (words < TERSE or share(credit, facts.plain) < SHORT_SIMILARITY):
            return "short"
        if words >= SHORT and not self._alike(facts, credit, coverage):
            return "little"
        return "copy" if information(facts.hashes, facts.own * credit) >= facts.needed else "generic"

    def _is_other(self, seen: Sighting, laid: Laid, whole: Sequence[int]) -> bool:
        """Return whether all that a needle shares with a passage is another item, which occurs there word for word."""
        patterns = self._patterns
        ours = patterns.needles[seen.needle]
        weights = self._facts(seen.needle).plain * (laid.places >= 0)
        for other in dict.fromkeys(whole):
            theirs = patterns.needles[other]
            if theirs.item == ours.item or theirs.benchmark != ours.benchmark:
                continue
            for place in places_of(patterns.hashes[patterns.span(other)], seen.region):
                inside = (laid.places >= place) & (laid.places < place + patterns.length(other))
                if weights[inside].sum() >= EXPLAINED * weights.sum() > 0:
                    return True
        return False

    def _facts_of(self, needle: int) -> _Facts:
        patterns, span = self._patterns, self._patterns.span(needle)
        plain, own = patterns.weights.plain[span], patterns.weights.own[span]
        total = float(own.sum())
        _, ids, counts = np.unique(patterns.hashes[span], return_inverse=True, return_counts=True)
        return _Facts(
            hashes=patterns.hashes[span],
            plain=plain,
            own=own,
            bulk=plain if patterns.exact[needle] else patterns.weights.bulk[span],
            ids=ids,
            repeated=(counts[ids] > 1) & (plain >= 1),
            needed=needed_information(patterns.length(needle)),
            more=min(1.0, FEW_WORDS / max(FEW_WORDS, total)) ** 3,
            lead=patterns.length(self._leads[needle]) if needle in self._leads else 0,
            templated=total < min(TEMPLATE_WORDS, TEMPLATE * float(plain.sum())),
        )

    def _why_whole(self, needle: int) -> Why:
        """Decide whether a text that occurs somewhere word for word counts as a copy."""
        if self.is_generic(needle):
            return "generic"
        if self.is_whole(needle):
            return "copy"
        if self._patterns.needles[needle].choice and self._patterns.length(needle) < CHOICE_WORDS:
            return "choice"
        return "boilerplate" if self._patterns.exact[needle] and self._patterns.common[needle] else "copy"


def _stands(credit: NDArray[np.float64], weights: NDArray[np.float64]) -> bool:
    """Return whether a text occurs there but for a typo; one of stock phrases alone may occur anywhere."""
    return float(weights.sum()) < 1 or share(credit, weights) >= SHORT_SIMILARITY


def _similarity(facts: _Facts, credit: NDArray[np.float64]) -> float:
    subject = facts.repeated & (np.bincount(facts.ids, weights=credit)[facts.ids] == 0)
    return (
        share(credit, np.where(subject, SUBJECT * facts.bulk, facts.bulk))
        if subject.any()
        else share(credit, facts.bulk)
    )
