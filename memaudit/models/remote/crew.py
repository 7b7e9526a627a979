"""Jobs that wait for a server, several at a time, and how they end when the user does not want to wait any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from memaudit.models.remote.waits import StoppedError

Answer = TypeVar("Answer")
_GRACE = 0.8
"""Seconds that threads have to end after an interruption; one that still looks for a host is left behind."""
_NEVER = threading.Event()
_here = threading.local()


def stopping() -> threading.Event:
    """Return what tells the job of this thread that it is to end."""
    told: threading.Event = getattr(_here, "stopping", _NEVER)
    return told


class Crew:
    """Does jobs in order, so many at a time.

    Args:
        jobs: What is to be done.
    """

    def __init__(self, jobs: Sequence[Callable[[], Any]]) -> None:
        self._jobs, self._answers = jobs, [None] * len(jobs)
        self._lock = threading.Lock()
        self._next, self._working = 0, 0
        self._errors: list[BaseException] = []
        self._stopping, self._done = threading.Event(), threading.Event()

    def work(self, hands: int, cut: Callable[[], None]) -> list[Any]:
        """Return what the jobs return, in order.

        Args:
            hands: Jobs that are under way together.
            cut: Ends what they wait for; called when the caller is interrupted.

        Raises:
            BaseException: The first that a job raised, once those under way have ended; they try nothing anew.
        """
        self._working = min(hands, len(self._jobs))
        if not self._working:
            return []
        for _ in range(self._working):
            threading.Thread(target=self._toil, daemon=True).start()
        try:
            self._done.wait()
        except BaseException:
            self._stopping.set()
            cut()
            self._done.wait(_GRACE)
            raise
        if self._errors:
            raise self._errors[0]
        return self._answers

    def _toil(self) -> None:
        _here.stopping = self._stopping
        try:
            while (place := self._take()) is not None:
                self._answers[place] = self._jobs[place]()
        except StoppedError as error:
            if not self._stopping.is_set():  # cut off by somebody else: there is no answer, and the next job goes on
                self._errors.append(error)
                self._stopping.set()
        except BaseException as error:
            self._errors.append(error)
            self._stopping.set()  # nobody waits for another try any more; what is sent already is still taken in
        finally:
            with self._lock:
                self._working -= 1
                if not self._working:
                    self._done.set()

    def _take(self) -> int | None:
        with self._lock:
            if self._errors or self._stopping.is_set() or self._next == len(self._jobs):
                return None
            self._next += 1
            return self._next - 1
