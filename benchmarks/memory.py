"""Peak memory of a piece of work, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

STATM = Path("/proc/self/statm")
PAGE = 4096


def peak_mib(make: Callable[[], Callable[[], Any]]) -> float:
    """Return by how many MiB the resident memory grows while ``make()()`` runs; what ``make`` takes is not counted.

    Linux only. ``make`` is a function of a module's top level, or a partial of one: a new process calls it, where
    no memory freed earlier can hide what is taken.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(make, theirs))
    process.start()
    theirs.close()
    peak: float = ours.recv()
    process.join()
    return peak


def _measure(make: Callable[[], Callable[[], Any]], answer: Connection) -> None:
    torch.set_num_threads(1)
    work = make()
    before = most = _resident()
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, _resident())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    answer.send((most - before) / 2**20)


def _resident() -> int:
    return int(STATM.read_text().split()[1]) * PAGE
