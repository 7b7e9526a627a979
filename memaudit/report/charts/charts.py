"""Charts as inline SVG: no script, no font and no address from outside, the same bytes every time.

Charts are described as Vega-Lite does it, in JSON: what writes that JSON from Python objects takes as long as all
else of a small audit.

Each chart is drawn in two widths; the page shows the one that fits. Colours are plain attributes, which
the style sheet replaces in the dark; a chart is therefore legible without any style sheet. Beside the
picture stand its title, a description in words, and the numbers as a table.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from memaudit.report.charts.drawing import drawn, get_ready
from memaudit.report.charts.svg import FONT, opening
from memaudit.report.wording import between, interval, visible
from memaudit.runs.extraction_report import CountedDoseRate, DoseRate, MetricEstimate
from memaudit.stats.rounding import percent

INK, MUTED, RULE, PAPER = "#1d1b18", "#5d5850", "#e2dccf", "#fbf9f4"
SERIES = ("#0072b2", "#d55e00", "#00805e", "#8f4a8a", "#6b6355", "#a8860b")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ((1, 0), (7, 3), (2, 3), (9, 3, 2, 3), (4, 2), (1, 2))
MAX_MARKED = 30
"""Points of a line, on average, from which on dashes tell lines apart instead of marks."""
WIDTHS = (("wide", 900), ("narrow", 330))
MAX_SERIES = len(SERIES)
Rows = list[dict[str, Any]]
"""What is drawn: fields are named by the encodings."""
Spec = dict[str, Any]
"""A part of a Vega-Lite specification."""
Doses = Sequence[tuple[str, Sequence[DoseRate] | Sequence[CountedDoseRate]]]
"""Names of models and their ``doses`` or ``counted_doses``."""
_DEFAULTS = "|".join(
    (r'font-weight="normal"', r'opacity="1"', r'stroke-width="1"', r'[xy]2="0"', r'text-anchor="start"',
     r'transform="translate\(0,0\)"')
)  # fmt: skip
"""Attributes that say what is so without them."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of the page."""

    id: str
    title: str
    description: str
    svgs: list[tuple[str, str]]
    """(width class, SVG element); the SVG holds no text from data other than escaped labels. None: not drawn here."""
    columns: list[str]
    rows: list[list[str]]
    """The numbers drawn, in words."""


def dose_chart(series: Doses, id: str) -> Chart | None:
    """Draw the verbatim rate against the copies of a passage in training, a line per model.

    Args:
        series: (name, doses of the report) of each model.
        id: Unique on the page: a letter, then letters, digits and hyphens.

    Returns:
        The chart, or None if fewer than two doses are known or there are more models than marks.
    """
    values: Rows = [
        {
            "series": visible(name),
            "copies": dose["copies"],
            "rate": dose["rate"],
            "low": dose["low"],
            "high": dose["high"],
        }
        for name, doses in series
        for dose in doses
        if dose["rate"] is not None
    ]
    copies = sorted({dose["copies"] for _, doses in series for dose in doses if dose["rate"] is not None})
    if len(copies) < 2 or len(series) > MAX_SERIES:
        return None
    names = [visible(name) for name, _ in series]
    rows = [
        [
            name,
            between(dose["copies"], cast("int | None", dose.get("most", dose["copies"]))),
            f"{dose['hits']:,} of {dose['n']:,}",
            percent(dose["rate"]),
            interval(dose),
        ]
        for name, doses in series
        for dose in doses
    ]
    return Chart(
        id=id,
        title="Reproduced word for word, by copies in the training text",
        description=_describe_doses(series, copies),
        svgs=draw(lambda width: _dose_layers(values, names, copies, width), id),
        columns=["Model", "Copies in training", "Reproduced", "Rate", "95% interval"],
        rows=rows,
    )


