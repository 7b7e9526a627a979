"""Coverage by extractable windows against asking for every window, and what the shortcut may and may not do."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.measures import covering, measures
from memaudit.audits.measures.coverage import COVERAGE, EXACT_COVERAGE, Coverage, longest_stretches
from memaudit.audits.measures.covering import Covered, cover_documents
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.infinity import InfinityModel
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert
from memaudit.records import FloatArray, TokenIds
from memaudit.stats.rounding import percent
from memaudit.text.tokenize import train_tokenizer
from tests.audits.test_surface import CHARS, SHAPE, documents, oracle, plan, subject, texts

PREFIX, SUFFIX = 10, 10


def ids(text: str) -> TokenIds:
    return CHARS.encode_batch([text])[0].ids


def brute_force(model: LanguageModel, text: TokenIds) -> set[int]:
    """Every window by what greedy decoding says."""
    covered: set[int] = set()
    for start in range(PREFIX, len(text) - SUFFIX + 1):
        [said] = model.continuations([text[start - PREFIX : start]], SUFFIX)
        if np.array_equal(said, text[start : start + SUFFIX]):
            covered |= set(range(start, start + SUFFIX))
    return covered


def tokens(cover: Covered) -> set[int]:
    return set(np.flatnonzero(cover.tokens).tolist())


class Lots(NextTokenModel):
    """Draws the next token by lot from the last ``depth`` tokens, or recites a text behind its own tokens."""

    family = "lots"
    tokenizer = CHARS

    def __init__(self, text: TokenIds, depth: int, right: float) -> None:
        self.text, self.depth, self.right = text, depth, right

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), CHARS.vocab_size), 1e-6)
        for row, prefix in zip(rows, prefixes, strict=True):
            lot = np.random.default_rng([int(i) for i in prefix[-self.depth :]])
            places = [i for i in range(1, len(self.text)) if np.array_equal(self.text[max(0, i - 3) : i], prefix[-3:])]
            row[self.text[places[0]] if places and lot.random() < self.right else lot.integers(len(row))] = 1
        return np.log(rows / rows.sum(axis=1, keepdims=True))


def planted(seed: int, length: int = 60) -> tuple[list[str], str]:
    """Training texts, and a text in which pieces of them stand between new ones."""
    known, new = texts(3, seed, length), texts(4, seed + 1000, 15)
    return known, new[0] + known[0][5:50] + new[1] + known[1][20:45] + new[2] + known[2][:22] + new[3]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_an_ngram_model_is_covered_exactly(seed, exact):
    known, mixed = planted(seed)
    for order in (4, 11, 30):
        model = oracle(known, order)
        [cover] = cover_documents(model, [ids(mixed)], PREFIX, SUFFIX, exact=exact)
        assert tokens(cover) == brute_force(model, ids(mixed))
        assert cover.windows == len(mixed) - 19
        assert cover.coverable == len(mixed) - PREFIX
    assert cover.share > 0.3


def test_the_bound_on_an_ngrams_memory_is_true():
    known, mixed = planted(1)
    assert oracle(known, 11).reach == 10
    assert InfinityModel.train([ids(text) for text in known], CHARS).reach is None
    short = oracle(known, 11)
    [cover] = cover_documents(short, [ids(mixed)], PREFIX, SUFFIX)
    assert cover.asked < cover.windows / 5


@pytest.mark.parametrize("seed", range(8))
def test_sweeps_find_what_an_unbounded_model_recites(seed, monkeypatch):
    monkeypatch.setattr(covering, "FEW", 0)
    known, mixed = planted(seed)
    model = InfinityModel.train([ids(text) for text in known], CHARS)
    [cover] = cover_documents(model, [ids(mixed)], PREFIX, SUFFIX)
    truth = brute_force(model, ids(mixed))
    assert tokens(cover) == truth
    assert len(truth) > 30
    assert cover.asked < 0.6 * cover.windows


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([0.9, 0.97, 1.0]), st.sampled_from([0.0, 0.7, 0.9]))
def test_nothing_is_claimed_that_is_not_extractable(seed, depth, right, likely):
    text = ids(texts(1, seed, 70)[0])
    model = Lots(text, depth, right)
    [exact] = cover_documents(model, [text], PREFIX, SUFFIX, exact=True)
    assert tokens(exact) == brute_force(model, text)
    assert exact.asked == exact.windows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covering, "FEW", 0)
        [cover] = cover_documents(model, [text], PREFIX, SUFFIX, likely=likely)
        assert tokens(cover) <= tokens(exact)
        assert cover.asked <= cover.windows
        if cover.control_hits:
            assert tokens(cover) == tokens(exact)
        patch.setattr(covering, "CONTROL", 1)  # every window passed over is asked for
        [all_asked] = cover_documents(model, [text], PREFIX, SUFFIX, likely=likely)
        assert tokens(all_asked) == tokens(exact)


def test_a_control_that_finds_something_has_all_windows_asked_for(monkeypatch):
    """Only two windows are extractable, far from the tiles: what the shortcut cannot see."""
    text = ids(texts(1, 3, 200)[0])
    starts = (87, 153)

    class Hidden(Lots):
        def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
            rows = np.full((len(prefixes), CHARS.vocab_size), 1e-6)
            for row, prefix in zip(rows, prefixes, strict=True):
                begins = [s for s in starts if np.array_equal(prefix[:PREFIX], text[s - PREFIX : s])]
                row[text[begins[0] + len(prefix) - PREFIX] if begins else 0] = 1
            return np.log(rows / rows.sum(axis=1, keepdims=True))

    model = Hidden(text, 1, 1.0)
    truth = {token for start in starts for token in range(start, start + SUFFIX)}
    assert brute_force(model, text) == truth
    found = {}
    for control in (1000, 1):
        monkeypatch.setattr(covering, "CONTROL", control)
        [found[control]] = cover_documents(model, [text], PREFIX, SUFFIX)
    assert tokens(found[1000]) == set()
    assert (found[1000].control, found[1000].control_hits) == (1, 0)
    assert tokens(found[1]) == truth
    assert found[1].control_hits == 2


def test_short_documents_have_no_coverage_or_all_their_windows_asked_for():
    model = InfinityModel.train([ids("0123456789abcdef0")], CHARS)
    covers = cover_documents(model, [ids(t) for t in ("", "0123", "0" * 19, "0" * 20, "0" * 60)], PREFIX, SUFFIX)
    assert [cover.windows for cover in covers] == [0, 0, 0, 1, 41]
    assert [cover.asked for cover in covers] == [0, 0, 0, 1, 41]
    assert [cover.share is None for cover in covers] == [True, True, True, False, False]


def test_unknown_tokens_are_covered_by_nothing():
    tokenizer = train_tokenizer("char", ["ab"])
    text = tokenizer.encode_batch(["ab" * 20 + "x" + "ab" * 20])[0].ids
    for model in (NgramModel.train([text] * 2, tokenizer, order=5), InfinityModel.train([text] * 2, tokenizer)):
        for exact in (False, True):
            [cover] = cover_documents(model, [text], PREFIX, SUFFIX, exact=exact)
            assert not cover.tokens[40]
            assert cover.tokens[45:].any()


def test_a_recurrent_model_is_asked_too():
    model = new_rnn(CHARS, width=16, seed=1)
    text = ids(texts(1, 1, 120)[0])
    [cover], [exact] = (cover_documents(model, [text], PREFIX, SUFFIX, exact=flag) for flag in (False, True))
    assert tokens(cover) == tokens(exact) == brute_force(model, text)


def test_the_measure_says_coverage_of_both_sides():
    known = texts(6, 1)
    train = [
        dataclasses.replace(d, copies=c, domain="ab"[c % 2])
        for d, c in zip(documents(known, "train"), [1, 2] * 3, strict=True)
    ]
    heldout = documents([*texts(5, 2), "short"], "heldout", domain="a")
    about = subject(oracle(known), train, heldout)
    records = json.loads(json.dumps(COVERAGE.measure(about, COVERAGE.items(about)), allow_nan=False))
    share = 1 - PREFIX / len(known[0])  # of all tokens: the first ones lie in no suffix
    assert [record["coverage"] for record in records] == [share] * 6 + [0.0] * 5 + [None]
    assert [record["covered"] == record["coverable"] for record in records[:6]] == [True] * 6
    section = COVERAGE.section(records, plan(about.options))
    assert json.loads(json.dumps(dataclasses.asdict(section), allow_nan=False))
    rows: dict[Any, Any] = {row[0]: row[1:] for row in section.tables[0].rows}
    assert rows["Training documents"][:2] == [6, pytest.approx(share)]
    assert rows["Held-out documents"][:2] == [5, 0.0]
    assert rows["1 copy"][0] == rows["2 copies"][0] == 3
    assert f"cover {percent(share)} [" in section.summary
    assert f"at most {percent(share)} can be covered" in section.summary
    assert any("1 of 12 documents are shorter than 20 tokens" in note for note in section.notes)
    tables = {table.caption: table.rows for table in section.tables}
    sources = [f"train.jsonl:{i}" for i in range(1, 7)]
    assert [row[-1] for row in tables["Documents with the largest coverage"]] == sources
    assert [row[-1] for row in tables["Longest passages that are covered"]] == sources
    assert "Longest stretches of these training documents that nothing covers" not in tables
    assert len(section.graphs[0].series) == 4
    assert section.graphs[0].series[0].points[0][1] == 1.0


@pytest.mark.parametrize("exact", [False, True])
def test_a_long_document_is_covered_stretch_by_stretch_as_it_is_at_once(monkeypatch, exact):
    known, mixed = planted(3)
    models = oracle(known, 11), InfinityModel.train([ids(text) for text in known], CHARS)
    texts_ = [ids(mixed + mixed[7:]), ids("0123"), ids(mixed)]
    at_once = [cover_documents(model, texts_, PREFIX, SUFFIX, exact=True) for model in models]
    for stretch, together in ((1, 10), (33, 60), (50, 10**6)):
        monkeypatch.setattr(covering, "STRETCH", stretch)
        monkeypatch.setattr(covering, "TOGETHER", together)
        for model, whole in zip(models, at_once, strict=True):
            covers = cover_documents(model, texts_, PREFIX, SUFFIX, exact=exact)
            assert [tokens(cover) for cover in covers] == [tokens(cover) for cover in whole]
            assert [cover.windows for cover in covers] == [cover.windows for cover in whole]
            assert [cover.coverable for cover in covers] == [cover.coverable for cover in whole]
            if exact:
                assert [cover.asked for cover in covers] == [cover.windows for cover in covers]


def test_a_document_is_read_to_its_end_and_its_holes_are_listed():
    known = texts(1, 1, 400)[0]
    hole = texts(1, 9, 300)[0]
    text = known * 30 + hole + known  # more than the 10,000 tokens of one stretch
    about = subject(oracle([known * 3], 11), documents([text], "train"), documents(texts(1, 2), "heldout"))
    records = COVERAGE.measure(about, COVERAGE.items(about))
    assert (records[0]["tokens"], records[0]["coverable"]) == (len(text), len(text) - PREFIX)
    [first, count] = records[0]["holes"][0]
    assert 12_000 <= first <= 12_010 and 300 <= count <= 320
    assert records[0]["passages"][0] == [PREFIX, first - PREFIX]
    assert records[0]["coverage"] == pytest.approx((len(text) - PREFIX - count) / len(text))
    section = COVERAGE.section(records, plan(about.options))
    [table] = [t for t in section.tables if t.caption.startswith("Longest stretches")]
    assert table.rows[0] == [count, first, "train", "train.jsonl:1"]
    assert not any("only these were read" in note for note in section.notes)


def test_documents_without_a_counterpart_are_covered_too():
    known = texts(3, 1)
    about = subject(oracle(known), documents(known[:2], "train"), documents(texts(2, 2), "heldout"))
    about = dataclasses.replace(about, unmatched=(documents(known[2:], "long"), ()))
    records = COVERAGE.measure(about, COVERAGE.items(about))
    assert [record["matched"] for record in records] == [True] * 4 + [False]
    assert records[-1]["source"] == "long.jsonl:1" and records[-1]["coverage"]
    section = COVERAGE.section(records, plan(about.options))
    rows = {row[0]: row[1] for row in section.tables[0].rows}
    assert rows["Training documents"] == 3
    assert rows["Training documents with a counterpart on the other side"] == 2
    assert any("1 document has no counterpart" in note for note in section.notes)


def test_equally_covered_documents_are_counted_where_not_all_are_listed():
    known = texts(12, 1)
    about = subject(oracle(known), documents(known, "train"), documents(texts(2, 2), "heldout"))
    records = COVERAGE.measure(about, COVERAGE.items(about))
    section = COVERAGE.section(records, plan(about.options))
    [table] = [t for t in section.tables if t.caption.startswith("Documents with the largest")]
    assert [row[-1] for row in table.rows] == [f"train.jsonl:{i}" for i in range(1, 11)]
    share = percent(1 - PREFIX / len(known[0]))
    said = f"12 documents have a coverage of {share}; the first 10 of them, by their place, are listed."
    assert said in section.notes


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_longest_stretches_are_those_of_a_plain_scan(marked, most):
    runs = [(place, len(list(group))) for place, group in _runs(marked)]
    best = sorted(runs, key=lambda run: (-run[1], run[0]))[:most]
    assert longest_stretches(np.array(marked, np.bool_), most) == [list(run) for run in best]


def _runs(marked):
    for _, group in itertools.groupby(enumerate(marked), key=lambda pair: pair[1]):
        pairs = list(group)
        if pairs[0][1]:
            yield pairs[0][0], pairs


def test_asking_for_every_window_is_said():
    known, mixed = planted(2)
    all_asked = {"member": True, "copies": None, "domain": None, "source": "a:1", "coverage": 0.5, "covered": 5}
    all_asked |= {"longest_span": 5, "longest_span_start": 0, "windows": 9, "windows_asked": 9}
    all_asked |= {"control": 0, "control_hits": 0, "matched": True, "tokens": 20, "coverable": 10}
    all_asked |= {"passages": [[0, 5]], "holes": [[15, 5]]}
    assert "Every window was tested" in Coverage().section([all_asked], {}).method
    assert "Every window" not in Coverage().section([all_asked | {"windows_asked": 8}], {}).method
    about = subject(InfinityModel.train([ids(t) for t in known], CHARS), documents([mixed], "train"), [])
    measure = EXACT_COVERAGE
    assert measures(["coverage-exact"]) == [measure] and measure.name == "coverage-exact"
    [record] = measure.measure(about, measure.items(about))
    assert record["windows_asked"] == record["windows"]
    section = measure.section([record], plan(about.options))
    assert "Every window was tested" in section.method
    assert "could not be compared" in section.summary


def test_masked_models_are_refused():
    with pytest.raises(InputError, match="masked"):
        cover_documents(new_bert(CHARS, **SHAPE), [ids("0")], PREFIX, SUFFIX)
