from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.evaluation import heldout_loss
from memaudit.training.loop import objective_of
from memaudit.training.options import TrainingOptions


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("char", ["the quick brown fox jumps over the lazy dog"])


@pytest.fixture(scope="module")
def documents(tokenizer: TrainedTokenizer) -> list[TokenIds]:
    random = np.random.default_rng(0)
    return [random.integers(3, tokenizer.vocab_size, n).astype(np.int32) for n in (1, 70, 9, 33)]


@pytest.mark.parametrize(("family", "read_at_once"), [("rnn", 16), ("gpt", 128)])
def test_next_token_loss_is_the_code_length_of_every_document(
    family: str, read_at_once: int, tokenizer: TrainedTokenizer, documents: list[TokenIds]
) -> None:
    model: Any = (
        new_rnn(tokenizer, width=16)
        if family == "rnn"
        else new_gpt(tokenizer, width=16, layers=1, heads=2, context_length=128)
    )
    objective = objective_of(model, TrainingOptions())
    carried = objective.carried = (torch.ones(1, 2, 16), torch.ones(1, 2, 16))
    scores = model.score([Window(document[:0], document) for document in documents])
    expected = -scores.log_prob.sum() / math.log(2)
    bits, name = heldout_loss(model, objective, documents, 57, read_at_once)
    assert name == "bits per byte"
    assert bits == pytest.approx(expected / 57, rel=1e-6)
    bits, name = heldout_loss(model, objective, documents, None, read_at_once)
    assert (name, bits) == ("bits per token", pytest.approx(expected / 113, rel=1e-6))
    assert objective.carried is carried


def test_rows_of_a_transformer_start_anew_after_its_context(
    tokenizer: TrainedTokenizer, documents: list[TokenIds]
) -> None:
    model = new_gpt(tokenizer, width=16, layers=1, heads=2, context_length=32)
    rows = [document[first : first + 32] for document in documents for first in range(0, len(document), 32)]
    scores = model.score([Window(row[:0], row) for row in rows])
    bits, _ = heldout_loss(model, objective_of(model, TrainingOptions()), documents, None, 1000)
    assert bits == pytest.approx(-scores.log_prob.mean() / math.log(2), rel=1e-6)


def test_masked_loss_is_labelled_and_repeats_exactly(tokenizer: TrainedTokenizer, documents: list[TokenIds]) -> None:
    model = new_bert(tokenizer, width=16, layers=1, heads=2, context_length=96)
    objective = objective_of(model, TrainingOptions())
    bits, name = heldout_loss(model, objective, documents, 226, 96)
    assert name == "bits per byte (hidden tokens, training corruption with a fixed seed)"
    assert heldout_loss(model, objective, documents, 226, 96) == (bits, name)
    # Fresh weights know nothing: about the entropy of the uniform distribution, over two bytes a token.
    assert bits == pytest.approx(math.log2(tokenizer.vocab_size) / 2, rel=0.05)
