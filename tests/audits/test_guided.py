"""Guided instruction: models that answer as they are told, and what must not count as evidence."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.guided import GUIDED, LONGEST, _cut, instructions
from memaudit.audits.logged import check_measures
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.fuzzy import rouge_l_text
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.masked import new_bert
from memaudit.models.transformer import new_gpt
from memaudit.records import GREEDY, Decoding, Document, FloatArray, TokenIds
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

NAME = "Rivers {1}"
TOKENIZER = train_tokenizer("byte", [])


class Obedient(NextTokenModel):
    """Says for every prompt what it was taught to say, as ids, and then the end."""

    family = "obedient"

    def __init__(self, answers: dict[str, str], eos: bool = True) -> None:
        self.tokenizer, self.answers, self.eos = TOKENIZER, answers, eos
        self.prompts: list[str] = []

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        raise NotImplementedError

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        assert decoding.greedy
        return [self._said(TOKENIZER.decode(prompt), length) for prompt in prompts]

    def _said(self, prompt: str, length: int) -> TokenIds:
        self.prompts.append(prompt)
        text = next((answer for asked, answer in self.answers.items() if asked in prompt), "nothing at all")
        if NAME not in prompt:
            text = "nothing at all"
        ids = TOKENIZER.encode_batch([text])[0].ids
        noise = TOKENIZER.encode_batch(["words behind the end " * LONGEST])[0].ids
        return np.concatenate([ids, [TOKENIZER.eos_id] if self.eos else [], noise])[:length].astype(np.int32)


def made_up(count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [
        "".join(drawn.choices("abcdefgh", k=6)) + f" {i} went" + " on and on" * 2 + f" to {seed}" for i in range(count)
    ]


def subject(model: LanguageModel, members: Sequence[str], heldout: Sequence[str] = (), **options: Any) -> Subject:
    reference_models: Any = SimpleNamespace(options=MembershipOptions(**({"guided": NAME} | options)))
    sides = (
        [Document(f"{s}{i}", t, f"{s}.txt:{i + 1}") for i, t in enumerate(ts)]
        for s, ts in (("m", members), ("h", heldout))
    )
    return Subject(model, [], [], *sides, None, WindowOptions(), Decoding(), reference_models)


def plan(**options: Any) -> dict[str, Any]:
    return {"membership": dataclasses.asdict(MembershipOptions(**({"guided": NAME} | options)))}


def records(asked: Subject, block: int = GUIDED.block) -> list[dict[str, Any]]:
    items = GUIDED.items(asked)
    blocks = [items[at : at + block] for at in range(0, len(items), block)]
    return [record for part in blocks for record in GUIDED.measure(asked, part)]


def taught(texts: Sequence[str]) -> dict[str, str]:
    """Return the true rest of every text by its beginning, as the detector cuts them."""
    ends = [encoding.ends for encoding in TOKENIZER.encode_batch(texts)]
    return {
        f": {begun}\n": rest
        for begun, rest in (_cut(t, e, MembershipOptions()) for t, e in zip(texts, ends, strict=True))
    }


MEMBERS, HELDOUT = made_up(12, 1), made_up(12, 2)


def test_a_data_set_that_its_name_calls_up_is_found() -> None:
    model = Obedient(taught(MEMBERS))
    found = records(subject(model, MEMBERS, HELDOUT))
    [detection] = GUIDED.detections(found, plan())
    assert [detection.name] == GUIDED.declared(plan())
    assert all((record["guided"], record["general"]) == (1, 0) for record in found if record["member"])
    assert detection.p_value == 2**-12
    assert (detection.effect.estimate, detection.members, detection.heldout, detection.undefined) == (1, 12, 12, 0)
    assert detection.admissible
    assert [control.passed for control in detection.controls] == [True]
    section = GUIDED.section(found, plan())
    json.dumps([found, dataclasses.asdict(section)], allow_nan=False)
    assert f"the test split of {NAME} changes ROUGE-L with the suspects' rest by +1.000" in section.summary
    assert [row[:4] for row in section.tables[0].rows] == [["suspects", 12, 1.0, 0.0], ["held-out", 12, 0.0, 0.0]]
    assert len(model.prompts) == 48
    assert sum(NAME in prompt for prompt in model.prompts) == 24


def test_without_a_gain_nothing_is_found() -> None:
    [detection] = GUIDED.detections(records(subject(Obedient({}), MEMBERS)), plan())
    assert detection.p_value == 1.0
    assert detection.controls[0].passed is None
    assert detection.effect_size is None


def test_a_name_that_helps_with_any_text_is_no_evidence() -> None:
    model = Obedient(taught([*MEMBERS, *HELDOUT]))
    [detection] = GUIDED.detections(records(subject(model, MEMBERS, HELDOUT)), plan())
    assert detection.p_value == 2**-12
    assert detection.controls[0].passed is False
    assert not detection.admissible


def test_random_gains_are_found_as_often_as_the_level_says() -> None:
    drawn, rejected = np.random.default_rng(0), 0
    for _ in range(1000):
        pairs = drawn.random((20, 1)) * 0.8 + drawn.random((20, 2)) * 0.2  # the answers of a pair are alike
        found = [
            {"member": True, "room": True, "guided": float(guided), "general": float(general)}
            for guided, general in pairs
        ]
        [detection] = GUIDED.detections(found, plan())
        assert detection.p_value is not None
        rejected += detection.p_value <= 0.05
    assert 36 <= rejected <= 64


def test_nothing_is_asked_without_a_name() -> None:
    asked = subject(Obedient({}), MEMBERS, guided="")
    assert (GUIDED.items(asked), GUIDED.declared(plan(guided=""))) == ([], [])
    assert GUIDED.detections([], plan(guided="")) == []
    assert GUIDED.section([], plan(guided="")).summary == "Not run: no data set was named"
    assert GUIDED.items(dataclasses.replace(asked, reference_models=None)) == []


def test_a_masked_model_is_refused() -> None:
    model = new_bert(train_tokenizer("bpe", MEMBERS, 300), width=16, layers=1, heads=2)
    with pytest.raises(InputError, match="'guided' cannot be measured: the model gives no text written from left"):
        check_measures([GUIDED], subject(model, MEMBERS))


def test_documents_without_room_are_counted() -> None:
    room = max(
        len(e)
        for e in TOKENIZER.encode_batch(instructions("x" * 40, subject(Obedient({}), []).reference_models.options))
    )
    model = new_gpt(TOKENIZER, width=16, layers=1, heads=2, context_length=room + LONGEST)
    texts = [MEMBERS[0], "a long text " * 40, "", "one"]
    found = records(subject(model, texts))
    assert [record["room"] for record in found] == [True, False, True, True]
    assert [record["guided"] is None for record in found] == [False, True, True, False]
    [detection] = GUIDED.detections(found, plan())
    assert (detection.members, detection.undefined) == (2, 2)
    notes = " ".join(GUIDED.section(found, plan()).notes)
    assert "1 documents do not fit" in notes
    assert "1 documents are too short" in notes
    [crowded] = GUIDED.detections(found[1:2], plan())
    assert (crowded.p_value, crowded.reason[:18]) == (None, "no suspect fits in")
    assert GUIDED.section(found[1:2], plan()).summary.startswith("No test: no suspect fits")
    [nothing] = GUIDED.detections(found[2:3], plan())
    assert nothing.reason == "no suspect has text to complete"


def test_an_answer_ends_where_the_model_ends_it() -> None:
    text = MEMBERS[0]
    [ended], [endless] = (records(subject(Obedient(taught([text]), eos), [text])) for eos in (True, False))
    assert ended["guided"] == 1
    assert 0 < endless["guided"] < 1


def test_a_model_of_weights_is_asked_by_its_own_continuations() -> None:
    model = new_gpt(TOKENIZER, width=16, layers=1, heads=2, context_length=800)
    found = records(subject(model, MEMBERS[:3], HELDOUT[:2]))
    assert found == records(subject(model, MEMBERS[:3], HELDOUT[:2]), 2)
    [encoding] = TOKENIZER.encode_batch(MEMBERS[:1])
    begun, rest = _cut(MEMBERS[0], encoding.ends, MembershipOptions())
    for way, prompt in zip(("guided", "general"), instructions(begun, MembershipOptions(guided=NAME)), strict=True):
        [asked] = TOKENIZER.encode_batch([prompt])
        said = model.continuations([asked.ids], LONGEST)[0].tolist()
        if TOKENIZER.eos_id in said:
            said = said[: said.index(TOKENIZER.eos_id)]
        assert found[0][way] == (rouge_l_text(rest, TOKENIZER.decode(said)) or 0)


def test_a_document_is_cut_between_words() -> None:
    def cut(text: str, **options: Any) -> tuple[str, str]:
        [encoding] = TOKENIZER.encode_batch([text])
        return _cut(text, encoding.ends, MembershipOptions(**options))

    assert cut("one two three four") == ("one two three", "four")
    assert cut("one two three four", overlap_prefix=0.1) == ("one", "two three four")
    assert cut("one two three four", tokens=9) == ("one two", "t")
    assert cut("onetwothreefour") == ("onetwoth", "reefour")
    assert cut("\u0430\u0431\u0432\u0433") == ("\u0430\u0431", "\u0432\u0433")
    assert cut("") == ("", "")
    assert cut("a") == ("", "a")
    assert len(cut("ab " * 200)[1]) <= LONGEST
    assert cut("ab " * 10, tokens=12) == ("ab ab ab", "ab")


def test_instructions_differ_in_the_name_only() -> None:
    guided, general = instructions("{name} {0}", MembershipOptions(guided=NAME, guided_split="dev"))
    assert guided.count(NAME) == guided.count("dev") == 2
    assert NAME not in general
    assert guided.partition("\n\n")[2] == general.partition("\n\n")[2]
    assert "{name} {0}" in guided
