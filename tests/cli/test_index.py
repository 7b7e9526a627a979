"""The index on the command line: built and described; every failure one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.text.tokenize import train_tokenizer
from tests.forked import call

ENVIRONMENT = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}
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
    build = ["index", "build", "web=web.jsonl", "book=book.txt", "--out", "it.index"]
    done = call(build, folder, ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "it.index: 286 words of 13 documents\n"
    assert done.stderr.endswith("memaudit: shard 0: 286 words of 13 documents\n")  # kernels may be compiled first
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_built_once(folder: Path) -> None:
    done = run("index", "build", "web=web.jsonl", "book=book.txt", "--out", "it.index")
    assert done.exit_code == 0
    assert "it.index: this index is there already" in done.stderr
    other = run("index", "build", "web.jsonl", "--out", "it.index")
    assert str(other.exception).startswith("it.index: holds another index: corpus differs")


def test_stats(folder: Path) -> None:
    done = run("index", "stats", "it.index", "--out", "page")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("286 words, ")
    assert "12 times in 12 documents, 19 words, as in web.jsonl:1" in done.stdout
    assert done.stdout.endswith("report: page/index.html\nreport: page/statistics.json\n")
    assert "What is in this corpus?" in (folder / "page" / "index.html").read_text(encoding="utf-8")
    shown = run("index", "stats", "it.index", "--format", "json")
    assert json.loads(shown.stdout) == json.loads((folder / "page" / "statistics.json").read_bytes())
    assert [(d["domain"], d["documents"]) for d in json.loads(shown.stdout)["domains"]] == [("web", 12), ("book", 1)]


def test_tokens_of_a_model(folder: Path) -> None:
    train_tokenizer("bpe", [PROVERB] * 5, 300).save(folder / "tokenizer")
    (folder / "tokenizer" / "memaudit.json").write_text("{}", encoding="utf-8")
    unit = ["--unit", "token", "--tokenizer", "tokenizer"]
    done = run("index", "build", "web.jsonl", *unit, "--out", "tokens.index")
    assert done.exit_code == 0, done.stderr
    assert "tokens of 12 documents" in done.stdout
    traced = run("trace", f" says that {PROVERB}", "--index", "tokens.index")
    assert "16 of 16 words (100%)" in traced.stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["index", "build", "none.jsonl", "--out", "x"], "none.jsonl: no such file"),
        (["index", "build", "web.jsonl", "--out", "x", "--unit", "token"], "tokens of which tokenizer?"),
        (["index", "build", "web.jsonl", "--out", "x", "--unit", "token", "--tokenizer", "no"], "no: no such folder"),
        (["index", "build", "web.jsonl", "--out", "."], ".: holds other files, as book.txt"),
        (["index", "build", "web.jsonl", "--out", "web.jsonl"], "File exists"),
        (["index", "stats", "none"], "none: no such folder"),
        (["index", "stats", "."], ".: not an index: no manifest.json"),
    ],
)
def test_failures_say_what_is_wrong(arguments: list[str], what: str) -> None:
    done = run(*arguments)
    assert isinstance(done.exception, (InputError, OSError))
    assert what in str(done.exception)
    assert not done.stdout


def test_help_has_examples() -> None:
    for command in (["index"], ["index", "build"], ["index", "stats"]):
        shown = CliRunner().invoke(app, [*command, "--help"])
        assert shown.exit_code == 0
        assert "Examples:" in shown.output
