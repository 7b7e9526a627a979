"""Any lines with their intervals as a chart: what measures and laws draw."""

from __future__ import annotations

from typing import Any

from memaudit.report.charts.charts import MAX_SERIES, Chart, Rows, Spec, banded_lines, draw, quantity
from memaudit.report.wording import visible
from memaudit.runs.parts import Graph
from memaudit.stats.rounding import percent, significant

MAX_TICKS = 9
DECADES = (0.0001, 0.001, 0.01, 0.1, 1)
"""Ticks of shares on a logarithmic axis."""
SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)
"""Ticks of shares along a linear axis."""


def graph_chart(graph: Graph, id: str) -> Chart | None:
    """Draw a graph (`memaudit.sections.Graph` as a report holds it).

    Returns:
        The chart, or None if no line has two points or there are more lines than marks.
    """
    lines = [s for s in graph["series"] if any(point[1] is not None for point in s["points"])]
    if not lines or len(lines) > MAX_SERIES or max(len(s["points"]) for s in lines) < 2:
        return None
    values: Rows = [
        {
            "series": visible(s["name"]),
            "x": x,
            "y": y,
            "low": y if low is None else low,
            "high": y if high is None else high,
        }
        for s in lines
        for x, y, low, high in s["points"]
        if x is not None
        and y is not None
        and not (graph["x_scale"] == "log" and x <= 0)
        and not (_is_log(graph) and y <= 0)
    ]
    years = _are_years([value["x"] for value in values])
    return Chart(
        id=id,
        title=graph["title"],
        description=graph["description"],
        svgs=draw(lambda width: _layers(graph, values, [visible(s["name"]) for s in lines], width), id),
        columns=["Line", graph["x"], graph["y"], "95% interval"],
        rows=[[s["name"], *_row(point, graph, years)] for s in lines for point in s["points"]],
    )


def _row(point: list[float | None], graph: Graph, years: bool) -> list[str]:
    x, y, low, high = point
    words, places = (percent if share else significant for share in (graph["y_share"], graph.get("x_share", False)))
    place = str(int(x)) if years and x is not None else places(x)
    return [place, words(y), words(None) if low is None else f"[{words(low)}, {words(high)}]"]


def _are_years(places: list[float]) -> bool:
    """Return whether all places are whole numbers of four digits: 2020 is neither 2.02k nor 2,020."""
    return all(place == int(place) and 1000 <= place < 10_000 for place in places)


def _layers(graph: Graph, values: Rows, names: list[str], width: int) -> Spec:
    x = quantity("x", title=visible(graph["x"]), scale=_x_scale(graph, values), axis=_x_axis(graph, values))
    share = graph["y_share"]
    if _is_log(graph):
        places = [v["y"] for v in values]
        y = quantity("y", title=visible(graph["y"]), scale=_log(places), axis=_decades(places))
        return banded_lines(values, names, x, y, _log(places), width)
    ticks: Spec = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]} if share else {"format": "~s"}
    scale: Spec = {"domain": [0, 1]} if share else {"zero": False}
    y = quantity("y", title=None if share else visible(graph["y"]), scale=scale, axis=ticks)
    return banded_lines(values, names, x, y, scale, width)


def _is_log(graph: Graph) -> bool:
    return bool(graph.get("y_scale") == "log")


def _log(shares: list[float]) -> Spec:
    return {"type": "log", "domain": [min(shares), 1], "nice": False}


def _decades(shares: list[float], **options: Any) -> Spec:
    ticks = [tick for tick in DECADES if tick >= min(shares)]
    return {"values": ticks, "format": ".3~%", "titlePadding": 10, **options}


def _x_scale(graph: Graph, values: Rows) -> Spec:
    if graph["x_scale"] == "symlog":
        return {"type": "symlog", "constant": 1, "domain": [0, max(v["x"] for v in values)], "nice": False}
    if graph.get("x_share") and graph["x_scale"] == "log":
        return _log([v["x"] for v in values])
    return {"type": graph["x_scale"], "nice": False, "zero": bool(graph.get("x_share"))}


def _x_axis(graph: Graph, values: Rows) -> Spec:
    """Put ticks where the points are, unless these are many; shares have ticks of their own, in percent."""
    if graph.get("x_share") and graph["x_scale"] == "log":
        return _decades([v["x"] for v in values], grid=False)
    if graph.get("x_share"):
        return {"values": SHARES, "grid": False, "format": ".0%", "labelOverlap": "greedy", "titlePadding": 10}
    places = sorted({v["x"] for v in values})
    every = -(-len(places) // MAX_TICKS)
    shown = "d" if _are_years(places) else "~s"
    return {
        "values": places[::every], "grid": False, "format": shown, "labelOverlap": "greedy", "titlePadding": 10
    }  # fmt: skip
