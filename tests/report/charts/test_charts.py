"""Charts: plain SVG, the same bytes, all numbers in words too."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from memaudit.report.charts import charts, drawing
from memaudit.report.charts.charts import MAX_SERIES, Chart, dose_chart, interval_chart

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def texts(chart: Chart) -> str:
    return " ".join("".join(ET.fromstring(svg).itertext()) for _, svg in chart.svgs)


def four(factory: Factory) -> list[tuple[str, Any]]:
    return [(name, factory(name)[0]["doses"]) for name in ("ngram", "rnn", "gpt", "bert")]


def test_dose_chart_has_a_line_a_band_and_points_per_model(factory: Factory) -> None:
    chart = dose_chart(four(factory), "doses")
    assert chart is not None
    for _, svg in chart.svgs:
        root = ET.fromstring(svg)
        strokes = {
            e.get("stroke") for e in root.iter("path") if e.get("fill") is None and e.get("stroke-width") == "2.2"
        }
        bands = {e.get("fill") for e in root.iter("path") if (e.get("opacity") or "").startswith("0.11")}
        assert len(strokes) == len(bands) == 4
        assert strokes == bands
    for word in ("ngram", "rnn", "gpt", "bert", "Copies in the training text", "0%", "100%", "64"):
        assert word in texts(chart)
    assert len(chart.rows) == 4 * 8
    assert chart.rows[0][:3] == ["ngram", "0", "0 of 112"]


def test_charts_are_the_same_bytes_and_small(factory: Factory) -> None:
    for draw in (
        lambda: dose_chart(four(factory), "d"),
        lambda: interval_chart(factory()[0]["estimates"], "m"),
    ):
        one, two = draw(), draw()
        assert one == two
        assert one is not None
        assert all(len(svg) < 20_000 for _, svg in one.svgs)


def test_svg_is_inert_named_and_without_addresses(factory: Factory) -> None:
    report, _ = factory(hostile=True)
    chart = interval_chart(report["estimates"], "m")
    doses = dose_chart([("<script>\ud800\u202e", report["doses"]), ("b", report["doses"])], "d")
    assert chart is not None
    assert doses is not None
    for figure in (chart, doses):
        for _, svg in figure.svgs:
            root = ET.fromstring(svg)
            assert {element.tag for element in root.iter()} <= {
                "svg",
                "g",
                "path",
                "line",
                "text",
                "tspan",
                "rect",
            }
            assert root.get("aria-labelledby") == f"{figure.id}-title"
            assert root.get("role") == "img"
            assert not re.search(r"\bon\w+=|xmlns|href|style=|url\(", re.sub(r">[^<]*<", "><", svg))
    assert r"\ud800\u202e" in texts(doses)


def test_ids_of_two_charts_do_not_clash(factory: Factory) -> None:
    charts = [dose_chart([("gpt", factory()[0]["doses"])], name) for name in ("a", "b")]
    ids = [re.findall(r'\bid="([^"]+)"', svg) for chart in charts if chart for _, svg in chart.svgs]
    flat = [name for names in ids for name in names]
    assert len(flat) == len(set(flat))


def test_nothing_to_draw_draws_nothing(factory: Factory) -> None:
    doses = factory()[0]["doses"]
    undefined = [dose | {"rate": None, "low": None, "high": None} for dose in doses]
    assert dose_chart([("gpt", [])], "d") is None
    assert dose_chart([("gpt", doses[:1])], "d") is None
    assert dose_chart([("gpt", undefined)], "d") is None
    assert dose_chart([(str(i), doses) for i in range(MAX_SERIES + 1)], "d") is None
    assert interval_chart([], "m") is None


def test_interval_chart_leaves_out_what_is_undefined(factory: Factory) -> None:
    estimates = factory()[0]["estimates"]
    none = {"hits": 0, "n": 0, "documents": 0, "rate": None, "low": None, "high": None}
    chart = interval_chart([estimates[0], estimates[1] | {"heldout": none}], "m")
    assert chart is not None
    assert chart.rows[1][2] == "– –"
    assert estimates[1]["label"] in " ".join(texts(chart).split())


@pytest.mark.parametrize(
    "engine",
    ["import os; os.abort()", "raise ImportError('gone')", "def vegalite_to_svg(spec): import os; os._exit(0)"],
)
def test_a_chart_that_cannot_be_drawn_keeps_its_numbers(
    engine: str, factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vl_convert.py").write_text(f"{engine}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(drawing, "_PROCESS", drawing._Process())
    drawing.drawn.cache_clear()
    chart = dose_chart(four(factory), "doses")
    drawing.drawn.cache_clear()
    assert chart is not None
    assert chart.svgs == []
    assert len(chart.rows) == 4 * 8


def test_the_process_that_draws_is_started_once_and_again_when_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    process = drawing._Process()
    monkeypatch.setattr(drawing, "_PROCESS", process)
    drawing.drawn.cache_clear()
    specification = '{"data":{"values":[{"a":%d}]},"mark":"point","encoding":{"x":{"field":"a","type":"quantitative"}}}'
    assert drawing.drawn(specification % 1)
    first = process._process
    assert drawing.drawn(specification % 2)
    assert process._process is first
    assert first is not None
    os.kill(first.pid, 9)
    first.wait()
    assert drawing.drawn(specification % 3)
    assert process._process is not first
    with pytest.raises(ValueError, match="not drawn"):
        drawing.drawn("{")
    process.end()
    drawing.drawn.cache_clear()


def test_a_renderer_that_cannot_be_imported_costs_the_pictures_not_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text("raise ImportError('vl_convert is broken')")
    monkeypatch.setattr(drawing, "_CHILD", child)
    monkeypatch.setattr(drawing, "_PROCESS", drawing._Process())
    assert charts.draw(lambda _: {"mark": "point", "data": {"values": [{"x": 1}]}}, "c") == []
