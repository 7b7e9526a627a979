"""Jobs that are done several at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from memaudit.models.remote.crew import Crew, stopping
from memaudit.models.remote.waits import StoppedError


def nothing() -> None:
    pass


@pytest.mark.parametrize("hands", [1, 3, 50])
def test_answers_come_in_order(hands: int) -> None:
    assert Crew([partial(pow, number, 2) for number in range(20)]).work(hands, nothing) == [n**2 for n in range(20)]
    assert Crew([]).work(hands, nothing) == []


def test_as_many_together_as_there_are_hands() -> None:
    barrier = threading.Barrier(3)
    places = Crew([partial(barrier.wait, 10)] * 9).work(3, nothing)
    assert sorted(places) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_first_error_is_raised_once_those_under_way_have_ended() -> None:
    failed, done = threading.Event(), list[str]()

    def fail() -> None:
        failed.set()
        raise ValueError("first")

    def under_way() -> None:
        failed.wait(10)
        done.append("under way")

    jobs: list[Callable[[], None]] = [under_way, fail, *[partial(done.append, "begun later")] * 50]
    with pytest.raises(ValueError, match="first"):
        Crew(jobs).work(2, nothing)
    assert done[0] == "under way"
    assert len(done) <= 2, "one may have been taken before the error was noted"


def test_nobody_waits_for_another_try_after_an_error() -> None:
    waiting = threading.Barrier(2)

    def wait() -> None:
        waiting.wait(10)
        assert stopping().wait(10)
        raise StoppedError

    def fail() -> None:
        waiting.wait(10)
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        Crew([wait, fail]).work(2, nothing)


def test_a_job_that_somebody_else_cut_off_has_no_answer() -> None:
    def cut_off() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        Crew([cut_off, *[nothing] * 5]).work(2, nothing)


def test_an_interruption_stops_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(BaseException):
        pass

    waiting, ended, cuts = threading.Barrier(3), list[bool](), list[int]()

    def job() -> None:
        waiting.wait(10)
        ended.append(stopping().wait(10))
        raise StoppedError

    crew = Crew([job] * 9)
    wait = crew._done.wait

    def interrupted(seconds: float | None = None) -> bool:
        if seconds is not None:
            return wait(seconds)
        waiting.wait(10)
        raise Interrupted

    monkeypatch.setattr(crew._done, "wait", interrupted)
    with pytest.raises(Interrupted):
        crew.work(2, lambda: cuts.append(1))
    assert ended == [True, True]
    assert cuts == [1]


def test_nobody_stops_what_no_crew_does() -> None:
    assert not stopping().is_set()
