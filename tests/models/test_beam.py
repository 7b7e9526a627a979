"""The near-verbatim bound: against all texts of small vocabularies, against sampling, and its invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from memaudit.errors import InputError
from memaudit.models.base import NextTokenModel
from memaudit.models.beam import near_texts, next_rows
from memaudit.models.decoding import decoded_log_probs
from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_gpt
from memaudit.records import Decoding, FloatArray, TokenIds, Window
from memaudit.stats import upper_bound
from memaudit.text.tokenize import character_tokenizer, train_tokenizer

quick = settings(deadline=None, max_examples=25)
LETTERS = 3
DECODINGS = [Decoding(1.0), Decoding(0.6), Decoding(1.0, top_k=2), Decoding(1.4, top_p=0.8)]


class Table(NextTokenModel):
    """A random distribution after each last token: small enough to list every text."""

    family = "table"

    def __init__(self, seed: int, letters: int = LETTERS) -> None:
        self.tokenizer = character_tokenizer({chr(97 + i): i for i in range(letters - 1)})
        weights = np.random.default_rng(seed).gamma(0.5, size=(letters, letters)) + 1e-3
        self.rows = np.log(weights / weights.sum(axis=1, keepdims=True))

    def next_log_probs(self, prefixes: list[TokenIds]) -> FloatArray:
        return np.array([self.rows[prefix[-1]] for prefix in prefixes])


def log_p(model: Table, window: Window, text: tuple[int, ...], decoding: Decoding) -> float:
    rows = decoded_log_probs(model.rows, decoding)
    return float(sum(rows[a, b] for a, b in itertools.pairwise((int(window.prefix[-1]), *text))))


@quick
@given(st.integers(0, 10**6), st.sampled_from(DECODINGS), st.lists(st.integers(0, LETTERS - 1), min_size=1, max_size=5))
def test_a_wide_beam_finds_every_text_of_the_ball_and_a_narrow_one_never_more(seed, decoding, suffix):
    model, window = Table(seed), Window(np.array([0], np.int32), np.array(suffix, np.int32))
    texts = list(itertools.product(range(LETTERS), repeat=len(suffix)))
    p = np.exp([log_p(model, window, text, decoding) for text in texts])
    distance = np.array([Levenshtein.distance(text, suffix) for text in texts])
    [whole] = near_texts(model, [window], decoding, edits=3, beams=10**4, branches=LETTERS)
    [narrow] = near_texts(model, [window], decoding, edits=3, beams=3, branches=1)
    verbatim = log_p(model, window, tuple(suffix), decoding)
    for edits in range(4):
        ball = p[distance <= edits].sum()
        assert np.exp(whole.log_bound(edits)) == pytest.approx(ball, rel=1e-9, abs=1e-15)
        assert np.exp(narrow.log_bound(edits)) <= ball * (1 + 1e-9)
        assert narrow.log_bound(edits) >= verbatim - 1e-9 if np.isfinite(verbatim) else True
    for near in (whole, narrow):
        assert near.log_bound(0) == pytest.approx(verbatim)
        assert near.texts[0].tolist() == suffix
        assert len(np.unique(near.texts, axis=0)) == len(near.texts)
        assert near.distances.tolist() == [Levenshtein.distance(t.tolist(), suffix) for t in near.texts]
        assert near.distances.max() <= 3


@quick
@given(st.lists(st.integers(0, 3), max_size=9), st.lists(st.integers(0, 3), max_size=9))
def test_rows_of_distances_are_rapidfuzzs(text, truth):
    rows = np.arange(len(truth) + 1, dtype=np.int32)[None]
    for token in text:
        rows = next_rows(rows, np.array([token]), np.array(truth, np.int32))
    assert rows[0].tolist() == [Levenshtein.distance(text, truth[:j]) for j in range(len(truth) + 1)]


def test_the_bound_lies_under_what_sampling_finds():
    model, decoding = Table(7, letters=6), Decoding(1.0, seed=3)
    prompts, count = [np.array([i], np.int32) for i in range(4)], 4000
    truths = model.continuations(prompts, 8, decoding)
    windows = [Window(prompt, truth) for prompt, truth in zip(prompts, truths, strict=True)]
    for window, near in zip(windows, near_texts(model, windows, decoding, edits=2, beams=64), strict=True):
        drawn = model.continuations([window.prefix] * count, 8, decoding)
        distances = np.array([Levenshtein.distance(row.tolist(), window.suffix.tolist()) for row in drawn])
        for edits in range(3):
            bound = np.exp(near.log_bound(edits))
            assert bound <= upper_bound((distances <= edits).sum(), count, 0.995)
        assert np.exp(near.log_bound(2)) > np.exp(near.log_bound(0))


@pytest.mark.parametrize("family", ["ngram", "gpt"])
def test_the_bound_of_no_edit_is_the_probability_that_scoring_gives(family):
    text = "a rose is a rose is a rose and a nose is a nose is a pose"
    tokenizer = train_tokenizer("char", [text])
    ids = tokenizer.encode_batch([text])[0].ids
    gpt = new_gpt(tokenizer, width=16, layers=1, heads=2, context_length=32)
    model = NgramModel.train([ids], tokenizer, order=3) if family == "ngram" else gpt
    windows = [Window(ids[i : i + 6], ids[i + 6 : i + 14]) for i in range(0, 30, 3)]
    for decoding in DECODINGS:
        found = list(near_texts(model, windows, decoding, edits=2, beams=6))
        scored = [float(scores.log_prob.sum()) for scores in model.score(windows, decoding)]
        np.testing.assert_allclose([near.log_bound(0) for near in found], scored, atol=1e-4)
        alone = [next(near_texts(model, [window], decoding, edits=2, beams=6)) for window in windows]
        np.testing.assert_allclose([n.log_bound(2) for n in found], [n.log_bound(2) for n in alone], atol=1e-4)


@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_what_was_read_is_kept_and_changes_nothing(style, monkeypatch):
    tokenizer = train_tokenizer("char", ["a rose is a rose"])
    model = new_gpt(tokenizer, style=style, width=32, layers=2, heads=2, context_length=32)
    ids = tokenizer.encode_batch(["a rose is a rose is a rose"])[0].ids
    windows = [Window(ids[i : i + 8], ids[i + 8 : i + 16]) for i in range(6)]
    kept = list(near_texts(model, windows, Decoding(1.0), edits=3, beams=8))
    monkeypatch.setattr(type(model), "brancher", NextTokenModel.brancher)
    again = list(near_texts(model, windows, Decoding(1.0), edits=3, beams=8))
    for a, b in zip(kept, again, strict=True):
        bounds = [[near.log_bound(edits) for edits in range(4)] for near in (a, b)]
        np.testing.assert_allclose(*bounds, atol=1e-3)
    mixed = [windows[0], Window(windows[1].prefix[2:], windows[1].suffix)]
    for near, window in zip(near_texts(model, mixed, Decoding(1.0), edits=1), mixed, strict=True):
        assert near.log_bound(0) == pytest.approx(float(model.score([window]).log_prob.sum()), abs=1e-4)


def test_more_beams_and_more_edits_never_lose():
    model = Table(11, letters=5)
    window = Window(np.array([0], np.int32), np.array([1, 2, 3, 4, 0, 1, 2], np.int32))
    [near] = near_texts(model, [window], Decoding(1.0), edits=4, beams=50)
    bounds = [near.log_bound(edits) for edits in range(5)]
    assert bounds == sorted(bounds)


def test_a_truth_that_is_never_drawn_has_probability_zero_but_neighbours_may_not():
    model = Table(0)
    model.rows = np.log(np.array([[0.5, 0.4, 0.1]] * 3))
    window = Window(np.array([0], np.int32), np.array([0, 2, 0], np.int32))
    [near] = near_texts(model, [window], Decoding(1.0, top_k=2), edits=1)
    assert near.log_bound(0) == -np.inf
    # The second token may be 0 or 1 instead, and nothing else is within one edit.
    assert np.exp(near.log_bound(1)) == pytest.approx((5 / 9) ** 2)


def test_greedy_decoding_is_refused():
    with pytest.raises(InputError, match="greedy decoding has no probabilities"):
        list(near_texts(Table(0), [Window(np.array([0]), np.array([1]))], Decoding()))
