"""Token scores of documents against references that ask the model one token at a time, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.comparison.scores import random_maskings, score_texts
from memaudit.audits.document_scores import score_documents
from memaudit.errors import InputError
from memaudit.metrics.likelihood import calibrated_difference, loss_score, min_k, min_k_plus_plus, zlib_score
from memaudit.models.base import LanguageModel
from memaudit.models.masked import MaskedTransformer, new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import FloatArray, TokenIds, TokenScores
from memaudit.text.tokenize import character_tokenizer, train_tokenizer
from tests.contracts.test_models import ExternalModel

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a",
    "pack my box with five dozen liquor jugs and then some more of it, all day long, until it is full",
    "sphinx of black quartz",
    "judge my vow!",
]
CHARS = train_tokenizer("char", TEXTS)
IDS = [encoding.ids for encoding in CHARS.encode_batch(TEXTS)]
SHAPE: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "context_length": 40}


def stirred(model: Any) -> Any:
    """Return a network with weights so large that its distributions are far from uniform."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


FRESH: dict[str, Callable[[], LanguageModel]] = {
    "ngram": lambda: NgramModel.train(IDS[:3], CHARS, order=3),
    "ngram-mle": lambda: NgramModel.train(IDS[:3], CHARS, order=3, smoothing="mle"),
    "rnn": lambda: stirred(new_rnn(CHARS, width=32, seed=1)),
    "gpt2": lambda: stirred(new_gpt(CHARS, style="gpt2", seed=1, **SHAPE)),
    "llama": lambda: stirred(new_gpt(CHARS, style="llama", seed=1, **SHAPE)),
    "bert": lambda: stirred(new_bert(CHARS, style="bert", seed=1, **SHAPE)),
    "modernbert": lambda: stirred(new_bert(CHARS, style="modernbert", seed=1, **SHAPE)),
}


@pytest.fixture(scope="module", params=FRESH)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return FRESH[request.param]()


def bert(name: str = "bert") -> MaskedTransformer:
    model = FRESH[name]()
    assert isinstance(model, MaskedTransformer)
    return model


def statistics_of(log_probs: FloatArray, token: int) -> tuple[float, float, float]:
    """Return log p of a token, E[log p] and its deviation, term by term over the vocabulary."""
    mean = square = 0.0
    for value in log_probs.tolist():
        if value > -np.inf:
            mean += np.exp(value) * value
            square += np.exp(value) * value**2
    return float(log_probs[token]), mean, float(np.sqrt(max(0.0, square - mean**2)))


def one_by_one(model: LanguageModel, text: TokenIds) -> list[tuple[float, float, float]]:
    """Ask for one token at a time, networks in float64; texts that the context holds only."""
    rows = []
    for place in range(len(text)):
        if isinstance(model, MaskedTransformer):
            ids = torch.tensor(model.framed(text).astype(np.int64))[None]
            at = place + len(model.framed(text[:0])) - len(model._closing)
            ids[0, at] = CHARS.mask_id
            with torch.no_grad():
                logits = model.module.double()(input_ids=ids).logits[0, at]
            model.module.float()
            log_probs = torch.log_softmax(logits, dim=-1).numpy()
        else:
            [log_probs] = model.next_log_probs([text[:place]])
        rows.append(statistics_of(log_probs, int(text[place])))
    return rows


def columns(scores: TokenScores) -> FloatArray:
    return np.array([scores.log_prob, scores.mean, scores.std])


