"""Scores of whole documents, and the surface measure on models whose answers are known."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.document_scores import readable, score_documents, slices
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.logged import check_measures
from memaudit.audits.measures.surface import SURFACE
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.surface import NOT_ASKED, greedy_runs
from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.records import Decoding, Document, Window
from memaudit.text.tokenize import character_tokenizer, train_tokenizer
from tests.contracts.test_models import ExternalModel

CHARS = train_tokenizer("char", ["0123456789abcdef "])
SHAPE: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "context_length": 24, "seed": 1}


def texts(count: int, seed: int, length: int = 60) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("0123456789abcdef "), length)) for _ in range(count)]


def documents(written: list[str], name: str, **fields: Any) -> list[Document]:
    return [Document(f"{name}-{i}", text, f"{name}.jsonl:{i + 1}", **fields) for i, text in enumerate(written)]


def oracle(written: list[str], order: int = 30) -> NgramModel:
    return NgramModel.train([e.ids for e in CHARS.encode_batch(written)], CHARS, order=order, smoothing="mle")


def subject(model: LanguageModel, train: list[Document], heldout: list[Document]) -> Subject:
    options = AuditOptions(prefix=10, suffix=10)
    return Subject(model, [], [], train, heldout, None, options, Decoding(temperature=1))


def plan(options: AuditOptions) -> dict[str, Any]:
    return {"options": dataclasses.asdict(options)}


MODELS = {
    "ngram": lambda: oracle(texts(3, 1), order=5),
    "rnn": lambda: new_rnn(CHARS, width=16, seed=1),
    "gpt2": lambda: new_gpt(CHARS, style="gpt2", **SHAPE),
    "llama": lambda: new_gpt(CHARS, style="llama", **SHAPE),
}


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 60), st.integers(2, 20), st.integers(0, 1))
def test_slices_ask_for_every_token_once_with_half_the_context_before_it(tokens, limit, unasked):
    cuts = slices(tokens, limit, unasked)
    assert [token for cut in cuts for token in range(cut.first, cut.stop)] == list(range(unasked, tokens))
    for cut in cuts:
        assert 0 <= cut.start <= cut.first < cut.stop <= tokens
        assert cut.stop - cut.start <= limit
        assert cut.start == 0 or cut.first - cut.start >= limit / 2


@pytest.mark.parametrize("name", MODELS)
def test_a_document_is_scored_as_each_of_its_prompts_would_be(name):
    model = MODELS[name]()
    limit = readable(model) or 40
    ids = [e.ids[:limit] for e in CHARS.encode_batch(texts(2, 5))]
    for text, scores in zip(ids, score_documents(model, ids), strict=True):
        alone = model.score([Window(text[:c], text[c : c + 1]) for c in range(len(text))])
        np.testing.assert_allclose(scores.log_prob, alone.log_prob, rtol=1e-4, atol=1e-5)
        assert scores.rank.tolist() == alone.rank.tolist()
        assert scores.context.tolist() == list(range(len(text)))


@pytest.mark.parametrize("name", MODELS)
def test_run_lengths_are_what_greedy_decoding_says(name):
    model = MODELS[name]()
    [ids] = [e.ids[:20] for e in CHARS.encode_batch(texts(1, 1))]
    runs = greedy_runs(score_documents(model, [ids])[0].rank)
    for cut in range(len(ids)):
        [said] = model.continuations([ids[:cut]], len(ids) - cut)
        differs = np.flatnonzero(said != ids[cut:])
        assert runs[cut] == (differs[0] if len(differs) else len(ids) - cut)


def test_a_long_document_has_half_the_context_before_every_token():
    model = new_gpt(CHARS, **SHAPE)
    [ids] = [e.ids for e in CHARS.encode_batch(texts(1, 5, length=90))]
    [scores] = score_documents(model, [ids])
    assert (scores.context[12:] >= 12).all()
    for place in (0, 23, 24, 50, 89):
        context = int(scores.context[place])
        [alone] = model.score([Window(ids[place - context : place], ids[place : place + 1])])
        assert scores.log_prob[place] == pytest.approx(alone.log_prob[0], rel=1e-4)


def test_without_a_start_token_the_first_token_is_left_out():
    [scores] = score_documents(ExternalModel(), [np.arange(5, dtype=np.int32)])
    assert scores.rank.tolist() == [NOT_ASKED, 0, 0, 0, 0]
    assert np.isnan(scores.log_prob[0])
    assert score_documents(ExternalModel(), [np.array([3], np.int32), np.array([], np.int32)])[0].rank.tolist() == [-1]


def measured(model: LanguageModel, train: list[Document], heldout: list[Document]) -> tuple[list[dict[str, Any]], Any]:
    about = subject(model, train, heldout)
    records = SURFACE.measure(about, SURFACE.items(about))
    kept = json.loads(json.dumps(records, allow_nan=False))
    return kept, SURFACE.section(kept, plan(about.options))


def test_the_oracle_recites_training_documents_and_no_others():
    train, heldout = documents(texts(12, 1), "train"), documents(texts(12, 2), "heldout")
    records, section = measured(oracle(texts(12, 1)), train, heldout)
    rows = {(row[0], row[1]): row for row in section.tables[0].rows}
    for context in (10, 20, 50):
        assert rows[context, "Training documents"][2:5] == [12, 12, 1.0]
        assert rows[context, "Held-out documents"][2:5] == [0, 12, 0.0]
    assert all(record["longest_run"] >= 50 for record in records if record["member"])
    assert "12 training documents and 0% [0%" in section.summary
    assert json.loads(json.dumps(dataclasses.asdict(section), allow_nan=False))


def test_records_hold_every_verdict():
    train, heldout = documents(texts(4, 1, length=30), "train"), documents(texts(4, 2, length=30), "heldout")
    model = oracle(texts(4, 1, length=30))
    records, section = measured(model, train, heldout)
    [table] = [t for t in section.tables if t.caption.startswith("Training documents: share")]
    suffixes = [int(column.label.split()[0]) for column in table.columns[1:]]
    ids = [e.ids for e in CHARS.encode_batch([d.text for d in train])]
    for context, *shares in table.rows:
        for suffix, share in zip(suffixes, shares, strict=True):
            fits = [text for text in ids if context + suffix <= len(text)]
            said = [model.continuations([text[:context]], suffix)[0] for text in fits]
            hits = [np.array_equal(s, text[context : context + suffix]) for s, text in zip(said, fits, strict=True)]
            assert share == (np.mean(hits) if hits else None)
    assert len(records) == 8


def test_known_copies_give_a_line_each():
    train = [
        dataclasses.replace(document, copies=copies)
        for document, copies in zip(documents(texts(12, 1), "train"), [1, 2, 4, 8, 16, 32] * 2, strict=True)
    ]
    _, section = measured(oracle(texts(12, 1)), train, documents(texts(3, 2), "heldout", copies=0))
    names = [series.name for series in section.graphs[0].series]
    assert names == [
        "Training documents",
        "Held-out documents",
        "1 to 2 copies",
        "4 to 8 copies",
        "16 copies",
        "32 copies",
    ]


def test_what_is_left_out_is_said():
    train = documents([*texts(2, 1), "", "0"], "train")
    long = documents(texts(1, 3, length=600), "heldout")
    records, section = measured(oracle(texts(2, 1)), train, long)
    assert [r["left_out"] for r in records] == [0, 0, 0, 0, 88]
    assert [r["extraction_strength"] is None for r in records] == [False, False, True, False, False]
    assert any("1 of 5 documents are longer" in note for note in section.notes)
    assert any("1 of 5 documents have no token" in note for note in section.notes)


def test_unknown_text_is_never_recited():
    tokenizer = train_tokenizer("char", ["abab"])
    model = NgramModel.train(
        [e.ids for e in tokenizer.encode_batch(["aaxxxxxx"] * 3)], tokenizer, order=3, smoothing="mle"
    )
    about = subject(model, documents(["aaxxxxxx"], "train"), [])
    [record] = SURFACE.measure(about, SURFACE.items(about))
    assert record["longest_run"] <= 2


def test_masked_models_and_windows_without_documents_are_refused():
    with pytest.raises(InputError, match="masked"):
        check_measures([SURFACE], subject(new_bert(CHARS, **SHAPE), documents(["0"], "train"), []))
    with pytest.raises(InputError, match="no documents"):
        SURFACE.items(subject(ExternalModel(), [], []))
    with pytest.raises(InputError, match="masked"):
        score_documents(new_bert(CHARS, **SHAPE), [])


def test_a_side_without_documents_gives_no_comparison():
    _, section = measured(oracle(texts(2, 1)), documents(texts(2, 1), "train"), [])
    assert "could not be compared" in section.summary or "No context" in section.summary


def test_a_tokenizer_of_ids_without_start_token_is_readable():
    model = new_gpt(CHARS, **SHAPE)
    assert readable(model) == 24
    model.tokenizer = character_tokenizer({"a": 0, "b": 1})
    assert readable(model) == 25
