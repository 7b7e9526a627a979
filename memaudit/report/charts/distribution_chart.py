"""How much of each window was copied: training text above the line, held-out text below it, a row a domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memaudit.report.charts.charts import MUTED, SERIES, Chart, altair, draw
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
        f"{name.lower()} {significant(median)}{'' if unit == 'share' else f' {unit}'}"
        for name, median in zip(SIDES, (whole["train_median"], whole["heldout_median"]), strict=True)
        if median is not None
    ]
    return (
        f"Share of {'a random sample of ' if sampled else ''}windows by how much of the true text the continuation"
        " holds: training text above the line, held-out text below it. Heights"
        f" grow with the square root of the share. Medians: {', '.join(medians)}."
    )


def _rows(groups: Sequence[DistributionGroup], edges: Sequence[float], unit: str, width: int) -> Any:
    most = max(max(_shares(side)) for group in groups for side in (group["train"], group["heldout"]))
    top = next(step for step in TOPS if step >= most)
    rows = [
        _row(group, edges, unit, width, top, first=place == 0, last=place == len(groups) - 1)
        for place, group in enumerate(groups)
    ]
    return altair().vconcat(*rows, spacing=14)


def _row(
    group: DistributionGroup,
    edges: Sequence[float],
    unit: str,
    width: int,
    top: float,
    *,
    first: bool,
    last: bool,
) -> Any:
    alt = altair()
    values = [
        {"side": name, "from": low, "to": high, "share": sign * share}
        for name, sign, windows in zip(SIDES, (1, -1), (group["train"], group["heldout"]), strict=True)
        for low, high, share in zip(edges[:-1], edges[1:], _shares(windows), strict=True)
        if share
    ]
    names = list(SIDES)
    legend = alt.Legend(title=None, orient="top", symbolType="square") if first else None
    colour = alt.Color("side:N", sort=names, scale=alt.Scale(domain=names, range=list(SERIES[:2])), legend=legend)
    ticks = alt.Axis(
        grid=False,
        values=list(edges[:: 2 if len(edges) > 6 else 1]),
        format=".0%" if unit == "share" else "d",
        labels=last,
        ticks=last,
        titlePadding=10,
    )
    x = alt.X(
        "from:Q",
        title=unit if last and unit != "share" else None,
        axis=ticks,
        scale=alt.Scale(domain=[edges[0], edges[-1]], nice=False),
    )
    marks = [mark for mark in MARKS if mark <= top and (first or mark != MARKS[0])]
    both = "format(abs(datum.value), '.0%')"
    values_at = [-mark for mark in reversed(marks)] + [0, *marks]
    share = alt.Axis(format=".0%", values=values_at, labelExpr=both, domain=False, ticks=False)
    roots = alt.Scale(type="sqrt", domain=[-top, top], nice=False)  # or a few windows among many would not show
    y = alt.Y("share:Q", title=None, axis=share, scale=roots)
    base = alt.Chart(alt.Data(values=values))
    gap = {"binSpacing": 0, "stroke": None}
    bars = base.mark_bar(**gap).encode(x=x, x2="to:Q", y=y, y2=alt.datum(0), color=colour)
    line = alt.Chart(alt.Data(values=[{}])).mark_rule(stroke=MUTED, strokeWidth=1).encode(y=alt.datum(0))
    title = alt.TitleParams(
        visible(_name(group)), anchor="start", fontWeight="normal", fontSize=13, color=MUTED, offset=12
    )
    drawn = alt.layer(bars, line).properties(width=width, height=150 if first else 96)
    return drawn.properties(title=title)


def _shares(windows: Sequence[int]) -> list[float]:
    total = sum(windows)
    return [count / total if total else 0.0 for count in windows]


def _windows(group: DistributionGroup) -> int:
    return int(sum(group["train"]) + sum(group["heldout"]))


def _name(group: DistributionGroup) -> str:
    return "All text" if group["domain"] is None else str(group["domain"])
