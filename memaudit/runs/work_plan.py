"""What an audit of whole works is about, as its plan.json says it."""

from __future__ import annotations

from typing import TypedDict

from memaudit.runs.options import WorkOptions
from memaudit.runs.parts import Control, ModelDescription, Summary


class WorkDescription(TypedDict):
    """A work as it was read."""

    name: str
    source: str
    control: bool
    sha256: str
    """Of its text."""
    tokens: int
    windows: int
    parts: int


class WorkSubject(TypedDict):
    """What an audit of whole works is about."""

    model: ModelDescription
    options: WorkOptions
    texts: Summary
    """The works in question."""
    heldout: Summary | None
    """The control works, if there are any."""
    works: list[WorkDescription]
    """Those in question, then the control works."""
    controls: list[Control]
