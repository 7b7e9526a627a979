"""What the papers say of every needle, by the oracle: for tests and benchmarks that compare the scan with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from memaudit.text.scan.patterns import Needle, Patterns
from memaudit.text.scan.rules import RULES, Outcome
from memaudit.text.words.words import words_of
from tests.text.scan import published_oracle as oracle

MIN_CHARACTERS = 20
"""Letters and digits from which on a needle is judged by GPT-4's rule: ours, the paper takes any text."""


class Documents:
    """Documents as words and as letters, and those of them that can say something about a needle."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.words = [words_of(text).texts for text in texts]
        self._letters = [oracle.gpt4_characters(text) for text in texts]
        self._holders = defaultdict[tuple[str, ...], set[int]](set)
        for number, words in enumerate(self.words):
            for gram in oracle.grams(words, 8):
                self._holders[gram].add(number)

    def sharing(self, needle: Sequence[str]) -> list[Sequence[str]]:
        """Return the words of those that share eight in a row with a needle: no rule asks for less."""
        numbers = set().union(*(self._holders.get(gram, ()) for gram in oracle.grams(needle, 8)))
        return [self.words[number] for number in sorted(numbers)]

    def holding(self, pieces: Sequence[str]) -> list[str]:
        """Return the texts that hold the beginning of a piece."""
        found = [any(piece[:8] in letters for piece in pieces) for letters in self._letters]
        return [text for text, may_hold in zip(self.texts, found, strict=True) if may_hold]


def by_the_papers(documents: Documents, needles: list[Needle], patterns: Patterns) -> dict[str, list[Outcome]]:
    """Return what the oracle says; None of a needle that is too short for a rule."""
    words = [words_of(needle.text).texts for needle in needles]
    n = {
        part: oracle.gpt3_n([w for w, o in zip(words, needles, strict=True) if o.part == part])
        for part in {o.part for o in needles}
    }
    found: dict[str, list[Outcome]] = {name: [] for name in RULES}

    def says(name: str, long_enough: bool, fired: bool, score: float) -> None:
        found[name].append((fired, score) if long_enough else (None, None))

    for place, (needle, own) in enumerate(zip(needles, words, strict=True)):
        near, length = documents.sharing(own), n[needle.part]
        for name, size, dirty in (
            ("gpt3", length, oracle.gpt3_dirty(own, near, length)),
            ("pile13", 13, oracle.pile_dirty(own, near)),
        ):
            says(name, len(own) >= size, dirty, oracle.contam_ngram_match(own, near, size))
        says("palm", len(own) >= 8, oracle.palm_dirty(own, near), oracle.palm_share(own, near))
        share = oracle.llama2_share(own, near)
        says("llama2", len(own) >= 11, "dirty" in oracle.llama2_classes(share), share)
        longest = oracle.contam_longest(own, near, skip_budget=0, min_length=8)
        says("longest-match", len(own) >= 8, longest >= 0.5, longest)
        pieces, letters = drawn(patterns, place), oracle.gpt4_characters(needle.text)
        starts, holders = [letters.index(piece) for piece in pieces], documents.holding(pieces)
        hits = [oracle.gpt4_contaminated(needle.text, holders, [start]) for start in starts]
        fired = oracle.gpt4_contaminated(needle.text, holders, starts)
        says("gpt4", len(letters) >= MIN_CHARACTERS, fired, oracle.share(sum(hits), len(hits)))
    return found


def drawn(patterns: Patterns, needle: int) -> list[str]:
    return [patterns.substrings.pieces[number] for number in patterns.substrings.of(needle)]
