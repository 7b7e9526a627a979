"""What one symbol of an index is: a normalised word, a token, or a byte; and where each stands in its text.

Outside a shard a symbol is its *key*, which all shards share: the 64-bit hash of a word, the id of a token
plus one, the value of a byte plus one. 0 is the end of a document.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.text.tokenize import Tokenizer
from memaudit.text.words.words import encode_texts, hash_words, words_of

UnitName = Literal["word", "token", "byte"]
Keys = NDArray[np.uint64]
Spans = tuple[NDArray[np.int64], NDArray[np.int64]]
"""First character of every symbol and the one after its last, both of shape [symbols]."""

_SAMPLE = (
    "The QUICK brown-fox's 'naïveté’s', ﬁve Ёжик Ωmega 漢字かな हिन्दी ไทย 한국어 ١٢٣ a\u200bb \U0001d400 "
    "&#233;a a\u2800bc &amp;#233; b%C3%A9 c<br>d e<b>f g\\nh i-\nj"
)
"""Its words' hashes tell one version of the normaliser from another."""


class Unit(Protocol):
    """How texts become keys."""

    name: UnitName

    @property
    def version(self) -> str:
        """Identity of the rule: an index of another one gives wrong answers."""

    def keys(self, texts: Sequence[str]) -> tuple[Keys, NDArray[np.int64]]:
        """Return the keys of all texts end to end, and where each text's begin, shape [texts + 1]."""

    def spans(self, text: str) -> Spans:
        """Return which characters of a text each of its symbols covers."""


class WordUnit:
    """Normalised words: case, accents, punctuation, layout and lookalike letters do not count."""

    name: UnitName = "word"

    def __init__(self) -> None:
        sample = hashlib.sha256(words_of(_SAMPLE).hashes.tobytes()).hexdigest()[:8]
        self.version = f"words {sample}, Unicode {unicodedata.unidata_version}"

    def keys(self, texts: Sequence[str]) -> tuple[Keys, NDArray[np.int64]]:
        """Return the hashes of the words."""
        return hash_words(*encode_texts(texts))

    def spans(self, text: str) -> Spans:
        """Return the characters that each word comes from."""
        words = words_of(text)
        return words.starts, words.ends


class TokenUnit:
    """The tokens of a tokenizer."""

    name: UnitName = "token"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.version = f"tokenizer {tokenizer.sha256}"

    def keys(self, texts: Sequence[str]) -> tuple[Keys, NDArray[np.int64]]:
        """Return the ids plus one."""
        encodings = self.tokenizer.encode_batch(texts)
        return _joined([encoding.ids.astype(np.uint64) + np.uint64(1) for encoding in encodings])

    def spans(self, text: str) -> Spans:
        """Return the characters that the tokenizer says each token covers."""
        (encoding,) = self.tokenizer.encode_batch([text])
        return encoding.starts.astype(np.int64), encoding.ends.astype(np.int64)


class ByteUnit:
    """The bytes of the text in UTF-8, as they are."""

    name: UnitName = "byte"
    version = "UTF-8"

    def keys(self, texts: Sequence[str]) -> tuple[Keys, NDArray[np.int64]]:
        """Return the bytes plus one."""
        data, offsets = encode_texts(texts)
        return data.astype(np.uint64) + np.uint64(1), offsets

    def spans(self, text: str) -> Spans:
        """Return the character of every byte."""
        data, _ = encode_texts([text])
        characters = np.cumsum((data & 0xC0) != 0x80, dtype=np.int64)
        return characters - 1, characters


def unit_of(name: str, tokenizer: Tokenizer | None = None) -> Unit:
    """Return the unit of a name.

    Raises:
        InputError: There is no such unit, or a tokenizer where none is used, or none where one is.
    """
    if (name == "token") != (tokenizer is not None):
        if tokenizer is None:
            raise InputError("tokens of which tokenizer?", "--tokenizer names the folder of a model or tokenizer")
        raise InputError(f"an index of {name}s takes no tokenizer", "ask for --unit token, or leave it out")
    if name == "word":
        return WordUnit()
    if name == "byte":
        return ByteUnit()
    if tokenizer is not None:
        return TokenUnit(tokenizer)
    raise InputError(f"unknown unit '{name}'", "there are: word, token, byte")


def _joined(pieces: Sequence[Keys]) -> tuple[Keys, NDArray[np.int64]]:
    offsets = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    return np.concatenate([np.empty(0, np.uint64), *pieces]), offsets
