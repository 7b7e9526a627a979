"""Cut off, out of room, out of order: nothing is lost or done twice, and the same command ends with the same bytes.

A part of what ``benchmarks/faults_crash.py`` tries in full.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from tests.faults.failing import Point, faults_at, limited, points
from tests.faults.storms import storm
from tests.faults.workloads import AUDIT, SEARCH, TRAINING, WORKS, Work, prepare, warm_up

Calm = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("works")
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def calm(place: Path) -> Calm:
    return warm_up(place)


@pytest.mark.parametrize(
    ("work", "blows"), [(AUDIT, 5), (SEARCH, 10), (TRAINING, 4)], ids=lambda v: getattr(v, "name", v)
)
def test_killed_at_random_moments(work: Work, blows: int, place: Path, calm: Calm) -> None:
    tally = storm(work, place, calm[work.name], blows, seed=1)
    assert tally.wrong == []
    assert tally.blows == blows


def test_asked_to_stop_at_random_moments(place: Path, calm: Calm) -> None:
    tally = storm(SEARCH, place, calm["contamination"], 8, seed=2, gentle=True)
    assert tally.wrong == []


def test_a_signal_before_the_command_has_begun_is_no_verdict(place: Path) -> None:
    """While modules are imported there is nothing to save, but an exit code of 1 would say that something was found."""
    assert SEARCH.run(place, lambda: signal.setitimer(signal.ITIMER_REAL, 0.001) and None) == -signal.SIGALRM

    def interrupt_importing() -> None:
        import memaudit.cli.process as command

        command._run = lambda: os.kill(os.getpid(), signal.SIGTERM) or 0  # type: ignore[assignment]

    assert SEARCH.run(place, interrupt_importing) == 143


def chosen(work: Work, folder: Path, wanted: int) -> list[Point]:
    """Return points spread over all calls and faults of a work, the last calls, which save the results, among them."""
    every = points(work, folder)
    return every[:: max(1, len(every) // wanted)]


@pytest.mark.parametrize(
    ("work", "wanted"), [(SEARCH, 14), (AUDIT, 4), (TRAINING, 4)], ids=lambda v: getattr(v, "name", v)
)
def test_a_call_that_fails_once(work: Work, wanted: int, place: Path, calm: Calm) -> None:
    wrong = [fault for point in chosen(work, place, wanted) for fault in faults_at(point, place, calm[work.name])]
    assert wrong == []


@pytest.mark.parametrize("call", ["kill", "ENOSPC"])
def test_a_model_is_saved_whole_or_not_at_all(call: str, place: Path, calm: Calm) -> None:
    every = points(TRAINING, place)
    moves = [point for point in every if point.fault == call and point.call == "replace memaudit.json"]
    [last] = moves
    after = Point(TRAINING, last.number + 1, "the next", last.fault)
    assert faults_at(last, place, calm["training"]) + faults_at(after, place, calm["training"]) == []


@pytest.mark.parametrize(
    ("work", "size"), [(AUDIT, 20_000), (SEARCH, 3_000), (TRAINING, 3_000)], ids=lambda v: getattr(v, "name", v)
)
def test_a_full_disk(work: Work, size: int, place: Path, calm: Calm) -> None:
    assert limited(work, place, calm[work.name], size) == []


def test_results_are_readable_by_their_owner_alone(place: Path, calm: Calm) -> None:
    for work in WORKS[:2]:
        shutil.rmtree(place / work.out, ignore_errors=True)
        work.run(place)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (place / work.out).iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE((place / work.out).stat().st_mode) == 0o700
