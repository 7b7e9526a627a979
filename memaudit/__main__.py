"""The command's outermost guard: an exit code of 1 is a verdict, never a crash, whatever fails at whatever moment.

It needs nothing that the interpreter has not loaded before it; all else is imported under its eyes.
"""

from __future__ import annotations

import os

OUT_OF_ORDER, ENVIRONMENT_FAILED, INTERRUPTED = 70, 2, 130


def main() -> None:
    """Run the command line and end the process with the code that its outcome earns."""
    code = OUT_OF_ORDER
    try:
        from memaudit.cli.process import run

        code = run()
    except BaseException as error:
        code = _tell(error)
    finally:
        # Not by an exception: where memory is out, raising SystemExit fails, and the interpreter then exits with 1.
        os._exit(code)


def _tell(error: BaseException) -> int:
    """Say in one line that the command did not even begin, or could not end; return the exit code."""
    code = ENVIRONMENT_FAILED if isinstance(error, ImportError | MemoryError) else OUT_OF_ORDER
    code = INTERRUPTED if isinstance(error, KeyboardInterrupt) else code
    what = f"{type(error).__name__}: {error}".encode("ascii", "backslashreplace").replace(b"\n", b" ")
    os.write(2, b"memaudit: error: the command cannot be started: " + what[:240] + b"\n")
    return code


if __name__ == "__main__":
    main()
