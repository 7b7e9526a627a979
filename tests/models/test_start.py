"""A start token or none: what a model is given decides what it gives, and ids alone are what transformers reads."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from memaudit.errors import InputError, ModelError
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.external import ExternalModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.start import asked_alike, with_start_token
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import StartToken, TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
RNG = np.random.default_rng(3)
WINDOWS = [Window(*(RNG.integers(3, 259, size, dtype=np.int32) for size in (6, 4))) for _ in range(20)]


@pytest.fixture(scope="module")
def gpt() -> CausalTransformer:
    model = new_gpt(BYTES, width=32, heads=2, context_length=32, seed=1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in model.module.parameters():
            weights.add_(torch.randn(weights.shape, generator=generator), alpha=0.3)
    return model


def by_transformers(model: CausalTransformer, text: list[int], suffix: int) -> Any:
    """Log p of the last tokens of a text by the module itself, in float64."""
    with torch.no_grad():
        logits = model.module(input_ids=torch.tensor([text])).logits[0].double()
    rows = torch.arange(len(text) - suffix - 1, len(text) - 1)
    return torch.log_softmax(logits, -1)[rows, torch.tensor(text[-suffix:])].numpy()


@pytest.mark.parametrize(("choice", "before"), [("none", []), ("as-trained", [0]), ("both", [0])])
def test_ids_alone_are_what_transformers_reads(gpt: CausalTransformer, choice: StartToken, before: list[int]) -> None:
    scores = with_start_token(gpt, choice).score(WINDOWS)
    for window, found in zip(WINDOWS, scores, strict=True):
        text = [*before, *window.prefix.tolist(), *window.suffix.tolist()]
        assert np.abs(found.log_prob - by_transformers(gpt, text, len(window.suffix))).max() < 1e-4


def test_greedy_decoding_screening_and_distributions_are_without_it_too(gpt: CausalTransformer) -> None:
    bare = with_start_token(gpt, "none")
    prompts = [window.prefix for window in WINDOWS]
    with torch.no_grad():
        ids = torch.tensor(np.stack(prompts), dtype=torch.long)
        written = gpt.module.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
        rows = torch.log_softmax(gpt.module(input_ids=ids).logits[:, -1].double(), -1).numpy()
    continued = bare.continuations(prompts, 4)
    assert np.array_equal(np.stack(continued), written[:, 6:].numpy())
    assert np.abs(bare.next_log_probs(prompts) - rows).max() < 1e-4
    own = [Window(prompt, text) for prompt, text in zip(prompts, continued, strict=True)]
    assert bare.screen(own).tolist() == [4] * len(own)
    assert gpt.screen(own).tolist() != [4] * len(own)
    assert np.abs(bare.score(WINDOWS).log_prob - gpt.score(WINDOWS).log_prob).max() > 0.01


def test_a_model_is_left_as_it_is(gpt: CausalTransformer) -> None:
    bare = with_start_token(gpt, "none")
    assert (gpt.frame, gpt.as_trained, gpt.tokenizer.bos_id) == (([0], []), None, 0)
    assert (bare.frame, bare.as_trained, bare.tokenizer.bos_id) == (([], []), gpt, None)
    assert bare.tokenizer.eos_id == 0, "it still ends texts"
    assert with_start_token(gpt, "as-trained") is gpt
    assert with_start_token(gpt, "both") is gpt
    assert with_start_token(bare, "none") is bare
    with pytest.raises(InputError, match="this model has no start token"):
        bare.continuations([np.empty(0, np.int32)], 2)
    with pytest.raises(InputError, match="one of as-trained, none, both"):
        with_start_token(gpt, cast("StartToken", "always"))


def test_an_adapters_base_model_is_asked_in_the_same_way(gpt: CausalTransformer) -> None:
    tuned = new_gpt(BYTES, width=32, heads=2, context_length=32, seed=2)
    tuned.base = gpt
    bare = with_start_token(tuned, "none")
    assert bare.base is not None and bare.base.frame == ([], []) and tuned.base is gpt
    assert asked_alike(gpt, bare).frame == ([], [])
    assert asked_alike(gpt, tuned) is gpt


def test_recurrent_models_read_ids_alone() -> None:
    model = new_rnn(BYTES, width=16, seed=1)
    bare = with_start_token(model, "none")
    ids = torch.tensor(WINDOWS[0].prefix[None].astype(np.int64))
    with torch.no_grad():
        rows = torch.log_softmax(model.module.head(model.module(ids)[0][:, -1]).double(), -1)
    assert np.abs(bare.next_log_probs([WINDOWS[0].prefix]) - rows.numpy()).max() < 1e-4


def test_masked_models_read_without_both_ends() -> None:
    model = new_bert(BYTES, width=32, heads=2, context_length=32)
    model._closing = np.array([1], np.int32)
    bare = with_start_token(model, "none")
    assert (model.frame, bare.frame, bare.as_trained) == (([0], [1]), ([], []), model)
    window = WINDOWS[0]
    text = np.concatenate([window.prefix, window.suffix]).astype(np.int64)
    masked = np.tile(text, (4, 1))
    masked[np.arange(4), np.arange(6, 10)] = BYTES.mask_id
    with torch.no_grad():
        logits = model.module(input_ids=torch.tensor(masked)).logits.double()
    wanted = torch.log_softmax(logits, -1)[np.arange(4), np.arange(6, 10), text[6:]].numpy()
    assert np.abs(bare.score([window]).log_prob - wanted).max() < 1e-4


def test_n_grams_put_nothing_before_a_text() -> None:
    model = NgramModel.train([np.arange(3, 40, dtype=np.int32)], BYTES, order=3)
    assert with_start_token(model, "none") is model


class Always(NextTokenModel):
    """Puts a start token before a text whatever its tokenizer says."""

    family = "always"

    def __init__(self) -> None:
        self.tokenizer = train_tokenizer("byte", [])

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        return [0], []

    def next_log_probs(self, prefixes: Any) -> Any:
        return np.full((len(prefixes), BYTES.vocab_size), -np.log(BYTES.vocab_size))


class Stranger:
    """A model of another package, behind the door."""

    objective = "next-token"

    def __init__(self) -> None:
        self.tokenizer = train_tokenizer("byte", [])

    def score(self, *_: Any) -> None: ...

    def continuations(self, *_: Any) -> list[TokenIds]:
        return []


def test_what_a_stranger_puts_before_a_text_is_not_guessed(gpt: CausalTransformer) -> None:
    with pytest.raises(ModelError, match="begins every text with a token"):
        with_start_token(Always(), "none")
    stranger = ExternalModel("python:x:y", Stranger(), "0")
    with pytest.raises(ModelError, match="puts its start token before a text by itself"):
        with_start_token(stranger, "none")
    stranger.tokenizer.bos_id = None
    assert with_start_token(stranger, "none") is stranger
    door: LanguageModel = ExternalModel("python:x:y", gpt, "0")
    bare = with_start_token(door, "none")
    assert (door.frame, bare.frame, bare.tokenizer.bos_id) == (([0], []), ([], []), None)
    assert np.array_equal(bare.score(WINDOWS).log_prob, with_start_token(gpt, "none").score(WINDOWS).log_prob)
