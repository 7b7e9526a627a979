"""Calls of the command in processes of their own, without the seconds that importing the libraries takes.

A server imports what commands import and starts nothing; every call is a fork of it that runs `memaudit.__main__` from
its beginning, as a new interpreter would. What is about the start itself (broken imports, limits, signals while
modules load) starts an interpreter.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

IMPORTED = (
    "memaudit.cli.app",
    "memaudit.audits.extraction.run",
    "memaudit.audits.contamination.run",
    "memaudit.audits.membership.run",
    "memaudit.models.load",
    "memaudit.report.extraction_page",
    "memaudit.training.train",
)


def call(
    arguments: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Return the outcome of ``memaudit ARGUMENTS``."""
    words = ["memaudit", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as scratch:
        files = [str(Path(scratch) / name) for name in ("out", "err")]
        asked = {"argv": words, "cwd": str(cwd), "environment": dict(environment), "files": files}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        out, err = (Path(file).read_text(encoding="utf-8") for file in files)
    return subprocess.CompletedProcess(words, code, out, err)


@cache
def _server() -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def stop() -> None:
        assert started.stdin is not None
        started.stdin.close()
        started.wait(timeout=30)

    atexit.register(stop)
    return started


def serve() -> None:
    """Fork for every line of standard input, and answer each with an exit code."""
    import importlib

    for name in IMPORTED:
        importlib.import_module(name)
    from memaudit.report.charts import drawing

    answers, drawer = os.fdopen(os.dup(1), "w"), drawing._Process()
    for line in sys.stdin:
        asked = json.loads(line)
        drawer.start()
        child = os.fork()
        if child == 0:
            drawing._PROCESS = _Shared(drawer._process)  # type: ignore[assignment]
            _become(asked)
        answers.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        answers.flush()


class _Shared:
    """The process that draws charts, for one fork after the other."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def start(self) -> None:
        """Do nothing: it is at work."""

    def ask(self, specification: str) -> dict[str, Any]:
        """Return the answer."""
        self._process.stdin.write(specification.encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _become(asked: Mapping[str, Any]) -> None:
    """Turn this fork into the command; it never returns."""
    code = 99
    try:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        for number, (file, name) in enumerate(zip(asked["files"], ("stdout", "stderr"), strict=True), 1):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
            stream = open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        sys.argv = asked["argv"]
        from memaudit.__main__ import main

        main()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    serve()
