"""Works as a reconstruction reads them: text, the tokens in which it is given, and its words."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.documents import refuse_same_texts
from memaudit.records import Document
from memaudit.runs.parts import Summary
from memaudit.runs.reconstruction import TextPlace
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import Listed
from memaudit.text.corpus.read import read_corpus
from memaudit.text.tokenize import Encoding, Tokenizer
from memaudit.text.words.words import Words, words_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Work:
    """One work. Tokens are the measure of what is given; everything else is told in words and lines."""

    name: str
    source: str
    control: bool
    text: str
    encoding: Encoding

    @cached_property
    def sha256(self) -> str:
        """Of its text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def words(self) -> Words:
        """Its words (`memaudit.text.words.words`): what typography and layout do not change."""
        return words_of(self.text)

    @property
    def tokens(self) -> int:
        """How many it has."""
        return len(self.encoding)

    @cached_property
    def _line_ends(self) -> list[int]:
        return [at for at, character in enumerate(self.text) if character == "\n"]

    @property
    def lines(self) -> int:
        """How many it has."""
        return len(self._line_ends) + (not self.text.endswith("\n"))

    def cut(self, tokens: range) -> str:
        """Return the text of its tokens."""
        if not tokens:
            return ""
        return self.text[int(self.encoding.starts[tokens.start]) : int(self.encoding.ends[tokens.stop - 1])]

    def words_in(self, tokens: range) -> range:
        """Return the words of which any character lies in tokens."""
        if not tokens:
            return range(0)
        first, last = int(self.encoding.starts[tokens.start]), int(self.encoding.ends[tokens.stop - 1])
        begin = int(np.searchsorted(self.words.ends, first, side="right"))
        return range(begin, max(begin, int(np.searchsorted(self.words.starts, last))))

    def cuts_word(self, tokens: range) -> bool:
        """Return whether tokens end within a word: what is written behind them begins with its rest."""
        last = self.words_in(tokens).stop - 1
        return last >= 0 and bool(self.words.ends[last] > self.encoding.ends[tokens.stop - 1])

    def token_behind(self, word: int) -> int:
        """Return the first token that begins behind so many words."""
        if not word:
            return 0
        return int(np.searchsorted(self.encoding.starts, int(self.words.ends[word - 1])))

    def tokens_of(self, words: Mask) -> int:
        """Return how many tokens end in words that are marked, or in what stands between two of them."""
        marked = np.append(False, words)
        of_token = np.searchsorted(self.words.starts, self.encoding.ends, side="left")
        following = np.append(words, False)
        inside = np.append(np.inf, self.words.ends)[of_token] >= self.encoding.ends
        return int((marked[of_token] & (inside | following[of_token])).sum())

    def place(self, words: range) -> TextPlace:
        """Return where words stand."""
        if words.start >= len(self.words):
            return {"word": words.start, "words": len(words), "line": self.lines}
        line = bisect_right(self._line_ends, int(self.words.starts[words.start]) - 1) + 1
        return {"word": words.start, "words": len(words), "line": line}


def _name(document: Document) -> str:
    """Return how reports call a work: by the id of its record, or by its file."""
    return document.id if document.id != document.source else PurePath(document.source).name


def read_works(
    text: Listed, heldout: Listed, tokenizer: Tokenizer, text_field: TextField
) -> tuple[list[Work], Summary, Summary]:
    """Return the works in question and the control works after them, with what was read of either.

    Args:
        text: Every file is one work, of JSON lines every record.
        heldout: Works that the model cannot have seen.
        tokenizer: Of the model.
        text_field: Of records.

    Raises:
        InputError: A file cannot be read, or a work is named twice, on one side or on both.
    """
    works: list[Work] = []
    summaries: list[Summary] = []
    for control, specs in enumerate((text, heldout)):
        if control and not specs:
            summaries.append({"specs": [], "files": [], "documents": 0, "empty": 0, "units": "none", "domains": {}})
            continue
        corpus = read_corpus(specs, text_field=text_field, split="file")
        documents = list(corpus)
        encodings = tokenizer.encode_batch([document.text for document in documents])
        for document, encoding in zip(documents, encodings, strict=True):
            name = _name(document)
            if any(work.name == name for work in works):
                name = document.source
            works.append(Work(name, document.source, bool(control), document.text, encoding))
        summaries.append(corpus.summary())
    refuse_same_texts((work.sha256, work.control, work.source) for work in works)
    return works, summaries[0], summaries[1]
