"""Continuation overlap of whole documents: n-grams that recite, unseen text, every family, short texts."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from memaudit.audits.comparison.nulls import NULL_NAME
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.overlap import DEFINITION, MAX_CONTINUED, OVERLAP, ask
from memaudit.audits.subject import Subject
from memaudit.metrics.overlap import gram_starts
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Decoding, Document, TokenIds
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(300)]


def made_up(count: int, seed: int, low: int = 14, high: int = 30) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(low, high))) for _ in range(count)]


BACKGROUND = made_up(60, 1)
TOKENIZER = train_tokenizer("bpe", BACKGROUND, 400)


def ids(texts: Sequence[str]) -> list[TokenIds]:
    return [encoding.ids for encoding in TOKENIZER.encode_batch(texts)]


def trained(texts: Sequence[str], order: int = 12) -> NgramModel:
    return NgramModel.train(ids(texts), TOKENIZER, order=order)


def as_documents(texts: Sequence[str], side: str) -> list[Document]:
    return [Document(f"{side}{i}", text, f"{side}.txt:{i + 1}") for i, text in enumerate(texts)]


class Nulls:
    """Stands for reference models: one trained on the background was asked all documents."""

    def __init__(self, **options: Any) -> None:
        self.options = MembershipOptions(**options)
        self.model = trained(BACKGROUND)
        self.asked: list[tuple[bool, str]] = []

    def null(self, member: bool, document: str) -> NgramModel:
        self.asked.append((member, document))
        return self.model


def subject(
    model: LanguageModel,
    members: Sequence[str],
    heldout: Sequence[str] = (),
    reference_models: Any = None,
    **options: Any,
) -> Subject:
    sides = as_documents(members, "set"), as_documents(heldout, "held")
    reference_models = reference_models or Nulls(**options)
    return Subject(model, [], [], *sides, None, WindowOptions(), Decoding(), reference_models)


def plan(**options: Any) -> dict[str, Any]:
    return {"membership": dataclasses.asdict(MembershipOptions(**options))}


def records(asked: Subject, block: int = OVERLAP.block) -> list[dict[str, Any]]:
    items = OVERLAP.items(asked)
    blocks = [items[at : at + block] for at in range(0, len(items), block)]
    return [record for part in blocks for record in OVERLAP.measure(asked, part)]


MEMBERS, HELDOUT = made_up(30, 2), made_up(30, 3)


def test_members_that_are_recited_are_found() -> None:
    asked = subject(trained([*BACKGROUND, *MEMBERS]), MEMBERS, HELDOUT)
    found = records(asked)
    [detection] = OVERLAP.detections(found, plan())
    assert [detection.name] == OVERLAP.declared(plan())
    assert detection.p_value is not None
    assert detection.p_value < 0.001
    assert detection.effect.estimate is not None
    assert detection.effect.estimate > 0.99
    assert detection.admissible
    assert (detection.members, detection.heldout, detection.undefined) == (30, 30, 0)
    assert [c.passed for c in detection.controls] == [None, True, True]
    assert all(record["accuracy"] >= 0.6 for record in found[:30])
    assert np.mean([record["accuracy"] for record in found[30:]]) < 0.2
    section = OVERLAP.section(found, plan())
    assert json.loads(json.dumps(dataclasses.asdict(section), allow_nan=False))["name"] == "overlap"
    assert DEFINITION in section.method
    assert [row[0] for row in section.tables[1].rows][:1] == ["set.txt:1"]


def test_unseen_text_is_not_found() -> None:
    found = records(subject(trained(BACKGROUND), MEMBERS, HELDOUT))
    [detection] = OVERLAP.detections(found, plan())
    assert detection.p_value is not None
    assert detection.p_value > 0.05
    assert len(OVERLAP.section(found, plan()).tables) == 1


def test_a_null_model_that_does_as_well_withholds_the_evidence() -> None:
    reference_models = Nulls()
    reference_models.model = trained([*BACKGROUND, *MEMBERS])
    found = records(subject(trained([*BACKGROUND, *MEMBERS]), MEMBERS, HELDOUT, reference_models))
    [detection] = OVERLAP.detections(found, plan())
    assert detection.p_value is not None
    assert detection.p_value < 0.001
    assert not detection.admissible
    assert set(reference_models.asked) == {(True, f"set{i}") for i in range(30)} | {
        (False, f"held{i}") for i in range(30)
    }


def test_the_blind_baseline_withholds_the_evidence() -> None:
    found = records(subject(trained([*BACKGROUND, *MEMBERS]), MEMBERS, HELDOUT))
    shape = {"name": "words", "auc": {"estimate": 0.9, "low": 0.8, "high": 1.0}}
    blind = {"confounded": True, "features": [shape]}
    [detection] = OVERLAP.detections(found, plan() | {"blind": blind})
    assert detection.controls[0].passed is False
    assert not detection.admissible


def tiny(family: str) -> LanguageModel:
    if family == "ngram":
        return trained(BACKGROUND, 3)
    if family == "rnn":
        return new_rnn(TOKENIZER, width=16, layers=1)
    if family == "bert":
        return new_bert(TOKENIZER, width=16, layers=1, heads=2, context_length=40)
    return new_gpt(TOKENIZER, width=16, layers=1, heads=2, context_length=40)


@pytest.mark.parametrize("family", ["ngram", "rnn", "gpt", "bert"])
def test_answers_are_those_of_greedy_decoding(family: str) -> None:
    model = tiny(family)
    texts = [text[:38] for text in ids(made_up(4, 5))]
    # A text that the model writes itself is given in full from its second token on.
    own = [np.concatenate([text[:2], model.continuations([text[:2]], 30)[0]]) for text in texts[:2]]
    for text, answer in zip([*texts, *own], ask(model, [*texts, *own], 0.4), strict=True):
        starts = gram_starts(len(text))
        said = [model.continuations([text[:s]], 5)[0].tolist() == text[s : s + 5].tolist() for s in starts]
        cut = round(0.4 * len(text))
        continued = model.continuations([text[:cut]], len(text) - cut)[0]
        assert answer["accuracy"] == pytest.approx(np.mean(said))
        assert answer["starts"] == 5
        same = continued == text[cut:]
        assert answer["completion"]["matched"] == (len(same) if same.all() else int(np.argmin(same)))
    last = ask(model, own, 0.4)
    if family != "bert":  # its fills know how many masks follow
        assert [(a["accuracy"], a["completion"]["edit_similarity"]) for a in last] == [(1.0, 1.0)] * 2


@pytest.mark.parametrize("family", ["ngram", "rnn", "gpt", "bert"])
def test_texts_of_no_tokens_and_few_have_no_score(family: str) -> None:
    model = tiny(family)
    texts = [text[:n] for n, text in enumerate(ids(made_up(10, 6)))]
    for n, answer in enumerate(ask(model, texts, 0.5)):
        assert (answer["accuracy"] is None) == (n < 7)
        assert (answer["completion"] is None) == (n < 2)
    record = records(subject(model, ["", "a"], ["", "b"]))
    json.dumps(record, allow_nan=False)
    [detection] = OVERLAP.detections(record, plan())
    assert detection.p_value is None
    assert detection.undefined == 4
    assert "4 documents have fewer than 7 tokens" in OVERLAP.section(record, plan()).notes[1]
    assert ask(model, [], 0.5) == []
    assert OVERLAP.section([], plan()).graphs == []


@pytest.mark.parametrize("family", ["gpt", "bert"])
def test_longer_documents_than_the_context_are_asked_for_their_beginning(family: str) -> None:
    long = " ".join(made_up(12, 7))
    [record] = records(subject(tiny(family), [long]))
    assert record["tokens"] == len(ids([long])[0]) > record["read"]
    assert record["read"] == {"gpt": 40, "bert": 38}[family]
    assert record["completion"]["compared"] == record["read"] // 2
    assert "Of 1 documents only the beginning" in OVERLAP.section([record], plan()).notes[-1]


def test_a_continuation_has_a_limit() -> None:
    long = " ".join(made_up(12, 7))
    [record] = records(subject(trained([long]), [long]))
    assert record["completion"]["compared"] == MAX_CONTINUED == record["completion"]["matched"]
    [record] = records(subject(trained([long]), [long], tokens=50, overlap_prefix=0.9))
    assert (record["read"], record["completion"]["compared"]) == (50, 5)
    assert record["null"][NULL_NAME]["completion"]["compared"] == 5


def test_records_do_not_depend_on_blocks() -> None:
    asked = subject(tiny("gpt"), MEMBERS[:7], HELDOUT[:6])
    assert records(asked, 1) == records(asked, 16)


def test_pairs_are_tested_as_pairs() -> None:
    found = records(subject(trained([*BACKGROUND, *MEMBERS]), MEMBERS, HELDOUT))
    for record in found:
        record["document"] = record["document"].removeprefix("set").removeprefix("held")
    [detection] = OVERLAP.detections(found, plan(paired=True))
    assert detection.reason == "sign-flip test of 30 pairs"
    assert detection.p_value == 1e-4
