from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from memaudit.errors import ModelError
from memaudit.models.decoding import (
    choose,
    continue_prompts,
    decoded_log_probs,
    decoded_targets,
    generators_for,
    score_log_probs,
)
from memaudit.models.torch_scores import score_hidden, step_log_probs
from memaudit.records import GREEDY, Decoding, TokenIds, TokenScores

DECODINGS = [
    GREEDY,
    Decoding(1.0),
    Decoding(0.7),
    Decoding(1.5, top_k=5),
    Decoding(1.0, top_p=0.8),
    Decoding(0.8, top_k=7, top_p=0.6),
]


def random_logits(rows: int, size: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("decoding", DECODINGS[1:], ids=str)
def test_decoded_distribution_is_the_one_transformers_samples_from(decoding: Decoding) -> None:
    logits = random_logits(40, 30).double()
    warpers = LogitsProcessorList([TemperatureLogitsWarper(decoding.temperature)])
    if decoding.top_k:
        warpers.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p:
        warpers.append(TopPLogitsWarper(decoding.top_p))
    expected = torch.softmax(warpers(None, logits), dim=-1).numpy()
    ours = np.exp(decoded_log_probs(torch.log_softmax(logits, dim=-1).numpy(), decoding))
    np.testing.assert_allclose(ours, expected, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.sampled_from([1e-3, 0.7, 1.0, 3.0]),
    st.none() | st.integers(1, 50),
    st.none() | st.floats(0.01, 1),
    st.booleans(),
)
def test_single_tokens_get_what_the_whole_distribution_gives(
    seed: int, size: int, temperature: float, top_k: int | None, top_p: float | None, tied: bool
) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(0, 3, (6, size)).astype(float) if tied else random.normal(size=(6, size))
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.exp(logits) * (random.random(logits.shape) < 0.8) + (np.arange(size) == 0))
    log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    decoding = Decoding(temperature, top_k, top_p)
    whole = decoded_log_probs(log_probs, decoding)
    for token in range(size):
        single = decoded_targets(log_probs, np.full(6, token, np.int32), decoding)
        np.testing.assert_allclose(single, whole[:, token], rtol=1e-12, atol=1e-12)


def test_sampling_follows_the_distribution() -> None:
    log_probs = torch.log_softmax(random_logits(1, 6), dim=-1).double().numpy()
    decoding = Decoding(0.9, top_k=4, seed=5)
    streams = generators_for([np.array([1], np.int32)] * 4000, decoding.seed)
    chosen = choose(np.repeat(log_probs, 4000, axis=0), decoding, streams)
    expected = 4000 * np.exp(decoded_log_probs(log_probs, decoding)[0])
    counts = np.bincount(chosen, minlength=6)
    assert counts[expected == 0].sum() == 0
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 1e-4


def test_equal_prompts_are_different_attempts_in_any_batches() -> None:
    prompts = [np.array([1, 2], np.int32)] * 6
    log_probs = torch.log_softmax(random_logits(1, 50), dim=-1).double().numpy()

    def step(texts: list[TokenIds], _new: TokenIds | None) -> np.ndarray:
        return np.repeat(log_probs, len(texts), axis=0)

    decoding = Decoding(5.0, seed=3)
    together = continue_prompts(step, prompts, 8, decoding)
    streams = generators_for(prompts, decoding.seed)
    apart = [continue_prompts(step, [p], 8, decoding, [s])[0] for p, s in zip(prompts, streams, strict=True)]
    np.testing.assert_array_equal(together, apart)
    assert len({row.tobytes() for row in together}) == 6


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 300),
    st.integers(2, 40),
    st.sampled_from(DECODINGS),
    st.booleans(),
    st.integers(0, 1000),
)
def test_score_hidden_equals_the_float64_reference(
    rows: int, size: int, decoding: Decoding, ties: bool, seed: int
) -> None:
    logits = random_logits(rows, size, seed)
    logits = logits.round() if ties else logits
    targets = torch.randint(size, (rows,), generator=torch.Generator().manual_seed(seed))
    ours, reference = TokenScores.of_lengths([rows]), TokenScores.of_lengths([rows])
    score_hidden(logits, lambda hidden: hidden, targets, decoding, ours, slice(0, rows))
    log_probs = torch.log_softmax(logits.double(), dim=1).numpy()
    score_log_probs(log_probs, targets.numpy(), decoding, reference, slice(0, rows))
    np.testing.assert_array_equal(ours.rank, reference.rank)
    for name in ("log_prob", "mean", "std"):
        np.testing.assert_allclose(getattr(ours, name), getattr(reference, name), atol=1e-5)


def test_score_hidden_in_blocks_keeps_rows_in_place() -> None:
    logits = random_logits(700, 3000)
    targets = torch.arange(700)
    scores = TokenScores.of_lengths([2, 700])
    score_hidden(logits, lambda hidden: hidden, targets, GREEDY, scores, slice(2, 702))
    expected = torch.log_softmax(logits.double(), dim=1).gather(1, targets[:, None])[:, 0].numpy()
    np.testing.assert_allclose(scores.log_prob[2:], expected, atol=1e-5)
    assert not scores.log_prob[:2].any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_logits_are_an_error(bad: float) -> None:
    logits = random_logits(3, 8)
    logits[1, 5] = bad
    scores = TokenScores.of_lengths([3])
    targets = torch.zeros(3, dtype=torch.long)
    with pytest.raises(ModelError, match=f"1 non-finite logits, first: {bad}"):
        score_hidden(logits, lambda hidden: hidden, targets, GREEDY, scores, slice(0, 3))
    with pytest.raises(ModelError, match="non-finite"):
        step_log_probs(logits, GREEDY)


def test_steps_give_a_distribution_or_its_maximum() -> None:
    logits = random_logits(5, 20)
    np.testing.assert_allclose(np.exp(step_log_probs(logits, Decoding(1.0))).sum(axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(step_log_probs(logits, GREEDY).argmax(axis=1), logits.argmax(dim=1).numpy())
