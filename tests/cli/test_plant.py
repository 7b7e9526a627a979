"""Planting on the command line: files that train and audit read, and every failure one line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.text.corpus.read import read_corpus
from tests.forked import call

SMALL = ("--doses", "0,1,4", "--per-dose", "3", "--canaries", "2", "--words", "25", "--digits", "3")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plant", *map(str, arguments)])


@pytest.fixture
def background(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    vocabulary = [a + b + c for a in "bdfgkl" for b in "aeiou" for c in ("n", "r", "st")]
    texts = [" ".join(random.choice(vocabulary, 80)) for _ in range(60)]
    path = tmp_path / "background.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def test_what_is_written_is_read_back(background: Path, tmp_path: Path) -> None:
    done = run(background, "--out", tmp_path / "kit", *SMALL)
    assert done.exit_code == 0, done.output
    assert "20 passages and canaries in 50 copies among " in done.stdout
    assert "20 twins in none" in done.stdout
    planted = list(read_corpus([str(tmp_path / "kit" / "planted.jsonl")]))
    assert sorted({d.copies for d in planted}) == [1, 4]
    training = list(read_corpus([str(tmp_path / "kit" / "training.jsonl")]))
    assert (
        len(training) == 50 + 60 - json.loads((tmp_path / "kit" / "manifest.json").read_text())["held_back_documents"]
    )


def test_passages_of_another_corpus(background: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(" ".join(f"zw{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{i}" for i in range(2000)))
    done = run(background, "--passages", other, "--out", tmp_path / "kit", *SMALL, "--changed", "0")
    assert done.exit_code == 0, done.output
    assert "0 documents held back" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "kit" / "planted.jsonl").read_text().splitlines()]
    assert {row["variant"] for row in rows} == {"exact"}
    assert all(row["text"].startswith("zw") for row in rows if row["kind"] == "passage")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--doses", "1,x"), "--doses 1,x: not numbers of copies"),
        (("--doses", "0"), "different whole numbers"),
        (("--per-dose", "500"), "planting needs"),
        (("--per-dose", "5000"), "the doses make 5,122,264 copies in all"),
        (("--words", "5"), "too short to change 4"),
        (("--passages", "nothing.txt"), "nothing.txt: no such file"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    background: Path, tmp_path: Path, arguments: tuple[str, str], why: str
) -> None:
    done = run(background, "--out", tmp_path / "kit", *arguments)
    assert isinstance(done.exception, InputError)
    assert done.exception.exit_code == 2
    assert re.search(why, str(done.exception))
    assert not (tmp_path / "kit").exists()


def test_a_failure_is_one_line(background: Path, tmp_path: Path) -> None:
    done = call(["plant", background, "--out", background, *SMALL], tmp_path, os.environ)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("memaudit: error: ")
