"""Calls of the command in processes of their own, without the seconds that importing the libraries takes.

A server imports what commands import and has audited and searched once, so that its kernels are loaded; every call is
a fork of it that runs `memaudit.__main__` from its beginning, as a new interpreter would, or another function. What is
about the start itself (broken imports, limits, signals while modules load) starts an interpreter.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, recv_fds, send_fds, socket, socketpair
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
ABROAD = ("memaudit.__main__", "memaudit.report.charts.drawing_process")
"""Modules that are programs."""
PIPE = 1 << 16
"""Bytes that a pipe holds without a reader."""


def call(
    arguments: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    function: str = "",
) -> subprocess.CompletedProcess[str]:
    """Return the outcome of ``memaudit ARGUMENTS``, or of ``MODULE:FUNCTION``, with a pipe for its standard input."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as given, TemporaryFile() as out, TemporaryFile() as err:
        with os.fdopen(writer, "wb") as piped:
            assert piped.write(stdin) < PIPE
        code = run(arguments, cwd, environment, (given.fileno(), out.fileno(), err.fileno()), function)
        said = [_content(file) for file in (out, err)]
    return subprocess.CompletedProcess(["memaudit", *map(str, arguments)], code, *said)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8")


def run(
    arguments: Sequence[str | Path],
    cwd: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
    function: str = "",
) -> int:
    """Return the exit code of ``memaudit ARGUMENTS``, which reads from and writes to the given descriptors."""
    words = ["memaudit", *map(str, arguments)]
    asked = {"argv": words, "cwd": str(cwd), "environment": dict(environment), "function": function}
    send_fds(_server(), [json.dumps(asked).encode()], streams)
    return int(_server().recv(64))


@cache
def _server() -> socket:
    """Return our end of the connection to the server, which ends with it."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
        started = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def stop() -> None:
        ours.close()
        started.wait(timeout=30)

    atexit.register(stop)
    return ours


def serve(number: int) -> None:
    """Fork for every message, and answer each with an exit code."""
    from memaudit.report.charts import drawing

    client, drawer = socket(fileno=number), drawing._Process()
    drawer.start()
    drawing._PROCESS = _Shared(drawer._process)  # type: ignore[assignment]
    _prepare()
    gc.freeze()
    while True:
        message, streams, _, _ = recv_fds(client, 1 << 20, 3)
        if not message:
            return
        drawer.start()
        child = os.fork()
        if child == 0:
            client.close()
            drawing._PROCESS = _Shared(drawer._process)  # type: ignore[assignment]
            _become(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        client.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _prepare() -> None:
    """Import everything, then audit and search once: kernels, schemas and templates are loaded by their first use."""
    importlib.import_module("torch._dynamo")  # by the first optimiser, for a second
    for module in pkgutil.walk_packages([str(ROOT / "memaudit")], "memaudit."):
        if module.name not in ABROAD:
            importlib.import_module(module.name)
    from memaudit import audit, contamination
    from memaudit.training.train import CorpusOptions, train_ngram

    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("train", "heldout"):
            texts = [" ".join(sha256(f"{name} {i} {j}".encode()).hexdigest()[:6] for j in range(9)) for i in range(12)]
            rows = [json.dumps({"text": text}) + "\n" for text in texts]
            (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
        train, heldout = (str(folder / f"{name}.jsonl") for name in ("train", "heldout"))
        train_ngram(CorpusOptions([train], "char"), folder / "model", order=30, smoothing="mle")
        audit(folder / "model", train, heldout, out=folder / "audit", prefix=6, suffix=6)
        contamination(train, heldout, out=folder / "search", fields=("text",))


class _Shared:
    """The process that draws charts, for one fork after the other; where it has ended, idle, one of the fork's own."""

    def __init__(self, process: Any) -> None:
        from memaudit.report.charts import drawing

        self._process, self._own = process, drawing._Process()

    def start(self) -> None:
        """Do nothing: it is at work."""

    def ask(self, specification: str) -> dict[str, Any] | None:
        """Return the answer."""
        with suppress(OSError, ValueError):
            self._process.stdin.write(specification.encode() + b"\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            return answer
        return self._own.ask(specification)


def _become(asked: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Turn this fork into the command; it never returns; the command ends its process itself."""
    code = 99
    try:
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        for number, name in enumerate(("stdout", "stderr"), 1):
            stream = open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        sys.argv = asked["argv"]
        if asked["function"]:
            module, _, name = asked["function"].partition(":")
            getattr(importlib.import_module(module), name)()
            sys.stdout.flush()
            code = 0
        else:
            from memaudit.__main__ import main

            main()
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    serve(int(sys.argv[1]))
