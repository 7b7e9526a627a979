"""The one pass: documents of a file, of an index or in memory, searched for all needles at once."""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import groupby, pairwise
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.rows import located
from memaudit.text.corpus.specs import Source
from memaudit.text.corpus.split import Cut
from memaudit.text.scan.batch import BATCH, BatchReader
from memaudit.text.scan.kernel import scan_documents
from memaudit.text.scan.matching import Match, Matcher, Sighting
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.result import Scan, keep_strongest, natural_key
from memaudit.text.scan.scripts import SCRIPTS, count_scripts
from memaudit.text.scan.tally import KEPT, new_tally
from memaudit.text.words.blocks import read_only
from memaudit.text.words.words import cut_places, encode_texts, hash_words, spans_of

TextOf = Callable[[int], str]

HUGE = 1 << 20
"""Characters above which a document is not cut into words whole."""


def scan_source(
    source: Source,
    patterns: Patterns,
    *,
    text_field: TextField = "text",
    cut: Cut = "file",
    max_expand: int | None = None,
    skip_bad: bool = False,
) -> Scan:
    """Search one file of a corpus; memory does not grow with it.

    Args:
        source: A file or a data set of the hub, as `parse_spec` gives it.
        patterns: What to search for.
        text_field: Field that holds the text of a record, or several.
        cut: How a text file is cut into documents.
        max_expand: Bytes that a compressed file may give; None: 64 MiB, beyond that 200 times its size.
        skip_bad: Count records that cannot be used instead of raising at the first.

    Raises:
        InputError: The file cannot be read, or a record of it (``file:line: what``).
    """
    reader = BatchReader(source, cut, text_field=text_field, max_expand=max_expand, skip_bad=skip_bad)
    scanner = _Scanner(patterns)
    name = str(source)
    for batch in reader:
        scanner.read(batch.data, batch.offsets, batch.text, partial(_source, name, batch.places))
    return dataclasses.replace(
        scanner.result(),
        empty=reader.empty,
        rejected=reader.rejected,
        first_rejected=reader.first_rejected,
        files=[reader.digest] if reader.digest else [],
    )


def scan_texts(texts: Sequence[str], patterns: Patterns, names: Sequence[str]) -> Scan:
    """Search documents in memory; one without text is counted as empty.

    Args:
        texts: The documents.
        patterns: What to search for.
        names: Source of each, by which they are ordered too.
    """
    scanner = _Scanner(patterns)
    order = sorted(range(len(texts)), key=lambda i: (natural_key(names[i]), names[i]))
    order = [i for i in order if texts[i] and not texts[i].isspace()]
    for batch in _in_batches(order, lambda i: len(texts[i])):
        chosen, sources = [texts[i] for i in batch], [names[i] for i in batch]
        scanner.read(*encode_texts(chosen), chosen.__getitem__, sources.__getitem__)
    return dataclasses.replace(scanner.result(), empty=len(texts) - len(order))


def scan_words(
    hashes: NDArray[np.uint64],
    word_offsets: NDArray[np.int64],
    patterns: Patterns,
    text_of: TextOf,
    source_of: TextOf,
) -> Scan:
    """Search documents whose words are known already, such as those of an index.

    Args:
        hashes: Words of all documents, one after the other.
        word_offsets: Shape [documents + 1]: first word of each document.
        patterns: What to search for.
        text_of: The text of a document; asked for each, for one rule goes by characters.
        source_of: File and place of a document; those of one file must follow each other, in their order.
    """
    scanner = _Scanner(patterns)
    documents = len(word_offsets) - 1
    for first, last in _files(documents, source_of):
        scanner.next_file()
        for batch in _in_batches(range(first, last), lambda i: int(word_offsets[i + 1] - word_offsets[i])):
            texts = [text_of(i) for i in batch]
            offsets = word_offsets[batch[0] : batch[-1] + 2]
            words = hashes[offsets[0] : offsets[-1]]
            sources = partial(_later, source_of, batch[0])
            scanner.read_words(words, offsets - offsets[0], texts.__getitem__, sources)
            scanner.read_bytes(*encode_texts(texts))
    return scanner.result()


