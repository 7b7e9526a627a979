"""How like a document the items of a benchmark are, and what every rule makes of them: a row a rule.

Above its line stand the items that memaudit found, below it the others, each at the similarity of its likest document;
the full part of a row is what its rule convicts. So it shows at once how far the found items lie from the others, where
a rule convicts what memaudit does not, and what it misses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import memaudit.report.charts.svg as svg
from memaudit.report.charts.charts import INK, MUTED, SERIES, WIDTHS, Chart
from memaudit.report.charts.treemap import FILL
from memaudit.report.wording import counted, visible
from memaudit.runs.contamination_report import Likeness
from memaudit.stats.rounding import NONE, percent, short_count, stated

FOUND, OTHERS = FILL, SERIES[0]
FAINT = 0.3
"""Opacity of what a rule does not flag."""
MIN_TOP = 10
"""Items, at least, for which a row has room: so that one item is not as high as a hundred elsewhere."""
LEGEND = (
    (FOUND, 1.0, "found, and the rule flags it"),
    (FOUND, FAINT, "found, but the rule misses it"),
    (OTHERS, 1.0, "not found, but the rule flags it"),
    (OTHERS, FAINT, "not found, nor by the rule"),
)
ABOUT = (
    "Items by the similarity of the most similar document, a row a rule: above the line those that memaudit found,"
    " below it the others, at ‘none’ those without a similar document. Heights grow with the logarithm of the count."
    " From the broken line on, a text is similar enough to count as a copy."
)
SIZE = 12
NAMES = 232
"""Room for the names of rules beside their rows, in pixels."""
LONGEST_NAME = 36
"""Characters of a name that fit into it."""
MARKS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Similarities that the axis names."""


@dataclass(frozen=True, slots=True)
class Row:
    """A rule and the items that it flags, or ours and all items, counted in bins of similarity.

    The first bin is of the items that no document is like.
    """

    label: str
    found: list[int]
    """Those that memaudit found."""
    others: list[int]
    """Those that it did not find."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a picture stand, in pixels."""

    width: int
    beside: bool
    """Whether the names of the rules stand beside their rows, not above them."""
    bins: int
    side: int
    """Height of a row above its line, and below it."""

    @property
    def bin(self) -> int:
        """Width of a bin, in whole pixels so that bars meet; one more sets apart what no document is like."""
        return (self.width - (NAMES if self.beside else 0)) // (self.bins + 2)

    @property
    def left(self) -> int:
        """Where the first bin begins."""
        return self.width - self.bin * (self.bins + 2)

    @property
    def head(self) -> int:
        """Height of the legend and of the name of the line of least similarity."""
        return 78 if self.beside else 112

    def x(self, similarity: float) -> float:
        """Return where a similarity is."""
        return self.width - self.bin * self.bins * (1 - similarity)

    def edge(self, bin: int) -> int:
        """Return the left edge of a bin; bin 0 is of the items that no document is like."""
        return self.left + self.bin * (bin + (bin > 0))

    def line(self, row: int) -> float:
        """Return where the line of a row is."""
        pitch = 2 * self.side + (18 if self.beside else 54)
        counts = 14 if row else 0  # under the first row stand its counts
        return self.head + pitch * row + counts + (self.side if self.beside else self.side + 36) + 12

    def foot(self, rows: int) -> float:
        """Return where the axis under so many rows is."""
        return self.line(rows - 1) + self.side + 8


def likeness_chart(likeness: Likeness, labels: Mapping[str, str], id: str) -> Chart | None:
    """Draw the items of a benchmark by their likeness (``likeness`` of a report).

    Args:
        likeness: Counts by bin of similarity, verdict and rule.
        labels: Name of a rule -> how it is shown; ``memaudit`` among them.
        id: Unique on the page: a letter, then letters, digits and hyphens.

    Returns:
        The chart, or None if there is no item.
    """
    rows = _rows(likeness, labels)
    if not any(rows[0].found) and not any(rows[0].others):
        return None
    return Chart(
        id=id,
        title="How similar each item is to a document, and what every rule flags",
        description=_describe(likeness),
        svgs=[(name, _picture(rows, likeness["least"], id, width)) for name, width in WIDTHS],
        columns=["Similarity", "Rule", "Of those found", "Of the others"],
        rows=list(_numbers(rows)),
    )


