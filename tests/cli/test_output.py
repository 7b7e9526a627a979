"""What the command line shows of texts: all to a person, hashes to a CI, and addresses to nobody who did not ask."""

from __future__ import annotations

import html
import json
import os
import random
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from memaudit.cli.options import ShownFlags, in_ci
from tests.forked import call

FORMATS = "html,json,junit,sarif,md"
FILES = ("report.html", "report.json", "junit.xml", "results.sarif", "report.md")


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return call(arguments, cwd, os.environ | {"NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"} | environment)


def texts(kind: str, count: int) -> list[str]:
    """Words that no report uses, an address and a number to call in each window of 40 + 40 characters."""
    lot = random.Random(kind)

    def salad(words: int) -> str:
        return " ".join("".join(lot.choices("qxzjvkw", k=4)) for _ in range(words))

    return [f"{salad(8)} sheep {salad(1)} j.roe@example.org +49 30 1234567 {salad(2)}" for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An n-gram of characters, so that 8 tokens are 8 characters, and a finished audit of it."""
    made = tmp_path_factory.mktemp("shown")
    for kind in ("train", "heldout"):
        lines = (json.dumps({"text": text}) for text in texts(kind, 30))
        (made / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run("train", "ngram", "--corpus", "train.jsonl", "--order", "30", "--unit", "char", "--smoothing", "mle",
               "--out", "model", cwd=made)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made


def audit(folder: Path, out: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = run("audit", "model", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "40",
               "--suffix", "40", "--allow-overlap", "--format", FORMATS, "--out", out, *more,
               cwd=folder, **environment)  # fmt: skip
    assert done.returncode in (0, 1, 3), done.stderr
    return done


def leaks(output: str) -> list[str]:
    """Return the runs of 8 tokens of the training text that stand in an output."""
    told = html.unescape(output)
    runs = {text[at : at + 8] for text in texts("train", 30) for at in range(len(text) - 7)}
    return sorted(run for run in runs if run in told)


def read(folder: Path, out: str) -> dict[str, str]:
    return {name: (folder / out / name).read_text(encoding="utf-8") for name in FILES}


def test_redacted_runs_hold_no_run_of_8_tokens(folder: Path) -> None:
    done = audit(folder, "redacted", "--redact")
    for name, output in read(folder, "redacted").items():
        assert leaks(output) == [], name
    assert "sheep" not in done.stdout
    table = pq.read_table(folder / "redacted" / "records.parquet")
    assert set(table["suffix_text"].to_pylist()) == {""}
    assert set(map(len, table["prefix_ids"].to_pylist())) == {0}


def test_texts_are_withheld_where_a_ci_runs(folder: Path) -> None:
    audit(folder, "ci", CI="true")
    assert "sheep" not in "".join(read(folder, "ci").values())
    audit(folder, "ci", "--show-text", CI="true")
    assert "sheep" in read(folder, "ci")["report.html"]
    assert "sheep" in read(folder, "ci")["report.json"]


def test_a_person_sees_texts_and_no_addresses(folder: Path) -> None:
    audit(folder, "person")
    page = html.unescape(read(folder, "person")["report.html"])
    assert leaks(page)
    assert "example.org" not in page
    assert "1234567" not in page
    done = run("report", "person", "--show-personal", cwd=folder)
    assert "j.roe@example.org" in html.unescape(read(folder, "person")["report.html"]), done.stderr


def test_reports_can_be_written_again_either_way(folder: Path) -> None:
    audit(folder, "again")
    before = read(folder, "again")
    assert run("report", "again", "--redact", "--format", FORMATS, cwd=folder).returncode == 0
    assert "sheep" not in "".join(read(folder, "again").values())
    assert run("report", "again", "--format", FORMATS, cwd=folder).returncode == 0
    assert read(folder, "again") == before


def test_contamination_is_withheld_in_a_ci_too(folder: Path) -> None:
    (folder / "corpus.jsonl").write_bytes((folder / "train.jsonl").read_bytes())
    for name, environment in (("open", {}), ("closed", {"CI": "1"})):
        done = run("contamination", "train.jsonl", "--corpus", "corpus.jsonl", "--field", "text", "--format", FORMATS,
                   "--out", name, cwd=folder, **environment)  # fmt: skip
        assert done.returncode == 1, done.stderr
    opened, closed = ("".join(read(folder, name).values()) for name in ("open", "closed"))
    assert "sheep" in opened
    assert "example.org" not in read(folder, "open")["report.html"]
    assert "sheep" not in closed


@pytest.mark.parametrize(
    ("value", "wanted"), [("true", True), ("1", True), ("false", False), ("0", False), ("", False)]
)
def test_what_counts_as_a_ci(monkeypatch: pytest.MonkeyPatch, value: str, wanted: bool) -> None:
    monkeypatch.setenv("CI", value)
    assert in_ci() is wanted
    assert ShownFlags().shown.text is not wanted
    assert ShownFlags(redact=False, show_personal=True).shown.personal
    assert not ShownFlags(redact=True).shown.text
