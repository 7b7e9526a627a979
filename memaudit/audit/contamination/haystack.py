"""What is searched: the files of a corpus, streamed, or the shards of an index; each is one unit of work."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from memaudit.errors import InputError
from memaudit.inputs import Stamp, changed, current, digest_of, stamp_of
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.read import EMPTY_FILE, Corpus, FileDigest, Split, Summary, read_corpus
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.stream import scan_source, scan_words
from memaudit.text.specs import CorpusFile, Source
from memaudit.text.split import Cut


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How the records of a corpus are read."""

    text_field: str = "text"
    split: Split = "auto"
    skip_bad: bool = False
    max_expand: int | None = None


class Haystack(Protocol):
    """A corpus in units that can be searched apart, by any process, in any order."""

    units: list[str]
    """Names, in the order of the plan."""

    def describe(self) -> dict[str, Any]:
        """Return what a plan says of it: enough to tell it from another, known before it is read."""
        ...

    def files(self) -> list[str]:
        """Return the paths of what it was made of, as far as it is files."""
        ...

    def scan(self, unit: int, patterns: Patterns) -> Scan:
        """Search one unit."""
        ...

    def sha256(self, unit: int) -> str | None:
        """Return the digest of a unit as it is now; None where it cannot have changed or cannot be told."""
        ...

    def note(self, unit: int, read: Sequence[FileDigest]) -> None:
        """Add what was read of a unit, by any process, to the inputs of the run."""
        ...


def open_haystack(corpus: Sequence[str], index: str | Path | None, options: CorpusOptions) -> Haystack:
    """Look every name up; nothing is read yet.

    Raises:
        InputError: Neither corpus nor index was given, or both, or one that is not there.
    """
    if bool(corpus) == (index is not None):
        problem = "both --corpus and --index were given" if corpus else "nothing to search"
        raise InputError(problem, "name a corpus to stream with --corpus, or an index of one with --index")
    if index is not None:
        return IndexHaystack(Path(index))
    return FileHaystack(corpus, options)


class FileHaystack:
    """The files of a corpus, in the order of their names whatever order they were given in."""

    def __init__(self, specs: Sequence[str], options: CorpusOptions) -> None:
        self._specs = sorted(specs)
        self._options = options
        corpus = read_corpus(
            self._specs,
            text_field=options.text_field,
            # A block of a text file may cut an item in two: what is searched is whole unless asked otherwise.
            split="file" if options.split == "auto" else options.split,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )
        self._files = sorted(_files(corpus), key=lambda file: str(file.source))
        self.units = [str(file.source) for file in self._files]
        self._read_as = corpus.read_as()

    def describe(self) -> dict[str, Any]:
        """Return the specs, and of every file its name, its size and the spec that stands for it.

        Also what a file is read as, where its name stands for another format.
        """
        units = [[str(file.source), file.stamp and file.stamp.size, file.spec] for file in self._files]
        about = {"specs": self._specs, "units": units, "index": None}
        return about | ({"read_as": self._read_as} if self._read_as else {})

    def files(self) -> list[str]:
        """Return the files of the corpus."""
        return [file.source.name for file in self._files if isinstance(file.source, CorpusFile)]

    def scan(self, unit: int, patterns: Patterns) -> Scan:
        """Stream one file; one of records that holds none is refused: a download that failed looks like that."""
        file, options = self._files[unit], self._options
        scan = scan_source(
            file.source,
            patterns,
            text_field=options.text_field,
            cut=file.cut,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )
        records = isinstance(file.source, CorpusFile) and file.source.format != "text"
        if records and not (scan.documents or scan.rejected):
            raise InputError(f"no records in {file.source.name}", EMPTY_FILE)
        return scan

    def sha256(self, unit: int) -> str | None:
        """Return the digest of a file."""
        file = self._files[unit]
        return digest_of(_path(file.source)) if file.stamp and file.stamp.regular else None

    def note(self, unit: int, read: Sequence[FileDigest]) -> None:
        """Hold a file to the size that the plan says and to the digest of what was read, until the run ends."""
        file = self._files[unit]
        if file.stamp and file.stamp.regular:
            if read[0]["bytes"] != file.stamp.size:
                raise changed(self.units[unit])
            current().add(_path(file.source), read[0]["sha256"], file.stamp)


class IndexHaystack:
    """The shards of an index."""

    def __init__(self, folder: Path) -> None:
        self._index = CorpusIndex.open(folder)
        if self._index.unit != "word":
            hint = "build one with --unit word, or stream the corpus with --corpus"
            raise InputError(f"{folder}: an index of {self._index.unit}s", hint)
        self._folder = folder
        self.units = [f"{folder}#{number}" for number in range(len(self._index.shards))]

    def describe(self) -> dict[str, Any]:
        """Return the folder, and the digest of the index."""
        units = [[name, None, str(self._folder)] for name in self.units]
        return {"specs": [], "units": units, "index": {"path": str(self._folder), "sha256": self._index.sha256}}

    def files(self) -> list[str]:
        """Return the files that were indexed, wherever they still lie."""
        return [file["path"] for file in self._index.manifest["corpus"]["files"]]

    def scan(self, unit: int, patterns: Patterns) -> Scan:
        """Go over the words of one shard, once its files are known to be what was written."""
        self._index.verify(unit)
        blocks = self._index.word_hashes([unit])
        scans = [scan_words(b.hashes, b.offsets, patterns, b.text_of, b.source_of) for b in blocks]
        scan = Scan.joined(scans, patterns)
        return self._with_reading(scan) if unit == 0 else scan

    def sha256(self, unit: int) -> str | None:
        """Return nothing: the digest of the whole index stands in the plan."""

    def note(self, unit: int, read: Sequence[FileDigest]) -> None:
        """Do nothing: the files of the index are among the inputs since it was opened."""

    def _with_reading(self, scan: Scan) -> Scan:
        """Add what was counted when the corpus was indexed: a record skipped then is not searched now."""
        read: Summary = self._index.manifest["corpus"]
        return dataclasses.replace(
            scan,
            files=sorted(read["files"], key=lambda file: file["path"]),
            empty=read["empty"],
            rejected=read.get("rejected", 0),
            first_rejected=read.get("first_rejected", []),
        )


def refuse_nothing(corpus: Mapping[str, Any], documents: Sequence[int]) -> None:
    """Refuse a corpus one of whose specs stands for no document at all.

    Args:
        corpus: What a plan says of it.
        documents: Documents of every unit.
    """
    found: Counter[str] = Counter()
    for (_, _, spec), count in zip(corpus["units"], documents, strict=True):
        found[spec] += count
    for spec, count in found.items():
        if not count:
            raise InputError(f"no records in {spec}", EMPTY_FILE)


@dataclass(frozen=True, slots=True)
class _File:
    source: Source
    cut: Cut
    spec: str
    stamp: Stamp | None
    """Before anything of it was read; None for what is no file."""


def _files(corpus: Corpus) -> list[_File]:
    return [
        _File(source, corpus.splits[part.domain], part.spec, stamp_of(_path(source)))
        for part in corpus.parts
        for source in part.sources
    ]


def _path(source: Source) -> str:
    return source.path if isinstance(source, CorpusFile) else str(source)
