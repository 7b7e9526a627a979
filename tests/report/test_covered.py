"""What windows cover, compared with a loop over tokens."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from memaudit.report.covered import Covered, Run, level_of, longest, runs
from tests.report.work_reports import THRESHOLDS, alice, covered, measured, report


@pytest.mark.parametrize("stride", [1, 7, 10])
def test_tokens_are_those_of_a_loop(stride: int) -> None:
    lot = random.Random(stride)
    windows = (700 - 100) // stride + 1
    levels = "".join(lot.choice("0000000012345") for _ in range(windows))
    work: Any = measured("some", [(300, 0), (400, 0)], stride=stride, levels=levels)
    options = report()["options"] | {"stride": stride}
    found = Covered(work, options)  # type: ignore[arg-type]
    for level in range(6):
        assert found.at_least(level).tolist() == list(covered(levels, level, stride, 700))
    assert found.greedy.tolist() == list(covered(work["greedy"], 1, stride, 700))


def test_shares_are_those_of_the_report() -> None:
    work: Any = alice()
    found = Covered(work, report()["options"])
    assert [int(found.at_least(i).sum()) for i in range(1, 6)] == [r["tokens"] for r in work["reached"][1:]]
    assert int(found.at_least(0).sum()) == work["coverable"]
    best = runs(found.at_least(level_of(THRESHOLDS, 0.5)))
    assert [(run.start, run.tokens) for run in best[:10]] == [(p["token"], p["tokens"]) for p in work["longest"]]


def test_runs_are_sorted_by_length_then_place() -> None:
    mask = np.array([1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1], bool)
    assert runs(mask) == [Run(5, 3), Run(0, 2), Run(9, 2), Run(3, 1)]
    assert longest(mask) == 3
    assert (runs(mask[:0]), longest(~mask[:2])) == ([], 0)


def test_a_work_without_windows_is_covered_nowhere() -> None:
    work: Any = measured("short", [(60, 0)])
    assert work["windows"] == 0
    assert not Covered(work, report()["options"]).at_least(0).any()
