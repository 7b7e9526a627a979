"""One call of the process: every outcome and every failure is an exit code and one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from memaudit.cli.failures import describe
from memaudit.errors import one_line
from tests import forked
from tests.cli.calls import ENVIRONMENT, audit_arguments, run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_say_how_to_go_on(oracle: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "memaudit", "train", "rnn", "--corpus", "train.jsonl", "--epochs", "600",
               "--width", "16", "--threads", "1", "--out", f"model-{code}"]  # fmt: skip
    process = subprocess.Popen(command, cwd=oracle, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "%" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "resume with: memaudit train rnn --corpus train.jsonl" in errors
    assert any((oracle / f"model-{code}").iterdir())


@pytest.mark.parametrize("model", ["model-train", "model-other"])
def test_a_reader_that_leaves_changes_no_verdict(oracle: Path, model: str) -> None:
    expected = {"model-train": 1, "model-other": 3}[model]
    reader, writer = os.pipe()
    os.close(reader)
    with Path(os.devnull).open() as nothing, TemporaryFile() as errors:
        streams = (nothing.fileno(), writer, errors.fileno())
        code = forked.run(audit_arguments(model, f"run-pipe-{model}"), oracle, ENVIRONMENT, streams)
        os.close(writer)
        errors.seek(0)
        told = errors.read()
    assert code == expected, told
    assert b"Traceback" not in told


def test_what_cannot_be_said_is_still_an_exit_code(oracle: Path) -> None:
    with Path("/dev/full").open("w") as full, Path(os.devnull).open("r+") as nothing:
        streams = (nothing.fileno(), nothing.fileno(), full.fileno())
        assert forked.run(audit_arguments("model-other", "run-full"), oracle, ENVIRONMENT, streams) == 3
        assert forked.run(audit_arguments("nowhere", "run-full-2"), oracle, ENVIRONMENT, streams) == 2


def test_what_is_said_while_python_ends_does_not_change_the_exit_code(oracle: Path) -> None:
    # As where a library has put a buffered stream in the place of standard error.
    late = "import atexit, sys; sys.stderr = open(2, 'w', closefd=False); atexit.register(sys.stderr.write, 'late')"
    script = f"{late}; sys.argv[:] = ['memaudit', '--version']; from memaudit.__main__ import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], cwd=oracle, env=ENVIRONMENT, stderr=full, check=False)
    assert done.returncode == 0


def test_debug_may_stand_behind_the_command(oracle: Path) -> None:
    done = run("audit", "nowhere", "--train", "a", "--heldout", "b", "--debug", cwd=oracle)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_an_internal_error_is_never_a_verdict(oracle: Path) -> None:
    code = (
        "import sys, typer.main, memaudit.__main__ as frame\n"
        "class Broken:\n"
        "    def main(self, **_): raise RuntimeError('boom\\x1b[31m')\n"
        "typer.main.get_command = lambda app: Broken()\nsys.argv = ['memaudit']\nframe.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=oracle)
    assert done.returncode == 70
    assert done.stderr.startswith("memaudit: error: internal error: RuntimeError: boom\\x1b[31m")
    assert "\x1b" not in done.stderr


def test_one_line_shows_controls_and_stays_short() -> None:
    assert one_line("a\x1b]0;x\x07b\u202ec\n") == "a\\x1b]0;x\\x07b\\u202ec\\x0a"
    assert len(one_line("x" * 1000)) == 300


def test_system_errors_name_the_file() -> None:
    assert describe(FileNotFoundError(2, "No such file or directory", "x.txt")) == "x.txt: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "m", "--nope\x1b[31m"], r"No such option: --nope\x1b[31m"),
        (["audit"], "no MODEL (name one, or give --answers FILE)"),
        (["audit", "m", "--prefix", "x"], "Invalid value for '--prefix'"),
        (["nosuch"], "No such command 'nosuch' (memaudit --help shows how it is called)"),
        (["index", "build", "a", "b"], "memaudit index build --help"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("memaudit: error: ")
    assert said in line
    assert done.stdout == ""


def test_no_arguments_show_help(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: memaudit" in done.stdout + done.stderr
    assert "memaudit: error" not in done.stderr
