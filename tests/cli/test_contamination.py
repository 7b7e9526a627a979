"""The gate on the command line: a verdict is an exit code, a failure one line, and no torch is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from tests.forked import call

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
ENVIRONMENT |= {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}
QUESTIONS = [
    "Which river rises in the amber hills and reaches the sea beyond the old granite bridge?",
    "How many falcons nested on the western cliff after the long winter of the second expedition?",
    "What did the harbor master write in his journal on the evening before the lanterns failed?",
]


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call(arguments, cwd, ENVIRONMENT | environment)


def write_corpus(path: Path, *texts: str) -> None:
    filler = [f"Document {i} speaks of matter {i * i} and of nothing else that anybody would ask." for i in range(40)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*filler, *texts]), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": f"q{i}", "question": question, "answer": "Nobody knows."} for i, question in enumerate(QUESTIONS)]
    (tmp_path / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_corpus(tmp_path / "clean.jsonl")
    write_corpus(tmp_path / "leaky.jsonl", f"Quiz night. {QUESTIONS[1].upper()} Nobody knows.")
    return tmp_path


def test_verdicts_are_exit_codes(folder: Path) -> None:
    found = run("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--out", "found", cwd=folder)
    assert found.returncode == 1, found.stderr
    assert found.stdout.startswith("● FOUND  1 of 3 items occur in leaky.jsonl (41 documents)")
    assert "bench.jsonl:2 occurs in leaky.jsonl:41" in found.stdout
    assert run("contamination", "bench.jsonl", "--corpus", "clean.jsonl", cwd=folder).returncode == 0
    tolerated = ("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--max-items", "1", "--out", "found")
    assert run(*tolerated, cwd=folder).returncode == 0
    assert (
        run("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--max-rate", "0.3", cwd=folder).returncode == 1
    )
    assert run("contamination", "bench.jsonl", "--corpus", "[cl]*.jsonl", "--shard", "1/2", cwd=folder).returncode == 3


def test_accepted_findings_pass(folder: Path) -> None:
    run("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--out", "found", cwd=folder)
    written = run("baseline", "found", "--out", "accepted.json", cwd=folder)
    assert written.stdout == "accepted.json: 1 accepted finding\n"
    again = run("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--baseline", "accepted.json", cwd=folder)
    assert again.returncode == 0, again.stdout
    report = run("report", "found", "--format", "sarif,junit", cwd=folder)
    assert report.returncode == 0
    assert {"results.sarif", "junit.xml"} <= {path.name for path in (folder / "found").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench.jsonl"], "nothing to search"),
        (["bench.jsonl", "--corpus", "no.jsonl"], "no.jsonl: no such file"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--index", "x"], "both --corpus and --index"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--shard", "0/2"], "there is no share 0 of 2"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--shard", "half"], "--shard half: not of the form I/N"),
        (["bench.jsonl", "--corpus", "bad.jsonl"], "bad.jsonl:2: not valid JSON"),
        (["bad.jsonl", "--corpus", "clean.jsonl", "--field", "question"], "bad.jsonl:2: not valid JSON"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--field", "questoin"], "Did you mean 'question'?"),
        (["bench.jsonl", "--corpus", "empty.jsonl"], "no records in empty.jsonl"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--baseline", "bad.jsonl"], "bad.jsonl"),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--format", "pdf"], "unknown format 'pdf'"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], message: str) -> None:
    (folder / "bad.jsonl").write_text('{"question": "Is this a question?", "text": "x"}\n{not json}\n')
    (folder / "empty.jsonl").write_text("\n")
    done = run("contamination", *arguments, cwd=folder)
    line = done.stderr.splitlines()[-1]
    assert done.returncode == 2, done.stdout
    assert line.startswith("memaudit: error: ")
    assert message in line
    assert "Traceback" not in done.stderr


def test_github_is_told(folder: Path) -> None:
    summary = folder / "summary.md"
    told = run(
        "contamination", "bench.jsonl", "--corpus", "leaky.jsonl", cwd=folder,
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert [line for line in told.stdout.splitlines() if line.startswith("::error file=bench.jsonl,line=2")]
    assert "bench.jsonl:2" in summary.read_text()
    untold = run("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", cwd=folder)
    assert "::error" not in untold.stdout


def test_shares_are_merged(folder: Path) -> None:
    (folder / "corpus").mkdir()
    for name in "abc":
        write_corpus(folder / "corpus" / f"{name}.jsonl", f"{QUESTIONS[2]} {name}")
    whole = ("contamination", "bench.jsonl", "--corpus", "corpus/*.jsonl")
    run(*whole, "--out", "whole", cwd=folder)
    for number in (1, 2):
        assert run(*whole, "--shard", f"{number}/2", "--out", f"share-{number}", cwd=folder).returncode == 3
    merged = run("merge", "share-2", "share-1", "--out", "merged", cwd=folder)
    assert merged.returncode == 1, merged.stderr
    assert (folder / "merged" / "report.json").read_bytes() == (folder / "whole" / "report.json").read_bytes()
    assert (folder / "merged" / "report.html").read_bytes() == (folder / "whole" / "report.html").read_bytes()


def test_killed_runs_go_on(folder: Path) -> None:
    (folder / "corpus").mkdir()
    for number in range(40):
        write_corpus(folder / "corpus" / f"{number}.jsonl", f"{QUESTIONS[number % 3]} {number}")
    command = ("contamination", "bench.jsonl", "--corpus", "corpus/*.jsonl")
    run(*command, "--out", "whole", cwd=folder)
    log = folder / "killed" / "items.log"
    for lines, blow in ((3, signal.SIGKILL), (9, signal.SIGTERM), (15, signal.SIGINT)):
        started = subprocess.Popen(
            [sys.executable, "-m", "memaudit", *command, "--out", "killed"],
            cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while started.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") >= lines):
            time.sleep(0.002)
        started.send_signal(blow)
        assert started.wait(60) in {-signal.SIGKILL, 143, 130, 1}
    assert run(*command, "--out", "killed", cwd=folder).returncode == 1
    assert (folder / "killed" / "report.json").read_bytes() == (folder / "whole" / "report.json").read_bytes()


def test_the_gate_needs_no_torch(folder: Path) -> None:
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'datasets', 'pandas')));"
        "from memaudit.__main__ import main; sys.argv = ['memaudit', *sys.argv[1:]]; main()"
    )
    arguments = ("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--format", "html,json,junit,sarif")
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "FOUND" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["bench.jsonl", "--corpus", "clean.jsonl", "leaky.jsonl"], "leaky.jsonl"),
        (["bench.jsonl", "--max-items", "3", "--corpus", "clean.jsonl", "--redact", "a.jsonl"], "a.jsonl"),
        (["--corpus", "clean.jsonl", "leaky.jsonl", "bench.jsonl"], "leaky.jsonl, bench.jsonl"),
        (["x.jsonl", "--corpus", "a", "b", "--corpus", "c", "d", "e"], "b, d and 1 more"),
        (["--corpus", "clean.jsonl", "bench.jsonl"], ""),
        (["bench.jsonl", "--corpus", "clean.jsonl", "--corpus", "leaky.jsonl", "--max-items", "3"], ""),
        (["--corpus", "clean.jsonl", "--", "bench.jsonl", "other.jsonl"], ""),
        (["bench.jsonl", "other.jsonl", "--corpus", "clean.jsonl"], ""),
        (["--index", "x", "bench.jsonl", "other.jsonl"], "x"),
    ],
)
def test_an_unquoted_pattern_of_a_corpus_gives_no_benchmarks(folder: Path, arguments: list[str], refused: str) -> None:
    rows = [{"id": "o", "question": "Who painted the second lighthouse in the fog of the early autumn?"}]
    (folder / "other.jsonl").write_text(json.dumps(rows[0]) + "\n")
    done = run("contamination", "--field", "question", *arguments, cwd=folder)
    expanded = f"names after --corpus that it does not take: {refused} (quote its pattern"
    if "--index" in arguments:
        assert done.returncode == 2
        assert "after --corpus" not in done.stderr
    else:
        assert done.returncode == (2 if refused else 0), done.stderr
        assert (expanded in done.stderr) == bool(refused)


def workers_of(parent: int) -> list[int]:
    """Return the worker processes of a process, however young they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (path / "stat").read_text().rpartition(")")[2].split()
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if after_name[0] != "Z" and int(after_name[1]) == parent and b"spawn_main" in command:
            found.append(int(path.name))
    return found


