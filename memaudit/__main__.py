"""The command's outermost frame: what every failure turns into. An exit code of 1 is a verdict, never a crash."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

from memaudit.errors import MemauditError, Verdict, one_line

INTERNAL_ERROR = 70
READER_LEFT = 141
"""What a shell shows for a process that wrote to a closed pipe. Typer would exit with 1, which is a verdict."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM. What is finished is on disk already: every block is made durable as it ends."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        self.name = signal.Signals(number).name


def main() -> NoReturn:
    """Run the command line and exit with the code that its outcome earns."""
    # Set before any library is imported: nothing here talks to the network unless it is asked to.
    if "--allow-download" not in sys.argv:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    command = shlex.join(["memaudit", *sys.argv[1:]])
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    code = _run(command, debug)
    try:
        sys.stdout.flush()
    except OSError as error:  # what was found stays found, whether or not anybody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            code = _failed(f"standard output: {_describe(error)}", MemauditError.exit_code, debug)
    sys.exit(code)


def _run(command: str, debug: bool) -> int:
    from memaudit.cli import app

    try:
        app()
    except Verdict as verdict:
        return verdict.exit_code
    except SystemExit as leaving:
        return READER_LEFT if leaving.code == 1 else int(leaving.code or 0)
    except Interrupted as interrupted:
        _say(f"{interrupted.name}: stopped; finished work is kept, go on with: {command}")
        return interrupted.exit_code
    except MemauditError as error:
        return _failed(str(error), error.exit_code, debug)
    except OSError as error:
        return _failed(_describe(error), MemauditError.exit_code, debug)
    except Exception as error:
        what = f"internal error: {type(error).__name__}: {error}"
        return _failed(f"{what} (a bug; --debug shows where)", INTERNAL_ERROR, debug)
    return 0


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(number)


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _failed(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    _say(f"error: {message}")
    return exit_code


def _say(message: str) -> None:
    sys.stderr.write(one_line(f"memaudit: {message}") + "\n")


if __name__ == "__main__":
    main()