def _rows(likeness: Likeness, labels: Mapping[str, str]) -> list[Row]:
    """Return our rule, with all items, then the published ones with those that they flag."""
    names = ["memaudit", *likeness["rules"]]
    rows = [Row(visible(labels.get(name, name)), *([0] * (likeness["bins"] + 1) for _ in range(2))) for name in names]
    for entry in likeness["counts"]:
        place = 0 if entry["bin"] is None else entry["bin"] + 1
        for row, count in zip(rows, [entry["items"], *entry["convicted"]], strict=False):
            side = row.found if entry["verdict"] == "contaminated" else row.others
            side[place] += max(0, count)
    return rows


def _describe(likeness: Likeness) -> str:
    total: Counter[str] = Counter()
    for entry in likeness["counts"]:
        total[entry["verdict"]] += max(0, entry["items"])
    ends = (
        ("the least similar item that was found has", likeness["lowest_found"]),
        ("the most similar of the others has", likeness["highest_other"]),
    )
    notes = [" and ".join(f"{words} {percent(value)}" for words, value in ends if value is not None)]
    left = (("not judged", "not judged"), ("undecided", "undecided"))
    said = [f"{counted(total[verdict], 'is', 'are')} {words}" for verdict, words in left if total[verdict]]
    notes += [f"of the others, {' and '.join(said)}"] if said else []
    return " ".join([ABOUT, *(f"{note[0].upper()}{note[1:]}." for note in notes if note)])


