"""Worker processes that may be killed at any moment: none keeps its parent waiting, none outlives it.

Each worker has a pipe of its own. It ends at once on either side when the other dies, whatever kills it: the parent
learns of a lost worker by it, and a worker that is in the midst of its work of a lost parent.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from threading import Thread
from typing import Any

from memaudit.errors import RunError

Work = Callable[[int], Any]
"""Does one task, and returns what can be pickled."""
Answer = tuple[int, Any, Exception | None]
"""A task, its result, and what was raised instead."""
SECONDS_TO_END = 10
"""How long a process may take to be gone after its pipe has ended."""


def in_workers(
    prepare: Callable[..., Work], arguments: Sequence[Any], tasks: Sequence[int], processes: int
) -> Generator[tuple[int, Any]]:
    """Yield (task, its result) as they are finished; close the generator, and no worker is left.

    Args:
        prepare: A function of a module; called with ``arguments`` once in every worker, gives the work it does.
        arguments: What can be pickled.
        tasks: Handed out one at a time.
        processes: Workers at most.

    Raises:
        RunError: A worker was killed.
        Exception: What the work raised, after the results that came in beside it.
    """
    waiting = iter(tasks)
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(min(processes, len(tasks))):
            line, process = _start()
            workers[line] = process
        for line in workers:
            _send(line, (prepare, tuple(arguments)))
            _send(line, next(waiting))
        busy = set(workers)
        while busy:
            ready = wait(busy)
            answers = {line: _answer_of(line, process) for line, process in workers.items() if line in ready}
            yield from ((task, result) for task, result, error in answers.values() if error is None)
            for _, _, error in answers.values():
                if error is not None:
                    raise error
            for line in answers:
                following = next(waiting, None)
                if following is None:
                    busy.remove(line)
                else:
                    _send(line, following)
    finally:
        for line, process in workers.items():
            process.kill()
            process.join()
            line.close()


def _start() -> tuple[Connection, BaseProcess]:
    """Start a worker; return our end of its pipe."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    # Little is given at the start: what a process does not read of it because it was killed is waited for forever.
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    resource_tracker.ensure_running()  # else it is started below, and lets signals through again
    # Ctrl-C reaches every process of a terminal, but is the parent's to answer, from a worker's first moment on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    return ours, process


def _send(line: Connection, message: object) -> None:
    with suppress(OSError):  # nobody there: told when the answer is read
        line.send(message)


def _answer_of(line: Connection, process: BaseProcess) -> Answer:
    """Return what a worker says, or how it ended."""
    try:
        answer: Answer = line.recv()
    except (EOFError, OSError):
        process.join(SECONDS_TO_END)
        code = process.exitcode
        killed = code is None or code < 0
        how = "was killed, perhaps for want of memory" if killed else f"ended with exit code {code}"
        return -1, None, RunError(f"a worker {how}", "the same command resumes")
    return answer


def _serve(line: Connection) -> None:
    """Do in a worker what the parent asks for, until it asks no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        prepare, arguments = line.recv()
        tasks: SimpleQueue[int] = SimpleQueue()
        Thread(target=_listen, args=(line, tasks), daemon=True).start()
        work: Work | None = None
        while True:
            task = tasks.get()
            try:
                work = work or prepare(*arguments)
                answer: Answer = task, work(task), None
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = task, None, error
            line.send(answer)


def _listen(line: Connection, tasks: SimpleQueue[int]) -> None:
    """Pass tasks on; leave at once, whatever is being done, when the parent has gone."""
    with suppress(EOFError, OSError):
        while True:
            tasks.put(line.recv())
    os._exit(1)
