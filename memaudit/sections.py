"""What a measure has to say, as plain values: a sentence, tables, charts and notes that any report can show.

Measures fill these in; `memaudit.report` renders them without knowing what was measured. They travel as
strict JSON (``dataclasses.asdict``): no NaN, undefined values are None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ABOUT_DOCUMENTS = (
    "Intervals are about {units}, not about trainings: none of them covers how much the same training with another"
    " seed would differ."
)
"""What every report says that gives an interval about one model; {units} is what varies."""
Kind = Literal["text", "number", "share", "interval", "excerpt"]
"""How a column is shown: words, a number, a share in [0, 1] as a percentage, ``[low, high]`` shares, or words of
somebody's text, which are masked or withheld as texts of windows are."""
Value = str | int | float | None | list[float]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    label: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values under labelled columns."""

    caption: str
    columns: list[Column]
    rows: list[list[Value]]


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart, in the order of its points."""

    name: str
    points: list[list[float | None]]
    """``[x, y, low, high]`` each; low and high are None where there is no interval."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Lines with their intervals on common axes."""

    title: str
    description: str
    x: str
    y: str
    series: list[Series]
    """At most six: what a reader can tell apart."""
    x_scale: Literal["linear", "log", "symlog"] = "linear"
    """``symlog`` has a place for 0 and doubles otherwise, as doses do."""
    y_share: bool = True
    """Whether y is a share in [0, 1]."""
    x_share: bool = False
    """Whether x is one too; both have their ticks in percent."""
    y_scale: Literal["linear", "log"] = "linear"
    """``log`` for shares that are to be told apart near 0, as ROC curves are at low false positive rates."""


@dataclass(frozen=True, slots=True)
class Section:
    """The outcome of one measure."""

    name: str
    """Of the measure: stable, for programs."""
    title: str
    summary: str
    """The answer in one sentence, with its numbers."""
    method: str
    """What was done, with formula and source."""
    tables: list[Table] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What this does not show, and what was left out and why."""
