"""An index of a corpus: how often a text occurs in it, where, what matches longest, and what follows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.corpus.fields import TextField, names_of
from memaudit.text.corpus.objects import TextSource, listed
from memaudit.text.corpus.read import Split, read_corpus
from memaudit.text.index import manifest as manifests
from memaudit.text.index.build import write_index
from memaudit.text.index.search import DAMAGED, find, longest_matches, next_symbols
from memaudit.text.index.shard import AGAIN, END, MAX_SYMBOLS, Int32Array, Int64Array, Shard, ShardBuilder, open_shard
from memaudit.text.index.units import Keys, Spans, Unit, UnitName, unit_of
from memaudit.text.tokenize import Tokenizer
from memaudit.text.words.words import encode_texts, hash_words

SPANS_KEPT = 16
"""Documents whose symbols' places in the text are remembered: they are found by reading the document again."""
BLOCK = 1 << 22
"""Symbols of the documents that are handed out at once; a longer document comes alone."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One place of a corpus."""

    source: str
    """``file:line`` of the document."""
    document: str
    """Its id."""
    start: int
    """First character, in the document as it was read."""
    end: int
    """The character after the last."""
    domain: str | None = None
    shard: int = 0
    index: int = 0
    """Number of the document in its shard."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a sequence of symbols occurs."""

    count: int
    documents: int
    """Documents that hold it."""
    occurrences: list[Occurrence]
    """The first of them, in the order of the corpus."""


@dataclass(frozen=True, slots=True, eq=False)
class WordBlock:
    """The words of some documents of a shard."""

    hashes: NDArray[np.uint64]
    offsets: Int64Array
    """Words of document ``i`` are ``hashes[offsets[i]:offsets[i + 1]]``; shape [documents + 1]."""
    text_of: Callable[[int], str]
    source_of: Callable[[int], str]