class _Scanner:
    """Adds batches of documents of one file, in their order, to a tally."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._tally = new_tally(patterns.tables)
        self._substrings = np.zeros(len(patterns.substrings.pieces), np.bool_)
        self._scripts = np.zeros(len(SCRIPTS), np.int64)
        self._documents = self._words = self._bytes = 0
        self._matcher = Matcher(patterns)
        self._matches: list[Match] = []
        self._reduced = 0
        """How many of them were left when those that no merge would keep were dropped last."""
        self._copies = Counter[int]()
        """Whole copies of each needle in the file at hand."""
        self._best: dict[int, tuple[float, ...]] = {}
        """Strongest match of each needle in the file at hand."""

    def next_file(self) -> None:
        """Begin a file: its first documents may be wanted again, wherever its name stands in the order."""
        self._copies.clear()
        self._best.clear()
        self._tally.settled[:] = False

    def read(self, data: NDArray[np.uint8], offsets: NDArray[np.int64], text_of: TextOf, source_of: TextOf) -> None:
        """Add documents given as UTF-8, end to end."""
        self.read_words(*hash_words(data, offsets), text_of, source_of)
        self.read_bytes(data, offsets)

    def read_words(
        self, hashes: NDArray[np.uint64], offsets: NDArray[np.int64], text_of: TextOf, source_of: TextOf
    ) -> None:
        """Add what words alone determine."""
        self._documents += len(offsets) - 1
        self._words += int(offsets[-1] - offsets[0])
        keys, bounds = read_only(hashes, np.uint64), read_only(offsets, np.int64)
        found = scan_documents(self._patterns.tables, self._tally, keys, bounds)
        for sightings in _sightings(found, keys, bounds, text_of, source_of):
            self._add(self._matcher.match_document(sightings, self._wanted))

    def _wanted(self, needle: int, found: bool, similarity: float, coverage: float) -> bool:
        """Return whether a match may be kept: it counts, or is the strongest of its needle so far."""
        strength = found, similarity, coverage
        if not found and strength <= self._best.get(needle, (False, -1.0, 0.0)):
            return False
        self._best[needle] = max(strength, self._best.get(needle, strength))
        return True

    def _add(self, matches: list[Match]) -> None:
        """Keep the matches of a document; once ten of a file hold a needle whole, its others are not wanted."""
        self._matches += matches
        for needle in {m.candidate.needle for m in matches if m.found and m.kind == "raw"}:
            self._copies[needle] += 1
            self._tally.settled[needle] = self._copies[needle] >= KEPT
        if len(self._matches) > 2 * self._reduced + 1000:
            self._matches = keep_strongest(self._matches)
            self._reduced = len(self._matches)

    def read_bytes(self, data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        """Add what only the characters determine."""
        self._bytes += int(offsets[-1] - offsets[0])
        self._scripts += count_scripts(data, offsets)
        self._patterns.substrings.find(data, offsets, self._substrings)

    def result(self) -> Scan:
        """Return what was found so far."""
        tally, tables = self._tally, self._patterns.tables
        grams = np.split(tally.gram_documents, tables.gram_bases[1:-1])
        return Scan(
            patterns=self._patterns.digest,
            documents=self._documents,
            words=self._words,
            bytes_=self._bytes,
            seed_documents=tally.seed_documents,
            gram_documents=dict(zip(tables.lengths.tolist(), grams, strict=True)),
            longest=tally.longest,
            covered=tally.covered,
            substrings=self._substrings,
            scripts=self._scripts,
            matches=keep_strongest(self._matches),
        )


def _source(name: str, places: NDArray[np.int64] | list[str], document: int) -> str:
    return located(name, str(places[document]))


def _later(source_of: TextOf, first: int, document: int) -> str:
    return source_of(first + document)


def _sightings(
    found: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    offsets: NDArray[np.int64],
    text_of: TextOf,
    source_of: TextOf,
) -> Iterator[list[Sighting]]:
    """Read what the kernel wrote, document by document; one is cut into words once, and only if somebody asks."""
    for document, group in groupby(_records(found), key=itemgetter(1)):
        records = list(group)
        excerpts = cache(
            partial(_excerpts, text_of, document, tuple((first, last) for _, _, first, last, _ in records))
        )
        words, source = hashes[offsets[document] : offsets[document + 1]], source_of(document)
        yield [
            Sighting(needle, source, seeds, words[first:last], partial(_nth, excerpts, place))
            for place, (needle, _, first, last, seeds) in enumerate(records)
        ]


def _excerpts(text_of: TextOf, document: int, runs: Sequence[tuple[int, int]]) -> list[tuple[int, str]]:
    text = text_of(document)
    return [(start, text[start:end]) for start, end in _spans(text, runs)]


def _nth(excerpts: Callable[[], list[tuple[int, str]]], place: int) -> tuple[int, str]:
    return excerpts()[place]


def _spans(text: str, runs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return as `spans_of`; of a huge text, only the pieces that the runs begin and end in are cut into words."""
    cuts = cut_places(text, HUGE // 2)
    if len(cuts) == 1:
        return spans_of(text, runs)
    pieces = [text[start:end] for start, end in pairwise([*cuts, len(text)])]
    first_words = hash_words(*encode_texts(pieces))[1].tolist()

    def span(word: int) -> tuple[int, int]:
        piece = bisect_right(first_words, word) - 1
        place = word - first_words[piece]
        start, end = spans_of(pieces[piece], [(place, place + 1)])[0]
        return cuts[piece] + start, cuts[piece] + end

    return [(span(first)[0], span(last - 1)[1]) for first, last in runs]


def _records(found: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int, list[int]]]:
    numbers, at = found.tolist(), 0
    while at < len(numbers):
        needle, document, first, last, count = numbers[at : at + 5]
        yield needle, document, first, last, numbers[at + 5 : at + 5 + count]
        at += 5 + count


def _in_batches(items: Iterable[int], size_of: Callable[[int], int]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _files(documents: int, source_of: TextOf) -> Iterator[tuple[int, int]]:
    """Yield the first and last document (exclusive) of each file; few sources are looked up."""
    first = 0
    while first < documents:
        name = _file_of(source_of(first))
        step = 1
        while first + step < documents and _file_of(source_of(first + step)) == name:
            step *= 2
        known, unknown = first + step // 2, min(first + step, documents)
        last = bisect_left(range(known + 1, unknown), True, key=lambda i: _file_of(source_of(i)) != name) + known + 1
        yield first, last
        first = last


def _file_of(source: str) -> str:
    return re.sub(r"(:[0-9]+)*$|\[[0-9]+\]$", "", source)
