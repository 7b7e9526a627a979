"""The picture of a contamination check: every item once, what each rule convicts of them, the same in words."""

from __future__ import annotations

import random
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.report.charts.likeness_chart import FOUND, OTHERS, likeness_chart
from memaudit.stats.rounding import short_count
from tests.report.contamination_reports import HOSTILE, RULES, likeness

LABELS = {name: label for name, label, *_ in RULES}


def counted(*counts: tuple[int | None, str, int, list[int]], **changes: Any) -> dict[str, Any]:
    keys = ("bin", "verdict", "items", "convicted")
    made = likeness(0, random.Random(0)) | {"rules": ["pile13", "palm"], "highest_other": None}
    return made | {"counts": [dict(zip(keys, entry, strict=True)) for entry in counts]} | changes


SMALL = counted(
    (None, "not judged", 2, [1, 0]), (9, "undecided", 30, [3, 0]), (14, "contaminated", 1, [0, 0]),
    (19, "contaminated", 8, [8, 2]), lowest_found=0.71,
)  # fmt: skip


def bars(svg: str, fill: str, *, deep: bool) -> list[ET.Element]:
    drawn = [e for e in ET.fromstring(svg).iter() if e.get("fill") == fill and e.tag in ("path", "rect")]
    return [e for e in drawn if (e.get("fill-opacity", "1") == "1") == deep][:-1]  # the last is of the legend


def test_deep_bars_are_what_a_rule_convicts_and_pale_ones_all_items() -> None:
    chart = likeness_chart(SMALL, LABELS, "l")
    assert chart is not None
    for _, svg in chart.svgs:
        assert len(bars(svg, FOUND, deep=False)) == 2 * 3  # two bins in each of three rows
        assert len(bars(svg, OTHERS, deep=False)) == 2 * 3
        assert len(bars(svg, FOUND, deep=True)) == 2 + 1 + 1
        assert len(bars(svg, OTHERS, deep=True)) == 2  # the first rule convicts of both, the second of neither
        text = " ".join("".join(ET.fromstring(svg).itertext()).split())
        for said in ("9 found, 32 others", "8 of 9 found, 4 of 32 others", "2 of 9 found, 0 of 32 others", "70%"):
            assert said in text


def test_the_description_says_how_far_apart_they_are() -> None:
    chart = likeness_chart(SMALL, LABELS, "l")
    assert chart is not None
    assert chart.description.endswith(
        "The least similar item that was found has 71.0%. Of the others, 2 are not judged and 30 are undecided."
    )
    clean = likeness_chart(counted((3, "clean", 9, [1, 0]), highest_other=0.19), LABELS, "l")
    assert clean is not None
    assert clean.description.endswith("The most similar of the others has 19.0%.")


def test_the_table_holds_every_count() -> None:
    chart = likeness_chart(SMALL, LABELS, "l")
    assert chart is not None
    assert [row for row in chart.rows if row[1] == LABELS["pile13"]] == [
        ["no similar document", LABELS["pile13"], "–", "1 of 2"],
        ["45% to 50%", LABELS["pile13"], "–", "3 of 30"],
        ["70% to 75%", LABELS["pile13"], "0 of 1", "–"],
        ["95% to 100%", LABELS["pile13"], "8 of 8", "–"],
    ]
    assert len(chart.rows) == 4 * 3


@pytest.mark.parametrize(("found", "seed"), [(0, 0), (1, 1), (11, 2), (1999, 3)])
def test_no_item_is_left_out(found: int, seed: int) -> None:
    counts = likeness(found, random.Random(seed))
    chart = likeness_chart(counts, LABELS, "l")
    assert chart is not None
    for column, verdicts in ((2, ("contaminated",)), (3, ("clean", "not judged"))):
        for place, (name, *_) in enumerate(RULES):
            cells = [row[column].split(" of ")[0] for row in chart.rows[place :: len(RULES)]]
            total = sum(int(cell.replace(",", "")) for cell in cells if cell != "–")
            entries = [c for c in counts["counts"] if c["verdict"] in verdicts]
            wanted = [e["convicted"][place - 1] if place else e["items"] * (column == 2) for e in entries]
            assert total == sum(wanted), name


@pytest.mark.parametrize("hostile", HOSTILE)
def test_same_bytes_small_and_inert(hostile: str) -> None:
    counts, labels = likeness(7, random.Random(1)), {**LABELS, "gpt3": hostile}
    chart = likeness_chart(counts, labels, "l")
    assert chart is not None
    assert chart == likeness_chart(counts, labels, "l")
    for _, svg in chart.svgs:
        assert len(svg) < 20_000
        assert {e.tag for e in ET.fromstring(svg).iter()} <= {"svg", "g", "path", "line", "text", "tspan", "rect"}
        assert not re.search(r"\bon\w+=|xmlns|href|style=|url\(", re.sub(r">[^<]*<", "><", svg))


def test_no_item_is_no_picture() -> None:
    assert likeness_chart(counted(), LABELS, "l") is None
    assert likeness_chart(counted((3, "clean", 0, [0, 0])), LABELS, "l") is None


@given(st.integers(0, 900_000_000))
def test_counts_fit_above_a_bar(count: int) -> None:
    text = short_count(count)
    assert len(text) <= 4
    scale = {"k": 1e3, "M": 1e6}.get(text[-1], 1)
    assert float(text.rstrip("kM")) * scale == pytest.approx(count, rel=0.06)