class CorpusIndex:
    """Suffix arrays over the symbols of a corpus, in shards whose answers are added up.

    Attributes:
        shards: They hold the documents in the order of the corpus.
        manifest: What the index is of; see `memaudit.text.index.manifest`.
        sha256: Of the manifest, which holds the digests of all files: the identity of the index.
        folder: Where it lies; None if it was made in memory.
    """

    def __init__(
        self, shards: Sequence[Shard], unit: Unit, manifest: Mapping[str, Any], sha256: str, folder: Path | None
    ) -> None:
        self.shards = list(shards)
        self.manifest = manifest
        self.sha256 = sha256
        self.folder = folder
        self._unit = unit
        self._spans: OrderedDict[tuple[int, int], Spans] = OrderedDict()

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open the index in a folder; its files are mapped, not read.

        Raises:
            InputError: There is no finished index, or one of another version, or files are missing or cut off.
        """
        folder = Path(folder)
        found, data = manifests.read(folder)
        tokenizer = manifests.stored_tokenizer(folder, found)
        unit = unit_of(found["unit"], tokenizer)
        manifests.refuse_other_rule(folder, found, unit)
        folders = [folder / manifests.shard_name(number) for number in range(len(found["shards"]))]
        manifests.check_sizes(folder, found)
        manifests.note_files(folder, found)
        shards = [open_shard(path) for path in folders]
        for path, shard in zip(folders, shards, strict=True):
            if not -1 <= shard.domains.min(initial=-1) <= shard.domains.max(initial=-1) < len(found["domains"]):
                raise InputError(f"{path}: holds domains that the manifest does not name", AGAIN)
        return cls(shards, unit, found, hashlib.sha256(data).hexdigest(), folder)

    @classmethod
    def of_documents(
        cls, documents: Iterable[Document], unit: str = "word", tokenizer: Tokenizer | None = None
    ) -> Self:
        """Index documents in memory, as one shard.

        Args:
            documents: In the order of the corpus.
            unit: ``word``, ``token`` or ``byte``.
            tokenizer: For tokens.
        """
        rule = unit_of(unit, tokenizer)
        builder = ShardBuilder(None, by_vocabulary=rule.name == "word")
        domains: dict[str, int] = {}
        for document in documents:
            number = -1 if document.domain is None else domains.setdefault(document.domain, len(domains))
            builder.add(document, rule.keys([document.text])[0], number)
        shard = builder.finish()
        about = {"unit": rule.name, "rule": rule.version, "domains": list(domains), "corpus": None}
        return cls([shard], rule, about, "", None)

    @property
    def unit(self) -> UnitName:
        """What a symbol is: ``word``, ``token`` or ``byte``."""
        return self._unit.name

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of an index of tokens."""
        tokenizer: Tokenizer | None = getattr(self._unit, "tokenizer", None)
        return tokenizer

    @property
    def symbols(self) -> int:
        """Symbols of all documents, without what separates them."""
        return sum(shard.size for shard in self.shards)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return sum(map(len, self.shards))

    def verify(self, shard: int | None = None) -> None:
        """Read every file, or those of one shard, and compare it with its SHA-256.

        Raises:
            InputError: If one differs.
        """
        if self.folder is not None:
            for number in range(len(self.shards)) if shard is None else [shard]:
                manifests.check_digests(self.folder, self.manifest, number)

    def keys(self, text: str) -> Keys:
        """Return the symbols of a text as all shards share them: see `memaudit.text.index.units`."""
        return self._unit.keys([text])[0]

    def spans(self, text: str) -> Spans:
        """Return which characters of a text each of its symbols covers."""
        return self._unit.spans(text)

    def encode(self, text: str) -> list[Int32Array]:
        """Return the symbols of a text in each shard; -1 for what a shard does not hold."""
        keys = self.keys(text)
        return [shard.symbols_of(keys) for shard in self.shards]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return how often each text occurs in the corpus; 0 for one without a symbol."""
        keys, offsets = self._unit.keys(texts)
        return [int(count) for count in self.count_keys(keys, offsets)]

    def count_keys(self, keys: Keys, offsets: Int64Array) -> Int64Array:
        """Return how often sequences of symbols occur in the corpus.

        Args:
            keys: The sequences end to end.
            offsets: Sequence ``i`` is ``keys[offsets[i]:offsets[i + 1]]``; shape [sequences + 1].

        Returns:
            Counts, shape [sequences]; 0 for an empty one.
        """
        counts = np.zeros(len(offsets) - 1, np.int64)
        for shard in self.shards:
            ranges = find(shard.symbols, shard.suffixes, shard.buckets, shard.symbols_of(keys), offsets)
            counts += ranges[:, 1] - ranges[:, 0]
        return np.where(np.diff(offsets) > 0, counts, 0)

    def locate(self, text: str, limit: int = 10) -> list[Occurrence]:
        """Return where a text occurs: the first places in the order of the corpus."""
        return self.places(self.keys(text), limit).occurrences

    def places(self, keys: Keys, limit: int = 10, *, one_per_document: bool = False) -> Places:
        """Return where a sequence of symbols occurs.

        Args:
            keys: The sequence; an empty one occurs nowhere.
            limit: Most occurrences to return.
            one_per_document: Return only the first of every document.
        """
        count, documents = 0, 0
        found: list[Occurrence] = []
        for number, shard in enumerate(self.shards):
            positions = positions_in(shard, keys)
            holders, firsts = np.unique(shard.document_at(positions), return_index=True)
            count += len(positions)
            documents += len(holders)
            chosen = positions[firsts] if one_per_document else positions
            found += [self._occurrence(number, int(p), keys) for p in chosen[: limit - len(found)]]
        return Places(count, documents, found)

    def longest_matches(self, text: str) -> tuple[Int32Array, Int64Array]:
        """Return the longest match with the corpus at every symbol of a text.

        Returns:
            Its length and how often it occurs in the corpus, both of shape [symbols of the text]; 0 and 0 where
            not even the symbol itself is known.
        """
        return self.longest_matches_of_keys(self.keys(text))

    def longest_matches_of_keys(self, keys: Keys) -> tuple[Int32Array, Int64Array]:
        """Return the longest match at every symbol, as `longest_matches` does."""
        lengths, counts = np.zeros(len(keys), np.int32), np.zeros(len(keys), np.int64)
        for shard in self.shards:
            here, ranges = longest_matches(shard.symbols, shard.suffixes, shard.buckets, shard.symbols_of(keys))
            found = ranges[:, 1] - ranges[:, 0]
            counts = np.where(here > lengths, found, counts + np.where(here == lengths, found, 0))
            lengths = np.maximum(lengths, here)
        return lengths, counts

    def next_counts(self, context: Keys) -> tuple[int, Keys, Int64Array]:
        """Return what follows the longest end of a context that occurs in the corpus (infini-gram: Liu et al. 2024).

        Args:
            context: Symbols as `keys` gives them.

        Returns:
            Symbols of the context that were matched, the distinct keys that follow them in ascending order (0: the
            end of a document), and how often each does.
        """
        length = max((self._longest_end(shard, context) for shard in self.shards), default=0)
        totals: dict[int, int] = {}
        for shard in self.shards:
            symbols = shard.symbols_of(context[len(context) - length :])
            first, last = _range(shard, symbols)
            following, counts = next_symbols(shard.symbols, shard.suffixes, int(first), int(last), length)
            for key, count in zip(shard.keys_of(following).tolist(), counts.tolist(), strict=True):
                totals[key] = totals.get(key, 0) + count
        keys = np.array(sorted(totals), np.uint64)
        return length, keys, np.array([totals[key] for key in keys.tolist()], np.int64)

    def document_text(self, shard: int, document: int) -> str:
        """Return a document as it was read."""
        return self.shards[shard].texts[document]

    def source(self, shard: int, document: int) -> str:
        """Return ``file:line`` of a document."""
        return self.shards[shard].source(document)[0]

    def text_at(self, occurrence: Occurrence) -> str:
        """Return the text of an occurrence as it was read."""
        return self.document_text(occurrence.shard, occurrence.index)[occurrence.start : occurrence.end]

    def word_hashes(self, shards: Iterable[int] | None = None) -> Iterator[WordBlock]:
        """Yield the words of all documents, or those of some shards, block by block.

        An index of words has them at hand; any other reads the texts again.
        """
        for number in range(len(self.shards)) if shards is None else shards:
            shard = self.shards[number]
            first = 0
            while first < len(shard):
                last = int(np.searchsorted(shard.documents, shard.documents[first] + BLOCK, side="right")) - 1
                last = max(last, first + 1)
                yield self._word_block(number, first, last)
                first = last

    def _word_block(self, number: int, first: int, last: int) -> WordBlock:
        shard = self.shards[number]
        if self.unit == "word":
            symbols = shard.symbols[shard.documents[first] : shard.documents[last]]
            hashes = shard.keys_of(symbols[symbols != END])
            starts = shard.documents[first : last + 1] - np.arange(last - first + 1)
            offsets = starts - starts[0]
            if offsets[-1] != len(hashes):
                raise InputError(f"{shard.texts.name}: its documents have other words than the index", AGAIN)
        else:
            hashes, offsets = hash_words(*encode_texts([shard.texts[i] for i in range(first, last)]))
        return WordBlock(
            hashes,
            offsets,
            lambda i: self.document_text(number, first + i),
            lambda i: self.source(number, first + i),
        )

    def _longest_end(self, shard: Shard, context: Keys) -> int:
        """Return how many symbols at the end of a context occur somewhere in a shard."""
        symbols = shard.symbols_of(context)
        known, unknown = 0, len(context) + 1
        while unknown - known > 1:
            middle = (known + unknown) // 2
            first, last = _range(shard, symbols[len(context) - middle :])
            known, unknown = (middle, unknown) if first < last else (known, middle)
        return known

    def _occurrence(self, number: int, position: int, keys: Keys) -> Occurrence:
        shard = self.shards[number]
        document = int(shard.document_at(np.array([position]))[0])
        starts, ends = self._spans_of(number, document)
        first, last = position - int(shard.documents[document]), position + len(keys)
        whole = len(starts) == shard.documents[document + 1] - shard.documents[document] - 1
        if not (whole and np.array_equal(shard.keys_of(shard.symbols[position:last]), keys)):
            raise InputError(f"{shard.texts.name}: document {document} does not hold what the index says", AGAIN)
        source, identity = shard.source(document)
        domain = int(shard.domains[document])
        return Occurrence(
            source,
            identity,
            int(starts[first]),
            int(ends[first + len(keys) - 1]),
            None if domain < 0 else self.manifest["domains"][domain],
            number,
            document,
        )

    def _spans_of(self, number: int, document: int) -> Spans:
        if (number, document) not in self._spans:
            self._spans[number, document] = self.spans(self.document_text(number, document))
            if len(self._spans) > SPANS_KEPT:
                self._spans.popitem(last=False)
        return self._spans[number, document]


def positions_in(shard: Shard, keys: Keys) -> Int64Array:
    """Return where a sequence of symbols begins in the symbols of a shard, in order; nowhere if it is empty."""
    if not len(keys):
        return np.empty(0, np.int64)
    first, last = _range(shard, shard.symbols_of(keys))
    positions = np.sort(shard.suffixes[first:last]).astype(np.int64)
    if len(positions) and not 0 <= positions[0] <= positions[-1] < len(shard.symbols):
        raise InputError(DAMAGED, AGAIN)
    return positions


def _range(shard: Shard, symbols: Int32Array) -> Int64Array:
    offsets = np.array([0, len(symbols)], np.int64)
    bounds: Int64Array = find(shard.symbols, shard.suffixes, shard.buckets, symbols, offsets)[0]
    return bounds


def build_index(
    specs: TextSource,
    out: str | Path,
    *,
    unit: str = "word",
    tokenizer: Tokenizer | None = None,
    text_field: TextField = "text",
    split: Split = "auto",
    max_expand: int | None = None,
    skip_bad: bool = False,
    shard_symbols: int = MAX_SYMBOLS,
    log: Callable[[str], None] = lambda _: None,
) -> CorpusIndex:
    """Index a corpus in a folder, or open the index of the same corpus that lies there already.

    An interrupted build leaves no index: the next one starts anew.

    Args:
        specs: As `memaudit.text.corpus.read.read_corpus` takes them, and the options about reading likewise.
        out: Folder of the index; created when absent.
        unit: What a symbol is: ``word``, ``token`` or ``byte``.
        tokenizer: For tokens; it is stored beside the shards.
        text_field: Field or column that holds the text of a record, or several.
        split: How a text file is cut into documents.
        max_expand: Bytes that one compressed file may give.
        skip_bad: Count records that cannot be used instead of raising at the first.
        shard_symbols: Most symbols of a shard, one for the end of each document included; below 2^31.
        log: Called with a line for every finished shard.

    Raises:
        InputError: The corpus cannot be read; the folder holds another index or other files, or another
            process builds there; a document is longer than a shard.
    """
    told = text_field if isinstance(text_field, str) else list(names_of(text_field))
    corpus = read_corpus(
        listed(specs, "corpus"), text_field=text_field, split=split, max_expand=max_expand, skip_bad=skip_bad
    )
    options = {"text_field": told, "split": split, "skip_bad": skip_bad}
    write_index(corpus, Path(out), unit_of(unit, tokenizer), options, shard_symbols, log)
    return CorpusIndex.open(out)
