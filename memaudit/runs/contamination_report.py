"""What report.json of a search for a benchmark holds, and a line of its items.jsonl."""

from __future__ import annotations

from typing import Literal, TypedDict

from memaudit.runs.options import ContaminationOptions, ItemPolicy
from memaudit.runs.parts import Difference, FileDigest
from memaudit.runs.report_parts import Judged, PolicyVerdict, ReportHead

MatchKind = Literal["raw", "normalised", "edited"]
"""How an item occurs: character for character, the same words after normalisation, or with edits."""
ItemVerdict = Literal["contaminated", "clean", "undecided", "not judged"]
"""``undecided`` where the search was not whole, ``not judged`` where an item is too short or generic."""
Bin = Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
Pieces = list[tuple[str, bool]]
"""A text in pieces, and whether each was copied."""


class FilesRead(TypedDict):
    """Files and what was left out of them."""

    files: list[FileDigest]
    empty: int
    """Records without text."""
    rejected: int
    """Records that could not be used."""
    first_rejected: list[str]
    """Place and reason of the first 20; the place alone where texts are not shown."""


class NotJudged(TypedDict):
    """Items that cannot be judged, by the reason."""

    reason: str
    count: int


class BenchmarkRead(FilesRead):
    """The items."""

    layout: str | None
    """Name of a well-known one; None for another."""
    fields: dict[str, list[str]]
    """Part of an item -> the fields that it is made of."""
    items: int
    judged: int
    not_judged: list[NotJudged]


class CorpusRead(FilesRead):
    """What was searched."""

    documents: int
    words: int
    bytes: int
    """UTF-8 bytes of the texts."""
    index: str | None
    """Folders of the indices that were searched; None where files were."""


class ClassCount(TypedDict):
    """Items of one class of a rule."""

    name: str
    count: int


class RuleEstimate(TypedDict):
    """Items that a rule calls contaminated; all items were examined, so that there is no interval."""

    metric: str
    label: str
    definition: str
    source: str | None
    """Where it was published; None for memaudit's own."""
    primary: bool
    hits: int
    n: int
    """Items that the rule can judge."""
    rate: float | None
    """In [0, 1]; None where it can judge none."""
    undefined: int
    """Items that it cannot judge."""
    classes: list[ClassCount]


class PartCount(TypedDict):
    """Items whose part was found."""

    part: str
    hits: int
    n: int
    """Items that have the part, long enough to judge."""


class LikenessCount(TypedDict):
    """Items of one verdict whose likest document is about as like."""

    bin: Bin | None
    """None where no document is like them at all."""
    verdict: ItemVerdict
    items: int
    convicted: list[int]
    """Of these, by each of the published rules."""


class Likeness(TypedDict):
    """How like a document each item is, counted; similarities in [0, 1]."""

    bins: Literal[20]
    least: float
    """Similarity from which on an item is contaminated."""
    lowest_found: float | None
    highest_other: float | None
    rules: list[str]
    counts: list[LikenessCount]


class CopiedSpan(TypedDict):
    """A copied run of words."""

    text: str | None
    """None where texts are not shown."""
    documents: int
    """That hold it."""


class Evidence(TypedDict):
    """An item beside a document that holds it."""

    source: str
    """``file:line``."""
    start: int
    """Character of the document."""
    score: float
    """Similarity, in [0, 1]."""
    match: MatchKind
    item_pieces: Pieces | None
    """None where texts are not shown."""
    corpus_pieces: Pieces | None
    spans: list[CopiedSpan]


class ItemFinding(TypedDict):
    """An item that was found."""

    id: str
    """Fingerprint, the same in every run that finds the same."""
    kind: Literal["contamination"]
    item: str
    number: int
    """In the benchmark, from 1."""
    source: str
    part: str
    match: MatchKind
    score: float
    """Similarity of the likest document, in [0, 1]."""
    coverage: float
    """Share of the item's runs of five words that occur in it, in [0, 1]."""
    documents: int
    """That hold the rarest of these runs."""
    rules: list[str]
    """Published rules that call it contaminated."""
    accepted: bool
    """By the baseline."""
    evidence: list[Evidence]
    more_documents: int


class SparedItem(TypedDict):
    """An item that most published rules call contaminated and memaudit does not."""

    item: str
    source: str
    rules: list[str]
    reason: str


class PlainRate(TypedDict):
    """A share with its 95% interval, in [0, 1]; None where there is no item."""

    hits: int
    n: int
    rate: float | None
    low: float | None
    high: float | None


class ModelScores(TypedDict):
    """What a model scores on clean and on contaminated items."""

    file: str
    model: str
    clean: PlainRate
    contaminated: PlainRate
    difference: Difference | None
    """Contaminated less clean."""
    p_value: float | None
    """Two-sided permutation test."""
    sentence: str
    items_without_score: int
    scores_not_used: int


class BaselineUse(TypedDict):
    """A baseline and what it accepted."""

    path: str
    entries: int
    accepted: int
    """Findings."""
    stale: int
    """Entries that match no finding any more."""


class ContaminationReport(ReportHead, Judged):
    """Report of a search for a benchmark."""

    kind: Literal["contamination"]
    verdict: PolicyVerdict
    policy: ItemPolicy
    benchmark: BenchmarkRead
    corpus: CorpusRead
    estimates: list[RuleEstimate]
    parts: list[PartCount]
    likeness: Likeness
    findings: list[ItemFinding]
    spared: list[SparedItem]
    """The first of them."""
    spared_count: int
    groups: int
    """Documents that hold an item best."""
    scores: list[ModelScores] | None
    """None in older runs without scores."""
    baseline: BaselineUse | None
    options: ContaminationOptions
