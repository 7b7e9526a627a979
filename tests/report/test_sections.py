"""Sections of measures on the page and on the terminal: every value shown, nothing of it acting."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from memaudit.records import WindowRecord
from memaudit.report.charts.graphs import graph_chart
from memaudit.report.extraction_terminal import print_extraction
from memaudit.report.sections import shown_value
from memaudit.runs.directory import ReportInput
from memaudit.sections import Column, Graph, Kind, Section, Series, Table
from tests.report.conftest import HOSTILE
from tests.report.pages import OURS, Page
from tests.report.rendered import extraction_pages

Made = tuple[dict[str, Any], list[WindowRecord]]
Factory = Callable[..., Made]


def section(words: str = "plain") -> Section:
    return Section(
        name="surface",
        title=words,
        summary=f"{words} summary",
        method=f"{words} method",
        tables=[
            Table(
                f"{words} caption",
                [Column(words), Column("rate", "share"), Column("interval", "interval"), Column("count", "number")],
                [[words, 0.125, [0.1, 0.2], 12345], ["nothing", None, None, None]],
            )
        ],
        graphs=[
            Graph(
                f"{words} graph",
                f"{words} description",
                f"{words} x",
                f"{words} y",
                [
                    Series(words, [[0.0, 0.1, 0.0, 0.2], [8.0, 0.5, None, None]]),
                    Series("other", [[0.0, 0.2, None, None], [8.0, None, None, None]]),
                ],
                x_scale="symlog",
            )
        ],
        notes=[f"{words} note"],
    )


def with_sections(made: Made, *sections: Section) -> ReportInput:
    report, records = made
    return ReportInput({**report, "sections": [dataclasses.asdict(s) for s in sections]}, records)


def test_every_value_is_on_the_page(factory: Factory) -> None:
    page = Page(extraction_pages([with_sections(factory(), section())]))
    text = " ".join(" ".join(page.text).split())
    for words in ("plain summary", "plain method", "plain caption", "12.5%", "[10.0%, 20.0%]", "12,345", "plain note"):
        assert words in text
    assert "plain description" in text
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_inert(factory: Factory, words: str) -> None:
    source = extraction_pages([with_sections(factory(), section(words))])
    page = Page(source)
    assert set(page.tags) <= OURS | {"ol", "defs", "clipPath", "linearGradient", "stop", "circle"}
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert not [value for _, name, value in page.attributes if name in ("href", "src") and not value.startswith("#")]
    stream = io.StringIO()
    print_extraction(with_sections(factory(), section(words)).report, Console(file=stream, width=200))
    assert not set(stream.getvalue()) & set("\x1b\x07\u202e\x9b")


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (None, "share", "–"),
        (0.5, "share", "50.0%"),
        (1, "share", "100%"),
        ([0.25, 0.5], "interval", "[25.0%, 50.0%]"),
        (1234567, "number", "1,234,567"),
        (0.00123456, "number", "0.00123"),
        (12.3456, "number", "12.35"),
        ("as it is", "number", "as it is"),
        (1e300, "number", "1e+300"),
    ],
)
def test_values_in_words(value: Any, kind: Kind, shown: str) -> None:
    assert shown_value(value, kind) == shown


def test_a_graph_without_two_points_is_not_drawn() -> None:
    graph = dataclasses.asdict(Graph("t", "d", "x", "y", [Series("a", [[1.0, 0.5, None, None]])]))
    assert graph_chart(graph, "id") is None
    assert graph_chart({**graph, "series": []}, "id") is None


def test_a_report_of_an_earlier_version_has_no_sections(factory: Factory) -> None:
    report, records = factory()
    old = {key: value for key, value in report.items() if key != "sections"}
    without = extraction_pages([ReportInput({**old, "sections": []}, records)])
    assert extraction_pages([ReportInput(old, records)]) == without


def test_shares_along_both_axes_are_in_percent() -> None:
    graph = Graph("t", "d", "x", "y", [Series("a", [[0.01, 0.5, None, None], [1.0, 0.25, None, None]])], x_share=True)
    chart = graph_chart(dataclasses.asdict(graph), "id")  # type: ignore[arg-type]
    assert chart is not None
    assert [row[1] for row in chart.rows] == ["1.0%", "100%"]
    for _, svg in chart.svgs:
        labels = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
        assert {"0%", "20%", "40%", "60%", "80%", "100%", "25%", "50%", "75%"} <= set(labels)
        assert not [label for label in labels if re.fullmatch(r"[0-9.]+", label)]
