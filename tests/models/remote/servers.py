"""Real servers on this machine, started by tests and stopped by them.

Run as a program it serves a GGUF file with llama.cpp: ``python servers.py FILE CONTEXT SLOTS F32|F16``; it prints its
address as soon as it listens.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOPBACK = "MEMAUDIT_TEST_LOOPBACK"


@contextmanager
def llama_cpp(file: Path, *, context: int = 128, slots: int = 1, cache: str = "F32") -> Iterator[str]:
    """Serve a GGUF file; yield the address that ends in ``/v1``.

    Args:
        file: The model.
        context: Tokens of each slot.
        slots: Requests that it works on together.
        cache: Type of the keys and values that it keeps; F32 goes without flash attention, which would round.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", LOOPBACK: "1"}
    command = [sys.executable, __file__, str(file), str(context), str(slots), cache]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        try:
            address = child.stdout.readline().strip()
            assert address.startswith("http://"), f"llama.cpp did not start: {address}"
            yield f"{address}/v1"
        finally:
            child.kill()


@contextmanager
def transformers_serve(folder: Path) -> Iterator[str]:
    """Serve a model folder with ``transformers serve``, which knows it by the folder's path; yield its address.

    It takes some ten seconds to start: one for all tests that need it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", LOOPBACK: "1"}
    serve = ["serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", str(folder)]
    command = [sys.executable, "-m", "transformers.cli.transformers", *serve]
    with (
        tempfile.TemporaryFile() as told,
        subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, env=environment) as child,
    ):
        try:
            _await_health(f"http://127.0.0.1:{port}/health", child)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            child.kill()


def _await_health(address: str, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            assert child.poll() is None and time.monotonic() < deadline, "transformers serve did not start"
            time.sleep(0.1)


def _serve(file: str, context: int, slots: int, cache: str) -> None:
    import xllamacpp

    told = os.dup(1)
    os.dup2(2, 1)  # llama.cpp writes to standard output too
    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.n_ctx, settings.n_parallel, settings.port = context * slots, slots, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    if cache == "F32":
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(settings)
    os.write(told, f"{server.listening_address}\n".encode())
    while os.getppid() != 1:
        time.sleep(0.5)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
