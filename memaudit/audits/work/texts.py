"""Works as they are read: text, token ids, and where every token stands among lines, words and parts."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.documents import refuse_same_texts
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.parts import Heading, parts_of
from memaudit.records import Document, TokenIds, Window
from memaudit.runs.parts import Summary
from memaudit.runs.work_report import Place
from memaudit.text.corpus.objects import Listed
from memaudit.text.corpus.read import Corpus, read_corpus
from memaudit.text.tokenize import Encoding, Tokenizer

Places = NDArray[np.int64]
_WORD = re.compile(r"\S+")
_ENDINGS = (".gz", ".zst", ".txt", ".text", ".md", ".jsonl", ".json")


@dataclass(frozen=True, eq=False)
class WholeWork:
    """One work, in the tokens of a model."""

    number: int
    """Its place among the works of the run."""
    name: str
    """How reports call it; no other work of the run has this name."""
    document: Document
    control: bool
    encoding: Encoding
    options: WorkOptions
    unknown: int | None
    """The token that stands for all text outside the vocabulary."""
    headings: list[Heading] = field(default_factory=list)
    """Where its parts begin, in order; the first is its first token."""

    @property
    def ids(self) -> TokenIds:
        """Its tokens."""
        return self.encoding.ids

    @cached_property
    def sha256(self) -> str:
        """Of its text."""
        return hashlib.sha256(self.document.text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def windows(self) -> int:
        """How many there are: one every ``stride`` tokens, as long as a whole one fits."""
        return max(0, (len(self.ids) - self.options.window) // self.options.stride + 1)

    def suffix_start(self, window: int) -> int:
        """Return the first token of the suffix of a window."""
        return window * self.options.stride + self.options.prefix

    @property
    def coverable(self) -> int:
        """Tokens that stand in the suffix of any window: not the first ones, nor those behind the last window."""
        return self.suffix_start(self.windows - 1) + self.options.suffix - self.options.prefix if self.windows else 0

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which windows have a suffix without an unknown token, shape [windows]: others are never given back."""
        missing = np.concatenate([[0], np.cumsum(self.ids == -1 if self.unknown is None else self.ids == self.unknown)])
        firsts = self.options.prefix + self.options.stride * np.arange(self.windows)
        alike: NDArray[np.bool_] = missing[firsts + self.options.suffix] == missing[firsts]
        return alike

    def text(self, first: int, stop: int) -> str:
        """Return the text of tokens ``first:stop``."""
        if stop <= first:
            return ""
        return self.document.text[int(self.encoding.starts[first]) : int(self.encoding.ends[stop - 1])]

    def window(self, number: int, suffix: int | None = None, *, texts: bool = False) -> Window:
        """Return a window, whose suffix may be cut to its first tokens, with its texts where they are shown."""
        first = self.suffix_start(number)
        stop = first + (self.options.suffix if suffix is None else suffix)
        return self.cut(first - self.options.prefix, first, stop, texts=texts)

    def cut(self, start: int, first: int, stop: int, *, texts: bool = False) -> Window:
        """Return what the model is given (``start:first``) and what it must give back (``first:stop``)."""
        return Window(
            prefix=self.ids[start:first],
            suffix=self.ids[first:stop],
            document=self.name,
            source=self._source(first) if texts else self.document.source,
            start=start,
            member=not self.control,
            domain=self.document.domain,
            copies=self.document.copies,
            prefix_text=self.text(start, first) if texts else "",
            suffix_text=self.text(first, stop) if texts else "",
        )

    def _source(self, token: int) -> str:
        """Return where a token stands: file and line of a work that is a whole file."""
        source = self.document.source
        return f"{source}:{self.line_of(token)}" if self.document.id == source else source

    @cached_property
    def _lines(self) -> Places:
        return np.array([match.start() for match in re.finditer("\n", self.document.text)], np.int64)

    @cached_property
    def _words(self) -> Places:
        return np.array([match.start() for match in _WORD.finditer(self.document.text)], np.int64)

    @property
    def lines(self) -> int:
        """Lines of its text."""
        return len(self._lines) + (not self.document.text.endswith("\n"))

    @property
    def words(self) -> int:
        """Runs of characters without white space."""
        return len(self._words)

    def line_of(self, token: int) -> int:
        """Return the line of a token's first character that is no white space, from 1."""
        return int(np.searchsorted(self._lines, self._first_character(token))) + 1

    def word_of(self, token: int) -> int:
        """Return the word that a token begins in, or the next one, from 0."""
        return max(0, int(np.searchsorted(self._words, self._first_character(token), side="right")) - 1)

    def words_in(self, first: int, stop: int) -> int:
        """Return how many words lie in tokens ``first:stop``, those at the edges that lie there in part included."""
        if not self.text(first, stop).strip():
            return 0
        end = int(self.encoding.ends[stop - 1])
        return int(np.searchsorted(self._words, end)) - self.word_of(first)

    def part_of(self, token: int) -> int:
        """Return the part that a token lies in."""
        return max(0, int(np.searchsorted([h.token for h in self.headings], token, side="right")) - 1)

    def place(self, first: int, stop: int) -> Place:
        """Return where tokens ``first:stop`` stand."""
        return {
            "token": first,
            "tokens": stop - first,
            "part": self.part_of(first),
            "line": self.line_of(first),
            "word": self.word_of(first),
            "words": self.words_in(first, stop),
        }

    def _first_character(self, token: int) -> int:
        start, text = int(self.encoding.starts[token]), self.document.text
        while start < len(text) - 1 and text[start].isspace():
            start += 1
        return start


def read_works(
    texts: Listed, heldout: Listed, tokenizer: Tokenizer, options: WorkOptions, max_expand: int | None = None
) -> tuple[list[WholeWork], Summary, Summary | None]:
    """Read all works, those in question first, each as one document.

    Returns:
        The works, and what was read of those in question and of the control works, if there are any.

    Raises:
        InputError: A file cannot be read, or a work is its own control.
    """
    sides: list[Corpus] = [
        read_corpus(specs, split="file", max_expand=max_expand) for specs in (texts, heldout) if specs
    ]
    documents = [(document, bool(side)) for side, corpus in enumerate(sides) for document in corpus]
    called = Counter(_name(document) for document, _ in documents)
    works: list[WholeWork] = []
    for document, control in documents:
        [encoding] = tokenizer.encode_batch([document.text])
        name = _name(document)
        name = name if called[name] == 1 else document.source
        works.append(WholeWork(len(works), name, document, control, encoding, options, tokenizer.unknown_id))
        works[-1].headings.extend(parts_of(document.text, encoding, options.parts))
    refuse_same_texts((work.sha256, work.control, work.document.source) for work in works)
    return works, sides[0].summary(), sides[1].summary() if len(sides) > 1 else None


def _name(document: Document) -> str:
    """Return the id of a record, or the name of a file."""
    if document.id != document.source:
        return document.id
    name = PurePath(document.source).name
    while name.lower().endswith(_ENDINGS):
        name = name[: name.rindex(".")]
    return name or document.source
