"""Pictures of charts, drawn by a process of its own: what draws them may end it, and then a page lacks a picture.

The renderer of Vega-Lite is a JavaScript engine that reserves address space by the ten gigabytes and aborts its process
where it gets none. One process serves all charts; it is started with the first and ends with us, or when idle.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

SECONDS = 120
"""How long a picture may take, on a machine that is busy with other work."""
TRIES = 2
"""An idle process may end just as it is asked."""
_CHILD = Path(__file__).with_name("drawing_process.py")


@lru_cache(maxsize=128)
def drawn(specification: str) -> str | None:
    """Return a Vega-Lite chart as SVG, drawn once however often a page is made of it; None where it cannot be.

    Args:
        specification: JSON in one line.

    Raises:
        ValueError: It is no chart.
    """
    answer = next((answer for _ in range(TRIES) if (answer := _PROCESS.ask(specification)) is not None), None)
    if answer is None:
        return None
    if "svg" not in answer:
        raise ValueError(f"not drawn: {answer['error']}")
    return str(answer["svg"])


def get_ready() -> None:
    """Start the process, so that it is ready by the time that the first chart has been described."""
    _PROCESS.start()


class _Process:
    """The process at work, if there is one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._failures = 0

    def start(self) -> None:
        """Start the process unless it is at work."""
        if self._owner != os.getpid():  # after a fork it is the parent's
            self._process, self._owner = None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return
        self.end()
        if self._failures >= TRIES:  # it will not do better for the next chart
            return
        with suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD)],  # nothing beside the file may stand in for an installed module
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to answer
            )

    def ask(self, specification: str) -> dict[str, Any] | None:
        """Return the answer, None if the process ended over it or took too long."""
        with self._lock:
            self.start()
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                return None
            with suppress(OSError, ValueError):
                process.stdin.write(specification.encode() + b"\n")
                process.stdin.flush()
                if select.select([process.stdout], [], [], SECONDS)[0]:
                    answer: dict[str, Any] = json.loads(process.stdout.readline())
                    self._failures = 0
                    return answer
            self._failures += 1
            self.end()
            return None

    def end(self) -> None:
        """Let the process go."""
        if self._process is None or self._owner != os.getpid():
            return
        process, self._process = self._process, None
        process.kill()
        with suppress(OSError):
            process.communicate()


_PROCESS = _Process()
atexit.register(_PROCESS.end)