def interval_chart(estimates: Sequence[MetricEstimate], id: str) -> Chart | None:
    """Draw the rate of each metric with its interval, training beside held-out text.

    Args:
        estimates: The ``estimates`` of a report.
        id: Unique on the page: a letter, then letters, digits and hyphens.

    Returns:
        The chart, or None if no metric has a rate.
    """
    values = [
        {
            "metric": visible(e["label"]),
            "side": label,
            "rate": rate["rate"],
            "low": rate["low"],
            "high": rate["high"],
        }
        for e in estimates
        for rate, label in ((e["train"], "Training text"), (e["heldout"], "Held-out text"))
        if rate["rate"] is not None
    ]
    if not values:
        return None
    rows = [
        [e["label"], *(f"{percent(rate['rate'])} {interval(rate)}" for rate in (e["train"], e["heldout"]))]
        for e in estimates
    ]
    labels = [visible(e["label"]) for e in estimates]
    return Chart(
        id=id,
        title="Training text beside held-out text",
        description=(
            "Share of windows that count as copied under each metric, with 95% intervals: "
            "training text as filled circles, held-out text as open diamonds."
        ),
        svgs=draw(lambda width: _interval_layers(values, labels, width), id),
        columns=["Metric", "Training text", "Held-out text"],
        rows=rows,
    )


def _describe_doses(series: Doses, copies: Sequence[int]) -> str:
    last = ", ".join(
        f"{name} {percent(dose['rate'])}" for name, doses in series for dose in doses if dose["copies"] == copies[-1]
    )
    return (
        "Share of windows reproduced word for word, by how often the passage occurred in the training text; "
        "0 copies are passages that were never shown. Bands are 95% intervals. "
        f"At {copies[-1]:,} copies: {last}."
    )


