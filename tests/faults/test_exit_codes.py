"""No crash is a verdict: imports that fail, memory that is out, signals that are lost, output that cannot be written.

Every case is the installed command in an interpreter of its own. 0 says *clean* and 1 says *found*; only a search that
came to its end may say so.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memaudit.cli.failures import MIN_MEMORY, failure
from tests.faults.workloads import AUDIT, SEARCH, prepare

CONSOLE_SCRIPT = "import sys; from memaudit.__main__ import main; sys.exit(main())"
"""What an installer writes for the entry point."""
MIB = 1 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exits")
    prepare(folder)
    assert search(folder, "calm").returncode == 1
    return folder


def command(*arguments: str, script: str = "") -> list[str]:
    started = ["-c", script] if script else ["-m", "memaudit"]
    return [sys.executable, *started, *arguments]


def search_arguments(out: str) -> list[str]:
    return [*SEARCH.arguments[: SEARCH.arguments.index("--out")], "--out", out]


def search(
    folder: Path,
    out: str,
    *,
    path: Path | None = None,
    script: str = "",
    limit: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    python_path = os.pathsep.join(filter(None, [str(path or ""), str(Path.cwd())]))
    return subprocess.run(
        command(*search_arguments(out), script=script),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": python_path},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def address_space(mebibytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (mebibytes * MIB, mebibytes * MIB))


BROKEN = [
    ("numpy", "ImportError('no such symbol')", 2),
    ("numba", "SystemExit(1)", 2),
    ("typer", "MemoryError()", 2),
    ("typer", "SystemExit(0)", 2),
    ("rich", "ImportError('gone')", 2),
    ("llvmlite", "AttributeError('another version')", 2),
    ("rapidfuzz", "KeyboardInterrupt()", 130),
    ("jinja2", "RuntimeError('broken')", 2),
    ("scipy", "RecursionError()", 2),
    ("typing", "SystemExit(1)", 70),
    ("traceback", "SystemExit(0)", 70),
    ("ctypes", "MemoryError()", 2),
]
OF_PYTHON = ("typing", "traceback", "ctypes")


@pytest.mark.parametrize("script", ["", CONSOLE_SCRIPT], ids=["module", "console script"])
@pytest.mark.parametrize(("module", "raised", "code"), BROKEN, ids=[f"{m}-{r}" for m, r, _ in BROKEN])
def test_an_import_that_fails_is_no_verdict(
    module: str, raised: str, code: int, script: str, place: Path, tmp_path: Path
) -> None:
    """Whatever a broken installation raises, at whatever import: one line, which names the library."""
    (tmp_path / f"{module}.py").write_text(f"raise {raised}\n")
    done = search(place, "broken", path=tmp_path, script=script)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("memaudit: ")]
    assert len(line) <= 300
    if code == 2 and "Memory" not in raised and module not in OF_PYTHON:
        assert line.startswith(f"memaudit: error: {module} cannot be imported: ")


@pytest.mark.parametrize("mebibytes", [100, 146, 200, 400, 511, 513, 600, 1024, 2560, 8192, 40_960])
def test_memory_that_is_out_is_no_verdict(mebibytes: int, place: Path) -> None:
    """From where nothing can be loaded to where only the charts' engine starves: 2 in one line, or the right result."""
    out = f"memory-{mebibytes}"
    started = time.process_time()
    done = search(place, out, limit=address_space(mebibytes))
    assert time.process_time() - started < 60
    if done.returncode == 1:
        assert mebibytes << 20 >= MIN_MEMORY
        assert (place / out / "report.json").read_bytes() == (place / "calm" / "report.json").read_bytes()
        assert (place / out / "report.html").exists()
        return
    assert done.returncode == 2, done.stderr
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert search(place, out).returncode == 1  # the same command goes on


def test_a_page_whose_charts_cannot_be_drawn_changes_no_exit_code(place: Path) -> None:
    """Their engine reserves address space by the ten gigabytes and aborts where it gets none."""
    arguments = [*AUDIT.arguments[: AUDIT.arguments.index("--out")], "--out", "scant"]
    codes, pages = [], []
    for asked, limit in ((arguments, address_space(4096)), (["report", "scant"], None)):
        environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
        done = subprocess.run(
            command(*asked), cwd=place, env=environment, preexec_fn=limit, capture_output=True, check=False
        )
        codes.append(done.returncode)
        pages.append((place / "scant" / "report.html").read_text())
    scant, whole = pages
    assert codes == [json.loads((place / "scant" / "report.json").read_text())["exit_code"], 0]
    assert scant.count("could not be drawn here") == whole.count('<div class="wide">') > 0
    assert "<svg role" not in scant
    assert "could not be drawn here" not in whole
    rows = [[line for line in page.splitlines() if line.startswith("<tr>")] for page in pages]
    assert rows[0] == rows[1]


