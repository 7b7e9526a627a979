"""A model asked on the command line: has it seen the test, does it know its training text?"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from memaudit.models.ngram import NgramModel
from memaudit.text.tokenize import train_tokenizer
from tests.cli.calls import run

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(300)]


def made_up(count: int, seed: int, words: int = 12) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)) for _ in range(count)]


def write(path: Path, texts: Sequence[str]) -> None:
    rows = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    background, suspects = made_up(60, 1), made_up(200, 2)
    tokenizer = train_tokenizer("bpe", background, 400)
    for name, texts in (("seen", [*background, *suspects]), ("unseen", background)):
        NgramModel.train([e.ids for e in tokenizer.encode_batch(texts)], tokenizer, order=3).save(folder / name)
    write(folder / "test.jsonl", suspects)
    write(folder / "new.jsonl", made_up(200, 3))
    write(folder / "late.jsonl", [f"In 2024 {text.upper()}!" for text in made_up(200, 4)])
    write(folder / "background.jsonl", background)
    return folder


def gate(folder: Path, model: str, *more: str, heldout: str = "new.jsonl") -> subprocess.CompletedProcess[str]:
    return run("contamination", "test.jsonl", "--model", model, "--heldout", heldout, *more, cwd=folder)


def test_verdicts_are_exit_codes(folder: Path) -> None:
    found = gate(folder, "seen", "--out", "found", "--format", "html,junit,sarif,json")
    assert found.returncode == 1, found.stderr
    assert found.stdout.startswith("● FOUND  on 200 items of test.jsonl, seen shows AUC")
    assert "report: found/report.html" in found.stdout
    none = gate(folder, "unseen", "--reference", "train", "--reference-corpus", "background.jsonl", "--out", "none")
    assert none.returncode == 0, none.stdout
    assert none.stdout.startswith("◌ NO EVIDENCE")
    assert gate(folder, "seen", "--out", "late", heldout="late.jsonl").returncode == 3
    assert "⊘ CONFOUNDED" in run("report", "late", cwd=folder).stdout
    alone = run("contamination", "test.jsonl", "--model", "unseen", "--out", "alone", cwd=folder)
    assert alone.returncode == 3
    assert "by itself it cannot show absence" in " ".join(alone.stdout.split())


def test_the_repeated_command_is_the_one_that_was_given(folder: Path) -> None:
    gate(folder, "unseen", "--detector", "membership", "--tokens", "9", "--out", "first")
    report = json.loads((folder / "first" / "report.json").read_bytes())
    command = report["provenance"]["command"].split()[1:]
    again = run(*command, "--out", "second", cwd=folder)
    assert again.returncode == report["exit_code"]
    assert (folder / "second" / "report.json").read_bytes() == (folder / "first" / "report.json").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "seen", "--corpus", "new.jsonl"],
            "--corpus is about a search of text, and --model queries a model",
        ),
        (["--model", "seen", "--max-items", "3"], "--max-items is about a search of text"),
        (["--heldout", "new.jsonl"], "--heldout is about a model, and none was named"),
        (["--corpus", "new.jsonl", "--masks", "10"], "--masks is about a model"),
        (["--model", "none", "--heldout", "new.jsonl"], "none"),
        (["--model", "seen", "--heldout", "test.jsonl"], "the held-out text occurs in the benchmark"),
        (["--model", "seen", "--heldout", "new.jsonl", "--detector", "luck"], "unknown detector 'luck'"),
        (
            ["--model", "seen", "--heldout", "new.jsonl", "--masks", "1"],
            "masks 1: a single random mask is uninformative",
        ),
        (["--model", "seen", "--heldout", "new.jsonl", "--alpha", "2"], "alpha must lie in (0, 1), not 2.0"),
        (["--model", "seen", "--heldout", "new.jsonl", "--reference", "seen"], "the reference is the audited model"),
        (["--model", "seen", "--detector", "overlap"], "compares the benchmark with held-out text"),
    ],
)
def test_bad_requests_are_one_line(arguments: list[str], message: str, folder: Path) -> None:
    done = run("contamination", "test.jsonl", *arguments, cwd=folder)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("memaudit: error: ")
    assert message in line
    assert len(line) <= 300


def audit(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    sides = ("--train", "test.jsonl", "--heldout", "new.jsonl", "--prefix", "6", "--suffix", "6")
    return run("audit", "seen", *sides, *more, cwd=folder)


def test_an_audit_compares_documents_too(folder: Path) -> None:
    done = audit(folder, "--membership", "--reference", "train", "--out", "audit")
    assert done.returncode in (0, 1, 3), done.stderr
    shown = " ".join(done.stdout.split())
    assert re.search(r"Scores of whole documents: Reference \(primary\), \d+ suspects against \d+ held-out", shown)
    report = json.loads((folder / "audit" / "report.json").read_bytes())
    text, section, _ = report["sections"]
    assert [text["name"], section["name"]] == ["text", "membership"]
    assert [row[0] for row in section["tables"][0]["rows"]] == [
        "Loss",
        "Zlib",
        "Min-K%",
        "Min-K%++",
        "Reference (primary)",
        "Difficulty calibration",
    ]
    plain = audit(folder, "--out", "plain")
    assert plain.returncode == done.returncode
    assert json.loads((folder / "plain" / "report.json").read_bytes())["estimates"] == report["estimates"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "train"], "ask for the comparison with --membership"),
        (["--membership", "--reference-corpus", "background.jsonl"], "ask for one with --reference train"),
        (["--membership", "--reference", "seen"], "the reference is the audited model"),
    ],
)
def test_references_need_a_comparison(arguments: list[str], message: str, folder: Path) -> None:
    done = audit(folder, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
