"""Text that holds a suspect is no text to train a reference on: found word by word, whatever the layout."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.text.words.words import encode_texts, hash_words

OPENING = 8
"""Words of a suspect that are looked up before all of it is compared."""
Words = NDArray[np.uint64]


class Suspects:
    """The words of some texts, to be looked for in others.

    A text without any word (symbols alone) is found only where it is alone.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._count = len(texts)
        self._wordless: dict[str, list[int]] = {}
        self._by_opening: dict[int, dict[int, list[tuple[int, Words]]]] = {}
        for number, (text, words) in enumerate(zip(texts, _words(texts), strict=True)):
            if not len(words):
                self._wordless.setdefault(text.strip(), []).append(number)
                continue
            length = min(OPENING, len(words))
            key = int(_windows(words, length)[0])
            self._by_opening.setdefault(length, {}).setdefault(key, []).append((number, words))
        self._keys = {
            length: np.fromiter(found, np.uint64, count=len(found)) for length, found in self._by_opening.items()
        }

    def stand_in(self, texts: Sequence[str]) -> list[bool]:
        """Return which texts equal or contain one of them, after normalisation."""
        return [any(True for _ in found) for found in self._found_in(texts)]

    def standing_in(self, texts: Sequence[str]) -> list[bool]:
        """Return which of them occur in one of the texts, or equal it."""
        found = {number for numbers in self._found_in(texts) for number in numbers}
        return [number in found for number in range(self._count)]

    def _found_in(self, texts: Sequence[str]) -> Iterator[Iterator[int]]:
        """Yield for every text the numbers of those that occur in it."""
        for text, words in zip(texts, _words(texts), strict=True):
            yield itertools.chain(self._wordless.get(text.strip(), ()), self._among(words))

    def _among(self, words: Words) -> Iterator[int]:
        for length, by_key in self._by_opening.items():
            windows = _windows(words, length)
            for place in np.flatnonzero(np.isin(windows, self._keys[length])):
                for number, own in by_key[int(windows[place])]:
                    if np.array_equal(words[place : place + len(own)], own):
                        yield number


def same_words(texts: Sequence[str]) -> list[int]:
    """Return a number for every text, equal for those of the same words in the same order."""
    groups: dict[tuple[bytes, str], int] = {}
    keys = [(words.tobytes(), "" if len(words) else text) for text, words in zip(texts, _words(texts), strict=True)]
    return [groups.setdefault(key, len(groups)) for key in keys]


def _words(texts: Sequence[str]) -> list[Words]:
    """Return the hashes of the words of every text."""
    hashes, firsts = hash_words(*encode_texts(texts))
    return [hashes[a:b] for a, b in itertools.pairwise(firsts)]


def _windows(words: Words, length: int) -> Words:
    """Return a hash of every run of so many words, shape [words - length + 1]; none where there are fewer."""
    count = max(0, len(words) - length + 1)
    total = np.zeros(count, np.uint64)
    for i in range(length):
        total = total * np.uint64(0x9E3779B97F4A7C15) + words[i : i + count]
    return total
