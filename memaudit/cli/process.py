"""One call of the command line: what its outcome, and every failure, turns into. Codes of verdicts are for verdicts."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shlex
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from memaudit.cli.failures import INTERNAL_ERROR, check_memory, describe, failure
from memaudit.cli.signals import Interrupted, ignore, interruption, listen
from memaudit.errors import ExitWithVerdict, MemauditError, one_line_of_both_ends

READER_LEFT = 141
"""What a shell shows for a process that wrote to a closed pipe."""
STOPPED_BY_TYPER = 130
"""What typer turns a KeyboardInterrupt into."""
EXITS_OF_TYPER: dict[object, int] = {None: 0, 0: 0, 2: 2}
"""Help and version, usage errors; it knows no others."""
RESERVE = bytearray(4 << 20)
"""Given back when memory has run out, so that there is some to say so."""


def run() -> int:
    """Run the command line and return the exit code; all output is written, all that Python does at its end is done."""
    _set_environment()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    command = shlex.join(["memaudit", *sys.argv[1:]])
    debug = "--debug" in sys.argv
    if not debug:
        warnings.simplefilter("ignore")  # what matters is checked and said by us
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        listen()
        code = _outcome(debug)
        ignore()  # the outcome stands; a late signal must not replace its exit code
    except Interrupted as interrupted:  # at any moment: while modules are imported or an error is told, too
        ignore()
        _log(f"{interrupted.name}: stopped; finished work is kept, resume with: {command}")
        code = interrupted.exit_code
    code = _flushed(code, debug)
    atexit._run_exitfuncs()
    return code


def _set_environment() -> None:
    """Set what libraries read when they are imported."""
    # Nothing here talks to the network unless it is asked to.
    if "--allow-download" not in sys.argv:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Wherever two threads share a core with other work, waiting threads must sleep, not spin: ten times as fast there,
    # and no slower on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def _outcome(debug: bool) -> int:
    """Return the exit code of the command; raise `Interrupted` if a signal came, whatever it has become on its way."""
    try:
        check_memory()
        _guard_exit()
        code = _run()
    except Interrupted:
        raise
    except BaseException as error:
        RESERVE.clear()
        if interrupted := interruption():
            raise interrupted from error
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted(STOPPED_BY_TYPER - 128) from error
        return _failed(error, debug)
    if interrupted := interruption():
        raise interrupted
    return code


def _guard_exit() -> None:
    """Let a C library that ends the process end it with 2: OpenBLAS and OpenMP call ``exit(1)`` for want of memory.

    Nothing of ours leaves by C's ``exit``. The handler is C's ``_exit`` itself, so it needs neither Python nor memory.
    """
    libc = ctypes.CDLL(None)
    handler = ctypes.cast(libc._exit, ctypes.c_void_p)
    libc.__cxa_atexit(handler, ctypes.c_void_p(MemauditError.exit_code), None)


def _run() -> int:
    from typer.main import get_command

    from memaudit.cli.app import app

    try:
        outcome = get_command(app).main(prog_name="memaudit", standalone_mode=False)
    except ExitWithVerdict as verdict:
        return verdict.exit_code
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # told by typer with 1, which is a verdict here
            return READER_LEFT
        raise
    if outcome == STOPPED_BY_TYPER:
        raise KeyboardInterrupt
    return EXITS_OF_TYPER.get(outcome if isinstance(outcome, int) else None, INTERNAL_ERROR)


def _flushed(code: int, debug: bool) -> int:
    """Write what is still to be written; return the exit code, another one where nothing can be written."""
    try:
        sys.stdout.flush()
    except OSError as error:  # what was found stays found, whether or not anybody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            code = _failed(MemauditError(f"standard output: {describe(error)}"), debug)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if not debug:
        # What libraries say while Python ends is for nobody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return code


def _failed(error: BaseException, debug: bool) -> int:
    """Say in one line what went wrong; return its exit code."""
    if hasattr(error, "format_message"):  # how typer says that it was called wrongly
        return _misused(error)
    if debug:
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
    message, code = failure(error)
    _log(f"error: {message}")
    return code


def _misused(error: Any) -> int:
    """Say in one line what is wrong with the arguments; help, where there are none at all."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        command = error.ctx.command_path if getattr(error, "ctx", None) else "memaudit"
        _log(f"error: {' '.join(error.format_message().split()).rstrip('.')} ({command} --help shows how it is called)")
    return MemauditError.exit_code


def _log(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody to tell; the exit code says it too
        sys.stderr.write(one_line_of_both_ends(f"memaudit: {message}") + "\n")
        sys.stderr.flush()
