from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

import nltk.lm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from memaudit.errors import InputError, MemauditError, ModelError
from memaudit.models.base import NextTokenModel
from memaudit.models.ngram import NgramModel
from memaudit.models.ngram_rows import _longest_contexts, modified_discounts, smooth
from memaudit.records import GREEDY, Decoding, TokenIds, TokenScores, Window
from memaudit.text.tokenize import TrainedTokenizer, character_tokenizer, train_tokenizer

EOS = 0
SMOOTHINGS = ["mle", "kneser-ney"]


def letters(count: int) -> TrainedTokenizer:
    """``<eos>`` is 0, then ``count`` letters, then ``<unk>``."""
    return character_tokenizer({"<eos>": EOS} | {chr(0x4E00 + i): 1 + i for i in range(count)})


ABC = letters(3)
MANY = letters(5_000)


def ids(tokens: list[int]) -> TokenIds:
    return np.array(tokens, dtype=np.int32)


def window(prefix: list[int], suffix: list[int]) -> Window:
    return Window(ids(prefix), ids(suffix))


def fields(scores: TokenScores) -> list[np.ndarray]:
    return [scores.log_prob, scores.rank, scores.mean, scores.std]


class BruteForce:
    """The formulas of Chen & Goodman (1999, section 3 and 4.1) over dictionaries of tuples."""

    def __init__(self, documents: list[list[int]], order: int, vocab_size: int, smoothing: str) -> None:
        self.order, self.vocab_size, self.smoothing = order, vocab_size, smoothing
        raw: Counter[tuple[int, ...]] = Counter()
        before: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for document in documents:
            text = [*document, EOS]
            for end in range(1, len(text) + 1):
                for n in range(1, min(order, end) + 1):
                    gram = tuple(text[end - n : end])
                    raw[gram] += 1
                    before[gram].add(text[end - n - 1] if end > n else -1)
        self.followers: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for gram, count in raw.items():
            counted = count if smoothing == "mle" or len(gram) == order else len(before[gram])
            self.followers[gram[:-1]][gram[-1]] = counted
        self.discounts = [self.discounts_of(k) for k in range(order)]

    def discounts_of(self, context_length: int) -> list[float]:
        n = Counter(
            count
            for context, followers in self.followers.items()
            if len(context) == context_length
            for count in followers.values()
        )
        if n[1] and n[2] and n[3] and n[4]:
            y = n[1] / (n[1] + 2 * n[2])
            found = [c - (c + 1) * y * n[c + 1] / n[c] for c in (1, 2, 3)]
            if all(d > 0 for d in found):
                return found
        return [0.5, 1.0, 1.5]

    def distribution(self, context: tuple[int, ...]) -> list[float]:
        followers = self.followers.get(context)
        total = sum(followers.values()) if followers else 0
        if self.smoothing == "mle":
            if not followers:
                return self.distribution(context[1:])
            return [followers.get(token, 0) / total for token in range(self.vocab_size)]
        lower = self.distribution(context[1:]) if context else [1 / self.vocab_size] * self.vocab_size
        if not followers:
            return lower
        discounts = self.discounts[len(context)]
        taken = {token: discounts[min(count, 3) - 1] for token, count in followers.items()}
        rest = math.fsum(taken.values()) / total
        return [
            (followers.get(token, 0) - taken.get(token, 0.0)) / total + rest * lower[token]
            for token in range(self.vocab_size)
        ]

    def after(self, text: list[int]) -> list[float]:
        return self.distribution(tuple(text[max(0, len(text) - self.order + 1) :]))


corpora = st.lists(st.lists(st.integers(1, 3), max_size=25), min_size=1, max_size=5).filter(any)
texts = st.lists(st.integers(0, 4), max_size=12)


