"""The command's outermost frame: what every failure turns into. An exit code of 1 is a verdict, never a crash."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from memaudit.errors import MemauditError, Verdict, one_line_of_both_ends

INTERNAL_ERROR = 70
STOPPING = signal.SIGINT, signal.SIGTERM
READER_LEFT = 141
"""What a shell shows for a process that wrote to a closed pipe."""
EXITS_OF_TYPER: dict[object, int] = {None: 0, 0: 0, 1: READER_LEFT, 2: 2}
"""Help and version, a closed pipe (1 is a verdict here, so never that), usage errors; it knows no others."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM. What is finished is on disk already: every block is made durable as it ends."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        self.name = signal.Signals(number).name


def main() -> NoReturn:
    """Run the command line and exit with the code that its outcome earns."""
    # Set before any library is imported: nothing here talks to the network unless it is asked to.
    if "--allow-download" not in sys.argv:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Wherever two threads share a core with other work, waiting threads must sleep, not spin: ten times as fast there,
    # and no slower on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called us
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    command = shlex.join(["memaudit", *sys.argv[1:]])
    debug = "--debug" in sys.argv
    if not debug:
        warnings.simplefilter("ignore")  # what matters is checked and said by us
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        for number in STOPPING:
            signal.signal(number, _interrupt)
        code = _run(debug)
        _ignore_signals()  # the outcome stands; a late signal must not replace its exit code
    except Interrupted as interrupted:  # at any moment: while modules are imported or an error is told, too
        _say(f"{interrupted.name}: stopped; finished work is kept, go on with: {command}")
        code = interrupted.exit_code
    try:
        sys.stdout.flush()
    except OSError as error:  # what was found stays found, whether or not anybody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            code = _failed(f"standard output: {_describe(error)}", MemauditError.exit_code, debug)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    if not debug:
        # What libraries say while Python ends is for nobody; where it cannot be written, it would change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    sys.exit(code)


def _run(debug: bool) -> int:
    from typer.main import get_command

    from memaudit.cli import app

    try:
        outcome = get_command(app).main(prog_name="memaudit", standalone_mode=False)
        return EXITS_OF_TYPER.get(outcome if isinstance(outcome, int) else None, INTERNAL_ERROR)
    except Verdict as verdict:
        return verdict.exit_code
    except SystemExit as leaving:
        return EXITS_OF_TYPER.get(leaving.code, INTERNAL_ERROR)
    except MemauditError as error:
        return _failed(str(error), error.exit_code, debug)
    except OSError as error:
        return _failed(_describe(error), MemauditError.exit_code, debug)
    except Exception as error:
        if hasattr(error, "format_message"):  # how typer says that it was called wrongly
            return _misused(error)
        what = f"internal error: {type(error).__name__}: {error}"
        return _failed(f"{what} (a bug; --debug shows where)", INTERNAL_ERROR, debug)


def _misused(error: Any) -> int:
    """Say in one line what is wrong with the arguments; help, where there are none at all."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        command = error.ctx.command_path if getattr(error, "ctx", None) else "memaudit"
        _say(f"error: {' '.join(error.format_message().split()).rstrip('.')} ({command} --help shows how it is called)")
    return MemauditError.exit_code


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    _ignore_signals()  # a second signal must not cut off what the first one lets finish
    raise Interrupted(number)


def _ignore_signals() -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _failed(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    _say(f"error: {message}")
    return exit_code


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # nobody to tell; the exit code says it too
        sys.stderr.write(one_line_of_both_ends(f"memaudit: {message}") + "\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
