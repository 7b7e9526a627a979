"""What of a work was had back, given and missed, by position: a row a work, from its first word to its last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

import memaudit.report.charts.svg as svg
from memaudit.records import FloatArray
from memaudit.report.charts.charts import INK, MUTED, SERIES, WIDTHS, Chart
from memaudit.report.charts.treemap import FILL
from memaudit.report.wording import visible
from memaudit.runs.reconstruction_report import ReconstructedWork
from memaudit.stats.rounding import percent, short_count

GIVEN = SERIES[-2]
SIZE, ROW, HEIGHT = 12, 58, 22
"""Height of letters, of a row with its name, and of its bar, in pixels."""
STEPS = 4
"""Shares of a cell that are told apart."""
FAINT = 0.35
"""Opacity of passages that have fewer words than those of the verdict."""
PARTS = 10
"""Parts of a work in the table."""
ABOUT = (
    "From the first word to the last: full height, had back in passages of at least {least} words; faint, in shorter"
    " ones; half height, given; the line alone, neither."
)


def reconstruction_chart(works: Sequence[ReconstructedWork], id: str) -> Chart:
    """Draw where in the works passages were had back.

    Args:
        works: Of a report; at least one.
        id: Unique on the page: a letter, then letters, digits and hyphens.
    """
    least = works[0]["recall"][0]["least"]
    return Chart(
        id=id,
        title="Where in the work",
        description=ABOUT.format(least=least),
        svgs=[(name, _picture(works, least, width, id)) for name, width in WIDTHS],
        columns=["Work", "Words", "Had back", "In shorter passages", "Given"],
        rows=[row for work in works for row in _rows(work, least)],
    )


def _shares(pieces: Iterable[tuple[int, int]], words: int, cells: int) -> FloatArray:
    """Return which share of every cell, of so many that a work is cut into, lies in pieces (first word, words)."""
    edges, shares = np.linspace(0, words, cells + 1), np.zeros(cells)
    for first, count in pieces:
        begin = max(0, int(np.searchsorted(edges, first, side="right")) - 1)
        end = int(np.searchsorted(edges, first + count))
        low, high = np.maximum(edges[begin:end], first), np.minimum(edges[begin + 1 : end + 1], first + count)
        shares[begin:end] += np.maximum(0, high - low)
    return np.minimum(1, shares / max(words / cells, 1e-9))


def _layers(work: ReconstructedWork, least: int, cells: int) -> list[FloatArray]:
    """Return the shares of cells that were had back in long passages, in shorter ones, and that were given."""
    places = [(p["work"]["word"], p["work"]["words"], p["words"] >= least) for p in work["passages"]]
    given = [(piece["place"]["word"], piece["place"]["words"]) for piece in work["given"]]
    kinds = ([(first, count) for first, count, long in places if long == kind] for kind in (True, False))
    return [_shares(pieces, work["words"], cells) for pieces in (*kinds, given)]


def _rows(work: ReconstructedWork, least: int) -> Iterator[list[str]]:
    count = min(PARTS, max(1, work["words"]))
    edges = np.linspace(0, work["words"], count + 1).astype(int).tolist()
    for place, shares in enumerate(zip(*_layers(work, least, count), strict=True)):
        yield [work["name"], f"{edges[place] + 1:,}–{edges[place + 1]:,}", *map(percent, shares)]


def _picture(works: Sequence[ReconstructedWork], least: int, width: int, id: str) -> str:
    shapes: list[str] = []
    for number, work in enumerate(works):
        top = number * ROW
        name = visible(work["name"]) + (" (control)" if work["control"] else "")
        most = int(width / 7.5) - 22
        name = name if len(name) <= most else f"{name[: most - 1]}…"
        share = percent(work["recall"][0]["share"])
        shapes.append(svg.label(0, top + 8, f"{name}: {share}", INK, SIZE))
        shapes += _bar(work, least, width, top + 20)
    foot = len(works) * ROW + 8
    longest = max(work["words"] for work in works)
    words = f"word {short_count(longest)}" if len(works) == 1 else "last word"
    shapes += [svg.label(0, foot, "first word", MUTED, SIZE)]
    shapes += [svg.label(width - 6.5 * len(words), foot, words, MUTED, SIZE)]
    return "".join([svg.opening(id, width, foot + 14), *shapes, "</svg>"])


def _bar(work: ReconstructedWork, least: int, width: int, top: int) -> Iterator[str]:
    bottom = top + HEIGHT
    yield svg.line(0, width, bottom, bottom, MUTED)
    heights = (HEIGHT, FILL, 1.0), (HEIGHT, FILL, FAINT), (HEIGHT / 2, GIVEN, 1.0)
    for shares, (height, fill, opacity) in zip(_layers(work, least, width), heights, strict=True):
        levels = np.ceil(shares * STEPS).astype(int)
        cuts = [0, *(np.flatnonzero(np.diff(levels)) + 1).tolist(), len(levels)]
        for first, last in pairwise(cuts):
            if level := int(levels[first]):
                yield svg.box(first, last, bottom - height, bottom, fill, opacity * level / STEPS)
