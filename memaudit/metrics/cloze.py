"""Name cloze: passages whose one proper name can be masked, and what counts as giving it back.

Only a reader who knows the passage can tell who stands in it, so a name is what a model cannot guess from the language
alone (Chang et al. 2023, who let a model mark the names; here a name is a capitalised word where none is expected).
Plain text in, plain values out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PASSAGE_WORDS = 40
"""Sentences are joined until a passage has so many words."""
MIN_WORDS = 8
"""Shorter passages are too uninformative."""
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|$)|\n\s*\n|$)", re.DOTALL)
_GUARDED = re.compile(r"\w\s*[,;]?\s+$")
"""What must stand before a name: a word, perhaps a comma. After anything else a capital may begin a sentence."""
_TITLES = ("mr", "mrs", "ms", "miss", "dr", "sir", "lady", "lord", "st", "prof")
_CAPITALISED = """i i'm i'll i've i'd o oh mr mrs ms miss dr sir lady lord madam prof st
    monday tuesday wednesday thursday friday saturday sunday
    january february march april may june july august september october november december"""
_NO_NAMES = frozenset(_CAPITALISED.split())
_ABBREVIATION = re.compile(rf"\b(?:{'|'.join(_TITLES)}|[a-z])\.$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NamePassage:
    """A passage with exactly one name, which stands in it exactly once: ``text[start:end]``."""

    text: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The name itself."""
        return self.text[self.start : self.end]


def name_passages(text: str) -> list[NamePassage]:
    """Return the passages of a document that hold one name.

    A name is a single capitalised word in the middle of a sentence that is nowhere in the document written small, and
    is no title, day or month. A passage is whole sentences, about `PASSAGE_WORDS` words; it is taken if just one of
    the document's names stands in it, once. In languages that capitalise all nouns these are nouns.
    """
    names = _names(text)
    found = []
    for passage in _passages(text):
        words = list(_WORD.finditer(passage))
        # A genitive names its owner: a passage with Alice's in it gives Alice away.
        named = [word for word in words if _bare(word.group()) in names]
        if len(named) != 1 or len(words) < MIN_WORDS or named[0].group() not in names:
            continue
        at = words.index(named[0])
        alone = not any(
            w.group()[0].isupper() and _adjacent(passage, named[0], w) for w in words[max(0, at - 1) : at + 2]
        )
        if _inside_sentence(passage, named[0]) and alone:
            found.append(NamePassage(passage, named[0].start(), named[0].end()))
    return found


def same_name(answer: str, name: str) -> bool:
    """Return whether an answer is the name: the same letters, whatever their case, spaces around them aside.

    The rule of the published accuracies (Chang et al. 2023).
    """
    return answer.strip().casefold() == name.strip().casefold()


def cloze_accuracy(answers: Sequence[str], names: Sequence[str]) -> float | None:
    """Return the share of answers that are the name, or None of nothing."""
    right = [same_name(answer, name) for answer, name in zip(answers, names, strict=True)]
    return sum(right) / len(right) if right else None


def begins_with_name(continuation: str, name: str) -> bool:
    """Return whether a continuation begins with a name, letter for letter, and the name ends where a word does."""
    said = continuation.lstrip()
    rest = said[len(name) :]
    return said.startswith(name) and not (rest and (rest[0].isalnum() or rest[0] == "_"))


def _bare(word: str) -> str:
    return re.sub(r"['\u2019]s?$", "", word)


def _names(text: str) -> frozenset[str]:
    """Return the capitalised words of a document that stand inside sentences and are nowhere written small."""
    words = list(_WORD.finditer(text))
    small = {word.group().casefold() for word in words if word.group()[0].islower()}
    return frozenset(
        bare
        for word in words
        if word.group()[0].isupper()
        and len(bare := _bare(word.group())) > 1
        and not (bare.isupper() or bare.casefold() in small or bare.casefold() in _NO_NAMES)
        and word.group().casefold() not in _NO_NAMES
        and _inside_sentence(text, word)
    )


def _inside_sentence(text: str, word: re.Match[str]) -> bool:
    before = text[max(0, word.start() - 12) : word.start()]
    return bool(_GUARDED.search(before)) or bool(_ABBREVIATION.search(before.rstrip()) and before[-1:].isspace())


def _adjacent(text: str, name: re.Match[str], other: re.Match[str]) -> bool:
    """Return whether another capitalised word belongs to the name: nothing but space between the two, no title."""
    if other.start() == name.start() or other.group().casefold() in _NO_NAMES:
        return False
    first, last = sorted((name, other), key=lambda word: word.start())
    # The first word of a sentence is capitalised whatever it is.
    starts = other is first and not _inside_sentence(text, other)
    return not starts and text[first.end() : last.start()].isspace()


def _passages(text: str) -> list[str]:
    """Return whole sentences joined to passages of at least `PASSAGE_WORDS` words; the last may be shorter."""
    passages: list[str] = []
    begun, start, words = 0, 0, 0
    for sentence in _SENTENCE.finditer(text):
        words += len(_WORD.findall(sentence.group()))
        unfinished = _ABBREVIATION.search(sentence.group().rstrip()) is not None
        if words >= PASSAGE_WORDS and not unfinished:
            passages.append(text[start : sentence.end()].strip())
            start, words = sentence.end(), 0
        begun = sentence.end()
    if words:
        passages.append(text[start:begun].strip())
    return passages
