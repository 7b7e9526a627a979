"""Workers die and parents die: nobody waits for the dead, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from memaudit.engines.processes import Work, in_workers
from memaudit.errors import InputError, RunError


def square(base: int, padding: bytes = b"") -> Work:
    return lambda task: base + task * task


def troubled(how: str) -> Work:
    def work(task: int) -> int:
        if task != 3:
            return task
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            os._exit(7)
        raise InputError("a.jsonl:3: wrong", "mend it")

    return work


def sleeper(folder: str) -> Work:
    def work(task: int) -> int:
        Path(folder, str(os.getpid())).touch()
        time.sleep(600)
        return task

    return work


def killed_while_preparing(padding: bytes) -> Work:
    os.kill(os.getpid(), signal.SIGKILL)
    return square(0)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be fetched by its parent has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_every_task_is_done_once() -> None:
    results = list(in_workers(square, (7, bytes(1 << 20)), list(range(20)), 3))
    assert sorted(results) == [(task, 7 + task * task) for task in range(20)]
    assert list(in_workers(square, (7,), [], 3)) == []
    assert list(in_workers(square, (7,), [4], 3)) == [(4, 23)]


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("kill", RunError, "a worker was killed, perhaps for want of memory"),
        ("exit", RunError, "a worker ended with exit code 7"),
        ("raise", InputError, "a.jsonl:3: wrong"),
    ],
)
def test_what_ends_a_worker_is_told_after_what_was_done(how: str, error: type[Exception], message: str) -> None:
    done = []
    with pytest.raises(error, match=message):
        for task, result in in_workers(troubled, (how,), [1, 2, 3, 4], 1):
            done.append((task, result))
    assert done == [(1, 1), (2, 2)]


def test_a_worker_that_never_reads_what_it_is_given_keeps_nobody_waiting() -> None:
    with pytest.raises(RunError, match="a worker was killed"):
        list(in_workers(killed_while_preparing, (bytes(1 << 22),), [1, 2], 2))


def test_a_closed_generator_leaves_no_worker(tmp_path: Path) -> None:
    with closing(in_workers(square, (0,), list(range(50)), 2)) as results:
        next(results)
        import multiprocessing

        pids = [child.pid for child in multiprocessing.active_children()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids if pid is not None)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told by /proc")
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_workers import sleeper\nfrom memaudit.engines.processes import in_workers\n"
        "if __name__ == '__main__': list(in_workers(sleeper, (sys.argv[1],), [1, 2, 3], 2))\n"
    )
    (tmp_path / "main.py").write_text(code)
    pids = tmp_path / "pids"
    pids.mkdir()
    command = [sys.executable, str(tmp_path / "main.py"), str(pids), str(Path(__file__).parent)]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until(lambda: len(list(pids.iterdir())) == 2)
    parent.kill()
    parent.communicate()
    workers = [int(path.name) for path in pids.iterdir()]
    wait_until(lambda: all(map(gone, workers)))
    assert len(workers) == 2
