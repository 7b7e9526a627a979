"""Why an audit gives no verdict, on the real path: what stands on the screen must help, and claim nothing too much."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.report.extraction_terminal import print_extraction
from tests.audits.test_extraction import oracle, unique_text, write_jsonl

OPTIONS = AuditOptions(prefix=10, suffix=10)


def screen(result: Audit) -> str:
    console = Console(file=io.StringIO(), width=10_000)
    print_extraction(result.report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_one_document_a_side_can_show_nothing_and_the_screen_says_so(tmp_path: Path) -> None:
    known, unseen = unique_text(1, 1, words=120), unique_text(1, 2, words=120)
    sides = write_jsonl(tmp_path / "train.jsonl", known), write_jsonl(tmp_path / "heldout.jsonl", unseen)
    result = audit(oracle(known), *sides, out=tmp_path / "run", options=OPTIONS)
    primary = result.report["estimates"][0]
    assert primary["train"]["hits"] > 30
    assert primary["heldout"]["hits"] == 0
    assert result.verdict == "inconclusive"
    told = screen(result)
    assert "nothing can be tested with 1 training document and 1 held-out document: p cannot be below 0.5" in told
    assert "at least 3 a side are needed; of a single work, ask 'memaudit work'" in told
    assert "as often as" not in told


def test_three_documents_a_side_are_enough(tmp_path: Path) -> None:
    known, unseen = unique_text(3, 1, words=60), unique_text(3, 2, words=60)
    sides = write_jsonl(tmp_path / "train.jsonl", known), write_jsonl(tmp_path / "heldout.jsonl", unseen)
    result = audit(oracle(known), *sides, out=tmp_path / "run", options=OPTIONS)
    assert result.report["estimates"][0]["p_value"] == 0.05  # one of 20 ways to choose three of six
    assert result.verdict == "found"


def test_one_hit_among_many_documents_can_show_nothing(tmp_path: Path) -> None:
    train, unseen = unique_text(40, 1, words=3), unique_text(40, 2, words=3)
    sides = write_jsonl(tmp_path / "train.jsonl", train), write_jsonl(tmp_path / "heldout.jsonl", unseen)
    result = audit(oracle([*unique_text(60, 3), train[0]]), *sides, out=tmp_path / "run", options=OPTIONS)
    assert result.report["estimates"][0]["train"]["hits"] == 1
    told = screen(result)
    assert "nothing can be tested with 40 training documents and 40 held-out documents: p cannot be below 0.499" in told
    assert "too few of them have a hit" in told


def test_an_overfit_model_on_foreign_text_is_told_what_is_wrong(tmp_path: Path) -> None:
    sides = [write_jsonl(tmp_path / f"{seed}.jsonl", unique_text(60, seed)) for seed in (1, 2)]
    result = audit(oracle(unique_text(60, 3)), *sides, out=tmp_path / "run", options=OPTIONS)
    assert result.verdict == "inconclusive"
    told = screen(result)
    assert "'beats a unigram model' failed" in told
    assert "these texts are foreign to it (name text that it was trained on)" in told
    assert "no number of documents makes this clean before every control passes" in told
    assert "documents needed" not in told
    assert "documents needed" not in result.report["power"]["sentence"]
    assert "documents needed" not in result.files[0].read_text(encoding="utf-8")


def test_sides_of_other_lengths_are_not_found_however_much_is_recited(tmp_path: Path) -> None:
    known, unseen = unique_text(40, 1, words=3), unique_text(40, 2, words=60)
    sides = write_jsonl(tmp_path / "train.jsonl", known), write_jsonl(tmp_path / "heldout.jsonl", unseen)
    result = audit(oracle(known), *sides, out=tmp_path / "run", options=OPTIONS)
    primary = result.report["estimates"][0]
    assert primary["train"]["rate"] == 1
    assert primary["p_value"] < 0.001
    assert result.verdict == "inconclusive"
    told = screen(result)
    assert "'matched held-out text' failed: not matched: 0 of 40 documents have a counterpart" in told
    assert "but the sides differ, and that alone may be why" in told
    assert "documents needed" not in told
