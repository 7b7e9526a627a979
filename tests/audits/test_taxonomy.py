"""Hits of known kinds come out as what they are, with their denominators."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.measures.taxonomy import TAXONOMY
from memaudit.models.ngram import NgramModel
from memaudit.records import WindowRecord
from memaudit.text.tokenize import train_tokenizer
from tests.audits.test_extraction import oracle, unique_text, write_jsonl

PLAN = {"copies": {"counted": True, "reason": None}, "options": {"fuzzy": True}}


def row(kind: str | None, member: bool = True, copies: int | None = 1, **more: Any) -> dict[str, Any]:
    fields = {"document": f"{kind}-{member}", "source": "a:1", "extractable": kind is not None, "anywhere": True}
    return fields | {"member": member, "copies": copies, "template": None, "kind": kind} | more


def test_kinds_of_a_model_that_knows_everything_by_heart(tmp_path: Path) -> None:
    rare = unique_text(30, 1)
    often = unique_text(1, 7) * 9
    rule = [" ".join(f"row {i}" for i in range(100 * n, 100 * n + 28)) for n in range(1, 4)]
    texts = [*rare, *often, *rule]
    train = write_jsonl(tmp_path / "train.jsonl", [*rare, *often[:1], *rule])
    # The index must hold every copy, the audit asks each text once.
    whole = tmp_path / "whole.jsonl"
    whole.write_text("".join(json.dumps({"text": t, "id": str(i)}) + "\n" for i, t in enumerate(texts)))
    heldout = write_jsonl(tmp_path / "heldout.jsonl", unique_text(34, 2))
    tokenizer = train_tokenizer("char", texts)
    model = NgramModel.train(
        [e.ids for e in tokenizer.encode_batch(texts)], tokenizer, order=70, smoothing="mle"
    )  # fmt: skip
    from memaudit.text.index.corpus_index import build_index

    build_index([str(whole)], tmp_path / "index")
    options = AuditOptions(prefix=60, suffix=60, measures=("taxonomy",), allow_overlap=True)
    report = audit(model, train, heldout, index=tmp_path / "index", out=tmp_path / "run", options=options).report
    section, _ = report["sections"]
    kinds = {(r[0], r[1]): r for r in section["tables"][0]["rows"]}
    assert kinds["recited", "training"][2] == 1
    assert kinds["recited", "training"][6] == 9
    assert kinds["reconstructed", "training"][2] == 3
    assert kinds["recollected", "training"][2] == 30
    assert all(kinds[kind, "held-out"][2] == 0 for kind in ("recited", "reconstructed", "recollected"))
    assert "30 recollected" in section["summary"]
    assert section["tables"][2]["caption"] == "The rarest hits (10 of 30)"


def test_copies_that_the_corpus_states_count_beside_those_of_its_index(tmp_path: Path) -> None:
    texts = unique_text(20, 1)
    train = write_jsonl(tmp_path / "train.jsonl", texts, copies=64)
    heldout = write_jsonl(tmp_path / "heldout.jsonl", unique_text(20, 2))
    options = AuditOptions(prefix=10, suffix=60, measures=("taxonomy",))
    result = audit(oracle(texts), train, heldout, out=tmp_path / "run", options=options)
    assert {r.copies_normalised for r in result.records if r.member} == {1}  # each stands in its file once
    kinds = {(r[0], r[1]): r for r in result.report["sections"][0]["tables"][0]["rows"]}
    assert kinds["recited", "training"][2] == kinds["recited", "training"][3] > 0
    assert kinds["recited", "training"][6] == 64


def test_an_index_that_lacks_the_training_text_explains_nothing() -> None:
    fields = dict.fromkeys([field.name for field in dataclasses.fields(WindowRecord)])
    fields |= {"prefix_text": "a b c", "suffix_text": "d e f", "extractable": True, "copies_normalised": 0}
    subject: Any = SimpleNamespace(
        records=[WindowRecord(**{**fields, "member": member}) for member in (True, False)]  # type: ignore[arg-type]
    )
    known, held = TAXONOMY.measure(subject, [0, 1])
    assert (known["kind"], known["copies"], known["anywhere"]) == ("copies unknown", None, True)
    # Greedy decoding gave held-out text that stands nowhere in the corpus: a true continuation, and none of the corpus.
    assert (held["copies"], held["anywhere"]) == (0, False)


def test_unknown_copies_are_said_to_be_unknown() -> None:
    section = TAXONOMY.section(
        [row("copies unknown", copies=None, anywhere=None), row(None, member=False, anywhere=None)],
        {"copies": {"counted": False, "reason": "not requested"}, "options": {"fuzzy": False}},
    )
    assert any("Copies of 1 hits" in note for note in section.notes)
    looks = TAXONOMY.section([row("reconstructed", copies=None)], PLAN)
    assert any("may be recited" in note for note in looks.notes)
    assert any("not requested" in note for note in section.notes)
    assert [r[2:4] for r in section.tables[1].rows] == [[0, 0]] * 4


def test_anything_of_the_corpus_counts_at_least_as_much_as_the_truth() -> None:
    rows = [
        row("recollected"),
        row(None, anywhere=True),
        row(None, anywhere=False),
        row(None, member=False, anywhere=False),
    ]
    table = TAXONOMY.section([r | {"document": str(i)} for i, r in enumerate(rows)], PLAN).tables[1]
    assert [r[2:4] for r in table.rows] == [[1, 3], [0, 1], [2, 3], [0, 1]]


def test_nothing_reproduced_is_said_in_words() -> None:
    assert "nothing to explain" in TAXONOMY.section([row(None)], PLAN).summary
