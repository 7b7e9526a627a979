"""The gate on the command line: a verdict is an exit code, a failure one line, and no torch is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
ENVIRONMENT |= {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}
QUESTIONS = [
    "Which river rises in the amber hills and reaches the sea beyond the old granite bridge?",
    "How many falcons nested on the western cliff after the long winter of the second expedition?",
    "What did the harbor master write in his journal on the evening before the lanterns failed?",
]


def run(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memaudit", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=ENVIRONMENT | environment, capture_output=True, text=True, check=False, timeout=120
    )


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
    assert found.stdout.startswith("● FOUND  1 of 3 items stand in leaky.jsonl (41 documents)")
    assert "bench.jsonl:2 stands in leaky.jsonl:41" in found.stdout
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
    assert written.stdout == "accepted.json: 1 accepted findings\n"
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
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'transformers', 'datasets', 'pandas', 'altair')));"
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
