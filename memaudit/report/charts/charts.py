"""Charts as inline SVG: no script, no font and no address from outside, the same bytes every time.

Each chart is drawn in two widths; the page shows the one that fits. Colours are plain attributes, which
the style sheet replaces in the dark; a chart is therefore legible without any style sheet. Beside the
picture stand its title, a description in words, and the numbers as a table.
"""

from __future__ import annotations

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
"""What is drawn, as Altair takes it: fields are named by the encodings."""
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


def _dose_layers(values: Rows, names: list[str], copies: list[int], width: int) -> Any:
    alt = altair()
    # log(1 + x) has a place for 0 and is otherwise near enough to the doubling scale of the doses.
    scale = alt.Scale(type="symlog", constant=1, domain=[0, copies[-1]], nice=False)
    ticks = alt.Axis(values=copies, grid=False, format=",d", labelOverlap="greedy", labelFlush=False, titlePadding=10)
    x = alt.X("copies:Q", title="Copies in the training text", scale=scale, axis=ticks)
    share = alt.Scale(domain=[0, 1])
    y = alt.Y("rate:Q", title=None, scale=share, axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]))
    return banded_lines(values, names, x, y, share, width)


def banded_lines(values: Rows, names: list[str], x: Any, y: Any, scale: Any, width: int) -> Any:
    """Return a line a series with its interval as a band, told apart by colour, and by mark or dash.

    Args:
        values: One row a point: ``series``, ``low``, ``high``, and the fields that ``x`` and ``y`` encode.
        names: Of the series, in the order of colours and marks.
        x: Encoding of the places.
        y: Encoding of the values.
        scale: Of ``y``, which the band shares.
        width: Of the plot.
    """
    alt = altair()
    legend = alt.Legend(title=None, orient="top", symbolSize=80, columns=0 if width > 400 else 2, labelLimit=width)
    guide = {"legend": legend if len(names) > 1 else None}
    colour = alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=list(SERIES[: len(names)])), **guide)
    shape = alt.Shape("series:N", sort=names, scale=alt.Scale(domain=names, range=list(SHAPES[: len(names)])), **guide)
    base = alt.Chart(alt.Data(values=values))
    band = base.mark_area(opacity=0.11).encode(x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", color=colour)
    if len(values) > MAX_MARKED * len(names):  # marks would hide the line
        dashes = alt.Scale(domain=names, range=[list(dash) for dash in DASHES[: len(names)]])
        dash = alt.StrokeDash("series:N", sort=names, scale=dashes, **guide)
        line = base.mark_line(strokeWidth=2.2).encode(x=x, y=y, color=colour, strokeDash=dash)
        return line.properties(width=width, height=340 if width > 400 else 240)
    line = base.mark_line(strokeWidth=2.2, strokeJoin="round").encode(x=x, y=y, color=colour)
    dots = base.mark_point(filled=True, size=72, opacity=1, stroke=PAPER, strokeWidth=1.2).encode(
        x=x, y=y, color=colour, shape=shape
    )
    return alt.layer(band, line, dots).properties(width=width, height=340 if width > 400 else 240)


def _interval_layers(values: Rows, labels: list[str], width: int) -> Any:
    alt = altair()
    sides = ["Training text", "Held-out text"]
    breaks = {label: "\n".join(textwrap.wrap(label, 30 if width > 400 else 14)) for label in labels}
    values = [value | {"metric": breaks[value["metric"]]} for value in values]
    lines = "split(datum.label, '\\n')"
    axis = alt.Axis(ticks=False, domain=False, grid=False, labelPadding=12, labelLimit=220, labelExpr=lines)
    y = alt.Y("metric:N", sort=list(breaks.values()), title=None, axis=axis)
    offset = alt.YOffset("side:N", sort=sides, scale=alt.Scale(paddingOuter=0.9))
    x_axis = alt.Axis(format=".0%", labelFlush=False, values=[0, 0.25, 0.5, 0.75, 1] if width > 400 else [0, 0.5, 1])
    x = alt.X("rate:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=x_axis)
    legend = alt.Legend(title=None, orient="top", symbolSize=80)
    colour = alt.Color("side:N", sort=sides, scale=alt.Scale(domain=sides, range=list(SERIES[:2])), legend=legend)
    marks = alt.Scale(domain=sides, range=["circle", "diamond"])
    shape = alt.Shape("side:N", sort=sides, scale=marks, legend=legend)
    fills = alt.Scale(domain=sides, range=[SERIES[0], PAPER])
    fill = alt.Fill("side:N", sort=sides, scale=fills, legend=legend)
    base = alt.Chart(alt.Data(values=values))
    rules = base.mark_rule(strokeWidth=2).encode(
        y=y, yOffset=offset, x=alt.X("low:Q", scale=alt.Scale(domain=[0, 1])), x2="high:Q", color=colour
    )
    dots = base.mark_point(size=70, strokeWidth=2, opacity=1).encode(
        y=y, yOffset=offset, x=x, color=colour, shape=shape, fill=fill
    )
    return alt.layer(rules, dots).properties(width=width * 7 // 10, height=(46 if width > 400 else 58) * len(labels))


def altair() -> Any:
    """Import altair late, and untyped: its generated signatures say less than the grammar they stand for."""
    import altair

    return altair


def draw(layers: Callable[[int], Any], id: str) -> list[tuple[str, str]]:
    """Return the pictures of a chart in all widths, as (width class, SVG); none where they cannot be drawn.

    Args:
        layers: Width of the plot -> altair chart.
        id: Of the figure; ids within the SVG begin with it.
    """
    get_ready()
    pictures = []
    for name, width in WIDTHS:
        try:
            chart = layers(width - 60).configure(**_config(width))
        except ImportError:  # a broken altair costs the pictures, not the page
            return []
        svg = drawn(chart.to_json(indent=None))
        if svg is None:
            return []
        pictures.append((name, _embed(svg, id, f"{id}-{name}-")))
    return pictures


def _config(width: int) -> dict[str, object]:
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