def test_every_token_is_what_one_question_at_a_time_gives(model: LanguageModel) -> None:
    texts = [text[:38] for text in IDS]
    for text, scores in zip(texts, score_texts(model, texts, None), strict=True):
        expected = np.array(one_by_one(model, text)).T
        found = columns(scores)
        assert np.array_equal(np.isinf(found), np.isinf(expected))
        found, expected = np.maximum(found, -100), np.maximum(expected, -100)
        # Deviations near 0 are the root of a difference of squares in fp32: 1e-4 is the worst of them.
        assert np.abs(found - expected)[:2].max() <= 1e-5
        assert np.abs(found[2] - expected[2]).max() <= 1e-3
        ratios = (expected[0] - expected[1]) / np.maximum(expected[2], 1e-6)
        count = max(1, len(text) // 5)
        if expected[2].min() > 0.1:
            ours = min_k_plus_plus(scores.log_prob, scores.mean, scores.std)
            assert ours == pytest.approx(np.sort(ratios)[:count].mean(), abs=1e-3)
        assert min_k(scores.log_prob) == pytest.approx(np.sort(expected[0])[:count].mean(), abs=1e-5)


def test_scores_do_not_depend_on_batch_mates(model: LanguageModel) -> None:
    rng = np.random.default_rng(3)
    texts = [rng.permutation(np.concatenate(IDS))[: rng.integers(1, 90)].astype(np.int32) for _ in range(64)]
    together = score_texts(model, texts, None)
    for text, scores in zip(texts, together, strict=True):
        [alone] = score_texts(model, [text], None)
        assert np.abs(np.maximum(scores.log_prob, -100) - np.maximum(alone.log_prob, -100)).max() <= 1e-5
        assert loss_score(scores.log_prob) == pytest.approx(loss_score(alone.log_prob), abs=1e-5)


@pytest.mark.parametrize("tokens", range(10))
def test_short_texts_have_scores_that_are_numbers_or_none(model: LanguageModel, tokens: int) -> None:
    [scores] = score_texts(model, [IDS[0][:tokens]], None)
    values = [
        loss_score(scores.log_prob),
        zlib_score(scores.log_prob, TEXTS[0][:tokens]),
        min_k(scores.log_prob),
        min_k_plus_plus(scores.log_prob, scores.mean, scores.std),
        calibrated_difference(scores.log_prob, [scores.log_prob]),
    ]
    assert len(scores.log_prob) == tokens
    if tokens:
        assert np.isfinite(np.array(values, np.float64)).all()
        assert values[-1] == 0
    else:
        assert values == [None] * 5


def test_long_documents_are_read_with_half_the_context_before_every_token() -> None:
    model = FRESH["gpt2"]()
    long = np.concatenate(IDS)
    [scores] = score_texts(model, [long], None)
    [expected] = score_documents(model, [long])
    assert np.array_equal(scores.log_prob, expected.log_prob)
    assert expected.context[40:].min() >= 19


def test_a_limit_is_the_beginning_of_the_document(model: LanguageModel) -> None:
    [cut] = score_texts(model, [IDS[2]], 10)
    [alone] = score_texts(model, [IDS[2][:10]], None)
    assert np.array_equal(cut.log_prob, alone.log_prob)


def test_long_documents_of_masked_models_are_read_in_pieces_of_like_length() -> None:
    long = IDS[2][:80]
    [scores] = score_texts(bert(), [long], None)
    pieces = np.array_split(long, 3)  # 40 positions less two: 38 at most
    expected = [score_texts(bert(), [piece], None)[0].log_prob for piece in pieces]
    assert np.abs(scores.log_prob - np.concatenate(expected)).max() <= 1e-5


def test_a_model_without_a_start_token_is_not_asked_for_a_first_one() -> None:
    letters = character_tokenizer({chr(97 + i): i for i in range(26)})
    model = new_rnn(letters, width=16)
    found = score_texts(model, [encoding.ids for encoding in letters.encode_batch(["abc", "a", ""])], None)
    assert [len(scores.log_prob) for scores in found] == [2, 0, 0]
    assert loss_score(found[1].log_prob) is None


def test_a_strangers_model_is_scored() -> None:
    model = ExternalModel()
    texts = [encoding.ids for encoding in model.tokenizer.encode_batch(["abcdef", "fedcba"])]
    up, down = (loss_score(scores.log_prob) for scores in score_texts(model, texts, None))
    assert up is not None
    assert down is not None
    assert up > down


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 20), max_size=60), st.integers(10, 40), st.integers(0, 3))
def test_random_maskings_hide_every_token_and_little_at_a_time(text: list[int], masks: int, seed: int) -> None:
    maskings = random_maskings(np.array(text, np.int32), masks, seed)
    assert len(maskings) == (masks if text else 0)
    if text:
        assert set(np.concatenate(maskings).tolist()) == set(range(len(text)))
        assert all(1 <= len(hidden) <= max(1, -(-len(text) // 7)) for hidden in maskings)
        assert all(len(set(hidden.tolist())) == len(hidden) for hidden in maskings)


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_random_maskings_are_scored_as_they_are_masked(name: str) -> None:
    model, text = bert(name), IDS[0][:37]
    [scores] = score_texts(model, [text], None, masks=11, seed=4)
    sums, times = np.zeros(len(text)), np.zeros(len(text))
    for hidden in random_maskings(text, 11, 4):
        ids = torch.tensor(model.framed(text).astype(np.int64))[None]
        start = len(model.framed(text[:0])) - len(model._closing)
        ids[0, hidden + start] = int(CHARS.mask_id or 0)
        with torch.no_grad():
            log_probs = torch.log_softmax(model.module(input_ids=ids).logits[0], dim=-1).numpy()
        sums[hidden] += log_probs[hidden + start, text[hidden]]
        times[hidden] += 1
    assert np.abs(scores.log_prob - sums / times).max() <= 1e-5


def test_random_maskings_do_not_depend_on_batch_mates() -> None:
    model = bert()
    together = score_texts(model, IDS, None, masks=10)
    for text, scores in zip(IDS, together, strict=True):
        [alone] = score_texts(model, [text], None, masks=10)
        assert np.abs(scores.log_prob - alone.log_prob).max() <= 1e-5


@pytest.mark.parametrize("masks", [1, 9])
def test_few_random_maskings_are_refused(masks: int) -> None:
    with pytest.raises(InputError, match="too few"):
        score_texts(bert(), IDS, None, masks=masks)


def test_positions_outside_a_text_are_refused() -> None:
    for places in ([5], [-1]):
        with pytest.raises(InputError, match="cannot be masked"):
            bert().score_together([IDS[0][:5]], [np.array(places)])
    with pytest.raises(InputError, match="at most 40"):
        bert().score_together([IDS[2]], [np.array([0])])
