"""Models over the same whole works: the grid, where one has what another lacks, and one clear line why not."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError, MemauditError
from memaudit.report.charts.difference_strip import difference_strip
from memaudit.report.comparisons import compared
from memaudit.report.covered import Covered
from memaudit.report.work_compare import compare_works, render_works
from memaudit.report.work_compare_terminal import print_works
from memaudit.runs.directory import RunDirectory
from tests.report.pages import Page
from tests.report.work_reports import alice, controls, report


def written(folder: Path, made: Any, **model: Any) -> Path:
    made = {**made, "model": {**made["model"], "name": f"models/{folder.name}", **model}}
    with RunDirectory.open(folder, {"kind": "work", "command": "memaudit work"}) as run:
        run.finish(json.loads(json.dumps(made)))
    return folder


def half_known(which: int) -> dict[str, Any]:
    """Alice, of which one half is known: the first or the second."""
    work = alice()
    middle = len(work["levels"]) // 2
    levels = "5" * middle + "0" * (len(work["levels"]) - middle)
    return {**work, "levels": levels if which == 0 else levels[::-1]}


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        written(tmp_path / "small", report([half_known(0), *controls()])),
        written(tmp_path / "large", report([half_known(1), *controls()])),
    ]


def test_the_grid_has_every_work_and_model(runs: list[Path]) -> None:
    found = compare_works(runs)
    assert [(row.name, row.control) for row in found.grid] == [
        ("alice", False), ("frankenstein", True), ("moby-dick", True),
    ]  # fmt: skip
    assert [contender.name for contender in found.contenders] == ["small", "large"]
    reached = next(r for r in alice()["reached"] if r["threshold"] == 0.5)
    assert found.grid[0].cells[0].at.startswith(f"{100 * reached['share']:.1f}% [")
    assert (found.threshold, found.beside) == ("50%", ""), "50% is not shown twice"
    assert len(found.all.rows) == 6
    assert len(found.apart) == 1, "control works are in the grid alone"


def test_shares_at_half_stand_beside_another_threshold(tmp_path: Path) -> None:
    options = {**report()["options"], "threshold": 0.001}
    runs = [written(tmp_path / name, report(options=options)) for name in ("a", "b")]
    found = compare_works(runs)
    assert (found.threshold, found.beside) == ("0.1%", "50%")
    assert found.grid[0].cells[0].at != found.grid[0].cells[0].beside
    assert "50%:" in render_works(found)


def test_what_one_has_and_the_other_lacks_is_every_token_once(runs: list[Path]) -> None:
    (apart,) = compare_works(runs).apart
    works = [half_known(which) for which in range(2)]
    one, other = (Covered(work, report()["options"]).at_least(4) for work in works)
    assert f"small alone gives back {100 * (one & ~other).mean():.1f}%" in apart.sentence
    which, tokens, part, _, start, _ = apart.longest.rows[0]
    assert (which, start) == ("small", "50")
    assert int(tokens.replace(",", "")) == int((one & ~other).sum())
    assert part.startswith("CHAPTER I.")
    assert len(apart.strip.rows) == 12
    assert apart.strip.rows[2].shares == ("100%", "0%")
    assert apart.strip.rows[-2].shares == ("0%", "100%")


def test_checkpoints_stand_in_the_order_of_their_steps(tmp_path: Path) -> None:
    runs = [written(tmp_path / f"checkpoint-{step}", report()) for step in (20, 3, 100)]
    assert [c.step for c in compare_works(runs).contenders] == [3, 20, 100]


def test_a_strip_shows_who_has_what_above_and_below_the_middle() -> None:
    parts: Any = [{"title": "whole", "token": 0, "tokens": 40}]
    one, other = np.repeat([True, True, False, False], 10), np.repeat([True, False, True, False], 10)
    (row,) = difference_strip(parts, (one, other), ("a", "b"), 10, "x").rows
    (svg,) = row.strips
    assert 'd="M0 10V10H1V0H2V10H4V10"' in svg, "the first alone: cell 2, upwards"
    assert 'd="M0 10V10H2V20H3V10H4V10"' in svg, "the second alone: cell 3, downwards"
    assert 'd="M0 27V23H1V27H4V27"' in svg, "both: cell 1"
    assert row.shares == ("25.0%", "25.0%")


def test_the_page_is_whole_and_the_same_every_time(runs: list[Path]) -> None:
    page = render_works(compare_works(runs))
    assert page == render_works(compare_works(runs))
    read = Page(page)
    assert len(read.ids) == len(set(read.ids))
    assert "script" not in read.tags
    assert "Where they differ" in page
    named = {value for tag, name, value in read.attributes if tag == "svg" and name == "aria-labelledby"}
    assert named <= set(read.ids)


def test_the_command_writes_the_page_and_prints_the_grid(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "works.html"
    done = CliRunner().invoke(app, ["compare", *map(str, runs), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_text() == compared(runs).page
    for told in ("frankenstein (control)", "small", "large", "p >= 50%", "alone gives back"):
        assert told in " ".join(done.output.split())
    again = CliRunner().invoke(app, ["compare", *map(str, runs), "--out", str(out)])
    assert again.exit_code == 0, "a comparison may be written over"


def test_the_screen_leaves_out_what_control_works_have_none_of(runs: list[Path]) -> None:
    console = Console(width=150, record=True, file=StringIO())
    print_works(compare_works(runs), console)
    lines = [line for line in console.export_text().splitlines() if "frankenstein" in line]
    assert len(lines) == 1
    assert "found" not in lines[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"complete": False}, "the run is not complete"),
        ({"works": [alice()]}, "is of other works than"),
        ({"options": {**report()["options"], "stride": 5}}, "--stride is 5, that of .* is 10"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused_in_one_line(
    runs: list[Path], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    other = written(tmp_path / "other", {**report([half_known(0), *controls()]), **change})
    with pytest.raises(InputError, match=told):
        compare_works([runs[0], other])
    with pytest.raises(InputError, match="two runs or more"):
        compare_works(runs[:1])


@pytest.mark.parametrize(
    "change",
    [
        {"works": [{**half_known(0), "tokens": 1}, *controls()]},
        {"model": {**report()["model"], "tokenizer_sha256": "aa"}},
    ],
)
def test_models_of_other_tokenizers_stand_in_the_grid_and_their_places_nowhere(
    runs: list[Path], tmp_path: Path, change: dict[str, Any]
) -> None:
    other = written(tmp_path / "other", {**report([half_known(0), *controls()]), **change})
    found = compare_works([*runs, other])
    assert [contender.name for contender in found.contenders] == ["small", "large", "other"]
    assert all(len(row.cells) == 3 for row in found.grid)
    assert [(apart.first, apart.second) for apart in found.apart] == [("small", "large")]
    assert (found.grid[0].tokens is None) == ("works" in change)
    alone = render_works(compare_works([runs[0], other]))
    console = Console(width=150, record=True, file=StringIO())
    print_works(found, console)
    for said in ("".join(Page(alone).text), console.export_text()):
        assert "Tokenizers differ" in said
    assert "the same windows" not in alone
    assert "What one has and the other lacks" not in alone
    assert "Tokenizers differ" not in render_works(compare_works(runs))


def test_runs_of_other_kinds_are_refused_whichever_comes_first(runs: list[Path], tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "laws", {"kind": "theirs", "command": "x"}) as run:
        run.finish({**{key: report()[key] for key in ("schema_version", "provenance", "complete")}, "kind": "theirs"})
    with pytest.raises(InputError, match="a run of kind 'theirs'"):
        compared([runs[0], tmp_path / "laws"])
    with pytest.raises(MemauditError, match="a run of kind 'theirs'"):
        compared([tmp_path / "laws", runs[0]])