def _dose_layers(values: Rows, names: list[str], copies: list[int], width: int) -> Spec:
    x = quantity(
        "copies",
        title="Copies in the training text",
        # log(1 + x) has a place for 0 and is otherwise near enough to the doubling scale of the doses.
        scale={"type": "symlog", "constant": 1, "domain": [0, copies[-1]], "nice": False},
        axis={
            "values": copies, "grid": False, "format": ",d", "labelOverlap": "greedy", "labelFlush": False,
            "titlePadding": 10,
        },
    )  # fmt: skip
    share = {"domain": [0, 1]}
    y = quantity("rate", title=None, scale=share, axis={"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]})
    return banded_lines(values, names, x, y, share, width)


def banded_lines(values: Rows, names: list[str], x: Spec, y: Spec, scale: Spec, width: int) -> Spec:
    """Return a line a series with its interval as a band, told apart by colour, and by mark or dash.

    Args:
        values: One row a point: ``series``, ``low``, ``high``, and the fields that ``x`` and ``y`` encode.
        names: Of the series, in the order of colours and marks.
        x: Encoding of the places.
        y: Encoding of the values.
        scale: Of ``y``, which the band shares.
        width: Of the plot.
    """
    wide = width > 400
    legend = {"title": None, "orient": "top", "symbolSize": 80, "columns": 0 if wide else 2, "labelLimit": width}

    def told_by(looks: Sequence[Any]) -> Spec:
        return category("series", names, looks[: len(names)], legend if len(names) > 1 else None)

    colour = told_by(SERIES)
    places = {"x": x, "y": y, "color": colour}
    band = {
        "mark": {"type": "area", "opacity": 0.11},
        "encoding": {"x": x, "y": quantity("low", scale=scale), "y2": {"field": "high"}, "color": colour},
    }
    size = {"width": width, "height": 340 if wide else 240}
    if len(values) > MAX_MARKED * len(names):  # marks would hide the line
        line = {"mark": {"type": "line", "strokeWidth": 2.2}, "encoding": {**places, "strokeDash": told_by(DASHES)}}
        return {"data": {"values": values}, **line, **size}
    line = {"mark": {"type": "line", "strokeWidth": 2.2, "strokeJoin": "round"}, "encoding": places}
    mark = {"type": "point", "filled": True, "size": 72, "opacity": 1, "stroke": PAPER, "strokeWidth": 1.2}
    dots = {"mark": mark, "encoding": {**places, "shape": told_by(SHAPES)}}
    return {"data": {"values": values}, "layer": [band, line, dots], **size}


def _interval_layers(values: Rows, labels: list[str], width: int) -> Spec:
    wide = width > 400
    sides = ["Training text", "Held-out text"]
    breaks = {label: "\n".join(textwrap.wrap(label, 30 if wide else 14)) for label in labels}
    values = [value | {"metric": breaks[value["metric"]]} for value in values]
    lines = {
        "ticks": False, "domain": False, "grid": False, "labelPadding": 12, "labelLimit": 220,
        "labelExpr": "split(datum.label, '\\n')",
    }  # fmt: skip
    share = {"domain": [0, 1]}
    ticks = {"format": ".0%", "labelFlush": False, "values": [0, 0.25, 0.5, 0.75, 1] if wide else [0, 0.5, 1]}
    legend = {"title": None, "orient": "top", "symbolSize": 80}
    places = {
        "y": {"field": "metric", "type": "nominal", "sort": list(breaks.values()), "title": None, "axis": lines},
        "yOffset": {"field": "side", "type": "nominal", "sort": sides, "scale": {"paddingOuter": 0.9}},
        "color": category("side", sides, SERIES[:2], legend),
    }
    rules = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {**places, "x": quantity("low", scale=share), "x2": {"field": "high"}},
    }
    dots = {
        "mark": {"type": "point", "size": 70, "strokeWidth": 2, "opacity": 1},
        "encoding": {
            **places,
            "x": quantity("rate", title=None, scale=share, axis=ticks),
            "shape": category("side", sides, ["circle", "diamond"], legend),
            "fill": category("side", sides, [SERIES[0], PAPER], legend),
        },
    }
    size = {"width": width * 7 // 10, "height": (46 if wide else 58) * len(labels)}
    return {"data": {"values": values}, "layer": [rules, dots], **size}


def quantity(field: str, **more: Any) -> Spec:
    """Return the encoding of a number, with what else Vega-Lite is to know of it: scale, axis, title."""
    return {"field": field, "type": "quantitative", **more}


def category(field: str, names: Sequence[str], looks: Sequence[Any], legend: Spec | None) -> Spec:
    """Return the encoding of a name by a look: a colour, a mark or dashes, in the order of the names."""
    scale = {"domain": list(names), "range": list(looks)}
    return {"field": field, "type": "nominal", "sort": list(names), "scale": scale, "legend": legend}


def draw(layers: Callable[[int], Spec], id: str) -> list[tuple[str, str]]:
    """Return the pictures of a chart in all widths, as (width class, SVG); none where they cannot be drawn.

    Args:
        layers: Width of the plot -> Vega-Lite specification.
        id: Of the figure; ids within the SVG begin with it.
    """
    get_ready()
    pictures = []
    for name, width in WIDTHS:
        svg = drawn(json.dumps({"config": _config(width), **layers(width - 60)}))
        if svg is None:
            return []
        pictures.append((name, _embed(svg, id, f"{id}-{name}-")))
    return pictures


def _config(width: int) -> Spec:
    size = 13 if width > 400 else 12
    return {
        "aria": False,
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": MUTED,
            "titleColor": MUTED,
            "labelFontSize": size,
            "titleFontSize": size,
            "titleFontWeight": "normal",
            "gridColor": RULE,
            "domainColor": RULE,
            "tickColor": RULE,
            "labelPadding": 7,
        },
        "legend": {
            "labelColor": INK,
            "labelFontSize": size,
            "columnPadding": 22,
            "offset": 14,
            "symbolOpacity": 1,
            "symbolStrokeWidth": 2,
        },
    }


def _embed(svg: str, id: str, prefix: str) -> str:
    """Return an SVG fit to stand inside an HTML page: named by its figure, with ids of its own."""
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r' (?:aria-[\w-]+|role|class|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(rf" (?:{_DEFAULTS})", "", svg)
    if "<clipPath" not in svg:
        svg = re.sub(r'<path d="[^"]*"(?: display="none")?/>', "", svg)  # neither filled nor stroked
    svg = _without_bare_groups(svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)
    svg = re.sub(r"(\.\d\d)\d+", r"\1", svg)  # a hundredth of a pixel
    svg = svg.replace(f' font-family="{FONT}"', "")  # once, at the root
    head, _, body = svg.partition(">")
    size = re.search(r'width="(\d+(?:\.\d+)?)" height="(\d+(?:\.\d+)?)"', head)
    if size is None:
        raise ValueError("vl-convert wrote an SVG without a size")
    width, height = size.groups()
    return f"{opening(id, width, height)}{body}"


def _without_bare_groups(svg: str) -> str:
    """Return an SVG without the groups that have no attribute: a tenth of its bytes."""
    kept, bare = [], list[bool]()
    for part in re.split(r"(<g(?: [^>]*)?>|</g>)", svg):
        if part.endswith("/>") or not part.startswith(("<g", "</g>")):
            kept.append(part)
            continue
        if part != "</g>":
            bare.append(part == "<g>")
        if not (bare.pop() if part == "</g>" else bare[-1]):
            kept.append(part)
    return "".join(kept)
