"""How much of each window was copied: training text above the line, held-out text below it, a row a domain."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.report.charts.charts import MUTED, SERIES, Chart, Spec, category, draw, quantity
from memaudit.report.wording import visible
from memaudit.runs.extraction_report import Distribution, DistributionGroup
from memaudit.stats.rounding import percent, significant

MAX_ROWS = 6
"""All text and the domains with the most windows."""
TOPS = (0.25, 0.5, 1.0)
"""Shares at which the axis may end."""
MARKS = (0.05, 0.25, 1.0)
"""Shares that the axis names, the first of them where there is room."""
SIDES = ("Training text", "Held-out text")


def distribution_chart(distribution: Distribution, id: str, *, by_domain: bool = True) -> Chart | None:
    """Draw the distribution of a metric (an entry of ``distributions`` of a report).

    Args:
        distribution: Counts of both sides in bins, of all text and of each domain.
        id: Unique on the page: a letter, then letters, digits and hyphens.
        by_domain: Whether there is a row for every domain beside that of all text.

    Returns:
        The chart, or None if no window has a value.
    """
    groups = [group for group in distribution["groups"] if any(group["train"]) or any(group["heldout"])]
    groups = [*groups[:1], *sorted(groups[1:], key=_windows, reverse=True)[: by_domain * (MAX_ROWS - 1)]]
    if not groups:
        return None
    edges, unit = distribution["edges"], distribution["unit"]
    shown = [percent(edge) if unit == "share" else f"{edge:g}" for edge in edges]
    return Chart(
        id=id,
        title=f"{distribution['label']}, window by window",
        description=_describe(groups[0], unit, sampled="sampled" in distribution),
        svgs=draw(lambda width: _rows(groups, edges, unit, width), id),
        columns=["Text", f"{distribution['label']} from", "to", *SIDES],
        rows=[
            [_name(group), shown[i], shown[i + 1], *(f"{side[i]:,}" for side in (group["train"], group["heldout"]))]
            for group in groups
            for i in range(len(edges) - 1)
        ],
    )


def _describe(whole: DistributionGroup, unit: str, *, sampled: bool) -> str:
    medians = [
        f"{name.lower()} {percent(median) if unit == 'share' else f'{significant(median)} {unit}'}"
        for name, median in zip(SIDES, (whole["train_median"], whole["heldout_median"]), strict=True)
        if median is not None
    ]
    return (
        f"Share of {'a random sample of ' if sampled else ''}windows by how much of the true text the continuation"
        " holds: training text above the line, held-out text below it. Heights"
        f" grow with the square root of the share. Medians: {', '.join(medians)}."
    )


def _rows(groups: Sequence[DistributionGroup], edges: Sequence[float], unit: str, width: int) -> Spec:
    most = max(max(_shares(side)) for group in groups for side in (group["train"], group["heldout"]))
    top = next(step for step in TOPS if step >= most)
    rows = [
        _row(group, edges, unit, width, top, first=place == 0, last=place == len(groups) - 1)
        for place, group in enumerate(groups)
    ]
    return {"vconcat": rows, "spacing": 14}


def _row(
    group: DistributionGroup,
    edges: Sequence[float],
    unit: str,
    width: int,
    top: float,
    *,
    first: bool,
    last: bool,
) -> Spec:
    values = [
        {"side": name, "from": low, "to": high, "share": sign * share}
        for name, sign, windows in zip(SIDES, (1, -1), (group["train"], group["heldout"]), strict=True)
        for low, high, share in zip(edges[:-1], edges[1:], _shares(windows), strict=True)
        if share
    ]
    legend = {"title": None, "orient": "top", "symbolType": "square"} if first else None
    bars = {
        "data": {"values": values},
        "mark": {"type": "bar", "binSpacing": 0, "stroke": None},
        "encoding": {
            "x": _across(edges, unit, last=last),
            "x2": {"field": "to"},
            "y": _upwards(top, first=first),
            "y2": {"datum": 0},
            "color": category("side", SIDES, SERIES[:2], legend),
        },
    }
    rule = {"type": "rule", "stroke": MUTED, "strokeWidth": 1}
    line = {"data": {"values": [{}]}, "mark": rule, "encoding": {"y": {"datum": 0}}}
    title = {
        "text": visible(_name(group)), "anchor": "start", "fontWeight": "normal", "fontSize": 13, "color": MUTED,
        "offset": 12,
    }  # fmt: skip
    return {"layer": [bars, line], "title": title, "width": width, "height": 150 if first else 96}


def _across(edges: Sequence[float], unit: str, *, last: bool) -> Spec:
    """Return the encoding of the bins; the last row alone names them."""
    axis = {
        "grid": False,
        "values": list(edges[:: 2 if len(edges) > 6 else 1]),
        "format": ".0%" if unit == "share" else "d",
        "labels": last,
        "ticks": last,
        "titlePadding": 10,
    }
    title = unit if last and unit != "share" else None
    return quantity("from", title=title, axis=axis, scale={"domain": [edges[0], edges[-1]], "nice": False})


def _upwards(top: float, *, first: bool) -> Spec:
    """Return the encoding of the shares, of training text upwards and of held-out text downwards."""
    marks = [mark for mark in MARKS if mark <= top and (first or mark != MARKS[0])]
    axis = {
        "format": ".0%",
        "values": [-mark for mark in reversed(marks)] + [0, *marks],
        "labelExpr": "format(abs(datum.value), '.0%')",
        "domain": False,
        "ticks": False,
    }
    # The square root, or a few windows among many would not show.
    return quantity("share", title=None, axis=axis, scale={"type": "sqrt", "domain": [-top, top], "nice": False})


def _shares(windows: Sequence[int]) -> list[float]:
    total = sum(windows)
    return [count / total if total else 0.0 for count in windows]


def _windows(group: DistributionGroup) -> int:
    return int(sum(group["train"]) + sum(group["heldout"]))


def _name(group: DistributionGroup) -> str:
    return "All text" if group["domain"] is None else str(group["domain"])
