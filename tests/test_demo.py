"""The demo as a newcomer runs it: four families, one page, curves that rise from 0 at the twins to 1."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import spearmanr

from memaudit import demo
from memaudit.demo import BACKGROUND, FAMILIES, PER_DOSE, build_corpus, run_demo
from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.planting.canaries import DOSES
from memaudit.text.planting.passages import SHARED

RECITING = ("ngram", "rnn", "gpt")


@pytest.fixture(scope="module", autouse=True)
def passages() -> Iterator[list[Document]]:
    """The passages of the standard library, cut once."""
    cut = cache(demo.distinct_passages)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(demo, "distinct_passages", cut)
        yield cut()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], list[str]]:
    folder = tmp_path_factory.mktemp("demo")
    said: list[str] = []
    result = run_demo(folder, seed=3, log=said.append)
    assert result.html == folder / "report.html"
    return folder, result.reports, said


def test_curves_rise_from_the_twins_to_one(finished: tuple[Path, list[dict[str, Any]], list[str]]) -> None:
    reports = {report["model"]["name"]: report for report in finished[1]}
    assert list(reports) == [family.name for family in FAMILIES]
    for name in RECITING:
        doses = reports[name]["doses"]
        assert [d["copies"] for d in doses] == [0, *DOSES]
        rates = [d["rate"] for d in doses]
        assert rates[0] == 0
        assert rates[-1] >= 0.8, name
        assert reports[name]["verdict"] == "found"
        if name != "ngram":  # an n-gram of high order recites what it read once
            assert spearmanr(range(len(rates)), rates).statistic > 0.8
            assert rates[1] < 0.2
    assert all(r["estimates"][0]["heldout"]["hits"] == 0 for r in reports.values())


def test_the_masked_model_knows_the_most_repeated_passages_better(
    finished: tuple[Path, list[dict[str, Any]], list[str]],
) -> None:
    [bert] = [report for report in finished[1] if report["model"]["objective"] == "masked"]
    similarity = {d["copies"]: d["edit_similarity"] for d in bert["doses"]}
    assert similarity[64] > similarity[0] + 0.2


def test_copies_counted_are_those_planted(finished: tuple[Path, list[dict[str, Any]], list[str]]) -> None:
    for report in finished[1]:
        assert [f["copies_exact"] for f in report["findings"]] == [f["copies"] for f in report["findings"]]


def test_one_page_and_a_run_directory_each(finished: tuple[Path, list[dict[str, Any]], list[str]]) -> None:
    folder, reports, said = finished
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert len(page) < 500_000
    for report in reports:
        stored = json.loads((folder / "runs" / report["model"]["name"] / "report.json").read_bytes())
        assert stored == json.loads(json.dumps(report))
        assert stored["provenance"]["identity"][:12] in page
    assert len(said) == 1 + len(FAMILIES)


def test_the_command_in_the_report_repeats_the_run(
    finished: tuple[Path, list[dict[str, Any]], list[str]], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from memaudit.cli.app import app

    report = finished[1][0]
    command = report["provenance"]["command"].split()
    assert command[:2] == ["memaudit", "audit"]
    result = CliRunner().invoke(app, [*command[1:], "--out", str(tmp_path / "again")])
    assert result.exit_code == report["exit_code"], result.output
    again = json.loads((tmp_path / "again" / "report.json").read_bytes())
    assert again["estimates"] == json.loads(json.dumps(report["estimates"]))


def test_another_seed_in_the_same_folder_is_refused_untouched(
    finished: tuple[Path, list[dict[str, Any]], list[str]],
) -> None:
    folder = finished[0]
    before = (folder / "corpus" / "training.jsonl").read_bytes()
    with pytest.raises(InputError, match="another seed"):
        run_demo(folder, seed=4, log=lambda _: None)
    assert (folder / "corpus" / "training.jsonl").read_bytes() == before


def test_passages_share_nothing(passages: list[Document]) -> None:
    assert len(passages) >= BACKGROUND + 2 * PER_DOSE * len(DOSES)
    spans: set[str] = set()
    for passage in passages:
        squeezed = "".join(passage.text.casefold().split())
        own = {squeezed[i : i + SHARED] for i in range(len(squeezed) - SHARED + 1)}
        assert not own & spans
        spans |= own
    assert set(Counter(p.domain for p in passages)) == {"prose", "code"}


def test_corpus_files_hold_the_planting(tmp_path: Path) -> None:
    planting = build_corpus(tmp_path, seed=1)
    rows = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_bytes().splitlines()]
        for name in ("training", "planted", "twins")
    }
    counts = Counter(row["text"] for row in rows["training"])
    assert all(counts[row["text"]] == row["copies"] for row in rows["planted"])
    assert all(row["text"] not in counts and row["copies"] == 0 for row in rows["twins"])
    assert len(rows["training"]) == len(planting.training) == BACKGROUND + PER_DOSE * sum(DOSES)
    assert len({row["id"] for row in rows["training"]}) == len(rows["training"])
