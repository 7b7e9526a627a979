"""What is searched: the files of a corpus, streamed, or the shards of an index; each is one unit of work."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from memaudit.errors import InputError
from memaudit.runs.inputs import Stamp, changed, current, digest_of, stamp_of
from memaudit.runs.parts import FileDigest, Summary
from memaudit.runs.plans import SearchedCorpus, SearchedIndex
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import HeldRows, Listed, specs_of
from memaudit.text.corpus.read import EMPTY_FILE, Corpus, Split, open_rows, read_corpus
from memaudit.text.corpus.specs import CorpusFile, Source
from memaudit.text.corpus.split import Cut
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.stream import scan_source, scan_words


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How the records of a corpus are read."""

    text_field: TextField = "text"
    split: Split = "auto"
    skip_bad: bool = False
    max_expand: int | None = None


class SearchTarget(Protocol):
    """A corpus in units that can be searched apart, by any process, in any order."""

    units: list[str]
    """Names, in the order of the plan."""

    def describe(self) -> SearchedCorpus:
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


def open_target(corpus: Listed, indices: Sequence[str | Path], options: CorpusOptions) -> SearchTarget:
    """Look every name up; nothing is read yet.

    Args:
        corpus: Specs of the files to stream; or else
        indices: Folders of indices of words, which add up.
        options: How records are read.

    Raises:
        InputError: Neither corpus nor index was given, or both, or one that is not there.
    """
    if bool(corpus) == bool(indices):
        problem = "both --corpus and --index were given" if corpus else "nothing to search"
        raise InputError(problem, "name a corpus to stream with --corpus, or an index of one with --index")
    if indices:
        target = IndexTarget([Path(index) for index in indices])
        _refuse_unread(options, target)
        return target
    return FileTarget(corpus, options)


def _refuse_unread(options: CorpusOptions, target: IndexTarget) -> None:
    """Refuse options that say how files are read, where an index was built of them in another way."""
    usual = CorpusOptions()
    for name in ("text_field", "split", "skip_bad", "max_expand"):
        asked = getattr(options, name)
        built = [options_of.get(name, getattr(usual, name)) for options_of in target.built_with()]
        if asked != getattr(usual, name) and any(_plain(asked) != _plain(value) for value in built):
            flag = f"--{name.replace('_', '-')}"
            problem = f"{flag} sets how files are read, which an index has fixed ({flag} {built[0]})"
            raise InputError(problem, "leave it out, build an index with it, or search the files with --corpus")


def _plain(value: Any) -> Any:
    """Return one name as a list of it, as it stands in a manifest or on a command line."""
    return [value] if isinstance(value, str) else list(value) if isinstance(value, Sequence) else value


class FileTarget:
    """The files of a corpus, in the order of their names whatever order they were given in."""

    def __init__(self, given: Listed, options: CorpusOptions) -> None:
        given = sorted(given, key=str)
        self._specs = specs_of(given)
        self._options = options
        corpus = read_corpus(
            given,
            text_field=options.text_field,
            # A block of a text file may cut an item in two: what is searched is whole unless asked otherwise.
            split="file" if options.split == "auto" else options.split,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )
        self._files = sorted(_files(corpus), key=lambda file: str(file.source))
        self.units = [str(file.source) for file in self._files]
        self._read_as = corpus.read_as()
        self._digests = {str(f.source): self._digest(f) for f in self._files if isinstance(f.source, HeldRows)}
        """Of objects, which have no size that tells them apart."""

    def describe(self) -> SearchedCorpus:
        """Return the specs, and of every file its name, its size and the spec that stands for it.

        Also what a file is read as, where its name stands for another format.
        """
        units: list[tuple[str, int | None, str]] = [
            (str(file.source), file.stamp.size if file.stamp else None, file.spec) for file in self._files
        ]
        about: SearchedCorpus = {"specs": self._specs, "units": units, "indices": []}
        if self._read_as:
            about["read_as"] = self._read_as
        if self._digests:
            about["objects"] = self._digests
        return about

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
        """Return the digest of a file, or of the rows of an object."""
        file = self._files[unit]
        if isinstance(file.source, HeldRows):
            return self._digest(file)
        return digest_of(_path(file.source)) if file.stamp and file.stamp.regular else None

    def _digest(self, file: _File) -> str:
        options = self._options
        stream, rows = open_rows(file.source, file.cut, text_field=options.text_field, max_expand=options.max_expand)
        for _ in rows:
            pass
        return stream.sha256

    def held(self) -> set[int]:
        """Return the identities of the objects that are searched."""
        return {id(file.source.held) for file in self._files if isinstance(file.source, HeldRows)}

    def note(self, unit: int, read: Sequence[FileDigest]) -> None:
        """Hold a file to the size that the plan says and to the digest of what was read, until the run ends."""
        file = self._files[unit]
        if read and self._digests.get(self.units[unit], read[0]["sha256"]) != read[0]["sha256"]:
            raise changed(self.units[unit])
        if file.stamp and file.stamp.regular:
            if read[0]["bytes"] != file.stamp.size:
                raise changed(self.units[unit])
            current().add(_path(file.source), read[0]["sha256"], file.stamp)


