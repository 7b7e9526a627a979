"""The script for an accelerator runs from its first part to its last on a processor, and keeps what it has."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
PARTS = "generate", "screen", "audit", "forward", "surface", "membership", "verdicts as on the CPU"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    return runpy.run_path(str(BENCHMARKS / "gpu.py"))


def run(script: dict[str, Any], folder: Path, seconds: float) -> tuple[int, list[dict[str, Any]]]:
    with pytest.raises(SystemExit) as ended:
        script["main"](["--device", "cpu", "--quick", "--seconds", str(seconds), "--out", str(folder)])
    return int(ended.value.code or 0), json.loads((folder / "gpu.json").read_text())["figures"]


def test_every_part_of_every_model_is_measured_and_verdicts_agree(script: dict[str, Any], tmp_path: Path) -> None:
    code, figures = run(script, tmp_path, 120)
    assert code == 0
    for case in script["cases"](quick=True):
        ours = {f["what"].removeprefix(f"{case.name}: "): f for f in figures if f["what"].startswith(case.name)}
        assert not [what for what in ours if "left out" in what]
        for part in PARTS:
            assert [what for what in ours if what.startswith(part)], part
        assert all(figure["value"] > 0 for figure in ours.values())
        assert ours["screen: verdicts that generate gives"]["value"] == 1
        assert not ours["screen: verdicts that generate gives"]["note"].startswith("0 ")
    exact = [f for f in figures if f["goal"] is not None]
    assert len(exact) == 2
    assert all(figure["met"] for figure in exact)


def test_a_run_without_time_says_what_it_left_out(script: dict[str, Any], tmp_path: Path) -> None:
    code, figures = run(script, tmp_path, 4)
    assert code == 0
    assert any(figure["what"] == "GPT-2 tiny: membership: left out for want of time" for figure in figures)


def test_figures_are_written_after_each_part(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(script["Bench"], "audit", cut)
    with pytest.raises(KeyboardInterrupt):
        script["main"](["--device", "cpu", "--quick", "--out", str(tmp_path)])
    written = [figure["what"] for figure in json.loads((tmp_path / "gpu.json").read_text())["figures"]]
    assert "GPT-2 tiny: screen against generate, best batch" in written


def test_the_time_of_a_part_bounds_what_it_is_given(script: dict[str, Any]) -> None:
    class Slow:
        """A clock on which every item takes a second."""

        spent = 0.0

        def __call__(self, work: Any) -> tuple[float, Any]:
            before = self.spent
            return (work(), self.spent - before)[::-1]

        def left(self) -> float:
            return 100.0 - self.spent

    clock = Slow()

    def work(count: int) -> None:
        clock.spent += count

    seconds, count = script["Part"](clock, 60).per_item(work, 1000)
    assert seconds == 1
    assert count == 32
    assert clock.spent <= 60
