"""What plan and log of a reconstruction hold: works that a model is let to write by itself, and what it wrote."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from memaudit.runs.parts import Control, Line, ModelDescription, Summary


class ReconstructionOptions(TypedDict):
    """What a model is given, how it writes, and when it has written enough."""

    seed_tokens: int
    """That are given at the beginning, and each time again."""
    reseeds: int
    """How often the next tokens may be given."""
    patience: int
    """Tokens without new words of the work, after which no more are asked for."""
    max_tokens: int | None
    """That are written at most; None: as many as the work has."""
    attempts: int
    """At what follows given tokens."""
    temperature: float
    """0 is greedy decoding."""
    top_k: int | None
    top_p: float | None
    context: int | None
    """Positions of the model that are used at most."""
    seed: int
    text_field: str | list[str]


class TextPlace(TypedDict):
    """Where words stand in a work."""

    word: int
    """The first, from 0."""
    words: int
    line: int
    """Of the file, from 1."""


class PlannedWork(TypedDict):
    """A work that is asked for."""

    name: str
    source: str
    """``file:line``."""
    control: bool
    sha256: str
    """Of its text."""
    tokens: int
    words: int
    lines: int


class ReconstructionSubject(TypedDict):
    """What a reconstruction is about."""

    model: ModelDescription
    texts: Summary
    heldout: Summary
    works: list[PlannedWork]
    """Those in question, then the control works."""
    options: ReconstructionOptions
    piece: int
    """Tokens that are asked for together."""
    controls: list[Control]


class WrittenRow(TypedDict):
    """What one attempt wrote."""

    text: str
    tokens: int
    ended: bool
    """Whether the model ended the text here."""
    seen: NotRequired[list[int]]
    """Token ids, where the model has any."""


class ProbeRow(TypedDict):
    """How the attempts behind given tokens agree with the work."""

    agreeing: list[int]
    """Words of each attempt that stand in runs of the words that follow."""
    words: list[int]
    """Words that each attempt wrote."""
    chosen: int
    """The attempt that was gone on with, from 0."""


class ReconstructionLine(Line):
    """One piece that was asked for: that behind given tokens by several attempts, all others by one."""

    work: int
    stretch: int
    """How often tokens were given before, less one."""
    rows: list[WrittenRow]
    probe: ProbeRow | None
