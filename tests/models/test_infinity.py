"""The model of every order against the maximum-likelihood n-gram model of an order above the longest document."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from memaudit.errors import InputError, MemauditError, ModelError
from memaudit.models.base import NextTokenModel
from memaudit.models.infinity import InfinityModel
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel
from memaudit.records import Decoding, TokenIds, TokenScores, Window
from memaudit.text.tokenize import TrainedTokenizer, character_tokenizer, train_tokenizer

EOS = 0


def letters(count: int, eos: bool = True) -> TrainedTokenizer:
    """``<eos>`` is 0 (or there is none), then ``count`` letters, then ``<unk>``."""
    first = {"<eos>": EOS} if eos else {"?": EOS}
    return character_tokenizer(first | {chr(0x4E00 + i): 1 + i for i in range(count)})


ABC, ENDLESS = letters(3), letters(3, eos=False)


def ids(tokens: list[int]) -> TokenIds:
    return np.array(tokens, dtype=np.int32)


def columns(scores: TokenScores) -> list[np.ndarray]:
    return [scores.log_prob, scores.rank, scores.mean, scores.std]


corpora = st.lists(st.lists(st.integers(1, 3), max_size=25), min_size=1, max_size=5).filter(any)
texts = st.lists(st.integers(0, 4), max_size=12)


def distribution(documents: list[list[int]], text: list[int], vocab_size: int, end: list[int]) -> np.ndarray:
    """Relative frequencies after the longest end of ``text`` that is followed by anything, counted by hand."""
    ended = [[*document, *end] for document in documents]
    for start in range(len(text) + 1):
        context = text[start:]
        after = Counter(
            document[i + len(context)]
            for document in ended
            for i in range(len(document) - len(context))
            if document[i : i + len(context)] == context
        )
        if after:
            return np.array([after[token] for token in range(vocab_size)]) / after.total()
    raise AssertionError("the empty context is always followed")


@settings(deadline=None, max_examples=100)
@given(corpora, texts, texts, st.booleans())
def test_everything_equals_counting_by_hand(
    documents: list[list[int]], prefix: list[int], suffix: list[int], ended: bool
) -> None:
    tokenizer = ABC if ended else ENDLESS
    model = InfinityModel.train([ids(d) for d in documents], tokenizer)
    text = [*prefix, *suffix]
    prefixes = [text[: len(prefix) + t] for t in range(len(suffix))]
    rows = model.next_log_probs([ids(p) for p in prefixes])
    expected = [distribution(documents, p, tokenizer.vocab_size, [EOS] if ended else []) for p in prefixes]
    np.testing.assert_allclose(np.exp(rows), np.array(expected).reshape(rows.shape), rtol=1e-12)
    window = Window(ids(prefix), ids(suffix))
    scores, reference = model.score([window]), NextTokenModel.score(model, [window])
    np.testing.assert_array_equal(scores.rank, reference.rank)
    np.testing.assert_array_equal(scores.log_prob, reference.log_prob)
    np.testing.assert_allclose(scores.mean, reference.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scores.std, reference.std, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=100)
@given(corpora, texts, texts)
def test_it_equals_an_order_above_the_longest_document(
    documents: list[list[int]], prefix: list[int], suffix: list[int]
) -> None:
    texts = [ids(d) for d in documents]
    model = InfinityModel.train(texts, ABC)
    oracle = NgramModel.train(texts, ABC, order=2 + max(map(len, documents)), smoothing="mle")
    window = Window(ids(prefix), ids(suffix))
    for ours, theirs in zip(columns(model.score([window])), columns(oracle.score([window])), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-6)
    for decoding in (Decoding(), Decoding(1.0, seed=3)):
        ours, theirs = (m.continuations([window.prefix], 12, decoding)[0] for m in (model, oracle))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("unit", ["word", "char", "bpe"])
def test_english_scores_as_the_oracle_does(unit: str) -> None:
    training = [topics[name] for name in ("assignment", "import", "class", "assignment")]
    tokenizer = train_tokenizer(unit, training, None if unit == "char" else 400)  # type: ignore[arg-type]
    documents = [e.ids for e in tokenizer.encode_batch(training)]
    model = InfinityModel.train(documents, tokenizer)
    oracle = NgramModel.train(documents, tokenizer, order=1 + max(map(len, documents)), smoothing="mle")
    unseen = tokenizer.encode_batch([topics["function"]])[0].ids[:700]
    windows = [Window(unseen[:0], unseen), *(Window(d[100:150], d[150:300]) for d in documents)]
    for ours, theirs in zip(columns(model.score(windows)), columns(oracle.score(windows)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-7)
    prompts = [unseen[:n] for n in (0, 1, 7, 30)]
    np.testing.assert_array_equal(model.continuations(prompts, 40), oracle.continuations(prompts, 40))


def unique_text(seed: int, tokens: int) -> TokenIds:
    return np.random.default_rng(seed).integers(1, 5_001, tokens).astype(np.int32)


def test_it_recites_all_of_its_training_text_and_nothing_else() -> None:
    documents = [unique_text(seed, 100 + 37 * seed) for seed in range(20)]
    unseen = unique_text(99, 3_000)
    model = InfinityModel.train(documents, letters(5_000))
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
    longest = documents[-1]
    np.testing.assert_array_equal(model.continuations([longest[:2]], len(longest) - 1)[0], [*longest[2:], EOS])


def test_an_empty_document_is_an_end() -> None:
    model = InfinityModel.train([ids([]), ids([1]), ids([])], ABC)
    np.testing.assert_allclose(np.exp(model.next_log_probs([ids([])])[0]), [0.75, 0.25, 0, 0, 0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    InfinityModel.train([ids([1, 2, 3, 1, 2, 2]), ids([2, 3])], ABC).save(tmp_path)
    return tmp_path


def test_a_folder_loads_as_what_it_is(folder: Path) -> None:
    model = load_model(str(folder))
    assert isinstance(model, InfinityModel)
    assert (model.family, model.order, model.smoothing, model.parameters) == ("ngram", "infinity", "mle", 10)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        NgramModel.load(folder)


def broken(array: str, change: str, folder: Path) -> None:
    arrays = load_file(folder / "model.safetensors")
    old = arrays.pop(array)
    new = {
        "absent": None,
        "float": old.astype(np.float32),
        "short": old[:-1],
        "below": np.where(old == 2, -1, old),
        "far": np.where(old == 2, 999, old),
        "swapped": np.roll(old, 1),
        "twice": np.where(old == 2, 3, old),
        "empty": old[:0],
    }[change]
    if new is not None:
        arrays[array] = new.astype(np.float32 if change == "float" else np.int32)
    save_file(arrays, folder / "model.safetensors")


@pytest.mark.parametrize("array", ["symbols", "suffixes"])
@pytest.mark.parametrize("change", ["absent", "float", "short", "below", "far", "swapped", "twice", "empty"])
def test_a_damaged_model_is_refused(folder: Path, array: str, change: str) -> None:
    broken(array, change, folder)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        InfinityModel.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x00\xff garbage"])
def test_missing_or_foreign_files_are_refused(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(MemauditError, match=name):
        InfinityModel.load(folder)


def test_a_text_that_claims_unknown_ids_is_refused(folder: Path) -> None:
    letters(1).save(folder)
    with pytest.raises(ModelError, match=r"ids that tokenizer\.json does not have"):
        load_model(str(folder))


@pytest.mark.parametrize(
    ("documents", "options", "message"),
    [
        ([], {}, "no token"),
        ([[]], {}, "no token"),
        ([[1, 5]], {}, "vocabulary of 5"),
        ([[1, EOS]], {}, "stands for its end"),
        ([[1]], {"smoothing": "kneser-ney"}, "takes no smoothing"),
    ],
)
def test_bad_training_input_is_refused(documents: list[list[int]], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        InfinityModel.train([ids(d) for d in documents], ABC, **options)


@pytest.mark.parametrize("token", [-1, 5])
def test_ids_that_the_vocabulary_does_not_have_are_refused(token: int) -> None:
    model = InfinityModel.train([ids([1, 2])], ABC)
    with pytest.raises(InputError, match="vocabulary of 5"):
        model.score([Window(ids([1]), ids([token]))])
    with pytest.raises(InputError, match="vocabulary of 5"):
        model.continuations([ids([token])], 2)
