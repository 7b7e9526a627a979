"""What a pass over some files of a corpus found: counts and matches that add up in any order."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import RunError
from memaudit.runs.log_lines import Match as StoredMatch
from memaudit.runs.log_lines import ScanRecord
from memaudit.runs.parts import FileDigest
from memaudit.runs.schema import as_record
from memaudit.text.scan.matching import Candidate, Match
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.scripts import SCRIPTS
from memaudit.text.scan.tally import KEPT

SHOWN_REJECTS = 20

Key = tuple[str | int, ...]
Counts = TypeVar("Counts", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What was found in some documents; `merge` is associative and commutative.

    Of the documents that hold some of a needle the ten strongest are kept that flag it, the first of those that
    are as strong; where none does, the strongest. Whether one counts was decided when it was read, so no heap of
    pieces hides a copy, and what is kept does not grow with the corpus.
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
    """Shape [needles]: words of the longest run, of five or more, that occurs in one document; else 0."""
    covered: NDArray[np.bool_]
    """Shape [words of all needles]: whether the word is contaminated by Llama 2's rule."""
    substrings: NDArray[np.bool_]
    """Shape [pieces]: whether each piece for GPT-4's rule occurs in a document."""
    scripts: NDArray[np.int64]
    """Shape [scripts]: letters of each of `scripts.SCRIPTS` at the beginning of the documents."""
    matches: list[Match]
    """In the order of needle, then strength, then source."""
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
            scripts=np.zeros(len(SCRIPTS), np.int64),
            matches=[],
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
            raise RunError(f"{twice[0]}: is in both of the scans to merge", "merge each part once")
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
            scripts=self.scripts + other.scripts,
            matches=_joined(self.matches, other.matches),
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

    def to_record(self) -> ScanRecord:
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
            "scripts": self.scripts.tolist(),
            "matches": [as_record(match, StoredMatch) for match in self.matches],
            "empty": self.empty,
            "rejected": self.rejected,
            "first_rejected": self.first_rejected,
            "files": self.files,
        }

    @staticmethod
    def from_record(record: ScanRecord) -> Scan:
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
            scripts=np.array(record["scripts"], np.int64),
            matches=[_match_of(match) for match in record["matches"]],
            empty=record["empty"],
            rejected=record["rejected"],
            first_rejected=list(record["first_rejected"]),
            files=[FileDigest(path=f["path"], sha256=f["sha256"], bytes=f["bytes"]) for f in record["files"]],
        )


def keep_strongest(matches: Iterable[Match]) -> list[Match]:
    """Return of every needle the best match of each of the ten strongest documents that flag it, or else the strongest.

    A set function of all matches: what is dropped from a part would be dropped from the whole.
    """
    kept: list[Match] = []
    for _, same in groupby(sorted(matches, key=_rank), key=lambda match: match.candidate.needle):
        best = {match.candidate.source: match for match in reversed(list(same))}
        ranked = sorted(best.values(), key=_rank)
        kept += [match for match in ranked if match.found][:KEPT] or ranked[:1]
    return kept


def _rank(match: Match) -> tuple[object, ...]:
    candidate = match.candidate
    strength = tuple(-value for value in match.strength)
    return candidate.needle, strength, natural_key(candidate.source), candidate.source, candidate.start, candidate.text


def _joined(ours: list[Match], theirs: list[Match]) -> list[Match]:
    """Return what `keep_strongest` keeps of both; each is what it kept, so only needles in both are looked at."""
    both = {m.candidate.needle for m in ours} & {m.candidate.needle for m in theirs}
    every = ours + theirs
    kept = keep_strongest(m for m in every if m.candidate.needle in both)
    kept += [m for m in every if m.candidate.needle not in both]
    return sorted(kept, key=lambda match: match.candidate.needle)


def _match_of(record: StoredMatch) -> Match:
    found = record["candidate"]
    candidate = Candidate(found["needle"], found["source"], found["start"], found["text"], tuple(found["seeds"]))
    return Match(candidate, record["kind"], record["similarity"], record["coverage"], record["why"])


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
