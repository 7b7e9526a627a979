"""A work as strips, a row a part: how likely each of its places is had back, control works beneath on the same scale.

A cell stands for some tokens in a row. Its colours are stacked: each fills the cell as high as the share of its tokens
that can be had back at its probability, so that the coloured area of a row is the share that the tables give, and no
choice between a mean and a maximum hides anything. The darker, the more probable, in print without colours too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from memaudit.report.charts.charts import INK
from memaudit.report.charts.strips import CELLS, EMPTY, GAP, GREEDY, HIGH, Swatch, area, heights, strip, swatch
from memaudit.report.covered import Covered, Mask, level_of, longest
from memaudit.report.wording import counted
from memaudit.runs.work_report import Reached, WorkMeasured, WorkReport
from memaudit.stats.rounding import NONE, percent, stated

RAMP = ("#fad7bd", "#f6c3a0", "#f0a980", "#e88f62", "#d9663f", "#c0482f", "#a32a20", "#7f1a1c", "#570a18")
"""From the least probable to the most; `report.css` turns it round in the dark."""
LINES = 12
"""Of a work of few parts: where it has fewer parts than this, each may take several lines."""
MAX_LINES = 160
"""Of a work; above it a cell stands for more tokens."""
MAX_CELLS = 15_000
"""Of a picture; above it a cell stands for more tokens, so that a page stays small."""
_ROMAN = r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_NUMBERED = re.compile(rf"^(?:[^\W\d_]+\s+)?({_ROMAN}|\d{{1,4}})(?![^\W_]|,\d| to )")


@dataclass(frozen=True, slots=True)
class Row:
    """A part of a work."""

    id: str
    """Of its title on the page."""
    title: str
    short: str
    """Its number, where there is no room for the title."""
    strips: list[str]
    """SVG of each of its lines."""
    share: str
    """Of its tokens, at the threshold of the verdict."""


@dataclass(frozen=True, slots=True)
class WorkMap:
    """A work, part by part."""

    name: str
    about: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The picture, what it shows in words, and its numbers."""

    id: str
    title: str
    description: str
    legend: list[Swatch]
    threshold: str
    """To which the shares at the ends of the rows belong."""
    works: list[WorkMap]
    columns: list[str]
    rows: list[list[str]]


def heat_map(report: WorkReport, id: str) -> HeatMap:
    """Draw the works of a report.

    Args:
        report: Of an audit of whole works.
        id: Unique on the page: a letter, then letters, digits and hyphens.
    """
    size = cell_tokens(report["works"])
    thresholds, options = report["thresholds"], report["options"]
    return HeatMap(
        id=id,
        title="Where it can be had back",
        description=_description(report, size),
        legend=_legend(thresholds, id),
        threshold=f"p >= {stated(options['threshold'])}",
        works=[_work_map(report, work, size, f"{id}-{i}") for i, work in enumerate(report["works"])],
        columns=["Work", "Part", "Tokens", *(f"p >= {stated(t)}" for t in thresholds), "Greedy", "Longest passage"],
        rows=[row for work in report["works"] for row in _numbers(report, work)],
    )