def test_a_library_that_ends_the_process_is_no_verdict(place: Path) -> None:
    """OpenBLAS and OpenMP call C's exit(1) where they get no memory."""
    script = """
        import ctypes, sys, memaudit.cli.process as command
        command._run = lambda: ctypes.CDLL(None).exit({code})
        from memaudit.__main__ import main
        main()
    """
    for code in (0, 1):
        done = search(place, "ended", script=textwrap.dedent(script.format(code=code)))
        assert done.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("lost", ["callback", "garbled", "caught", "finaliser"])
def test_a_signal_that_c_code_drops_or_garbles_still_stops(lost: str, number: int, place: Path) -> None:
    """C code that calls Python may drop what that raises, or return with it set, which becomes a SystemError."""
    body = {
        "callback": "ctypes.PYFUNCTYPE(None)(blow)()",
        "garbled": "\n    try: blow()\n    except BaseException as e: raise SystemError('an exception set') from e",
        "caught": "\n    try: blow()\n    except BaseException: pass",
        "finaliser": "type('Gone', (), {'__del__': lambda self: blow()})()",
    }[lost]
    script = f"""
import ctypes, os, time, memaudit.cli.process as command
def blow():
    os.kill(os.getpid(), {int(number)})
    time.sleep(0.01)
def run():
    {body}
    for _ in range(3000): time.sleep(0.01)
    return 1
command._run = run
from memaudit.__main__ import main
main()
"""
    done = search(place, "dropped", script=script)
    assert done.returncode == 128 + number, done.stderr
    [line] = done.stderr.splitlines()
    assert "finished work is kept, resume with: memaudit contamination" in line


def test_what_cleans_up_behind_a_signal_is_not_cut_off(place: Path) -> None:
    script = """
import os, signal, time, memaudit.cli.process as command
def run():
    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)
    finally:
        for _ in range(130): time.sleep(0.01)
        print("cleaned")
command._run = run
from memaudit.__main__ import main
main()
"""
    done = search(place, "cleaned", script=script)
    assert (done.returncode, done.stdout) == (143, "cleaned\n")


@pytest.mark.parametrize("seed", range(3))
def test_signals_within_kernels(seed: int, place: Path) -> None:
    """Kernels called without an end, as a long search calls them, and a signal at a random moment."""
    script = """
import memaudit.cli.process as command
def run():
    from memaudit.text.words.words import words_of
    print("begun", flush=True)
    while True: words_of("one two three four five six seven " * 20)
command._run = run
from memaudit.__main__ import main
main()
"""
    lot = random.Random(seed)
    for _ in range(4):
        number = lot.choice([signal.SIGINT, signal.SIGTERM])
        with subprocess.Popen(
            command(script=script), cwd=Path.cwd(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.readline()
            time.sleep(lot.uniform(0, 0.3))
            child.send_signal(number)
            said = child.stderr.read()
        assert child.returncode == 128 + number, said


def test_recursion_and_broken_output_are_no_verdicts(place: Path) -> None:
    script = """
import memaudit.cli.process as command
def run():
    return run()
command._run = run
from memaudit.__main__ import main
main()
"""
    assert search(place, "deep", script=script).returncode == 70
    closed = [*command(*search_arguments("closed"))]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *closed],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 1, done.stderr  # found, whether or not anybody reads it
    assert (place / "closed" / "report.json").read_bytes() == (place / "calm" / "report.json").read_bytes()


def test_an_import_of_ours_that_fails_is_a_bug() -> None:
    assert failure(ImportError("cannot import name 'x' from 'memaudit.y'", name="memaudit.y"))[1] == 70
    assert failure(ImportError("cannot import name 'x' from 'torch'", name="torch.nn")) == (
        "torch cannot be imported: cannot import name 'x' from 'torch'",
        2,
    )
    assert failure(OSError(12, os.strerror(12)))[0].startswith("out of memory")
