"""What a line of items.log of every kind of run holds: one finished item, named by its ``index`` in the plan.

A window of an extraction audit is a `memaudit.records.WindowRecord`; see `memaudit.runs.measured_lines` for the lines
of measures and detectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from memaudit.records import WindowRecord
from memaudit.runs.measured_lines import MEASURED, MeasuredLine
from memaudit.runs.parts import FileDigest, Line
from memaudit.runs.reconstruction import ReconstructionLine
from memaudit.runs.schema import Tagged


class LawsLine(Line):
    """One training of the grid, and what its model reproduces."""

    size: int
    seed: int
    parameters: int
    loss: float | None
    """Of the training, in nats a token; None for models that are counted."""
    documents: list[str]
    """Ids of the passages, planted ones first."""
    copies: list[int]
    """Of each passage in training; 0 for twins."""
    matched: list[list[int]]
    """Suffix tokens before the first difference, shape [passages, contexts]."""
    too_short: int
    """Passages that were left out."""


class CounterfactualLine(Line):
    """One model, and how it scores every document."""

    parameters: int
    loss: float | None
    """Of the training, in nats a token; None for models that are counted."""
    greedy: list[int]
    """Tokens of each document that are the model's most probable."""
    log_prob: NotRequired[list[float]]
    """Mean of each document, in nats a token; older runs lack it."""


class LabelsLine(Line):
    """Which labels the model puts in place of the mask."""

    seen: list[int]
    """1 for the right label, else 0, a text."""
    unseen: list[int]
    seen_first: list[int]
    """1 where the label is the most probable of all tokens."""
    unseen_first: list[int]


class ClassifierLine(Line):
    """Which texts a classifier labels rightly."""

    seed: int
    loss: float
    """Of the training, in nats a text."""
    seen: list[int]
    """1 for the right label, else 0, a text."""
    unseen: list[int]


class Candidate(TypedDict):
    """A document that may hold a part of an item."""

    needle: int
    """Place of the part among those of all items."""
    source: str
    """``file:line``."""
    start: int
    """Character of the document at which the text begins."""
    text: str
    seeds: list[int]
    """Runs of five words by which it was found."""


class Match(TypedDict):
    """A part of an item beside a document that holds some of it."""

    candidate: Candidate
    kind: Literal["raw", "normalised", "edited"]
    similarity: float
    """In [0, 1]."""
    coverage: float
    """In [0, 1]."""
    why: Literal["copy", "generic", "boilerplate", "choice", "short", "little", "other"]
    """``copy`` where it convicts, else why it does not."""


class ScanRecord(TypedDict):
    """What was found in some documents; arrays are packed, compressed and in base64."""

    patterns: str
    """Digest of what was searched for."""
    documents: int
    words: int
    bytes: int
    seed_documents: str
    gram_documents: dict[str, str]
    longest: str
    covered: str
    substrings: str
    scripts: list[int]
    """Letters of each script at the beginning of the documents."""
    matches: list[Match]
    empty: int
    rejected: int
    first_rejected: list[str]
    files: list[FileDigest]


class ScanLine(Line):
    """One file, or one shard of an index, that was searched."""

    scan: ScanRecord


class PassLine(Line):
    """A stretch of a work, read once with as much context as fits."""

    work: int
    """Its place among the works."""
    first: int
    """Token."""
    log_p: str
    """Natural log of every token's probability, at least -10, little-endian floats of four bytes in base64."""
    greedy: str
    """Bits in base64: whether each token is the most probable."""


class WindowsLine(Line):
    """Windows of a work that were read by themselves."""

    work: int
    windows: list[int]
    """Their places among the windows of the work."""
    log_p: list[float | None]
    """Natural log of p_z; None where it was left below every threshold, greedy decoding differing, or p_z is 0."""
    greedy: str
    """A digit a window: 1 where greedy decoding gives the suffix."""


OF_WORKS: Mapping[str, type] = {
    "pass": PassLine,
    "windows": WindowsLine,
    "bare-pass": PassLine,
    "bare-windows": WindowsLine,
    "near-verbatim": MEASURED["near-verbatim"],
}
"""What is logged of whole works beside the windows that are shown; ``bare``: without a start token."""
LOGS: Mapping[str, Any] = {
    "extraction": Tagged("measure", MEASURED, MeasuredLine, WindowRecord),
    "contamination": ScanLine,
    "membership": Tagged("measure", MEASURED, MeasuredLine, MeasuredLine),
    "laws": LawsLine,
    "counterfactual": CounterfactualLine,
    "exploitation": Tagged("seed", {}, ClassifierLine, LabelsLine),
    "work": Tagged("measure", OF_WORKS, MeasuredLine, WindowRecord),
    "reconstruction": ReconstructionLine,
}
"""Kind of run -> what a line of its log holds; a comparison of old and new items (gap) logs nothing."""
