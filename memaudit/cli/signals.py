"""SIGINT and SIGTERM: they end the command with 130 and 143, and what code in between does with them changes neither.

A handler of Python raises wherever the interpreter happens to be. Where that is a function that C code called (a
dispatcher of compiled kernels, a callback, a finaliser), the exception may be dropped, or come out as another one.
So the signal is remembered, and raised again until it has reached the outermost frame.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

STOPPING = signal.SIGINT, signal.SIGTERM
AGAIN = 0.5
"""Seconds after which a signal that was dropped is raised again."""
_received: list[int] = []


class Interrupted(BaseException):
    """SIGINT or SIGTERM. What is finished is on disk already: every block is made durable as it ends."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        self.name = signal.Signals(number).name


def listen() -> None:
    """Raise `Interrupted` at the first signal from now on."""
    for number in STOPPING:
        signal.signal(number, _interrupt)


def ignore() -> None:
    """Take no more notice of signals: the outcome stands."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def interruption() -> Interrupted | None:
    """Return the signal that came, whatever became of it on its way."""
    return Interrupted(_received[0]) if _received else None


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    ignore()  # a second signal must not cut off what the first one lets finish
    _received.append(number)
    sys.unraisablehook = lambda _: None  # where it is dropped, Python would say so
    signal.signal(signal.SIGALRM, _remind)
    signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
    raise Interrupted(number)


def _remind(_number: int, _frame: FrameType | None) -> None:
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, Interrupted):
            return  # on its way: what runs now cleans up behind it
        error = error.__context__
    raise Interrupted(_received[0])