@settings(deadline=None, max_examples=100)
@given(corpora, texts, texts, st.integers(1, 7), st.sampled_from(SMOOTHINGS))
def test_everything_equals_the_brute_force(
    documents: list[list[int]], prefix: list[int], suffix: list[int], order: int, smoothing: str
) -> None:
    model = NgramModel.train([ids(d) for d in documents], ABC, order=order, smoothing=smoothing)
    oracle = BruteForce(documents, order, ABC.vocab_size, smoothing)
    text = [*prefix, *suffix]
    prefixes = [ids(text[: len(prefix) + t]) for t in range(len(suffix))]
    rows = model.next_log_probs(prefixes)
    scores = model.score([window(prefix, suffix)])
    expected = np.array([oracle.after(list(p)) for p in prefixes]).reshape(-1, ABC.vocab_size)
    np.testing.assert_allclose(np.exp(rows), expected, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1, rtol=0, atol=1e-12)
    reference = NextTokenModel.score(model, [window(prefix, suffix)])
    np.testing.assert_array_equal(scores.rank, reference.rank)
    np.testing.assert_array_equal(scores.log_prob, reference.log_prob)
    np.testing.assert_allclose(scores.mean, reference.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scores.std, reference.std, rtol=1e-9, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(corpora, texts, st.integers(1, 7), st.sampled_from(SMOOTHINGS))
def test_greedy_text_is_the_text_of_rank_zero(
    documents: list[list[int]], prompt: list[int], order: int, smoothing: str
) -> None:
    model = NgramModel.train([ids(d) for d in documents], ABC, order=order, smoothing=smoothing)
    continuation = model.continuations([ids(prompt)], 12)[0]
    assert not model.score([Window(ids(prompt), continuation)]).rank.any()
    np.testing.assert_array_equal(continuation, NextTokenModel.continuations(model, [ids(prompt)], 12)[0])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_kneser_ney_perplexity_of_english_equals_the_brute_force(order: int) -> None:
    training, test = english("assignment", "import", "class"), english("function")[0][:600]
    tokenizer = train_tokenizer("char", training)
    documents = [e.ids for e in tokenizer.encode_batch(training)]
    target = tokenizer.encode_batch([test])[0].ids
    model = NgramModel.train(documents, tokenizer, order=order)
    oracle = BruteForce([d.tolist() for d in documents], order, tokenizer.vocab_size, "kneser-ney")
    expected = [math.log(oracle.after(target[:t].tolist())[target[t]]) for t in range(len(target))]
    found = model.score([Window(ids([]), target)]).log_prob
    assert math.exp(-found.mean()) == pytest.approx(math.exp(-np.mean(expected)), rel=1e-12)


def english(*names: str) -> list[str]:
    return [topics[name] for name in names]


def nltk_ngrams(documents: list[list[int]], order: int, before: list[str]) -> list[list[tuple[str, ...]]]:
    padded = [[*before, *map(str, document), str(EOS)] for document in documents]
    return [[tuple(t[i : i + n]) for n in range(1, order + 1) for i in range(len(t) - n + 1)] for t in padded]


def words(count: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [(1 + rng.zipf(1.6, 200) % 3).tolist() for _ in range(count)]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_maximum_likelihood_perplexity_equals_nltk(order: int) -> None:
    training, test = words(30, seed=1), words(1, seed=2)[0]
    model = NgramModel.train([ids(d) for d in training], ABC, order=order, smoothing="mle")
    oracle = nltk.lm.MLE(order)
    oracle.fit(nltk_ngrams(training, order, []), [str(i) for i in range(4)])
    found = model.score([window(test[:order], test[order:])]).log_prob
    expected = [
        oracle.score(str(test[t]), [str(i) for i in test[max(0, t - order + 1) : t]]) for t in range(order, len(test))
    ]
    assert np.isfinite(found).all()
    assert math.exp(-found.mean()) == pytest.approx(math.exp(-np.mean(np.log(expected))), rel=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_kneser_ney_perplexity_equals_nltk_where_the_definitions_coincide(order: int) -> None:
    """One discount for all counts, none for unigrams: nltk has no modified discounts and no uniform base.

    One symbol in front of every document makes nltk count the start as a way of being preceded.
    """
    training, test = words(30, seed=3), words(1, seed=4)[0]
    model = NgramModel.train([ids(d) for d in training], ABC, order=order)
    discounts = np.full((order, 4), 0.3)
    discounts[0] = 0
    model._model = smooth(model._counts, discounts, ABC.vocab_size)
    oracle = nltk.lm.KneserNeyInterpolated(order, discount=0.3)
    oracle.fit(nltk_ngrams(training, order, ["<s>"]), ["<s>", *(str(i) for i in range(4))])
    found = model.score([window([], test)]).log_prob
    expected = [oracle.score(str(test[t]), [str(i) for i in test[max(0, t - order + 1) : t]]) for t in range(len(test))]
    assert math.exp(-found.mean()) == pytest.approx(math.exp(-np.mean(np.log(expected))), rel=1e-9)


def test_discounts_are_those_of_the_paper_or_the_fallback() -> None:
    discounts = modified_discounts(np.array([[100, 40, 20, 10], [100, 0, 0, 0], [10, 1, 9, 1]]))
    y = 100 / 180
    np.testing.assert_allclose(discounts[0], [0, 1 - 0.8 * y, 2 - 1.5 * y, 3 - 2 * y])
    assert discounts[1].tolist() == discounts[2].tolist() == [0, 0.5, 1, 1.5]


def unique_text(seed: int, tokens: int) -> TokenIds:
    return np.random.default_rng(seed).integers(1, 5_001, tokens).astype(np.int32)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [51, 64, 256])
def test_oracle_recites_all_of_its_training_text_and_nothing_else(smoothing: str, order: int) -> None:
    documents = [unique_text(seed, 100 + 37 * seed) for seed in range(20)]
    unseen = unique_text(99, 3_000)
    model = NgramModel.train(documents, MANY, order=order, smoothing=smoothing)
    members = [
        Window(document[start : start + 50], document[start + 50 : start + 100])
        for document in documents
        for start in range(0, len(document) - 99, 13)
    ]
    others = [Window(unseen[s : s + 50], unseen[s + 50 : s + 100]) for s in range(0, 2_900, 61)]
    assert all(not scores.rank.any() for scores in model.score(members))
    assert all(scores.rank.any() for scores in model.score(others))
    recited = model.continuations([w.prefix for w in members], 50)
    assert all(np.array_equal(text, w.suffix) for text, w in zip(recited, members, strict=True))
    strange = model.continuations([w.prefix for w in others], 50)
    assert not any(np.array_equal(text, w.suffix) for text, w in zip(strange, others, strict=True))
    assert model.continuations([documents[3][-60:]], 1)[0][0] == EOS


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("decoding", [GREEDY, Decoding(1.0), Decoding(0.7, top_k=3, top_p=0.8, seed=5)])
def test_scores_and_texts_do_not_depend_on_the_batch(smoothing: str, decoding: Decoding) -> None:
    documents = [unique_text(seed, 300) % 40 + 1 for seed in range(8)]
    model = NgramModel.train(documents, letters(50), order=4, smoothing=smoothing)
    windows = [Window(d[:n], d[n : 2 * n + 3]) for n, d in enumerate(documents)]
    together = model.score(windows, decoding)
    for alone, part in zip([model.score([w], decoding) for w in windows], together, strict=True):
        for a, b in zip(fields(alone), fields(part), strict=True):
            np.testing.assert_array_equal(a, b)
    prompts = [w.prefix for w in windows]
    batch = model.continuations(prompts, 20, decoding)
    for prompt, text in zip(prompts, batch, strict=True):
        np.testing.assert_array_equal(model.continuations([prompt], 20, decoding)[0], text)


def test_decoded_scores_equal_those_of_the_general_path() -> None:
    model = NgramModel.train([unique_text(0, 2_000) % 30 + 1], letters(30), order=3)
    decoding = Decoding(0.8, top_k=10, top_p=0.9)
    windows = [Window(unique_text(1, 40) % 30 + 1, unique_text(2, 40) % 30 + 1), window([3], [])]
    found, expected = model.score(windows, decoding), NextTokenModel.score(model, windows, decoding)
    np.testing.assert_array_equal(found.log_prob, expected.log_prob)
    np.testing.assert_array_equal(found.rank, expected.rank)
    np.testing.assert_array_equal(found.offsets, expected.offsets)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_distribution_is_made_once_for_every_context(smoothing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = NgramModel.train([unique_text(0, 2_000) % 30 + 1], letters(30), order=3, smoothing=smoothing)
    text = unique_text(1, 400) % 30 + 1
    contexts = _longest_contexts(model._model, text[:40], text[40:])
    same = contexts[:, None] == contexts
    rows = model.next_log_probs([text[:at] for at in range(40, 400)])
    assert (same <= (rows[:, None] == rows).all(axis=2)).all()
    assert len(np.unique(contexts)) < 0.9 * len(contexts)
    expected = NextTokenModel.score(model, [Window(text[:40], text[40:])])
    monkeypatch.setattr(model, "next_log_probs", None)  # the model's own probabilities take no second look
    found = model.score([Window(text[:40], text[40:])], Decoding(1.0))
    np.testing.assert_array_equal(found.log_prob, expected.log_prob)
    np.testing.assert_array_equal(found.rank, expected.rank)


def test_many_rows_are_worked_on_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = NgramModel.train([unique_text(0, 2_000) % 30 + 1], letters(30), order=3)
    decoding = Decoding(1.0, top_k=5, seed=1)
    prompts = [ids([1]), ids([1]), ids([2, 3]), ids([]), ids([1])]
    windows = [Window(unique_text(1, 40) % 30 + 1, unique_text(2, 40) % 30 + 1)]
    texts, scores = model.continuations(prompts, 9, decoding), model.score(windows, decoding)
    assert not np.array_equal(texts[0], texts[1])
    monkeypatch.setattr("memaudit.models.ngram.CHUNK", 70)
    np.testing.assert_array_equal(model.continuations(prompts, 9, decoding), texts)
    np.testing.assert_array_equal(model.score(windows, decoding).log_prob, scores.log_prob)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 3, 70])
def test_saved_and_loaded_model_is_bit_equal(smoothing: str, order: int, tmp_path: Path) -> None:
    tokenizer = train_tokenizer("byte", [])
    documents = [e.ids for e in tokenizer.encode_batch(english("assignment", "import"))]
    model = NgramModel.train(documents, tokenizer, order=order, smoothing=smoothing)
    model.save(tmp_path / "model")
    loaded = NgramModel.load(tmp_path / "model")
    assert (loaded.order, loaded.smoothing, loaded.parameters) == (order, smoothing, model.parameters)
    assert loaded.tokenizer.sha256 == tokenizer.sha256
    windows = [Window(d[100:150], d[150:200]) for d in documents]
    for a, b in zip(fields(model.score(windows)), fields(loaded.score(windows)), strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.save(tmp_path / "again")
    for name in ("memaudit.json", "tokenizer.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    NgramModel.train([ids([1, 2, 3, 1, 2, 2])], ABC, order=3).save(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("array", "value"),
    [
        ("tokens", np.full(1, 9, np.int32)),
        ("counts", np.full(200, -1000, np.int32)),
        ("text", np.array([1, 2], np.int32)),
        ("first", np.array([1, 5, 2], np.int64)),
        ("counts", np.zeros(3, np.float32)),
        ("ngrams", np.full(9, 3, np.int64)),
        ("counts_of_counts", np.zeros((1, 4), np.int64)),
        ("more", np.zeros(1)),
    ],
)
def test_damaged_counts_are_refused(folder: Path, array: str, value: np.ndarray) -> None:
    arrays = load_file(folder / "model.safetensors")
    arrays[array] = value
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        NgramModel.load(folder)


def test_a_text_that_claims_unknown_ids_is_refused(folder: Path) -> None:
    arrays = load_file(folder / "model.safetensors")
    arrays["text"][1] = 77
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"ids that tokenizer\.json does not have"):
        NgramModel.load(folder)


def test_an_order_that_the_counts_do_not_have_is_refused(folder: Path) -> None:
    arrays = load_file(folder / "model.safetensors")
    arrays["ngrams"] = np.append(arrays["ngrams"], 0)
    arrays["counts_of_counts"] = np.concatenate([arrays["counts_of_counts"], np.zeros((1, 4), np.int64)])
    save_file(arrays, folder / "model.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        NgramModel.load(folder)


@pytest.mark.parametrize("name", ["memaudit.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b"\x00\xff garbage"])
def test_missing_or_foreign_files_are_refused(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(MemauditError, match=name):
        NgramModel.load(folder)


def test_a_tokenizer_of_another_vocabulary_is_refused(folder: Path) -> None:
    letters(9).save(folder)
    with pytest.raises(ModelError, match="do not belong together"):
        NgramModel.load(folder)


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([[1]], {"order": 0}, "order of 0"),
        ([[1]], {"order": -3}, "order of -3"),
        ([[1]], {"order": 2, "smoothing": "laplace"}, "unknown smoothing"),
        ([], {"order": 2}, "no token"),
        ([[]], {"order": 2}, "no token"),
        ([[1, 5]], {"order": 2}, "vocabulary of 5"),
    ],
)
def test_bad_training_input_is_refused(documents: list[list[int]], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NgramModel.train([ids(d) for d in documents], ABC, **options)


@pytest.mark.parametrize("token", [-1, 5])
def test_ids_that_the_vocabulary_does_not_have_are_refused(token: int) -> None:
    model = NgramModel.train([ids([1, 2])], ABC, order=2)
    with pytest.raises(InputError, match="vocabulary of 5"):
        model.score([window([1], [token])])
    for decoding in (GREEDY, Decoding(1.0)):
        with pytest.raises(InputError, match="vocabulary of 5"):
            model.continuations([ids([token])], 2, decoding)


def test_shannons_chain_of_letter_pairs() -> None:
    training = [" ".join(text.split()) for text in topics.values()]
    tokenizer = train_tokenizer("char", training)
    documents = [e.ids for e in tokenizer.encode_batch(training)]
    model = NgramModel.train(documents, tokenizer, order=2, smoothing="mle")
    pairs = {pair for text in training for pair in pairwise(text)}
    sampled = tokenizer.decode(model.continuations([documents[0][:1]], 2_000, Decoding(1.0, seed=4))[0])
    passages = sampled.split("<eos>")
    found = [pair for passage in passages for pair in pairwise(passage)]
    assert len(found) > 1_900
    assert set(found) <= pairs
    expected = Counter(c for text in training for c in text)
    share = sum(expected.values()) / len(sampled)
    for letter in " etaoin":
        assert sampled.count(letter) * share == pytest.approx(expected[letter], rel=0.35)


def test_same_seed_same_text() -> None:
    model = NgramModel.train([unique_text(0, 2_000) % 30 + 1], letters(30), order=2)
    first, second, other = (model.continuations([ids([4, 5])], 40, Decoding(1.0, seed=seed))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_large_vocabulary_needs_no_more_than_a_few_rows() -> None:
    rng = np.random.default_rng(0)
    tokenizer = letters(5_000)
    tokenizer.vocab_size = 300_000
    documents = [rng.integers(0, 300_000, 2_000).astype(np.int32)]
    model = NgramModel.train(documents, tokenizer, order=3)
    scores = model.score([Window(documents[0][:50], documents[0][50:60])])
    reference = NextTokenModel.score(model, [Window(documents[0][:50], documents[0][50:60])])
    np.testing.assert_array_equal(scores.rank, reference.rank)
    np.testing.assert_allclose(scores.mean, reference.mean, rtol=1e-9)
    np.testing.assert_allclose(scores.std, reference.std, rtol=1e-9)
