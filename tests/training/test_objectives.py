from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.batches import IGNORED, Batch, RowBatches, StreamBatches
from memaudit.training.objectives import (
    CausalObjective,
    MaskedObjective,
    RecurrentObjective,
    corrupt,
    summed_cross_entropy,
)

MASK, ORDINARY = 2, np.arange(3, 1000)


def masked_batch(lengths: list[int], seed: int = 0) -> Batch:
    random = np.random.default_rng(seed)
    documents = [random.integers(3, 1000, n).astype(np.int32) for n in lengths]
    return RowBatches(documents, 0, len(documents), None, masked=True).batch(0, 0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.floats(0.01, 1.0),
    st.sampled_from(["80/10/10", "mask"]),
    st.integers(0, 99),
)
def test_each_row_loses_its_exact_share_and_no_special_token(
    lengths: list[int], rate: float, rule: str, seed: int
) -> None:
    batch = masked_batch(lengths)
    hidden = corrupt(batch, MASK, ORDINARY, np.random.default_rng(seed), rate=rate, rule=rule)
    eligible = batch.targets != IGNORED
    chosen = hidden.targets != IGNORED
    assert not (chosen & ~eligible).any()
    wanted = [max(1, round(rate * n)) for n in eligible.sum(axis=1).tolist()]
    assert chosen.sum(axis=1).tolist() == wanted
    np.testing.assert_array_equal(hidden.targets[chosen], batch.targets[chosen])
    np.testing.assert_array_equal(hidden.inputs[~chosen], batch.inputs[~chosen])
    assert (hidden.inputs[:, 0] == 0).all()
    if rule == "mask":
        assert (hidden.inputs[chosen] == MASK).all()


def test_eighty_ten_ten_and_every_place_equally_often() -> None:
    batch = masked_batch([100] * 50)
    random = np.random.default_rng(3)
    masked = kept = chosen_total = 0
    places = np.zeros(101)
    replaced: list[int] = []
    for _ in range(80):
        hidden = corrupt(batch, MASK, ORDINARY, random)
        chosen = hidden.targets != IGNORED
        places += chosen.sum(axis=0)
        values = hidden.inputs[chosen]
        chosen_total += len(values)
        masked += int((values == MASK).sum())
        same = values == batch.inputs[chosen]
        kept += int(same.sum())
        replaced += values[~same & (values != MASK)].tolist()
    assert chosen_total == 80 * 50 * 15
    # Five standard errors of a binomial share of 60,000.
    assert abs(masked / chosen_total - 0.8) < 5 * math.sqrt(0.16 / chosen_total)
    assert abs(kept / chosen_total - 0.1001) < 5 * math.sqrt(0.09 / chosen_total)
    assert set(replaced) <= set(ORDINARY.tolist())
    assert len(set(replaced)) > 950
    assert places[0] == 0
    expected = chosen_total / 100
    assert np.abs(places[1:] - expected).max() < 5 * math.sqrt(expected)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("char", ["the quick brown fox jumps over the lazy dog"])


def batch_of(tokenizer, lengths: list[int], masked: bool) -> Batch:
    random = np.random.default_rng(1)
    documents = [random.integers(3, tokenizer.vocab_size, n).astype(np.int32) for n in lengths]
    return RowBatches(documents, 0, len(lengths), 32, masked=masked).batch(0, 0)


def test_causal_loss_is_the_sum_over_each_row_alone(tokenizer) -> None:
    module = new_gpt(tokenizer, width=16, layers=1, heads=2, context_length=32).module
    batch = batch_of(tokenizer, [5, 30, 12], masked=False)
    total, tokens = CausalObjective(module).loss(batch, np.random.default_rng(0))
    expected = 0.0
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        n = int((targets != IGNORED).sum())
        log_probs = module(input_ids=torch.from_numpy(inputs[None, :n])).logits[0].double().log_softmax(-1)
        expected -= log_probs[range(n), targets[:n]].sum().item()
    assert tokens == 5 + 30 + 12 + 3
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_masked_loss_is_the_sum_over_hidden_tokens_of_each_row_alone(tokenizer) -> None:
    module = new_bert(tokenizer, width=16, layers=1, heads=2, context_length=32).module
    ordinary = np.arange(3, tokenizer.vocab_size)
    batch = batch_of(tokenizer, [5, 30, 12], masked=True)
    objective = MaskedObjective(module, MASK, ordinary, 0.3, "80/10/10")
    total, tokens = objective.loss(batch, np.random.default_rng(0))
    hidden = corrupt(batch, MASK, ordinary, np.random.default_rng(0), rate=0.3)
    expected = 0.0
    for row, targets in enumerate(hidden.targets):
        n = 1 + int((batch.targets[row] != IGNORED).sum())
        logits = module(input_ids=torch.from_numpy(hidden.inputs[row : row + 1, :n])).logits[0]
        places = np.flatnonzero(targets != IGNORED)
        expected -= logits.double().log_softmax(-1)[places, targets[places]].sum().item()
    assert tokens == hidden.tokens
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_recurrent_loss_carries_the_state_across_chunks(tokenizer) -> None:
    module = new_rnn(tokenizer, width=16).module
    random = np.random.default_rng(0)
    documents = [random.integers(3, tokenizer.vocab_size, n).astype(np.int32) for n in (40, 25, 31)]
    whole = StreamBatches(documents, 0, 3, 1000)
    parts = StreamBatches(documents, 0, 3, 7)
    objective = RecurrentObjective(module)
    expected, tokens = objective.loss(whole.batch(0, 0), random)
    losses = [objective.loss(parts.batch(0, index), random) for index in range(len(parts))]
    assert sum(count for _, count in losses) == tokens == 40 + 25 + 31 + 3
    assert sum(loss.item() for loss, _ in losses) == pytest.approx(expected.item(), rel=1e-5)


def test_cross_entropy_leaves_out_what_is_ignored() -> None:
    logits = torch.zeros(2, 3, 8)
    targets = torch.tensor([[1, IGNORED, 2], [IGNORED, IGNORED, 3]])
    assert summed_cross_entropy(logits, targets).item() == pytest.approx(3 * math.log(8))
