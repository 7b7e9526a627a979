"""Answers on the command line: exit codes, formats, published scores, and flags that would go unread."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from tests.audits.test_answers import EXHIBITS, HELDOUT, TRAIN, rows_of, title_key, write
from tests.cli.calls import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "train.jsonl", TRAIN)
    write(tmp_path / "new.jsonl", HELDOUT)
    return tmp_path


def test_found_exits_1_and_the_shown_command_repeats_it(folder: Path) -> None:
    asked = "audit", "--answers", "train.jsonl", "--heldout-answers", "new.jsonl", "--out", "run"
    done = run(*asked, "--format", "html,json,junit,md,sarif", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "20 of 60 (33.3%) training prompts" in re.sub(r"\s+", " ", done.stdout)
    files = {path.name for path in (folder / "run").iterdir()}
    assert {"report.html", "report.json", "junit.xml", "report.md", "results.sarif", "records.parquet"} <= files
    report = json.loads((folder / "run" / "report.json").read_bytes())
    assert report["provenance"]["command"] == "memaudit audit --answers train.jsonl --heldout-answers new.jsonl"
    assert run(*asked, cwd=folder).returncode == 1, "the same command resumes"
    assert run("report", "run", "--format", "md", cwd=folder).returncode == 0


def test_without_heldout_answers_it_exits_3_and_lists_nothing_as_bad_input(folder: Path) -> None:
    done = run("audit", "--answers", "train.jsonl", "--limit", "10", "--out", "run", cwd=folder)
    assert (done.returncode, "INCONCLUSIVE" in done.stdout.upper()) == (3, True)
    assert json.loads((folder / "run" / "report.json").read_bytes())["windows"]["train"] == 10


def test_texts_are_withheld_on_request(folder: Path) -> None:
    asked = "audit", "--answers", "train.jsonl", "--heldout-answers", "new.jsonl", "--out", "run", "--redact"
    done = run(*asked, "--format", "html,json,md,sarif", cwd=folder)
    assert done.returncode == 1
    known = TRAIN[0]["target"]
    assert known not in done.stdout
    for path in (folder / "run").iterdir():
        if path.is_file() and path.name not in {"items.log", "plan.json"}:
            assert known.encode() not in path.read_bytes(), path.name


def test_no_answer_stays_unread_for_want_of_a_limit(folder: Path) -> None:
    write(folder / "many.jsonl", rows_of("train", 5, 3, 1100))
    run("audit", "--answers", "many.jsonl", "--out", "run", cwd=folder)
    assert json.loads((folder / "run" / "report.json").read_bytes())["windows"]["train"] == 1100


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no MODEL (name one, or give --answers FILE)"),
        (["--answers", "train.jsonl", "--prefix", "50"], "--prefix is about a model, and --answers are given in place"),
        (["gpt2", "--answers", "train.jsonl"], "MODEL is about a model, and --answers are given in place of one"),
        (["--answers", "train.jsonl", "--heldout", "new.jsonl"], "--heldout is about a model"),
        (
            ["gpt2", "--train", "train.jsonl", "--output-field", "o"],
            "--output-field is about answers, and none were given",
        ),
        (["--answers", "none.jsonl"], "none.jsonl: no such file"),
        (["--answers", "train.jsonl", "--target-field", "gold"], "train.jsonl: no field 'gold'"),
    ],
    ids=str,
)
def test_what_would_go_unread_is_refused(arguments: list[str], told: str, folder: Path) -> None:
    done = run("audit", *arguments, cwd=folder)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


# --- published scores, recomputed from the command line ---------------------------------------------------------


@pytest.mark.parametrize(("model", "hits", "rate"), [("Qwen-1_8B", 2549, 0.387), ("Gemma-2B", 1066, 0.162)])
def test_published_predictions(model: str, hits: int, rate: float, shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / EXHIBITS[0].format(model)
    if not file.is_file():
        pytest.skip(f"{file.name} does not lie beside this checkout")
    named = "--target-field", "original", "--output-field", "predicted", "--document-field", "idx"
    done = run("audit", "--answers", file, *named, "--format", "json", "--out", "run", cwd=tmp_path)
    assert done.returncode == 3, "there are no held-out predictions to compare with"
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    (row,) = report["sections"][0]["tables"][0]["rows"]
    assert (row[1], row[2], round(row[3], 3)) == (6595, hits, rate)


def test_published_name_cloze(shared_data: Path, tmp_path: Path) -> None:
    exhibit = shared_data / EXHIBITS[1]
    if not exhibit.is_dir():
        pytest.skip("the published answers do not lie beside this checkout")
    named = "--document-field", "book", "--domain-field", "book"
    answers = exhibit / "gpt4_name_cloze.jsonl.gz"
    done = run("audit", "--answers", answers, *named, "--format", "json", "--out", "run", cwd=tmp_path)
    assert done.returncode == 3
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    found = {title_key(row[0].replace("_", " ")): row[3] for row in report["sections"][0]["tables"][1]["rows"]}
    with (exhibit / "published_top100.csv").open(newline="", encoding="utf-8") as file:
        published = {title_key(row["title"]): row["gpt4_accuracy"] for row in csv.DictReader(file)}
    both = published.keys() & found.keys()
    assert len(both) == 60
    assert {book: f"{found[book]:.2f}" for book in both} == {book: published[book] for book in both}
