"""What a model writes by itself: looked up word for word, beside held-out text, in a small share of an audit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.audits.measures.unprompted import LENGTH, NOTHING, NULL, RUN, UNPROMPTED, samples_of
from memaudit.models.ngram import NgramModel
from memaudit.records import GREEDY, Decoding, Shown, TokenIds
from memaudit.report.formats import writers
from memaudit.runs.directory import RunDirectory, read_items
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.words.words import words_of
from tests.audits.test_extraction import unique_text, write_jsonl
from tests.models.test_masked import made

LICENCE = " ".join(topics["assert"].split()[:60]) + " write to bob.smith@example.org for leave to copy it"
OPTIONS = AuditOptions(prefix=100, suffix=100, limit=200)


class Looping(NgramModel):
    """A model of the corpus that, asked for nothing, gives a licence away."""

    licence: TokenIds

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        said = super().continuations(prompts, length, decoding)
        return [said[i] if len(prompt) else self.licence[:length] for i, prompt in enumerate(prompts)]


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[str, str]:
    texts = unique_text(70, 1, words=150)
    train = tmp_path / "train.jsonl"
    write_jsonl(train, texts)
    with train.open("a", encoding="utf-8") as file:  # shorter than a window
        file.writelines(json.dumps({"id": f"LICENCE{n}", "text": " ".join(LICENCE.split()[n:])}) + "\n" for n in (0, 1))
    return str(train), write_jsonl(tmp_path / "heldout.jsonl", unique_text(70, 2, words=150))


@pytest.fixture
def model() -> Looping:
    tokenizer = train_tokenizer("word", [*unique_text(70, 1, words=150), *unique_text(70, 2, words=150), LICENCE])
    ids = [e.ids for e in tokenizer.encode_batch(unique_text(30, 3, words=150))]
    model = Looping.train(ids, tokenizer, order=3)
    assert isinstance(model, Looping)
    model.licence = tokenizer.encode_batch([LICENCE])[0].ids
    return model


def lines(run: Audit) -> list[dict[str, Any]]:
    return [line for line in read_items(run.folder).values() if line.get("measure") == "unprompted"]


def test_a_licence_that_no_window_sees_is_found(model: Looping, corpora: tuple[str, str], tmp_path: Path) -> None:
    result = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    assert not any(record.extractable for record in result.records)
    assert not any("LICENCE" in record.document for record in result.records)
    [section] = result.report["sections"]
    rates, sources = section["tables"]
    count = samples_of(len(result.records))
    assert [row[:3] for row in rates["rows"]] == [
        ["Unprompted", count - count // 2, count - count // 2],
        ["After the first 3 tokens of a window", count // 2, 0],
        ["Held-out text itself", count, 0],
    ]
    [[name, samples, words, places, documents, excerpt]] = sources["rows"]
    said = model.tokenizer.decode(model.licence[:LENGTH])
    assert name.startswith("LICENCE0 (")
    assert (samples, places, documents) == (count - count // 2, 1, 1)
    assert abs(words - len(words_of(said))) <= 1  # the last may be cut
    assert said.startswith(excerpt.rstrip("…"))
    assert f"of {words} words, occurs at 1 place, first in LICENCE0" in section["summary"]


def test_lines_are_what_brute_force_finds(model: Looping, corpora: tuple[str, str], tmp_path: Path) -> None:
    result = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    documents = [json.loads(line)["text"] for line in Path(corpora[0]).read_text(encoding="utf-8").splitlines()]
    stored = [document.lower().split() for document in documents]
    runs = {tuple(words[at : at + RUN]) for words in stored for at in range(len(words) - RUN + 1)}
    for line in lines(result):
        if line["way"] == NULL:
            record = next(r for r in result.records if not r.member and r.document == line["document"])
            words = model.tokenizer.decode([*record.prefix_ids, *record.suffix_ids][-LENGTH:]).lower().split()
        elif line["way"] == NOTHING:
            words = model.tokenizer.decode(model.licence[:LENGTH]).lower().split()
        else:
            continue
        held = any(tuple(words[at : at + RUN]) in runs for at in range(len(words) - RUN + 1))
        assert held == (line["longest"] >= RUN) == (line["copied"] >= RUN) == ("excerpt" in line)
        assert line["longest"] <= line["copied"] <= line["words"]


@given(st.integers(0, 10_000))
def test_samples_take_a_small_share_of_the_tokens(windows: int) -> None:
    # A window of the default lengths has 100 tokens, all of which are read, and most of which are written.
    assert samples_of(windows) * LENGTH <= 0.15 * 100 * windows
    assert samples_of(windows) <= samples_of(windows + 1) <= 100
    assert samples_of(2_000) == 100


def test_prompts_give_nothing_of_the_training_text_away(
    model: Looping, corpora: tuple[str, str], tmp_path: Path
) -> None:
    result = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS)
    beginnings = {tuple(r.prefix_ids[:3]) for r in result.records if not r.member}
    asked: list[TokenIds] = []

    class Asking(Looping):
        def continuations(
            self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY
        ) -> list[TokenIds]:
            if not decoding.greedy:
                asked.extend(prompts)
                assert length == LENGTH
            return super().continuations(prompts, length, decoding)

    model.__class__ = Asking
    audit(model, *corpora, out=tmp_path / "again", options=OPTIONS)
    short = [tuple(prompt.tolist()) for prompt in asked if len(prompt)]
    assert short
    assert set(short) <= beginnings
    assert len(set(short)) == len(short)
    assert sum(not len(prompt) for prompt in asked) == samples_of(len(result.records)) - len(short)


@pytest.mark.parametrize("moment", [0, 1])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    model: Looping, corpora: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(type(UNPROMPTED), "block", 5)
    whole = audit(model, *corpora, out=tmp_path / "whole", options=OPTIONS)
    true_append, calls = RunDirectory.append, 0

    def failing_append(self: RunDirectory, records: Any) -> None:
        nonlocal calls
        calls += records[0].get("measure") == "unprompted"
        if calls > moment:
            raise KeyboardInterrupt
        true_append(self, records)

    monkeypatch.setattr(RunDirectory, "append", failing_append)
    with pytest.raises(KeyboardInterrupt):
        audit(model, *corpora, out=tmp_path / "broken", options=OPTIONS)
    monkeypatch.setattr(RunDirectory, "append", true_append)
    resumed = audit(model, *corpora, out=tmp_path / "broken", options=OPTIONS)
    for name in ("report.json", "report.html"):
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    monkeypatch.setattr(CorpusIndex, "of_documents", pytest.fail)  # nothing is left to look up
    audit(model, *corpora, out=tmp_path / "broken", options=OPTIONS)


def test_runs_are_withheld_masked_and_shown_as_other_texts(
    model: Looping, corpora: tuple[str, str], tmp_path: Path
) -> None:
    def texts(folder: Path, shown: Shown) -> str:
        return "".join(write(folder).read_text("utf-8") for write in writers(["html", "json"], shown=shown))

    model.licence = model.licence[-LENGTH:]  # with the address
    run = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, formats=("html",), shown=Shown(text=False))
    written = "".join((run.folder / name).read_text("utf-8") for name in ("report.json", "report.html"))
    for secret in ("leave to copy", "bob.smith"):
        assert secret not in written
        assert secret not in texts(run.folder, Shown(text=False))
    assert "characters, sha256" in written
    assert "leave to copy" in texts(run.folder, Shown())
    page = writers(["html"], shown=Shown())[0](run.folder).read_text("utf-8")
    assert "bob.smith" not in page
    assert "•••.•••••@" in page
    assert "bob.smith" in texts(run.folder, Shown(personal=True))
    shown = audit(model, *corpora, out=tmp_path / "shown", options=OPTIONS, formats=())
    assert "bob.smith" in (shown.folder / "report.json").read_text("utf-8")


def test_what_cannot_write_or_be_looked_up_is_not_sampled(
    model: Looping, corpora: tuple[str, str], tmp_path: Path
) -> None:
    for number, fields in enumerate(({"copies": False}, {"unprompted": False})):
        run = audit(model, *corpora, out=tmp_path / str(number), options=OPTIONS, **fields)
        assert run.report["sections"] == []
        assert lines(run) == []


def test_masked_models_are_not_asked_to_write(corpora: tuple[str, str], tmp_path: Path) -> None:
    run = audit(made(), *corpora, out=tmp_path / "run", prefix=8, suffix=4, limit=20, fuzzy=False)
    assert run.report["sections"] == []