def cell_tokens(works: Sequence[WorkMeasured]) -> int:
    """Return how many tokens a cell stands for: few enough for detail, and enough for one scale of all works."""
    asked = [work for work in works if not work["control"]] or works
    parts = max((len(work["parts"]) for work in asked), default=1)
    longest_part = max((part["tokens"] for work in asked for part in work["parts"]), default=0)
    for size in _round_sizes():
        lines = [sum(-(-part["tokens"] // (size * CELLS)) for part in work["parts"]) for work in works]
        cells = sum(-(-part["tokens"] // size) for work in works for part in work["parts"])
        few = all(n <= max(MAX_LINES, len(work["parts"])) for n, work in zip(lines, works, strict=True))
        if longest_part <= size * CELLS * max(1, LINES // max(parts, 1)) and few and cells <= MAX_CELLS:
            return size
    raise AssertionError("sizes have no end")


def short_title(title: str, number: int) -> str:
    """Return the number of a part as its title has it, or else its place, from 1.

    >>> short_title("CHAPTER VII. A Mad Tea-Party", 9), short_title("Letter 4", 9), short_title("tokens 1 to 400", 9)
    ('VII', '4', '9')
    """
    return _numeral(title) or str(number)


def _numeral(title: str) -> str:
    found = _NUMBERED.match(title)
    return found[1] if found else ""


def _round_sizes() -> Iterable[int]:
    scale = 10
    while True:
        yield from (scale * part // 10 for part in (10, 15, 20, 25, 30, 40, 50, 60, 80))
        scale *= 10


def _description(report: WorkReport, size: int) -> str:
    options = report["options"]
    least = report["thresholds"][0] if report["thresholds"] else 0.0
    return (
        f"A row a part, from left to right; a cell stands for {counted(size, 'token')} of the work, on one scale for"
        " all rows. A colour fills a cell as high as the share of its tokens that can be had back at that probability,"
        f" the darker the more probable; what stays pale lies below {stated(least)}. Blank is what no window can cover:"
        f" the first {counted(options['prefix'], 'token')} of a work. The line beneath a row is greedy decoding."
        f" At the end of a row: its share at p >= {stated(options['threshold'])}."
    )


def shades(count: int) -> list[str]:
    """Return so many colours of the ramp, as far apart as it has them."""
    last = len(RAMP) - 1
    return [RAMP[round(i * last / (count - 1))] if count > 1 else RAMP[last] for i in range(count)]


def _legend(thresholds: Sequence[float], id: str) -> list[Swatch]:
    entries = [
        (f"below {stated(thresholds[0])}" if thresholds else "below", EMPTY, 1.0),
        *((f"p >= {stated(t)}", fill, 1.0) for t, fill in zip(thresholds, shades(len(thresholds)), strict=True)),
        ("greedy decoding", INK, GREEDY / HIGH),
    ]
    return [
        Swatch(f"{id}-key-{i}", label, swatch(f"{id}-key-{i}", fill, high))
        for i, (label, fill, high) in enumerate(entries)
    ]


def _work_map(report: WorkReport, work: WorkMeasured, size: int, id: str) -> WorkMap:
    covered = Covered(work, report["options"])
    masks = [covered.at_least(level) for level in range(len(report["thresholds"]) + 1)]
    numbered, rows = any(_numeral(part["title"]) for part in work["parts"]), []
    for number, part in enumerate(work["parts"], 1):
        short = _numeral(part["title"]) or (NONE if numbered else str(number))
        name, place = f"{id}-{number}", slice(part["token"], part["token"] + part["tokens"])
        own = [mask[place] for mask in masks]
        strips = _strips(own, covered.greedy[place], size, name)
        share = percent(_at(part["reached"], report["options"]["threshold"]))
        rows.append(Row(name, part["title"], short, strips, share))
    role = "control work" if work["control"] else "the work asked about"
    return WorkMap(work["name"], f"{role}, {counted(work['tokens'], 'token')}", rows)


def _at(reached: Sequence[Reached], threshold: float) -> float | None:
    return next((entry["share"] for entry in reached if entry["threshold"] == threshold), None)


def _strips(masks: Sequence[Mask], greedy: Mask, size: int, name: str) -> list[str]:
    """Return the lines of a part: what can be covered at all, then every threshold, and greedy decoding beneath."""
    tokens = len(greedy)
    fills = [EMPTY, *shades(len(masks) - 1)]
    levels = [heights(mask, size, HIGH) for mask in masks]
    under = heights(greedy, size, GREEDY)
    found = []
    for first in range(0, max(1, -(-tokens // size)), CELLS):
        line = slice(first, first + CELLS)
        areas = [area(high[line], HIGH, fill) for high, fill in zip(levels, fills, strict=True)]
        areas.append(area(under[line], HIGH + GAP + GREEDY, INK))
        found.append(strip("".join(areas), min(CELLS, -(-tokens // size) - first), name))
    return found


def _numbers(report: WorkReport, work: WorkMeasured) -> Iterable[list[str]]:
    level = level_of(report["thresholds"], report["options"]["threshold"])
    mask = Covered(work, report["options"]).at_least(level)
    for part in work["parts"]:
        greedy, *others = part["reached"]
        stretch = longest(mask[part["token"] : part["token"] + part["tokens"]])
        shares = [percent(entry["share"]) for entry in (*others, greedy)]
        yield [work["name"], part["title"], f"{part['tokens']:,}", *shares, counted(stretch, "token")]
