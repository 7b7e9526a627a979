"""The proxy of `tests.models.remote.proxy` in a process of its own: a test that forks has no threads.

Run as a program it takes a line of JSON on standard input for every question, and answers with one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]


class Passed(NamedTuple):
    """A POST request that came by."""

    key: str
    """As a run's journal looks it up, of a request that is made once."""
    fault: str
    whole: bool
    """Whether its true answer was delivered."""


class Proxied:
    """A proxy in another process."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child
        self.url: str = self._ask({})["url"]

    def commit(self, faults: Sequence[str], share: float, *, seed: int = 0) -> None:
        """Commit these faults from now on, each in that share of requests."""
        self._ask({"faults": list(faults), "share": share, "seed": seed})

    def passed(self) -> list[Passed]:
        """Return what came by since this was asked last."""
        return [Passed(*one) for one in self._ask({"passed": True})["passed"]]

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        answer: dict[str, Any] = json.loads(self._child.stdout.readline())
        return answer


@contextmanager
def proxied(behind: str, hang: float) -> Iterator[Proxied]:
    """Start a proxy before a server.

    Args:
        behind: Its address.
        hang: Seconds that a hanging request is held.
    """
    environment = {**os.environ, "MEMAUDIT_TEST_LOOPBACK": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, __file__, behind, str(hang)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as child:
        try:
            yield Proxied(child)
        finally:
            child.kill()


def _serve(behind: str, hang: float) -> None:
    from memaudit.models.remote.journal import digest
    from tests.models.remote.proxy import Proxy

    with Proxy(behind, hang=hang) as proxy:
        told = 0
        for line in sys.stdin:
            question = json.loads(line)
            answer: dict[str, Any] = {"url": proxy.url}
            if "faults" in question:
                proxy.seed, proxy.share = question["seed"], question["share"]
                proxy.faults = question["faults"]
            if "passed" in question:
                some = proxy.posts[told:]
                told += len(some)
                paths = [one.path.removeprefix("/v1") if one.path.startswith("/v1") else f"^{one.path}" for one in some]
                keys = [digest(path, one.body, 0) for path, one in zip(paths, some, strict=True)]
                answer["passed"] = [[key, one.fault, one.whole] for key, one in zip(keys, some, strict=True)]
            print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(sys.argv[1], float(sys.argv[2]))
