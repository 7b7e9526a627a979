"""Client's CPU time of a request to a llama.cpp server: JSON, checks of the wire and the journal included.

A request asks for 32 tokens and the likeliest beside each, as an audit does where a server lists no whole vocabulary.
Beside it: the same bytes by the HTTP library alone. ``quick`` asks less.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOKENS = 32
GOAL = 2.0
"""Milliseconds."""


def milliseconds(work: Callable[[], Any], count: int) -> float:
    """Return the CPU time of this process for each of so many requests."""
    started = time.process_time()
    work()
    return (time.process_time() - started) / count * 1e3


def measure(report: Report, url: str, count: int, connections: int) -> None:
    """Add what a request takes where so many are under way together: asked, and found in the journal."""
    from tests.models.remote.asking import body, read, transport

    with transport(url, connections=connections) as asker, tempfile.TemporaryDirectory() as folder:
        asker.keep_in(Path(folder))

        def ask(first: int, many: int) -> None:
            def job(which: int) -> Callable[[], Any]:
                return lambda: asker.ask("/completions", body(which, TOKENS), read, tokens=4 + TOKENS)

            asker.each([job(first + which) for which in range(many)])

        ask(0, 20)  # connections are made, libraries imported
        words = f"{connections} connection{'s'[: connections > 1]}"
        cost = milliseconds(lambda: ask(20, count), count)
        report.add(f"a request, {words}", cost, unit="ms CPU", goal=GOAL, at_most=True)
        again = milliseconds(lambda: ask(20, count), count)
        report.add(f"an answer from the journal, {words}", again, unit="ms CPU")


def library(url: str, count: int) -> tuple[float, int]:
    """Return what the HTTP library alone takes for a request, and the bytes of an answer."""
    import httpx2

    from tests.models.remote.asking import body

    with httpx2.Client(trust_env=False) as client:
        size = len(client.post(f"{url}/completions", json=body(0, TOKENS)).content)

        def ask() -> None:
            for which in range(count):
                client.post(f"{url}/completions", json=body(which, TOKENS)).raise_for_status()

        return milliseconds(ask, count), size


def main() -> None:
    """Measure against a server of a model of 300 tokens."""
    from tests.models.remote.asking import tiny
    from tests.models.remote.servers import llama_cpp

    count = 100 if "quick" in sys.argv[1:] else 1000
    report = Report("endpoint_overhead")
    with llama_cpp(tiny(), context=64) as url:
        alone, size = library(url, count)
        report.add("bytes of an answer", size, unit="bytes")
        report.add("the HTTP library alone", alone, unit="ms CPU")
        for connections in (1, 4):
            measure(report, url, count, connections)
    report.finish()


if __name__ == "__main__":
    main()
