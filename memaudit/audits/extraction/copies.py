"""How often spans stand in the training text: what the model was asked for, and what it said instead.

Spans are found by their normalised words in an index of the training text. A span is cut where tokens end,
which may be inside a word: only words that lie whole inside it are looked for.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.records import MAX_COMPARED, MAX_NAMED, Document, WindowRecord
from memaudit.runs.plans import CopiesDescription, IndexDescription
from memaudit.text.index.corpus_index import CorpusIndex, positions_in
from memaudit.text.words.words import words_of

MIN_WORDS = 8
"""Whole words that a continuation needs to be looked for: shorter ones stand anywhere."""
MAX_INDEXED = 10**9
"""Characters of training text that are indexed in memory, at up to 16 bytes a word and the text itself."""
NEIGHBOURHOOD = 64
"""Characters before a span that say whether it begins inside a word."""

_CUT = re.compile(
    r"(?:&(?:amp;)?#?\w*|</?(?:\w[^<>]{0,255})?|(?=%)(?:%[0-9A-F]{2}){0,3}(?:%[0-9A-F]?)?|\\[ux]?[0-9A-F]*|-\s*)$",
    re.ASCII | re.IGNORECASE,
)
"""What may begin an escape, a tag or the break of a word that continues behind the text."""

Keys = NDArray[np.uint64]


class Measured:
    """Documents that are counted in characters while they are read."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = documents
        self.characters = 0

    def __iter__(self) -> Iterator[Document]:
        self.characters = 0
        for document in self._documents:
            self.characters += len(document.text)
            yield document


class Span(NamedTuple):
    """A piece of text by its whole words."""

    text: str
    keys: Keys
    """Hashes of the words that lie whole in it, shape [words]."""

    @property
    def identity(self) -> tuple[str, bytes]:
        """What makes two spans the same."""
        return self.text, self.keys.tobytes()


def plan_copies(wanted: bool, index: CorpusIndex | None, characters: int, specs: Sequence[str]) -> CopiesDescription:
    """Return what a plan says about copies: whether they are counted, in which index, or why not.

    Args:
        wanted: Whether they were asked for.
        index: The index that was given; None for one of the training text, made in memory.
        characters: Size of the training text.
        specs: What it was read from.

    Raises:
        InputError: An index was given and is not to be used, or is not one of words.
    """
    if index is not None:
        if not wanted:
            raise InputError("an index and no copies to count in it", "leave out --index or --no-copies")
        if index.unit != "word":
            raise InputError(f"an index of {index.unit}s", "copies are counted in one of words: --unit word")
        known: IndexDescription = {"sha256": index.sha256, "documents": index.documents, "words": index.symbols}
        return {"counted": True, "reason": None, "index": known}
    reason = None
    if not wanted:
        reason = "not requested"
    elif characters > MAX_INDEXED:
        reason = (
            f"the training text has {characters:,} characters, too many to be indexed in memory; build an index with"
            f" 'memaudit index build {shlex.join(specs)} --out DIR' and give it as --index DIR"
        )
    return {"counted": reason is None, "reason": reason, "index": None}


class Holders(NamedTuple):
    """Where a span stands in the training text."""

    exact: int
    """Places, of the first `MAX_COMPARED`, that hold it character for character."""
    documents: list[tuple[str, str]]
    """Source and id of the first documents that hold it, one more than are named: a window's own is left out."""


def count_copies(records: Sequence[WindowRecord], index: CorpusIndex) -> list[WindowRecord]:
    """Return the records of a block with their copies and the places of other continuations filled in."""
    suffixes = [whole_words(record, record.suffix_text) for record in records]
    said = [_other_words(record, suffix) for record, suffix in zip(records, suffixes, strict=True)]
    normalised, elsewhere = _counts(index, suffixes), _counts(index, said)
    # Boilerplate gives the same span many times, and each time would be compared with all of its places.
    distinct = {span.identity: span for span in (*suffixes, *said) if len(span.keys)}
    held = {same: _holders(index, span) for same, span in distinct.items()}
    truths, others = ([held.get(span.identity) for span in side] for side in (suffixes, said))
    return list(map(_filled, records, truths, normalised, others, elsewhere))


def _filled(
    record: WindowRecord, truth: Holders | None, normalised: int, said: Holders | None, elsewhere: int
) -> WindowRecord:
    return dataclasses.replace(
        record,
        copies_normalised=normalised if truth else None,
        copies_exact=truth.exact if truth else None,
        copies_in=_named(truth.documents, record, alone=record.member and normalised <= 1) if truth else None,
        elsewhere=elsewhere if said else None,
        elsewhere_in=_named(said.documents, record) if said else None,
    )


def whole_words(record: WindowRecord, text: str) -> Span:
    """Return a text that follows a window's prefix by the words that lie whole inside it.

    A word at its start is cut if the prefix ends in a letter, one at its end may be if a letter could follow, or if
    what it ends in may begin an escape, a tag or the break of a word.
    """
    before = record.prefix_text[-NEIGHBOURHOOD:] or ("a" if record.start else "")
    words = words_of(f"{before}{text}a")
    cut = _CUT.search(text)
    end = len(before) + (cut.start() - 1 if cut else len(text))
    inside = (words.starts >= len(before)) & (words.ends <= end)
    return Span(text, words.hashes[inside])


def _other_words(record: WindowRecord, suffix: Span) -> Span:
    """Return the words of a continuation that is not the suffix; none where there is no such, or it is short."""
    nothing = Span("", suffix.keys[:0])
    if record.continuation_text is None or record.given_up or record.continuation_text == record.suffix_text:
        return nothing
    # Behind a character that the last token cuts, nothing can be read.
    said = whole_words(record, record.continuation_text.rstrip("\ufffd"))
    same = np.array_equal(said.keys, suffix.keys)
    return nothing if same or len(said.keys) < MIN_WORDS else said


def _counts(index: CorpusIndex, spans: Sequence[Span]) -> list[int]:
    offsets = np.cumsum([0, *(len(span.keys) for span in spans)], dtype=np.int64)
    return [int(n) for n in index.count_keys(np.concatenate([span.keys for span in spans]), offsets)]


def _holders(index: CorpusIndex, span: Span) -> Holders:
    """Look at the places of a span, the first `MAX_COMPARED` in the order of the corpus."""
    exact, left = 0, MAX_COMPARED
    holding, alike = list[tuple[str, str]](), list[tuple[str, str]]()
    for shard in index.shards:
        places = positions_in(shard, span.keys)[:left]
        left -= len(places)
        for document, count in zip(*np.unique(shard.document_at(places), return_counts=True), strict=True):
            same = min(int(count), _occurrences(shard.texts[int(document)], span.text))
            exact += same
            names = holding if same else alike
            if len(names) <= MAX_NAMED:
                names.append(shard.source(int(document)))
    return Holders(exact, [*holding, *alike][: MAX_NAMED + 1])


def _named(documents: Iterable[tuple[str, str]], record: WindowRecord, *, alone: bool = False) -> list[str]:
    """Return what to call documents but the window's own, which an index may know by another name.

    Args:
        documents: Source and id of each.
        record: The window.
        alone: Whether they can be no other than its own.
    """
    own = record.source, record.document
    others = [place for place in documents if place != own and not alone]
    return [source if name == source else f"{name} ({source})" for source, name in others][:MAX_NAMED]


def _occurrences(text: str, span: str) -> int:
    """Count the places where a span stands, also those that overlap."""
    count, at = 0, text.find(span)
    while at >= 0:
        count, at = count + 1, text.find(span, at + 1)
    return count
