"""The works by position: the area of a colour is the share that the tables give, on one scale, at any size."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from memaudit.report.charts.heat_map import (
    CELLS,
    EMPTY,
    GAP,
    GREEDY,
    HIGH,
    MAX_CELLS,
    MAX_LINES,
    RAMP,
    cell_tokens,
    heat_map,
    shades,
    short_title,
)
from tests.report.work_reports import THRESHOLDS, alice, controls, long_work, measured, report

PATH = re.compile(r'<path d="M0 (\d+)((?:V\d+H\d+)+)V\1" fill="(#\w+)"/>')


def areas(strip: str) -> dict[str, float]:
    """Fill -> area under its steps, in cells that are filled to the top."""
    found = {}
    for base, steps, fill in PATH.findall(strip):
        high = GREEDY if int(base) > HIGH else HIGH
        x, area = 0, 0.0
        for top, end in re.findall(r"V(\d+)H(\d+)", steps):
            area += (int(end) - x) * (int(base) - int(top)) / high
            x = int(end)
        found[fill] = area
    return found


def test_the_area_of_a_colour_is_the_share_of_the_part() -> None:
    works = [alice(), *controls()]
    made = heat_map(report(works), "where")
    size = cell_tokens(works)  # type: ignore[arg-type]
    assert [len(work.rows) for work in made.works] == [12, 6, 1]
    for work, shown in zip(works, made.works, strict=True):
        for part, row in zip(work["parts"], shown.rows, strict=True):
            total: dict[str, float] = {}
            for strip in row.strips:
                for fill, area in areas(strip).items():
                    total[fill] = total.get(fill, 0.0) + area
            for entry, fill in zip(part["reached"][1:], shades(5), strict=True):
                assert total.get(fill, 0.0) * size == pytest.approx(entry["tokens"], abs=0.02 * part["tokens"] + size)
                assert (fill in total) == (entry["tokens"] > 0)
            assert total[EMPTY] * size == pytest.approx(part["tokens"], abs=50 + 2 * size)


def test_rows_are_as_long_as_their_parts() -> None:
    made = heat_map(report([alice()]), "where")
    widths = [float(re.search(r'width="([\d.]+)%"', row.strips[0])[1]) for row in made.works[0].rows]  # type: ignore[index]
    tokens = [part["tokens"] for part in alice()["parts"]]
    assert max(widths) <= 100
    for width, count in zip(widths, tokens, strict=True):
        assert width / widths[0] == pytest.approx(count / tokens[0], rel=0.03)


def test_a_long_part_takes_several_lines() -> None:
    made = heat_map(report([measured("whole", [(20_000, -1.0)], titles=["the whole text"])]), "where")
    [row] = made.works[0].rows
    assert 2 < len(row.strips) <= 12
    assert all('width="100%"' in strip for strip in row.strips[:-1])


def test_cells_stand_for_more_tokens_where_works_are_long() -> None:
    long: Any = long_work()
    made = report([long, *controls(stride=1)])
    made["options"]["stride"] = 1
    size = cell_tokens(made["works"])
    assert 300_000 / size <= MAX_CELLS
    assert max(part["tokens"] for part in long["parts"]) <= size * CELLS
    picture = "".join(strip for work in heat_map(made, "w").works for row in work.rows for strip in row.strips)
    assert len(picture) < 1_000_000
    no_parts: Any = {**long, "parts": [{**long["parts"][0], "tokens": 300_000}]}
    assert -(-300_000 // (cell_tokens([no_parts]) * CELLS)) <= MAX_LINES


def test_the_ramp_grows_darker_for_eyes_and_printers() -> None:
    def luminance(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    values = [luminance(colour) for colour in (EMPTY, *RAMP)]
    assert values == sorted(values, reverse=True)
    for count in range(1, 10):
        assert len(set(shades(count))) == count
    assert len(shades(0)) == 0
    five = [luminance(colour) for colour in shades(5)]
    assert all(a / b > 1.3 for a, b in pairwise(five))


def test_the_legend_names_every_threshold() -> None:
    made = heat_map(report(), "where")
    assert [entry.label for entry in made.legend] == [
        "below 0.1%", "p >= 0.1%", "p >= 1%", "p >= 10%", "p >= 50%", "p >= 75%", "greedy decoding",
    ]  # fmt: skip
    assert made.threshold == "p >= 50%"
    assert len(made.columns) == 3 + len(THRESHOLDS) + 2
    assert {len(row) for row in made.rows} == {len(made.columns)}
    assert made.rows[0][:3] == ["alice", "CHAPTER I. Down the Rabbit-Hole", "2,900"]
    assert made.rows[0][-1] == "1,700 tokens"  # of a passage of 1,780 that runs on into the next part


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("CHAPTER XII. Alice’s Evidence", "XII"),
        ("Letter 4", "4"),
        ("IX", "IX"),
        ("VII. THE ADVENTURE OF THE BLUE CARBUNCLE", "VII"),
        ("Chapter 23", "23"),
        ("THE WHALE", "9"),
        ("CIVIL DISOBEDIENCE", "9"),
        ("Mixed pickles", "9"),
        ("tokens 1 to 400", "9"),
        ("tokens 1,201 to 1,600", "9"),
        ("", "9"),
    ],
)
def test_short_titles(title: str, short: str) -> None:
    assert short_title(title, 9) == short


def test_nothing_and_everything() -> None:
    windows = (2000 - 100) // 10 + 1
    none = heat_map(report([measured("none", [(2000, 0)], levels="0" * windows)]), "w").works[0].rows[0]
    assert set(areas(none.strips[0])) == {EMPTY}
    assert none.share == "0%"
    full = heat_map(report([measured("all", [(2000, 0)], levels="5" * windows)]), "w").works[0].rows[0]
    assert set(areas(full.strips[0])) == {EMPTY, *shades(5), "#1d1b18"}
    short = heat_map(report([measured("short", [(60, 0)])]), "w").works[0].rows[0]
    assert "<path" not in short.strips[0]
    assert heat_map(report([measured("empty", [(0, 0)])]), "w").works[0].rows[0].share == "–"
    assert HIGH + GAP + GREEDY == 27
