"""Any lines with their intervals as a chart: what measures and laws draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaudit.report.charts import MAX_SERIES, Chart, altair, banded_lines, draw
from memaudit.report.wording import percent, significant, visible

MOST_TICKS = 9


def graph_chart(graph: Mapping[str, Any], id: str) -> Chart | None:
    """Draw a graph (`memaudit.sections.Graph` as a dictionary).

    Returns:
        The chart, or None if no line has two points or there are more lines than marks.
    """
    lines = [s for s in graph["series"] if any(point[1] is not None for point in s["points"])]
    if not lines or len(lines) > MAX_SERIES or max(len(s["points"]) for s in lines) < 2:
        return None
    values = [
        {
            "series": visible(s["name"]),
            "x": x,
            "y": y,
            "low": y if low is None else low,
            "high": y if high is None else high,
        }
        for s in lines
        for x, y, low, high in s["points"]
        if y is not None and not (graph["x_scale"] == "log" and x <= 0)
    ]
    years = _are_years([value["x"] for value in values])
    return Chart(
        id=id,
        title=graph["title"],
        description=graph["description"],
        svgs=draw(lambda width: _layers(graph, values, [visible(s["name"]) for s in lines], width), id),
        columns=["Line", graph["x"], graph["y"], "95% interval"],
        rows=[[s["name"], *_row(point, graph["y_share"], years)] for s in lines for point in s["points"]],
    )


def _row(point: list[float | None], share: bool, years: bool) -> list[str]:
    x, y, low, high = point
    words = percent if share else significant
    place = str(int(x)) if years and x is not None else significant(x)
    return [place, words(y), words(None) if low is None else f"[{words(low)}, {words(high)}]"]


def _are_years(places: list[float]) -> bool:
    """Return whether all places are whole numbers of four digits: 2020 is neither 2.02k nor 2,020."""
    return all(place == int(place) and 1000 <= place < 10_000 for place in places)


def _layers(graph: Mapping[str, Any], values: list[dict[str, Any]], names: list[str], width: int) -> Any:
    alt = altair()
    x = alt.X("x:Q", title=visible(graph["x"]), scale=_x_scale(graph, values), axis=_x_axis(values))
    share = graph["y_share"]
    ticks = {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]} if share else {"format": "~s"}
    scale = alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=False)
    y = alt.Y("y:Q", title=None if share else visible(graph["y"]), scale=scale, axis=alt.Axis(**ticks))
    return banded_lines(values, names, x, y, scale, width)


def _x_scale(graph: Mapping[str, Any], values: list[dict[str, Any]]) -> Any:
    alt = altair()
    if graph["x_scale"] == "symlog":
        return alt.Scale(type="symlog", constant=1, domain=[0, max(v["x"] for v in values)], nice=False)
    return alt.Scale(type=graph["x_scale"], nice=False, zero=False)


def _x_axis(values: list[dict[str, Any]]) -> Any:
    """Put ticks where the points are, unless these are many."""
    alt = altair()
    places = sorted({v["x"] for v in values})
    every = -(-len(places) // MOST_TICKS)
    shown = "d" if _are_years(places) else "~s"
    return alt.Axis(values=places[::every], grid=False, format=shown, labelOverlap="greedy", titlePadding=10)