def _numbers(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Yield what is drawn as cells, bin by bin; bins without an item are left out."""
    whole = rows[0]
    bins = len(whole.found) - 1
    for bin in range(bins + 1):
        if not whole.found[bin] and not whole.others[bin]:
            continue
        name = f"{stated((bin - 1) / bins)} to {stated(bin / bins)}" if bin else "no similar document"
        for row in rows:
            others = [_of(0 if row is whole else row.others[bin], whole.others[bin])]
            yield [name, row.label, _of(row.found[bin], whole.found[bin]), *others]


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" if whole else NONE


def _picture(rows: Sequence[Row], least: float, id: str, width: int) -> str:
    """Draw by hand: every place is known in pixels, and what draws the other charts takes most of a second to start."""
    wide = width > 400
    shown = rows if wide else [_coarser(row) for row in rows]
    layout = Layout(width, wide, len(shown[0].found) - 1, 32 if wide else 22)
    foot = layout.foot(len(shown))
    shapes = [
        *_bars(shown, layout),
        *_swatches(layout),
        *_lines(len(shown), layout),
        svg.line(layout.x(least), layout.x(least), layout.head, foot, MUTED, dashes="4 3"),
        *_legend(layout),
        *_names(shown, layout),
        *_counts(shown[0], layout),
        *_axis(len(shown), least, layout),
    ]
    return "".join([svg.opening(id, width, int(foot) + 46), *shapes, "</svg>"])


def _coarser(row: Row) -> Row:
    """Return a row with bins of twice the width, for a small screen."""
    found, others = ([side[0], *map(sum, zip(side[1::2], side[2::2], strict=True))] for side in (row.found, row.others))
    return Row(row.label, found, others)


def _bars(rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """Yield the bars of every row: what all rows have, pale, and over it what the row's rule flags."""
    whole = rows[0]
    for number, row in enumerate(rows):
        drawn = [(FOUND, FAINT, whole.found, -1), (OTHERS, FAINT, whole.others, 1), (FOUND, 1.0, row.found, -1)]
        drawn += [(OTHERS, 1.0, row.others, 1)] * (row is not whole)
        for fill, opacity, counts, side in drawn:
            for bin, height in enumerate(_heights(counts, whole, layout)):
                if height:
                    x, y = layout.edge(bin), layout.line(number)
                    yield svg.box(x, x + layout.bin, y, y + side * height, fill, opacity)


def _heights(counts: Sequence[int], whole: Row, layout: Layout) -> list[float]:
    """Return how high counts are: the most items of a bin, on either side, fill a row."""
    top = math.log1p(max(MIN_TOP, *whole.found, *whole.others))
    return [layout.side * math.log1p(count) / top for count in counts]


def _lines(rows: int, layout: Layout) -> Iterator[str]:
    """Yield the line of every row, in two parts, and the marks of the axis."""
    ends = ((layout.edge(0), layout.edge(0) + layout.bin), (layout.edge(1), float(layout.width)))
    for row in range(rows):
        for start, end in ends:
            yield svg.line(start, end, layout.line(row), layout.line(row), MUTED)
    for mark in MARKS:
        yield svg.line(layout.x(mark), layout.x(mark), layout.foot(rows), layout.foot(rows) + 5, MUTED)


def _swatches(layout: Layout) -> Iterator[str]:
    for number, (fill, opacity, _) in enumerate(LEGEND):
        x, y = _legend_place(number, layout)
        yield svg.box(x, x + 12, y - 6, y + 6, fill, opacity)


def _legend(layout: Layout) -> Iterator[str]:
    for number, (_, _, text) in enumerate(LEGEND):
        x, y = _legend_place(number, layout)
        yield _text(x + 20, y, text, INK)


def _legend_place(number: int, layout: Layout) -> tuple[float, float]:
    if layout.beside:
        return layout.left + number % 2 * 290, 8 + number // 2 * 22
    return 0, 8 + number * 20


def _names(rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """Yield the name of every rule and how many items it flags, beside its row or above it."""
    found, others = sum(rows[0].found), sum(rows[0].others)
    for number, row in enumerate(rows):
        parts = [(sum(row.found), found, "found")] * bool(found) + [(sum(row.others), others, "others")] * bool(others)
        said = [f"{_of(n, whole)} {name}" for n, whole, name in parts]
        if number == 0:
            said = [f"{found:,} found", f"{others:,} others"]
        y = layout.line(number) - (9 if layout.beside else layout.side + 27)
        yield _text(0, y, _fitting(row.label), INK)
        yield _text(0, y + 17, ", ".join(said))


def _counts(whole: Row, layout: Layout) -> Iterator[str]:
    """Yield how many items stand in each bin, above and below the first row."""
    for side, counts in ((-1, whole.found), (1, whole.others)):
        for bin, height in enumerate(_heights(counts, whole, layout)):
            if height:
                x, y = layout.edge(bin) + layout.bin / 2, layout.line(0) + side * (height + 8)
                yield _text(x, y, short_count(counts[bin]), anchor="middle")


def _axis(rows: int, least: float, layout: Layout) -> Iterator[str]:
    y = layout.foot(rows) + 15
    yield _text(layout.edge(0) + layout.bin / 2, y, "none", anchor="middle")
    for mark in MARKS:
        yield _text(layout.x(mark), y, stated(mark), anchor="middle")
    yield _text((layout.x(0) + layout.width) / 2, y + 20, "similarity of the most similar document", anchor="middle")
    yield _text(layout.x(least), layout.head - 8, stated(least), anchor="middle")


def _text(x: float, y: float, text: str, fill: str = MUTED, anchor: Literal["start", "middle"] = "start") -> str:
    return svg.label(x, y, text, fill, SIZE, anchor)


def _fitting(name: str) -> str:
    """Return a name that has room beside its row, cut short if need be."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
