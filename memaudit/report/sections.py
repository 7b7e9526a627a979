"""Sections of measures for people: values as words, graphs as pictures. What was measured is not known here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.report import wording
from memaudit.report.charts.charts import Chart
from memaudit.report.charts.graphs import graph_chart
from memaudit.runs.parts import Section, Table
from memaudit.stats import rounding


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table whose cells are words."""

    caption: str
    columns: list[tuple[str, bool]]
    """(label, whether its cells are numbers)."""
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class ShownSection:
    """All that a page shows of one section."""

    title: str
    summary: str
    method: str
    charts: list[Chart]
    tables: list[ShownTable]
    notes: list[str]


def shown_sections(sections: Sequence[Section], id: str) -> list[ShownSection]:
    """Return the sections of a report as they are shown.

    Args:
        sections: Of any run.
        id: Unique on the page; ids of charts begin with it.
    """
    return [
        ShownSection(
            section["title"],
            section["summary"],
            section["method"],
            [
                chart
                for number, graph in enumerate(section["graphs"])
                if (chart := graph_chart(graph, f"{id}-measure-{place}-{number}"))
            ],
            [shown_table(table) for table in section["tables"]],
            section["notes"],
        )
        for place, section in enumerate(sections)
    ]


def shown_table(table: Table) -> ShownTable:
    """Return a table with every value in words."""
    kinds = [column["kind"] for column in table["columns"]]
    return ShownTable(
        table["caption"],
        [(column["label"], column["kind"] not in ("text", "excerpt")) for column in table["columns"]],
        [[shown_value(v, kind) for v, kind in zip(row, kinds, strict=True)] for row in table["rows"]],
    )


def shown_value(value: str | int | float | Sequence[float] | None, kind: str) -> str:
    """Return one value in words, by the kind of its column."""
    if value is None:
        return rounding.NONE
    if kind == "interval" and not isinstance(value, str | int | float):
        return wording.interval({"low": value[0], "high": value[1]})
    if isinstance(value, str) or not isinstance(value, int | float):
        return str(value)
    return rounding.percent(float(value)) if kind == "share" else rounding.significant(value)
