"""What report.json of a reconstruction holds: works that a model wrote by itself, beside the works."""

from __future__ import annotations

from typing import Literal, TypedDict

from memaudit.runs.parts import ModelDescription, Summary, TextDigest
from memaudit.runs.reconstruction import PlannedWork, ProbeRow, ReconstructionOptions, TextPlace
from memaudit.runs.report_parts import Judged, ReportHead, Sections

Stop = Literal["end of the text", "end of the work", "no new words", "token limit"]
"""Why a model was asked for no more."""
ReconstructionVerdict = Literal["found", "inconclusive"]
"""That a model does not write a work when asked in one way never shows that it does not know it."""


class Recall(TypedDict):
    """How much of a work stands in passages of at least so many words."""

    least: int
    passages: int
    words: int
    """Of the work, that were not given."""
    share: float | None
    """Of all words of the work; None where it has none."""
    tokens: int
    """That end in these words."""
    token_share: float | None
    longest: int
    """Words of the longest passage; 0 where there is none."""


class FoundPassage(TypedDict):
    """A passage of the work that the model wrote."""

    work: TextPlace
    """From its first word to its last."""
    output: TextPlace
    """The same in what was written, all of it one after another; lines are those of the output."""
    words: int
    """That are the same."""
    longest_run: int
    """Words without any other between them."""
    stretch: int


class GivenPiece(TypedDict):
    """Tokens that the model was given, and what it wrote behind them."""

    token: int
    tokens: int
    place: TextPlace
    probe: ProbeRow | None
    written: int
    """Tokens of the attempt that was gone on with."""
    words: int
    """That were written."""
    alike: int
    """Words that were written before the first that is not the next of the work."""
    stop: Stop | None
    """None where nothing was asked for."""


class SideBySide(TypedDict):
    """A piece of work and output as a page sets them side by side."""

    kind: Literal["given", "passage", "gap"]
    place: TextPlace
    output_words: int
    """Words of the output in it."""
    passage: int | None
    """Number of the passage in the list of passages, from 0."""
    work_text: list[tuple[str, bool]] | None
    """Pieces of the work and whether each is the same in the output; None where texts are not shown."""
    output_text: list[tuple[str, bool]] | None
    left_out: int
    """Words of the work behind the text that are left out, before what follows in ``work_end``."""
    work_end: list[tuple[str, bool]] | None
    output_end: list[tuple[str, bool]] | None


class ReconstructedWork(PlannedWork):
    """One work, and what the model wrote of it."""

    recall: list[Recall]
    """By the least words of a passage, the most first: the first is that of the verdict."""
    passages: list[FoundPassage]
    """In order."""
    given: list[GivenPiece]
    generated: int
    """Tokens of all attempts."""
    written: int
    """Tokens that were gone on with."""
    written_words: int
    help_tokens: int
    help_share: float
    """Of the tokens of the work, in [0, 1]."""
    help_words: int
    """Of the work, given or the same again: never counted as had back."""
    diverged: TextPlace | None
    """The first word of the work, behind those given first, that the model did not write; None where it wrote all."""
    side_by_side: list[SideBySide]
    """In order; of the passages the longest alone."""
    side_left_out: int
    """Passages that are not among them."""


class ReconstructionReport(ReportHead, Judged, Sections):
    """Report of a reconstruction."""

    kind: Literal["reconstruction"]
    verdict: ReconstructionVerdict
    model: ModelDescription
    corpus: TextDigest
    texts: Summary
    heldout: Summary
    options: ReconstructionOptions
    piece: int
    works: list[ReconstructedWork]
    """Those in question, then the control works."""
