"""How long it is waited before a request is sent again, and what the user is told of it."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

FIRST, LONGEST = 0.25, 30.0
"""Seconds before the second try, and before late ones: each wait is twice the one before."""
BAD_FIRST = 0.05
"""Seconds after an answer that was otherwise than asked: that server has no need of rest."""
CAP = 120.0
"""Seconds that a server may ask to wait; one that asks for more ends the run, which can be resumed."""
_TOLD_FROM, _TOLD_EVERY = 3, 10.0
"""Tries in vain before the user is told, and seconds between two lines about it."""


class StoppedError(Exception):
    """A job that is to end because its run does."""


class Waits:
    """The waits of all threads together: what a server asks for holds for all of them.

    Args:
        tell: Takes a line for the user.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._until, self._told = 0.0, -_TOLD_EVERY
        self._random = random.Random()  # of its own: nothing that is measured depends on it

    def pass_pause(self, stopping: threading.Event) -> None:
        """Return once no server asks to wait any more.

        Raises:
            StoppedError: The job is to end.
        """
        if stopping.is_set():
            raise StoppedError
        while (left := self._until - time.monotonic()) > 0:
            self._sleep(left, stopping)

    def pause(self, seconds: float, why: str) -> None:
        """Let all threads wait, and say so once."""
        until = time.monotonic() + seconds
        with self._lock:
            new = self._until <= time.monotonic()
            self._until = max(self._until, until)
            if new and seconds >= 1:
                self._tell(f"{why}: waits {math.ceil(seconds):,} s, as the server asks")

    def back_off(
        self, tries: int, why: str, stopping: threading.Event, *, bad: bool = False, paused: float = 0.0
    ) -> None:
        """Wait before a request is sent again, the longer the more often it was.

        Args:
            tries: How often it was sent.
            why: What became of it, in words.
            stopping: Ends the wait.
            bad: Whether it was answered, but otherwise than asked.
            paused: Seconds that are waited anyway, as the server asked to.

        Raises:
            StoppedError: The job is to end.
        """
        seconds = min(LONGEST, (BAD_FIRST if bad else FIRST) * 2 ** (tries - 1)) * self._random.uniform(0.5, 1)
        if paused >= seconds:
            return
        with self._lock:
            now = time.monotonic()
            if tries >= _TOLD_FROM and now - self._told >= _TOLD_EVERY:
                self._told = now
                self._tell(f"{why}: asked again (try {tries + 1})")
        self._sleep(seconds - paused, stopping)

    def _sleep(self, seconds: float, stopping: threading.Event) -> None:
        if stopping.wait(seconds):
            raise StoppedError
