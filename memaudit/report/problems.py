"""Findings as other programs list them: one plain sentence each, where to look, and the rule that was broken."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from memaudit.report.wording import visible

LONGEST = 200
"""Characters of an id of an item or a document that are shown."""
Level = Literal["error", "warning", "note"]
_NUMBERED = re.compile(r"(.+):(\d{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a finding is a case of, as SARIF and code hosts describe it."""

    id: str
    """Unique among all kinds of run: ``PACKAGE/NAME``."""
    name: str
    """In Pascal case, for programs."""
    title: str
    """Over an annotation."""
    short: str
    """One sentence."""
    full: str
    help: str
    """What to do about a finding."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file a record stands."""

    path: str
    """Relative to the working directory where it lies under it, else the bare name of the file."""
    line: int | None
    """From 1; None where the whole file is meant."""
    column: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding as a list of problems shows it."""

    id: str
    """Fingerprint that survives moved lines and folders."""
    rule: str
    """Id of one of the kind's rules."""
    level: Level
    """An error where the run's verdict is *found*; a note where a baseline accepts the finding."""
    name: str
    sentence: str
    place: Place
    related: Sequence[Place] = ()
    """Further places that belong to it."""
    relation: str = ""
    """What each of those is, in a sentence."""
    accepted: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)
    """What else programs may want: strict JSON."""


def place(source: str, files: Collection[str]) -> Place:
    """Split ``file:line`` or ``file:line:column``, whatever the file's own name looks like.

    Args:
        source: As corpora and benchmarks name their records.
        files: Paths of the files that were read.
    """
    path, numbers = source, list[int]()
    while path not in files and len(numbers) < 2 and (match := _NUMBERED.fullmatch(path)):
        path, numbers = match[1], [int(match[2]), *numbers]
    line, column = (*numbers, None, None)[:2]
    return Place(relative_path(path), line or None, column or None)


def relative_path(path: str) -> str:
    """Return a path relative to the working directory, or its last part if it does not lie under it."""
    base = Path.cwd()
    whole = Path(os.path.normpath(base / path))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else whole.name


def short(text: object) -> str:
    """Return an id of an item or a document on one line, cut off where it is long."""
    line = on_one_line(str(text))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def on_one_line(text: str) -> str:
    """Return a text on one line, without characters that nobody sees."""
    return visible(" ".join(text.split()))
