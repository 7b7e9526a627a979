"""A text traced in an index on the command line: a quoted text, a file or standard input; failures are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.text.index.corpus_index import build_index
from tests.cli.calls import ENVIRONMENT

PROVERB = "a stitch in time saves nine and a penny saved is a penny earned"


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two domains and its index."""
    folder = tmp_path_factory.mktemp("index")
    web = [f"page {i} says that {PROVERB}, as everybody knows {i}" for i in range(12)]
    (folder / "web.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in web), encoding="utf-8")
    (folder / "book.txt").write_text(f"It was “A Stitch — in TIME” that saved {PROVERB.upper()}.\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        build_index(["web=web.jsonl", "book=book.txt"], "it.index")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_trace_of_a_text_a_file_and_standard_input(folder: Path) -> None:
    text = f"They told me: {PROVERB.title()}!"
    (folder / "said.txt").write_text(text, encoding="utf-8")
    shown = [
        run("trace", text, "--index", "it.index"),
        run("trace", "said.txt", "--index", "it.index"),
        run("trace", "-", "--index", "it.index", text=text),
    ]
    assert [done.exit_code for done in shown] == [0, 0, 0]
    assert shown[0].stdout == shown[1].stdout == shown[2].stdout
    assert "14 of 17 words (82.4%) occur in the corpus" in shown[0].stdout
    assert "13 times in 13 documents" in shown[0].stdout
    assert "web.jsonl:1 (web), characters 17 to 80" in shown[0].stdout
    assert "and 3 more documents" in shown[0].stdout


def test_trace_as_json(folder: Path) -> None:
    said = "penny saved is a penny"
    done = run("trace", said, "--min-words", "4", "--format", "json", "--index", "it.index")
    (passage,) = json.loads(done.stdout)["passages"]
    assert (passage["text"], passage["spans"][0]["count"]) == (said, 13)


def test_a_very_long_text_is_no_file(folder: Path) -> None:
    done = run("trace", f"{PROVERB} " * 500, "--index", "it.index")
    assert done.exit_code == 0, done.stderr
    assert "7,000 of 7,000 words (100%)" in done.stdout


def test_trace_of_a_pipe_and_of_what_is_no_file(folder: Path) -> None:
    command = [sys.executable, "-m", "memaudit", "trace", "--index", "it.index"]

    def traced(text: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, text], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False, **options
        )

    assert "14 of 14 words (100%)" in traced("/dev/stdin", input=PROVERB).stdout
    nothing = traced("said-by-none.txt")
    assert nothing.returncode == 2
    assert "memaudit: no file is called said-by-none.txt: it is read as a text\n" in nothing.stderr
    closed = traced("-", preexec_fn=lambda: os.close(0))
    assert (closed.returncode, closed.stdout) == (2, "")
    assert "standard input is closed" in closed.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["trace", "a b", "--index", "it.index"], "the text has only 2 of the 8 words"),
        (["trace", "", "--index", "it.index"], "the text has only 0 of the 8 words"),
        (["trace", ".", "--index", "it.index"], ".: is a folder"),
        (["trace", PROVERB, "--index", "web.jsonl"], "web.jsonl: not a folder"),
        (["trace", PROVERB, "--index", "none"], "none: no such folder"),
        (["trace", "latin.txt", "--index", "it.index"], "latin.txt: not UTF-8 at byte 4"),
    ],
)
def test_failures_say_what_is_wrong(folder: Path, arguments: list[str], what: str) -> None:
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    done = run(*arguments)
    assert isinstance(done.exception, (InputError, OSError))
    assert what in str(done.exception)
    assert not done.stdout
