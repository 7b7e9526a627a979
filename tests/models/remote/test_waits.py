"""Waits before a request is sent again, without waiting."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from memaudit.models.remote import waits
from memaudit.models.remote.waits import StoppedError, Waits


class Clock:
    """Time that passes when somebody sleeps; stands for an event that never comes, too."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.now += seconds
        return False

    def is_set(self) -> bool:
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(waits, "time", clock)
    return clock


def made(told: list[str]) -> Any:
    return Waits(told.append)


def test_waits_grow_up_to_a_limit(clock: Clock) -> None:
    told: list[str] = []
    some = made(told)
    for tries in range(1, 10):
        some.back_off(tries, "500", clock)
    most = [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert all(limit / 2 <= seconds <= limit for seconds, limit in zip(clock.slept, most, strict=True))
    assert told[0] == "500: asked again (try 4)"
    assert 2 <= len(told) <= 5, "not at each"
    clock.slept.clear()
    some.back_off(9, "429", clock, paused=10)
    assert 5 <= clock.slept.pop() <= 20
    some.back_off(9, "429", clock, paused=30)
    assert clock.slept == []
    some.back_off(4, "odd", clock, bad=True)
    assert clock.slept[0] <= 0.4


def test_no_two_wait_alike(clock: Clock) -> None:
    for _ in range(20):
        made([]).back_off(5, "", clock)
    assert len(set(clock.slept)) == 20


def test_what_a_server_asks_for_holds_for_all_and_is_said_once(clock: Clock) -> None:
    told: list[str] = []
    some = made(told)
    some.pass_pause(clock)
    assert clock.slept == []
    some.pause(30, "429")
    some.pause(20, "429")
    some.pause(40, "429")
    some.pass_pause(clock)
    some.pass_pause(clock)
    assert sum(clock.slept) == pytest.approx(40)
    assert told == ["429: waits 30 s, as the server asks"]
    some.pause(0, "429")
    some.pause(5, "503")
    assert told[1:] == ["503: waits 5 s, as the server asks"]


def test_a_wait_ends_when_the_run_does() -> None:
    stopping = threading.Event()
    stopping.set()
    some = made([])
    with pytest.raises(StoppedError):
        some.back_off(9, "500", stopping)
    some.pause(1000, "429")
    with pytest.raises(StoppedError):
        some.pass_pause(stopping)
