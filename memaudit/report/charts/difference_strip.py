"""A work as strips, a row a part: what one of two models gives back of it and the other does not, by position.

Above the line in the middle of a row stands what the first model alone has, below it what the second alone has, each as
high as its share of the tokens of a cell; the line beneath is what both have. Place tells them apart, in print without
colours too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.report.charts.charts import INK
from memaudit.report.charts.heat_map import short_title
from memaudit.report.charts.strips import CELLS, EMPTY, GAP, GREEDY, HIGH, Swatch, area, heights, strip, swatch
from memaudit.report.covered import Mask
from memaudit.report.wording import counted
from memaudit.runs.work_report import WorkPart
from memaudit.stats.rounding import percent

FIRST, SECOND = "#c0482f", "#2f6f8f"
_MIDDLE = HIGH // 2


@dataclass(frozen=True, slots=True)
class StripRow:
    """A part of the work."""

    id: str
    """Of its title on the page."""
    title: str
    short: str
    """Its number, where there is no room for the title."""
    strips: list[str]
    """SVG of each of its lines."""
    shares: tuple[str, str]
    """Of its tokens: that the first model alone has, and the second alone."""


@dataclass(frozen=True, slots=True)
class DifferenceStrip:
    """The picture of a work and two models."""

    id: str
    description: str
    legend: list[Swatch]
    rows: list[StripRow]


def difference_strip(
    parts: Sequence[WorkPart], masks: tuple[Mask, Mask], names: tuple[str, str], size: int, id: str
) -> DifferenceStrip:
    """Draw what two models have of a work.

    Args:
        parts: Of the work, in order.
        masks: Which tokens each model gives back, shape [tokens] each.
        names: Of the models.
        size: Tokens of a cell.
        id: Unique on the page: a letter, then letters, digits and hyphens.
    """
    return DifferenceStrip(
        id,
        f"A row a part, from left to right; a cell stands for {counted(size, 'token')}. Upwards from the middle: the"
        f" share of its tokens that {names[0]} alone gives back; downwards: that {names[1]} alone does. The line"
        " beneath is what both give back. At the end of a row: the shares of its tokens that one of them alone has.",
        _legend(names, id),
        [_row(part, masks, size, f"{id}-{number}", number) for number, part in enumerate(parts, 1)],
    )


def _legend(names: tuple[str, str], id: str) -> list[Swatch]:
    entries = ((f"{names[0]} alone", FIRST, 0.5), (f"{names[1]} alone", SECOND, 0.5), ("both", INK, GREEDY / HIGH))
    return [
        Swatch(f"{id}-key-{i}", label, swatch(f"{id}-key-{i}", fill, high))
        for i, (label, fill, high) in enumerate(entries)
    ]


def _row(part: WorkPart, masks: tuple[Mask, Mask], size: int, name: str, number: int) -> StripRow:
    place = slice(part["token"], part["token"] + part["tokens"])
    one, other = (mask[place] for mask in masks)
    up, down = heights(one & ~other, size, _MIDDLE), heights(other & ~one, size, _MIDDLE)
    both = heights(one & other, size, GREEDY)
    lines = []
    for first in range(0, max(1, len(up)), CELLS):
        line = slice(first, first + CELLS)
        cells = len(up[line])
        drawn = f'<path d="M0 0V{HIGH}H{cells}V0" fill="{EMPTY}"/>'
        drawn += area(up[line], _MIDDLE, FIRST) + area(-down[line], _MIDDLE, SECOND)
        lines.append(strip(drawn + area(both[line], HIGH + GAP + GREEDY, INK), cells, name))
    tokens = max(1, part["tokens"])
    shares = tuple(percent(float(mask.sum()) / tokens) for mask in (one & ~other, other & ~one))
    return StripRow(name, part["title"], short_title(part["title"], number), lines, (shares[0], shares[1]))
