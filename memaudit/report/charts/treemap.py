"""What a corpus is made of, as areas: a domain a rectangle, the deeper its colour the more of it is reproduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.report.charts.charts import INK, PAPER, Chart, Spec, draw, quantity
from memaudit.report.wording import Bounds, interval, visible
from memaudit.runs.extraction_report import DomainShare
from memaudit.stats.rounding import NONE, percent

FILL = "#b00020"
FAINTEST, DEEPEST = 0.07, 0.42
"""Opacity of the fill at rates of 0 and 1: ink stays legible on either."""
MAX_DOMAINS = 24
SIGN = 7.2
"""Width of a sign of a label, and more."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle, in units of the whole area."""

    x: float
    y: float
    width: float
    height: float


def treemap(domains: Sequence[DomainShare], id: str) -> Chart | None:
    """Draw the domains of a training text (``composition`` of a report).

    Args:
        domains: Each with its ``documents``, the largest first.
        id: Unique on the page: a letter, then letters, digits and hyphens.

    Returns:
        The chart, or None where there are fewer than two domains.
    """
    shown = [domain for domain in domains if domain["documents"] > 0][:MAX_DOMAINS]
    if len(shown) < 2:
        return None
    total = sum(domain["documents"] for domain in domains)
    return Chart(
        id=id,
        title="The training text by domain",
        description="Areas are documents; the deeper the colour, the more of the windows are reproduced word for word.",
        svgs=draw(lambda width: _picture(shown, total, width), id),
        columns=["Domain", "Documents", "Share", "Verbatim", "95% interval"],
        rows=[
            [d["domain"], f"{d['documents']:,}", percent(d["documents"] / total), _rate(d), interval(d["train"] or _NO)]
            for d in domains
        ],
    )


def squarify(areas: Sequence[float], width: float, height: float) -> list[Tile]:
    """Return a tile for each area, near to squares, that fill a rectangle together (Bruls et al. 2000).

    Args:
        areas: Positive, the largest first.
        width: Of the rectangle.
        height: Of the rectangle.
    """
    scale = width * height / sum(areas)
    left = [area * scale for area in areas]
    x = y = 0.0
    tiles: list[Tile] = []
    while left:
        side = min(width, height)
        count = 1
        while count < len(left) and _worst(left[: count + 1], side) <= _worst(left[:count], side):
            count += 1
        row, left = left[:count], left[count:]
        depth, along = sum(row) / side, 0.0
        for area in row:
            size = area / depth
            tile = Tile(x, y + along, depth, size) if width >= height else Tile(x + along, y, size, depth)
            tiles.append(tile)
            along += size
        if width >= height:
            x, width = x + depth, width - depth
        else:
            y, height = y + depth, height - depth
    return tiles


def _worst(row: Sequence[float], side: float) -> float:
    """Return the largest ratio of the sides of a tile, were this the next row."""
    total = sum(row)
    return max(max(side**2 * area / total**2, total**2 / (side**2 * area)) for area in row)


def _picture(domains: Sequence[DomainShare], total: int, width: int) -> Spec:
    height = 300 if width > 400 else 260
    tiles = squarify([domain["documents"] for domain in domains], width, height)
    values = [_tile(domain, tile, total) for domain, tile in zip(domains, tiles, strict=True)]
    corner = {
        "x": quantity("x", axis=None, scale={"domain": [0, width], "nice": False}),
        "y": quantity("y", axis=None, scale={"domain": [height, 0], "nice": False}),
    }
    ends = {"x2": {"field": "x2"}, "y2": {"field": "y2"}, "fillOpacity": quantity("opacity", scale=None)}
    areas = {
        "mark": {"type": "rect", "fill": FILL, "stroke": PAPER, "strokeWidth": 3},
        "encoding": {**corner, **ends},
    }
    text = {"type": "text", "fill": INK, "dx": 12, "align": "left", "baseline": "top", "limit": width}
    names, rates = (
        {
            "mark": {**text, "fontSize": size, "dy": y},
            "encoding": {**corner, "text": {"field": field, "type": "nominal"}},
        }
        for field, size, y in (("name", 14, 12), ("rate", 12, 32))
    )
    return {"data": {"values": values}, "layer": [areas, names, rates], "width": width, "height": height}


def _tile(domain: DomainShare, tile: Tile, total: int) -> dict[str, object]:
    rate = None if domain["train"] is None else domain["train"]["rate"]
    room = int((tile.width - 20) / SIGN) if tile.height > 48 else 0
    words = f"{percent(domain['documents'] / total)} of the documents, {_rate(domain)} reproduced"
    short = f"{_rate(domain)} reproduced"
    return {
        "x": tile.x,
        "x2": tile.x + tile.width,
        "y": tile.y,
        "y2": tile.y + tile.height,
        "opacity": FAINTEST + (DEEPEST - FAINTEST) * (rate or 0.0),
        "name": _fitting(visible(str(domain["domain"])), room),
        "rate": words if len(words) <= room else short if len(short) <= room else "",
    }


def _fitting(text: str, room: int) -> str:
    if len(text) <= room:
        return text
    return f"{text[: room - 1]}…" if room > 3 else ""


def _rate(domain: DomainShare) -> str:
    return percent(domain["train"]["rate"]) if domain["train"] else NONE


_NO: Bounds = {"low": None, "high": None}
