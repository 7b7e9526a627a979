"""What a pass over some files of a corpus found: counts and candidates that add up in any order."""

from __future__ import annotations

import base64
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import RunError
from memaudit.text.read import FileDigest
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.tally import KEPT

SHOWN_REJECTS = 20

Key = tuple[str | int, ...]
Counts = TypeVar("Counts", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that holds a fifth or more of the seeds of a needle."""

    needle: int
    source: str
    """File and place of the document, as its corpus names it."""
    start: int
    """Character of the document at which ``text`` begins."""
    text: str
    """Raw text of the region where the needle would lie, with slack on either side."""
    seeds: tuple[int, ...]
    """Seeds of the needle that stand anywhere in the document, in order of their ids."""

    @property
    def order(self) -> tuple[Key, str]:
        """Key by which documents are ordered: the name of the file, then places as numbers."""
        return natural_key(self.source), self.source


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What was found in some documents; `merge` is associative and commutative.

    Of the candidates of a needle, those are kept that are among the ten first, in the order of their sources,
    of all candidates that share one of its seeds, and the ten that hold most of its seeds, the first of those
    that hold as many. So every part of a needle keeps witnesses, no heap of pieces hides a copy, and the
    number of candidates does not grow with the corpus.
    """

    patterns: str
    """Digest of the needles."""
    documents: int
    words: int
    bytes_: int
    """UTF-8 bytes of the texts."""
    seed_documents: NDArray[np.uint32]
    """Shape [seeds]: documents that hold each seed."""
    gram_documents: dict[int, NDArray[np.uint32]]
    """By length, shape [n-grams]: documents that hold each n-gram."""
    longest: NDArray[np.int32]
    """Shape [needles]: words of the longest run, of five or more, that stands in one document; else 0."""
    covered: NDArray[np.bool_]
    """Shape [words of all needles]: whether the word is contaminated by Llama 2's rule."""
    substrings: NDArray[np.bool_]
    """Shape [pieces]: whether each piece for GPT-4's rule stands in a document."""
    candidates: list[Candidate]
    """In the order of needle, then source."""
    empty: int = 0
    """Records without text."""
    rejected: int = 0
    first_rejected: list[str] = field(default_factory=list)
    """Place and reason of the first 20 records that could not be used."""
    files: list[FileDigest] = field(default_factory=list)
    """In the order of their names."""

    @staticmethod
    def nothing(patterns: Patterns) -> Scan:
        """Return the scan of no document, the neutral element of `merge`."""
        return Scan(
            patterns=patterns.digest,
            documents=0,
            words=0,
            bytes_=0,
            seed_documents=np.zeros(patterns.seeds, np.uint32),
            gram_documents={n: np.zeros(len(found.first), np.uint32) for n, found in patterns.longer_grams.items()},
            longest=np.zeros(len(patterns.needles), np.int32),
            covered=np.zeros(len(patterns.hashes), np.bool_),
            substrings=np.zeros(len(patterns.substrings.pieces), np.bool_),
            candidates=[],
        )

    def merge(self, other: Scan) -> Scan:
        """Return what was found in the documents of both.

        Raises:
            RunError: They looked for other needles, or a file was read in both.
        """
        if self.patterns != other.patterns:
            raise RunError("scans for different needles cannot be merged", "scan all parts for the same benchmark")
        twice = sorted({file["path"] for file in self.files} & {file["path"] for file in other.files})
        if twice:
            raise RunError(f"{twice[0]}: stands in both of the scans to merge", "merge each part once")
        rejected = sorted(self.first_rejected + other.first_rejected, key=lambda text: (natural_key(text), text))
        return Scan(
            patterns=self.patterns,
            documents=self.documents + other.documents,
            words=self.words + other.words,
            bytes_=self.bytes_ + other.bytes_,
            seed_documents=self.seed_documents + other.seed_documents,
            gram_documents={n: found + other.gram_documents[n] for n, found in self.gram_documents.items()},
            longest=np.maximum(self.longest, other.longest),
            covered=self.covered | other.covered,
            substrings=self.substrings | other.substrings,
            candidates=_joined(self.candidates, other.candidates),
            empty=self.empty + other.empty,
            rejected=self.rejected + other.rejected,
            first_rejected=rejected[:SHOWN_REJECTS],
            files=sorted(self.files + other.files, key=lambda file: file["path"]),
        )

    @staticmethod
    def joined(scans: Iterable[Scan], patterns: Patterns) -> Scan:
        """Return what was found in the documents of all: few are held at a time, and none is moved often."""
        waiting: list[tuple[int, Scan]] = []
        for scan in scans:
            parts = 1
            while waiting and waiting[-1][0] == parts:
                scan = waiting.pop()[1].merge(scan)
                parts *= 2
            waiting.append((parts, scan))
        return reduce(Scan.merge, (scan for _, scan in reversed(waiting)), Scan.nothing(patterns))

    def to_record(self) -> dict[str, Any]:
        """Return everything as strict JSON; `from_record` gives it back."""
        return {
            "patterns": self.patterns,
            "documents": self.documents,
            "words": self.words,
            "bytes": self.bytes_,
            "seed_documents": _packed(self.seed_documents),
            "gram_documents": {str(n): _packed(found) for n, found in self.gram_documents.items()},
            "longest": _packed(self.longest),
            "covered": _packed(self.covered),
            "substrings": _packed(self.substrings),
            "candidates": [[c.needle, c.source, c.start, c.text, list(c.seeds)] for c in self.candidates],
            "empty": self.empty,
            "rejected": self.rejected,
            "first_rejected": self.first_rejected,
            "files": self.files,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Scan:
        """Return the scan that `to_record` wrote down."""
        return Scan(
            patterns=record["patterns"],
            documents=record["documents"],
            words=record["words"],
            bytes_=record["bytes"],
            seed_documents=_unpacked(record["seed_documents"], np.uint32),
            gram_documents={int(n): _unpacked(found, np.uint32) for n, found in record["gram_documents"].items()},
            longest=_unpacked(record["longest"], np.int32),
            covered=_unpacked(record["covered"], np.bool_),
            substrings=_unpacked(record["substrings"], np.bool_),
            candidates=[
                Candidate(needle, source, start, text, tuple(seeds))
                for needle, source, start, text, seeds in record["candidates"]
            ],
            empty=record["empty"],
            rejected=record["rejected"],
            first_rejected=list(record["first_rejected"]),
            files=[FileDigest(path=f["path"], sha256=f["sha256"], bytes=f["bytes"]) for f in record["files"]],
        )


def keep_witnesses(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates of the first ten documents that hold a seed, and of the ten that hold most seeds.

    A set function of all candidates: what is dropped from a part would be dropped from the whole.
    """
    kept: list[Candidate] = []
    for _, same in groupby(in_order(candidates), key=attrgetter("needle")):
        documents = [list(regions) for _, regions in groupby(same, key=attrgetter("source"))]
        most = sorted(range(len(documents)), key=lambda i: -len(documents[i][0].seeds))[:KEPT]
        holders = Counter[int]()
        for i, regions in enumerate(documents):
            seeds = regions[0].seeds
            if i in most or any(holders[seed] < KEPT for seed in seeds):
                holders.update(seeds)
                kept += regions
    return kept


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return candidates in the order of needle, then source."""
    return sorted(candidates, key=lambda c: (c.needle, *c.order, c.start, c.text))


def _joined(ours: list[Candidate], theirs: list[Candidate]) -> list[Candidate]:
    """Return what `keep_witnesses` keeps of both; each is what it kept, so only needles in both are looked at."""
    both = {c.needle for c in ours} & {c.needle for c in theirs}
    every = ours + theirs
    kept = keep_witnesses(c for c in every if c.needle in both) + [c for c in every if c.needle not in both]
    return sorted(kept, key=lambda c: c.needle)


def natural_key(text: str) -> Key:
    """Return a key by which numbers in texts are ordered as numbers: line 9 before line 10."""
    return tuple(int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", text)))


def _packed(array: NDArray[Any]) -> str:
    flat = np.packbits(array) if array.dtype == np.bool_ else array.astype(array.dtype.newbyteorder("<"))
    data = len(array).to_bytes(8, "little") + flat.tobytes()
    return base64.b64encode(zlib.compress(data, 6)).decode()


def _unpacked(text: str, kind: type[Counts]) -> NDArray[Counts]:
    data = zlib.decompress(base64.b64decode(text))
    count, flat = int.from_bytes(data[:8], "little"), data[8:]
    if kind is np.bool_:
        return np.unpackbits(np.frombuffer(flat, np.uint8), count=count).astype(kind)
    return np.frombuffer(flat, np.dtype(kind).newbyteorder("<")).astype(kind)
