"""The published rules spelt out with sets of words: slow and plain, and nothing shared with the scan but the words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

Words = Sequence[str]
Verdict = tuple[bool | None, float | None]
"""Whether the rule fires and its score; None where the rule says nothing."""

UNDEFINED: Verdict = (None, None)
SEED = 5


def grams(words: Words, n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


class NaiveCorpus:
    """Documents as words, with what any of the rules asks of them, for needles that are known beforehand."""

    def __init__(self, texts: Sequence[str], documents: Sequence[Words], needles: Sequence[Words]) -> None:
        self.stripped = [stripped(text) for text in texts]
        self.documents = documents
        self._gram_sets: dict[tuple[int, int], set[tuple[str, ...]]] = {}
        self._frequencies: dict[int, Counter[tuple[str, ...]]] = {}
        self._needles = needles
        having = defaultdict(set)
        for place, needle in enumerate(needles):
            for gram in grams(needle, SEED):
                having[gram].add(place)
        self.sharing: dict[int, list[int]] = defaultdict(list)
        """For each needle the documents that share at least 5 consecutive words with it."""
        for number, words in enumerate(documents):
            for place in set().union(*(having[gram] for gram in set(grams(words, SEED)) if gram in having)):
                self.sharing[place].append(number)

    def gram_set(self, document: int, n: int) -> set[tuple[str, ...]]:
        key = document, n
        if key not in self._gram_sets:
            self._gram_sets[key] = set(grams(self.documents[document], n))
        return self._gram_sets[key]

    def frequency(self, gram: tuple[str, ...]) -> int:
        """Number of documents that hold a needle's n-gram."""
        n = len(gram)
        if n not in self._frequencies:
            wanted = {g for needle in self._needles for g in grams(needle, n)}
            self._frequencies[n] = Counter(g for words in self.documents for g in wanted & set(grams(words, n)))
        return self._frequencies[n][gram]


def gpt3_length(lengths: Sequence[int]) -> int:
    """N of GPT-3's rule: the 5th percentile (the lower of two) of the lengths of one part, between 8 and 13."""
    return min(max(sorted(lengths)[math.floor(0.05 * (len(lengths) - 1))], 8), 13)


def _any(hits: list[bool]) -> Verdict:
    """Fire at a single hit; the score is their share."""
    return any(hits), sum(hits) / len(hits)


def gpt3(corpus: NaiveCorpus, needle: Words, n: int) -> Verdict:
    if len(needle) < n:
        return UNDEFINED
    return _any([1 <= corpus.frequency(gram) <= 10 for gram in grams(needle, n)])


def pile13(corpus: NaiveCorpus, needle: Words) -> Verdict:
    if len(needle) < 13:
        return UNDEFINED
    return _any([corpus.frequency(gram) > 0 for gram in grams(needle, 13)])


def palm(corpus: NaiveCorpus, needle: Words) -> Verdict:
    own = grams(needle, 8)
    if not own:
        return UNDEFINED
    share = sum(corpus.frequency(gram) > 0 for gram in own) / len(own)
    return share >= 0.7, share


def contam(corpus: NaiveCorpus, place: int, needle: Words) -> Verdict:
    """ConTAM's longest match in one document, at least 8 words, as a share of the needle."""
    if len(needle) < 8:
        return UNDEFINED
    longest = 0
    for document in corpus.sharing[place]:
        n = max(8, longest + 1)
        while n <= len(needle) and any(gram in corpus.gram_set(document, n) for gram in grams(needle, n)):
            longest = n
            n += 1
    return longest / len(needle) >= 0.5, longest / len(needle)


def llama2(corpus: NaiveCorpus, place: int, needle: Words) -> Verdict:
    """Llama 2's share of covered words: matches of one shift, at least 11 words, at most 4 of them different."""
    if len(needle) < 11:
        return UNDEFINED
    covered: set[int] = set()
    for document in corpus.sharing[place]:
        words = corpus.documents[document]
        positions = defaultdict(list)
        for at, gram in enumerate(grams(words, SEED)):
            positions[gram].append(at)
        shifts = {at - i for i, gram in enumerate(grams(needle, SEED)) for at in positions[gram]}
        for shift in shifts:
            covered |= _covered(
                [0 <= i + shift < len(words) and needle[i] == words[i + shift] for i in range(len(needle))]
            )
    return len(covered) / len(needle) >= 0.8, len(covered) / len(needle)


def _covered(same: list[bool]) -> set[int]:
    found: set[int] = set()
    for first in range(len(same)):
        if not same[first]:
            continue
        different = run = longest = 0
        for last in range(first, len(same)):
            run = run + 1 if same[last] else 0
            longest = max(longest, run)
            different += not same[last]
            if different > 4:
                break
            if same[last] and last - first + 1 >= 11 and longest >= SEED:
                found |= {i for i in range(first, last + 1) if same[i]}
    return found


def stripped(text: str) -> str:
    """Letters and digits only, in their case."""
    return "".join(character for character in text if character.isalnum())


def gpt4(corpus: NaiveCorpus, text: str, drawn: Sequence[str]) -> Verdict:
    """GPT-4's rule for the substrings that were drawn from a needle."""
    if len(stripped(text)) < 20:
        return UNDEFINED
    return _any([any(piece in document for document in corpus.stripped) for piece in drawn])


def verdicts(
    texts: Sequence[str],
    documents: Sequence[Words],
    items: Sequence[str],
    needles: Sequence[Words],
    drawn: Sequence[Sequence[str]],
    parts: Sequence[str] = (),
) -> dict[str, list[Verdict]]:
    """What every rule says of every needle.

    Args:
        texts: The documents.
        documents: Their words.
        items: The texts of the needles.
        needles: Their words.
        drawn: The substrings that were drawn from each for GPT-4's rule.
        parts: Which part of an item each needle is; empty: all the same.
    """
    corpus = NaiveCorpus(texts, documents, needles)
    parts = parts or [""] * len(needles)
    n = {part: gpt3_length([len(w) for w, p in zip(needles, parts, strict=True) if p == part]) for part in set(parts)}
    return {
        "gpt3": [gpt3(corpus, words, n[part]) for words, part in zip(needles, parts, strict=True)],
        "pile13": [pile13(corpus, words) for words in needles],
        "palm": [palm(corpus, words) for words in needles],
        "gpt4": [gpt4(corpus, text, pieces) for text, pieces in zip(items, drawn, strict=True)],
        "contam": [contam(corpus, place, words) for place, words in enumerate(needles)],
        "llama2": [llama2(corpus, place, words) for place, words in enumerate(needles)],
    }
