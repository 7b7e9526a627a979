"""The picture of a corpus: areas that add up, labels that fit."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.report.charts.distribution_chart import distribution_chart
from memaudit.report.charts.treemap import squarify, treemap
from tests.report.conftest import HOSTILE, rate


def domain(name: str, documents: int, hits: int = 1) -> dict[str, Any]:
    return {"domain": name, "documents": documents, "counted": 0, "repeated": 0, "train": rate(hits, 10)}


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20), st.integers(50, 900), st.integers(50, 900))
def test_tiles_fill_the_area_without_overlap(areas: list[int], width: int, height: int) -> None:
    tiles = squarify(sorted(areas, reverse=True), width, height)
    total = sum(areas)
    for area, tile in zip(sorted(areas, reverse=True), tiles, strict=True):
        assert tile.width * tile.height == pytest.approx(width * height * area / total)
        assert tile.x >= -1e-6 and tile.x + tile.width <= width + 1e-6
        assert tile.y >= -1e-6 and tile.y + tile.height <= height + 1e-6
    for place, one in enumerate(tiles):
        for other in tiles[place + 1 :]:
            across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert min(across, down) < 1e-6


def test_equal_parts_are_near_to_squares() -> None:
    for tile in squarify([1] * 9, 300, 300):
        assert tile.width == pytest.approx(tile.height)


def test_the_more_is_recited_the_deeper() -> None:
    chart = treemap([domain("web", 60, 0), domain("code", 30, 5), domain("books", 10, 10)], "d")
    assert chart is not None
    root = ET.fromstring(chart.svgs[0][1])
    depths = [float(e.get("fill-opacity", "1")) for e in root.iter("path") if e.get("fill-opacity")]
    assert depths == sorted(depths)
    assert len(depths) == 3
    assert [row[:4] for row in chart.rows] == [
        ["web", "60", "60.0%", "0%"],
        ["code", "30", "30.0%", "50.0%"],
        ["books", "10", "10.0%", "100%"],
    ]


def test_one_domain_is_no_picture() -> None:
    assert treemap([], "d") is None
    assert treemap([domain("web", 5)], "d") is None
    assert treemap([domain("web", 5), domain("code", 0)], "d") is None


def test_small_tiles_bear_no_label_and_hostile_names_are_inert() -> None:
    chart = treemap([domain(HOSTILE[0], 1000), domain("b" * 300, 900), domain("tiny", 1)], "d")
    assert chart is not None
    for _, svg in chart.svgs:
        text = "".join(ET.fromstring(svg).itertext())
        assert "tiny" not in text
        assert "b" * 300 not in text
        assert {e.tag for e in ET.fromstring(svg).iter()} <= {"svg", "g", "path", "text", "tspan", "line"}
    assert chart.rows[-1][0] == "tiny"


def test_distributions_stand_above_and_below_the_line() -> None:
    group = {"domain": None, "train": [1, 0, 9], "heldout": [10, 0, 0], "train_median": 8.0, "heldout_median": 0.5}
    entry = {"metric": "m", "label": "Longest run", "unit": "tokens", "edges": [0.0, 4.0, 8.0, 10.0]}
    chart = distribution_chart({**entry, "groups": [group, {**group, "domain": "code"}]}, "d")
    assert chart is not None
    assert chart.rows[0] == ["All text", "0", "4", "1", "10"]
    assert chart.rows[-1] == ["code", "8", "10", "9", "0"]
    assert "Medians: training text 8 tokens, held-out text 0.5 tokens." in chart.description
    assert "code" in "".join(ET.fromstring(chart.svgs[0][1]).itertext())
    whole = distribution_chart({**entry, "groups": [group, {**group, "domain": "code"}]}, "d", by_domain=False)
    assert whole is not None
    assert {row[0] for row in whole.rows} == {"All text"}
    assert distribution_chart({**entry, "groups": [{**group, "train": [0, 0, 0], "heldout": [0, 0, 0]}]}, "d") is None