class IndexTarget:
    """The shards of one index or several, in the order of their folders' names."""

    def __init__(self, folders: Sequence[Path]) -> None:
        each = {folder.resolve(): folder for folder in folders}
        self._indices = {folder: _index_of_words(folder) for folder in sorted(each.values())}
        _refuse_twice(self._indices)
        self._shards = [(folder, n) for folder, index in self._indices.items() for n in range(len(index.shards))]
        self.units = [f"{folder}#{number}" for folder, number in self._shards]

    def describe(self) -> SearchedCorpus:
        """Return the folders, and the digest of each index."""
        units: list[tuple[str, int | None, str]] = [
            (name, None, str(folder)) for name, (folder, _) in zip(self.units, self._shards, strict=True)
        ]
        indices: list[SearchedIndex] = [
            {"path": str(folder), "sha256": index.sha256} for folder, index in self._indices.items()
        ]
        return {"specs": [], "units": units, "indices": indices}

    def built_with(self) -> list[dict[str, Any]]:
        """Return the options by which each index was built."""
        return [index.manifest["options"] for index in self._indices.values()]

    def files(self) -> list[str]:
        """Return the files that were indexed, wherever they still lie."""
        return [file["path"] for index in self._indices.values() for file in index.manifest["corpus"]["files"]]

    def scan(self, unit: int, patterns: Patterns) -> Scan:
        """Go over the words of one shard, once its files are known to be what was written."""
        folder, number = self._shards[unit]
        index = self._indices[folder]
        index.verify(number)
        blocks = index.word_hashes([number])
        scans = [scan_words(b.hashes, b.offsets, patterns, b.text_of, b.source_of) for b in blocks]
        scan = Scan.joined(scans, patterns)
        return scan if number else _with_reading(scan, index.manifest["corpus"])

    def sha256(self, unit: int) -> str | None:
        """Return nothing: the digest of the whole index stands in the plan."""

    def note(self, unit: int, read: Sequence[FileDigest]) -> None:
        """Do nothing: the files of the indices are among the inputs since they were opened."""


def _index_of_words(folder: Path) -> CorpusIndex:
    index = CorpusIndex.open(folder)
    if index.unit != "word":
        hint = "build one with --unit word, or stream the corpus with --corpus"
        raise InputError(f"{folder}: an index of {index.unit}s", hint)
    return index


def _refuse_twice(indices: Mapping[Path, CorpusIndex]) -> None:
    """Refuse indices of one file: its documents would count twice."""
    seen: dict[tuple[str, str], Path] = {}
    for folder, index in indices.items():
        for file in index.manifest["corpus"]["files"]:
            first = seen.setdefault((file["path"], file["sha256"]), folder)
            if first != folder:
                raise InputError(f"{folder}: an index of {file['path']}, as {first} is", "give one of them")


def refuse_itself(target: SearchTarget, benchmark: Sequence[Source]) -> None:
    """Refuse to search the benchmark for itself: every item would be found, whatever the model has read.

    Args:
        target: What is searched.
        benchmark: The files of the items.

    Raises:
        InputError: One of them is searched too, under whatever name.
    """
    ours = {_identity(str(source)): str(source) for source in benchmark if not isinstance(source, HeldRows)}
    held = target.held() if isinstance(target, FileTarget) else set()
    if same := next((s for s in benchmark if isinstance(s, HeldRows) and id(s.held) in held), None):
        raise _itself(same.name)
    for name in [*target.files(), *target.units]:
        if _identity(name) in ours:
            raise _itself(name)


def _itself(name: str) -> InputError:
    return InputError(
        f"{name}: is the benchmark itself, every item of which would be found there",
        "leave it out of what is searched; if a model was trained on it, no search is needed",
    )


def _identity(name: str) -> tuple[int, int] | str:
    """Return what is the same for all names of one file."""
    try:
        found = Path(name).stat()
    except OSError:  # a data set of the hub, or a file of an index that is gone
        return name
    return found.st_dev, found.st_ino


def _with_reading(scan: Scan, read: Summary) -> Scan:
    """Add what was counted when the corpus was indexed: a record skipped then is not searched now."""
    return dataclasses.replace(
        scan,
        files=sorted(read["files"], key=lambda file: file["path"]),
        empty=read["empty"],
        rejected=read.get("rejected", 0),
        first_rejected=read.get("first_rejected", []),
    )


def refuse_nothing(corpus: SearchedCorpus, documents: Sequence[int]) -> None:
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
        _File(
            source,
            corpus.splits[part.domain],
            part.spec,
            stamp_of(source.path) if isinstance(source, CorpusFile) else None,
        )
        for part in corpus.parts
        for source in part.sources
    ]


def _path(source: Source) -> str:
    return source.path if isinstance(source, CorpusFile) else str(source)