@pytest.fixture
def long_search(folder: Path) -> tuple[str, ...]:
    """A search of many files by two workers, for more items than fit into a pipe."""
    filler = [{"id": f"f{i}", "question": f"{i} " + "padding of no meaning at all " * 40} for i in range(200)]
    with (folder / "bench.jsonl").open("a") as file:
        file.write("".join(json.dumps(row | {"answer": "No."}) + "\n" for row in filler))
    (folder / "corpus").mkdir()
    for number in range(40):
        write_corpus(folder / "corpus" / f"{number}.jsonl", f"{QUESTIONS[number % 3]} {number}")
    return ("contamination", "bench.jsonl", "--corpus", "corpus/*.jsonl", "--processes", "2")


def start(folder: Path, *arguments: str, lines: int) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a search in a session of its own; return it with its workers once its log has so many lines."""
    started = subprocess.Popen(
        [sys.executable, "-m", "memaudit", *arguments, "--out", "broken"],
        cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    log = folder / "broken" / "items.log"
    while started.poll() is None:
        workers = workers_of(started.pid)
        if len(workers) >= (2 if lines else 1) and (log.read_bytes().count(b"\n") if log.exists() else 0) >= lines:
            return started, workers
        time.sleep(0.001)
    raise AssertionError(started.communicate())


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are told by /proc")


@needs_proc
@pytest.mark.parametrize("lines", [0, 2])
def test_a_killed_worker_is_bad_luck_and_the_same_command_resumes(
    folder: Path, long_search: tuple[str, ...], lines: int
) -> None:
    started, workers = start(folder, *long_search, lines=lines)
    os.kill(workers[0], signal.SIGKILL)
    _, stderr = started.communicate(timeout=120)
    assert started.returncode == 2, stderr
    message = "memaudit: error: a worker was killed, perhaps for want of memory (the same command resumes)"
    assert stderr.splitlines()[-1] == message
    assert "Traceback" not in stderr
    logged = (folder / "broken" / "items.log").read_bytes()
    assert logged.count(b"\n") >= lines
    assert run(*long_search, "--out", "broken", cwd=folder).returncode == 1
    assert (folder / "broken" / "items.log").read_bytes().startswith(logged)
    run(*long_search[:-2], "--out", "whole", cwd=folder)
    assert (folder / "broken" / "report.json").read_bytes() == (folder / "whole" / "report.json").read_bytes()


@needs_proc
@pytest.mark.parametrize("lines", [0, 2])
def test_control_c_reaches_the_workers_too_and_only_one_line_is_said(
    folder: Path, long_search: tuple[str, ...], lines: int
) -> None:
    started, workers = start(folder, *long_search, lines=lines)
    os.killpg(started.pid, signal.SIGINT)
    _, stderr = started.communicate(timeout=120)
    assert started.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("memaudit: SIGINT: stopped; finished work is kept, resume with: memaudit")
    assert not set(workers) & {int(path.name) for path in Path("/proc").glob("[0-9]*")}


@needs_proc
@pytest.mark.parametrize("lines", [0, 2])
def test_workers_do_not_outlive_a_killed_search(folder: Path, long_search: tuple[str, ...], lines: int) -> None:
    started, workers = start(folder, *long_search, lines=lines)
    started.kill()
    _, stderr = started.communicate(timeout=120)
    # A worker that was not yet given its work finds its parent gone where Python itself starts it, and says so.
    assert not lines or "Traceback" not in stderr
    end = time.monotonic() + 60
    while set(workers) & {int(path.name) for path in Path("/proc").glob("[0-9]*")}:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_split_never_overwrites_the_corpus(folder: Path) -> None:
    (folder / "data").mkdir()
    write_corpus(folder / "data" / "clean.jsonl")
    before = (folder / "data" / "clean.jsonl").read_bytes()
    arguments = ("contamination", "bench.jsonl", "--corpus", "data/*.jsonl", "--clean-split")
    done = run(*arguments, "data", cwd=folder)
    assert done.returncode == 2
    assert "data/clean.jsonl: the split would overwrite it (choose another folder)" in done.stderr
    assert (folder / "data" / "clean.jsonl").read_bytes() == before
    assert not (folder / "runs").exists()
    assert run(*arguments, "split", cwd=folder).returncode == 0
    assert (folder / "split" / "clean.jsonl").read_bytes() == (folder / "bench.jsonl").read_bytes()
    run("index", "build", "data/clean.jsonl", "--out", "index", cwd=folder)
    indexed = run("contamination", "bench.jsonl", "--index", "index", "--clean-split", "data", cwd=folder)
    assert indexed.returncode == 2
    assert (folder / "data" / "clean.jsonl").read_bytes() == before


def damage(path: Path, *keys: object, value: object) -> None:
    """Set one value in a JSON file."""
    content = json.loads(path.read_bytes())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def log_line(record: object) -> bytes:
    body = json.dumps(record).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


@pytest.mark.parametrize(
    ("name", "keys", "value", "problem"),
    [
        ("report.json", ("findings",), None, "the report.findings is null, not a list"),
        ("report.json", ("schema_version",), 9, "the report.schema_version is not 1"),
        ("report.json", ("findings", 0, "evidence", 0, "source"), 3, "evidence.0.source is a whole number, not a text"),
        ("report.json", ("kind",), "extraction", "the report.kind is not contamination"),
        ("report.json", ("complete",), "yes", "the report.complete is a text, not true or false"),
        ("plan.json", ("schema_version",), 9, "schema_version is not 1"),
        ("plan.json", ("identity",), 7, "the plan.identity is a whole number, not a text"),
        ("plan.json", ("benchmark", "items"), 7, "the plan was changed"),
    ],
)
def test_a_foreign_folder_is_one_line_for_whoever_reads_it(
    folder: Path, name: str, keys: tuple[object, ...], value: object, problem: str
) -> None:
    search = ("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--out", "run")
    run(*search, cwd=folder)
    damage(folder / "run" / name, *keys, value=value)
    readers = [("baseline", "run", "--out", "accepted.json"), ("report", "run")]
    for command in [*readers, *([search, ("merge", "run", "--out", "all")] if name == "plan.json" else [])]:
        done = run(*command, cwd=folder)
        line = done.stderr.splitlines()[-1]
        assert done.returncode == 2, done.stderr
        assert f"run/{name}: " in line
        assert problem in line


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ([1, 2], "items.log: line 1 is no record"),
        ({"index": "0"}, "items.log: line 1 is no record"),
        ({"index": 0}, "items.log: record 0 cannot be used: it has no 'scan'"),
        ({"index": 0, "scan": None}, "items.log: record 0 cannot be used: it.scan is null, not an object"),
        ({"index": 1}, "items.log: record 1 cannot be used"),
    ],
)
def test_a_foreign_log_is_one_line_for_whoever_reads_it(folder: Path, record: object, problem: str) -> None:
    search = ("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--out", "run")
    run(*search, cwd=folder)
    (folder / "run" / "items.log").write_bytes(log_line(record))
    for command in (search, ("merge", "run", "--out", "all")):
        done = run(*command, cwd=folder)
        assert done.returncode == 2, done.stderr
        assert f"run/{problem}" in done.stderr.splitlines()[-1]


def test_courtesies_of_a_folder_that_are_damaged_stop_nothing(folder: Path) -> None:
    search = ("contamination", "bench.jsonl", "--corpus", "leaky.jsonl", "--out", "run")
    run(*search, cwd=folder)
    (folder / "run" / "times.json").write_text('{"sessions": 3}')
    assert run(*search, cwd=folder).returncode == 1
