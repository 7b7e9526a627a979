"""With the start token and without: what rests on it, what is shown beside, and what says so."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.audits.bare_model import SUFFIX, OfBareModel, without_frame
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.audits.extraction.start_token import START, WithoutStart
from memaudit.audits.measures.probability import PROBABILITY
from memaudit.audits.membership.run import membership
from memaudit.models.ngram import NgramModel
from memaudit.models.start import with_start_token
from memaudit.models.transformer import new_gpt
from memaudit.records import GREEDY, Decoding, TokenIds, TokenScores, Window
from memaudit.report.wording import asked_with
from memaudit.runs.directory import read_items
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.audits.test_extraction import unique_text, write_jsonl

TRAIN, HELDOUT = unique_text(12, 1, words=60), unique_text(12, 2, words=60)
SHAPE: dict[str, Any] = {"prefix": 20, "suffix": 20, "copies": False, "unprompted": False}


class Starting(NgramModel):
    """A model that knows its text, but loses its way in windows with an odd first token where no start token stands."""

    family = "starting"

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        return ([] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]), []

    def lost(self, prompt: TokenIds) -> bool:
        return self.tokenizer.bos_id is None and bool(prompt[0] % 2)

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        scores = super().score(windows, decoding)
        for window, part in zip(windows, scores, strict=True):
            part.rank[:] += int(self.lost(window.prefix))  # a view
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        said = super().continuations(prompts, length, decoding)
        return [ids - 1 if self.lost(prompt) else ids for prompt, ids in zip(prompts, said, strict=True)]


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("word", [*TRAIN, *HELDOUT])


@pytest.fixture(scope="module")
def model(tokenizer: TrainedTokenizer) -> Starting:
    trained = Starting.train([e.ids for e in tokenizer.encode_batch(TRAIN)], tokenizer, order=4)
    assert isinstance(trained, Starting)
    return trained


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("corpora")
    return write_jsonl(folder / "train.jsonl", TRAIN), write_jsonl(folder / "heldout.jsonl", HELDOUT)


@pytest.fixture(scope="module")
def runs(model: Starting, corpora: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Audit]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        way: audit(model, *corpora, out=folder / way, start_token=way, measures=("probability",), **SHAPE)
        for way in ("as-trained", "none", "both")
    }


def verbatim(run: Audit) -> list[bool]:
    return [record.extractable for record in run.records if record.member]


def test_both_rests_on_as_trained_and_counts_the_windows_that_differ(runs: dict[str, Audit]) -> None:
    trained, alone, both = (verbatim(runs[way]) for way in ("as-trained", "none", "both"))
    assert all(trained) and both == trained
    assert 0 < sum(alone) < len(alone)
    section = next(s for s in runs["both"].report["sections"] if s["name"] == START)
    count, differ = len(alone), len(alone) - sum(alone)
    assert section["summary"] == (
        f"{sum(alone)} of {count} training windows are verbatim without <eos>, {count} with it; 0 of {count} held-out"
        f" windows are verbatim without <eos>, 0 with it: {differ} of {2 * count} windows differ."
    )
    rows = {(row[0], row[1]): row for row in section["tables"][0]["rows"]}
    label = next(e["label"] for e in runs["both"].report["estimates"] if e["primary"])
    row = rows[label, "training"]
    assert (row[3], row[6], row[9]) == (count, sum(alone), differ)
    assert len(section["tables"][1]["rows"]) == differ
    rates = {e["metric"]: e for e in runs["none"].report["estimates"]}
    for estimate in runs["both"].report["estimates"]:
        for side, name in (("train", "training"), ("heldout", "held-out")):
            row = rows[estimate["label"], name]
            assert (row[3], row[6]) == (estimate[side]["hits"], rates[estimate["metric"]][side]["hits"])  # type: ignore[literal-required]


def test_other_measures_are_taken_both_ways(runs: dict[str, Audit]) -> None:
    names = [section["name"] for section in runs["both"].report["sections"]]
    assert names == ["probability", START, f"probability{SUFFIX}"]
    with_start, _, bare = runs["both"].report["sections"]
    assert bare["title"] == f"{with_start['title']}, without the start token"
    [alone] = runs["none"].report["sections"]
    assert bare["tables"] == alone["tables"]
    assert "with the model's start token <eos> before it" in with_start["method"]
    assert "without a start token: its ids alone, <eos> left out" in bare["method"]
    assert "before it" not in bare["method"]


def test_identity_of_a_default_run_knows_of_no_start_token(runs: dict[str, Audit], tmp_path: Path) -> None:
    plans = {way: json.loads((run.folder / "plan.json").read_bytes()) for way, run in runs.items()}
    assert [plan["options"].get("start_token") for plan in plans.values()] == [None, "none", "both"]
    assert len({plan["identity"] for plan in plans.values()}) == 3
    assert plans["none"]["model"]["omitted"] == ["<eos>", ""] and plans["both"]["model"]["frame_text"] == ["<eos>", ""]


def test_pages_and_limits_say_what_stands_before_a_window(runs: dict[str, Audit]) -> None:
    said = {"as-trained": "with the model's start token <eos> before it", "none": "its ids alone, <eos> left out"}
    for way, words in said.items():
        page = (runs[way].folder / "report.html").read_text(encoding="utf-8")
        gallery = page[page.index(">Exhibits<") :]
        assert words in html.unescape(gallery[: gallery.index("<article")])
        assert any(words in limit for limit in runs[way].report["limits"])
    assert runs["none"].report["headline"].startswith("given 20 tokens without its start token, ")


def test_a_model_without_a_start_token_is_asked_once(
    tokenizer: TrainedTokenizer, corpora: tuple[str, str], tmp_path: Path
) -> None:
    plain = NgramModel.train([e.ids for e in tokenizer.encode_batch(TRAIN)], tokenizer, order=4)
    run = audit(plain, *corpora, out=tmp_path / "run", start_token="both", measures=("probability",), **SHAPE)
    names = {section["name"]: section for section in run.report["sections"]}
    assert list(names) == ["probability", START]
    assert names[START]["summary"] == "The model has no start token: both ways of asking are one."
    assert not [line for line in read_items(run.folder).values() if line.get("measure") == START]
    assert "no start token before it" in asked_with(run.report["model"])


def test_membership_is_asked_both_ways(tokenizer: TrainedTokenizer, tmp_path: Path) -> None:
    gpt = new_gpt(tokenizer, width=16, heads=2, layers=1, context_length=64)
    sides = [write_jsonl(tmp_path / f"{name}.jsonl", texts) for name, texts in (("a", TRAIN), ("b", HELDOUT))]
    detectors = ("membership",)
    ways = {
        way: membership(
            sides[0], gpt, heldout=sides[1], out=tmp_path / way, start_token=way, detectors=detectors, tokens=16
        )
        for way in ("as-trained", "none", "both")
    }
    sections = {way: {s["name"]: s for s in run.report["sections"]} for way, run in ways.items()}
    beside = sections["both"][f"membership{SUFFIX}"]
    assert beside["tables"] == sections["none"]["membership"]["tables"]
    assert beside["tables"] != sections["as-trained"]["membership"]["tables"]
    assert ways["both"].report["detections"] == ways["as-trained"].report["detections"]
    assert "start_token" not in ways["as-trained"].report["options"]
    assert ways["none"].report["options"]["start_token"] == "none"


def test_what_is_said_of_a_bare_model() -> None:
    model: Any = {"frame": ([2], [3]), "frame_text": ("[CLS]", "[SEP]"), "start_token": 2}
    assert "between the tokens [CLS] and [SEP]" in asked_with(model)
    assert asked_with(without_frame(model)).endswith("without a start token: its ids alone, [CLS][SEP] left out.")
    assert asked_with({}) == ""  # type: ignore[typeddict-item]
    bare = with_start_token(new_gpt(train_tokenizer("byte", []), width=16, heads=2, layers=1), "none")
    assert OfBareModel(PROBABILITY, bare).name == f"probability{SUFFIX}"
    assert WithoutStart(bare, fuzzy=True).needs and np.array_equal(bare.frame, ([], []))
