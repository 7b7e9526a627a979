"""Counterfactual memorization with known answers: unique text is memorised, copied text and common text are not."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import memaudit.audits.suite as module
from memaudit.audits.counterfactual.run import CounterfactualOptions, counterfactual
from memaudit.cli.app import app
from memaudit.errors import InputError, RunError
from memaudit.report.formats.html import HTML
from memaudit.training.train import SmallTraining
from tests.report.stories import quoted

UNIQUE, COPIES = 60, 8
OPTIONS = CounterfactualOptions(size=6, vocab_size=600)


def text_of(drawn: random.Random, words: list[str]) -> str:
    """Return a text whose every four words stand nowhere else; the first name it."""
    return " ".join(drawn.sample(words, 60))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    drawn = random.Random(1)
    words = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(2, 6))) for _ in range(500)]
    unique = [text_of(drawn, words) for _ in range(UNIQUE)]
    common = [text_of(drawn, words) for _ in range(3)]
    rows = [{"id": f"unique-{i}", "text": t} for i, t in enumerate(unique)]
    rows += [{"id": f"common-{i}-{n}", "text": t} for i, t in enumerate(common) for n in range(COPIES)]
    drawn.shuffle(rows)
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "a"}]), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def finished(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("counterfactual") / "run"
    return folder, counterfactual([corpus], folder, options=OPTIONS).report


def test_unique_text_is_memorised_and_copied_text_is_not(finished: tuple[Path, dict[str, Any]]) -> None:
    documents = finished[1]["documents"]
    unique = [d for d in documents if d["document"].startswith("unique")]
    common = [d for d in documents if d["document"].startswith("common")]
    assert (len(unique), len(common)) == (UNIQUE, 3 * COPIES)
    assert {d["copies"] for d in unique} == {1}
    assert {d["copies"] for d in common} == {COPIES}
    # A six-gram that read a text gives it all back but for its first tokens; one that did not knows little of it.
    assert min(d["inside"] for d in unique) > 0.9
    assert max(d["outside"] for d in unique) < 0.5
    assert all(d["p_value"] == pytest.approx(1 / 70) for d in unique)
    # A copy is left in nearly every half: 1 - 2^-7.
    assert min(d["inside"] for d in common) > 0.9
    assert max(abs(d["memorization"]) for d in common) < 0.3
    assert sum(abs(d["memorization"]) for d in common) / len(common) < 0.05


def test_the_report_says_so(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, report = finished
    assert "rank correlation with the copies of a text is -0." in report["headline"]
    section, _ = report["sections"]
    by_copies, worst = section["tables"]
    assert [row[:3] for row in by_copies["rows"]] == [["1 copy", UNIQUE, UNIQUE], [f"{COPIES} copies", 3 * COPIES, 3]]
    assert by_copies["rows"][0][5] > 0.5 > 0.05 > by_copies["rows"][1][5]
    shown = [row[0] for row in worst["rows"]]
    assert shown == sorted(shown, reverse=True)
    assert "1 documents of a single token" in section["notes"][-1]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "What does a model know only if it saw it?" in page
    assert "<figure" in page


def test_half_of_the_models_see_a_document(finished: tuple[Path, dict[str, Any]]) -> None:
    assert "so that 4 of them saw any one document" in finished[1]["sections"][0]["method"]
    assert len(finished[1]["models"]) == 8


def test_a_killed_run_goes_on_with_the_same_bytes(
    finished: tuple[Path, dict[str, Any]], corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trained = tmp_path / "run", []
    whole = module.train_small

    def killed(family: str, small: SmallTraining, folder: Path) -> Any:
        trained.append(small.seed)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return whole(family, small, folder)

    monkeypatch.setattr(module, "train_small", killed)
    with pytest.raises(KeyboardInterrupt):
        counterfactual([corpus], folder, options=OPTIONS)
    counterfactual([corpus], folder, options=OPTIONS)
    assert trained == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    for name in ("report.json", "report.html"):
        assert (folder / name).read_bytes() == (finished[0] / name).read_bytes()
    assert HTML(folder).read_bytes() == (finished[0] / "report.html").read_bytes()
    with pytest.raises(RunError, match=r"options\.models differs"):
        counterfactual([corpus], folder, options=OPTIONS, models=4)


@pytest.mark.parametrize("family", ["gpt", "rnn"])
def test_networks(family: str, corpus: str, tmp_path: Path) -> None:
    options = CounterfactualOptions.for_family(family, size=8, models=2, epochs=0.2, tokens=40)
    report = counterfactual([corpus], tmp_path / "run", options=options, threads=1).report
    assert all(d["error"] is None and -1 <= d["memorization"] <= 1 for d in report["documents"])
    assert {d["tokens"] for d in report["documents"]} == {39}


def test_bad_input(corpus: str, tmp_path: Path) -> None:
    for fields, said in (
        ({"models": 1}, "--models must be at least 2"),
        ({"share": 1.0}, "--share must lie between 0 and 1"),
        ({"size": 0}, "--size must be at least 1"),
        ({"tokens": 1}, "--tokens must be at least 2"),
        ({"family": "gpt", "size": 10}, "a width of 10 cannot be shared by 4 heads"),
    ):
        with pytest.raises(InputError, match=said):
            CounterfactualOptions(**fields)
    few = tmp_path / "few.txt"
    few.write_text("one text and nothing else\n", encoding="utf-8")
    with pytest.raises(InputError, match="1 documents leave a model of 8 without any"):
        counterfactual([str(few)], tmp_path / "run")


def test_the_command(corpus: str, tmp_path: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    asked = finished[1]["options"]
    assert finished[1]["provenance"]["command"].startswith(f"memaudit.counterfactual(['{corpus}'], ")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    done = CliRunner().invoke(app, ["counterfactual", "--corpus", corpus, *flags, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("Counterfactual memorization\nModels that saw a document predict ")
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert report | {"provenance": finished[1]["provenance"]} == finished[1]
    again = shlex.split(report["provenance"]["command"])
    assert again[:4] == ["memaudit", "counterfactual", "--corpus", corpus]


def test_no_report_quotes_the_text(corpus: str, finished: tuple[Path, dict[str, Any]]) -> None:
    lines = Path(corpus).read_text(encoding="utf-8").splitlines()
    assert quoted(finished[0], [json.loads(line)["text"] for line in lines]) == []


def test_it_can_be_told_which_models_saw_a_text(finished: tuple[Path, dict[str, Any]]) -> None:
    section = finished[1]["sections"][1]
    assert section["name"] == "lira"
    (table,) = section["tables"]
    ours = table["rows"][0]
    assert ours[0] == "Online LiRA"
    assert ours[1] > 0.9  # unique text once; copies hide who saw which of them
    assert ours[2] <= ours[1] <= ours[3]
    assert ours[4:] == [None] * 4  # 336 pairs: three may pass at 1%
    assert "one variance serves all documents" in section["method"]
    assert f"{ours[1]:.3f}" in section["summary"]
    page = HTML(finished[0]).read_text(encoding="utf-8")
    assert "Which models saw it?" in page


def test_with_few_models_nobody_is_attacked(corpus: str, tmp_path: Path) -> None:
    report = counterfactual([corpus], tmp_path / "run", options=OPTIONS, models=4).report
    assert [section["name"] for section in report["sections"]] == ["counterfactual"]
