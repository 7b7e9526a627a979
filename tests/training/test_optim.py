from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.optim import build_optimizers, learning_rate_factor, split_parameters


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer("char", ["the quick brown fox jumps over the lazy dog"])


def module_of(family: str, tokenizer):
    sizes = {"width": 16, "layers": 2}
    if family in ("lstm", "gru", "mrnn"):
        return new_rnn(tokenizer, cell=family, **sizes).module
    style = {"style": family, "heads": 2}
    return (new_gpt if family in ("gpt2", "llama") else new_bert)(tokenizer, **sizes, **style).module


HIDDEN = {
    # Two layers of equal matrices; the heads of BERT and ModernBERT have one more before the decoder.
    "lstm": 4, "gru": 4, "mrnn": 6, "gpt2": 8, "llama": 14, "bert": 13, "modernbert": 9,
}  # fmt: skip


@pytest.mark.parametrize("family", HIDDEN)
def test_muon_gets_hidden_matrices_and_adamw_all_else(family: str, tokenizer) -> None:
    module = module_of(family, tokenizer)
    hidden, others = split_parameters(module)
    assert len(hidden) == HIDDEN[family]
    assert all(weight.ndim == 2 for weight in hidden)
    vocabulary = tokenizer.vocab_size
    assert all(vocabulary not in weight.shape for weight in hidden)
    every = {id(weight) for weight in module.parameters()}
    assert {id(weight) for weight in hidden + others} == every
    assert len(hidden) + len(others) == len(every)


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("family", ["lstm", "gpt2", "bert"])
def test_every_parameter_is_trained_by_exactly_one_optimizer(family: str, name: str, tokenizer) -> None:
    module = module_of(family, tokenizer)
    optimizers = build_optimizers(module, name, 1e-3, 0.1)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    trained = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(trained) == sorted(id(weight) for weight in module.parameters())
    assert isinstance(optimizers[0], torch.optim.Muon) == (name == "muon")
    assert all(weight.ndim == 1 for group in groups if not group["weight_decay"] for weight in group["params"])


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 500), st.floats(0, 0.9))
def test_learning_rate_rises_to_its_peak_and_falls_towards_zero(steps: int, warmup: float) -> None:
    factors = [learning_rate_factor(step, steps, warmup) for step in range(steps)]
    peak = max(1, round(warmup * steps))
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak - 1 :] == sorted(factors[peak - 1 :], reverse=True)
    assert max(factors) == 1.0
    if steps > peak:
        assert factors[-1] == pytest.approx(1 / (steps - peak))
