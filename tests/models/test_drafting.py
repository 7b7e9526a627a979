"""Greedy text drafted by the true continuation: the tokens that plain argmax decoding gives, whatever the draft."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from memaudit.errors import InputError, ModelError
from memaudit.models import drafting
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "vocab_size": BYTES.vocab_size, "max_position_embeddings": 48,
    "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
GROUPED = SHAPE | {"num_key_value_heads": 1}
BY_SLOTS: dict[str, dict[str, Any]] = {
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 48, "vocab_size": BYTES.vocab_size,
                   "bos_token_id": 0, "eos_token_id": 0},
    "LlamaConfig": GROUPED,
    "GPTNeoXConfig": SHAPE,
    "OPTConfig": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                  "word_embed_proj_dim": 32, "vocab_size": BYTES.vocab_size, "max_position_embeddings": 48},
    "MistralConfig": GROUPED | {"sliding_window": 6},
    "Qwen2Config": GROUPED,
    "GemmaConfig": GROUPED | {"head_dim": 16},
    "Gemma2Config": GROUPED | {"head_dim": 16, "sliding_window": 6},
    "BloomConfig": {"hidden_size": 32, "n_layer": 2, "n_head": 2, "vocab_size": BYTES.vocab_size},
    "GPTNeoConfig": {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]],
                     "window_size": 6, "vocab_size": BYTES.vocab_size, "max_position_embeddings": 48},
}  # fmt: skip
OTHERS: dict[str, dict[str, Any]] = {
    "MambaConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": BYTES.vocab_size},
    "RwkvConfig": {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": BYTES.vocab_size},
}  # fmt: skip


def model_of(name: str) -> CausalTransformer:
    config = getattr(transformers, name)(**(BY_SLOTS | OTHERS)[name])
    return CausalTransformer(spread(AutoModelForCausalLM.from_config(config)), BYTES)


def spread(module: Any) -> Any:
    """Give random weights that make distributions far from uniform."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
    return module


def plain_greedy(model: CausalTransformer, prompt: TokenIds, length: int) -> TokenIds:
    """The whole module read again for every token, one text at a time: no cache, no draft, no batch."""
    text = torch.tensor([[0, *prompt.tolist()]])
    with torch.no_grad():
        for _ in range(length):
            text = torch.cat([text, model.module(input_ids=text).logits[:, -1:].argmax(2)], dim=1)
    return text[0, 1 + len(prompt) :].numpy().astype(np.int32)


def planted(model: CausalTransformer, seed: int, shapes: list[tuple[int, int]]) -> tuple[list[Window], list[TokenIds]]:
    """Windows whose suffixes are the model's own text, whole, with wrong tokens, shifted, or not at all."""
    rng = np.random.default_rng(seed)
    windows, expected = [], []
    for place, (before, after) in enumerate(shapes):
        prefix = rng.integers(3, 259, before, dtype=np.int32)
        own = plain_greedy(model, prefix, after)
        suffix = own.copy()
        if after and place % 4 == 1:
            wrong = rng.integers(0, after, rng.integers(1, 4))
            suffix[wrong] = (suffix[wrong] + rng.integers(1, 250)) % 259
        elif after and place % 4 == 2:
            suffix = np.append(own[1:], own[:1])
        elif place % 4 == 3:
            suffix = rng.integers(3, 259, after, dtype=np.int32)
        windows.append(Window(prefix, suffix))
        expected.append(own)
    return windows, expected


def same(found: list[TokenIds], expected: list[TokenIds]) -> bool:
    assert all(row.dtype == np.int32 for row in found)
    return [row.tolist() for row in found] == [row.tolist() for row in expected]


UNEVEN = [(9, 20), (9, 20), (4, 12), (9, 20), (1, 30), (9, 20), (4, 12), (0, 7), (17, 30), (17, 30), (3, 1), (5, 0)]


@pytest.mark.parametrize("name", [*BY_SLOTS, *OTHERS])
def test_any_family_gives_what_plain_argmax_gives(name: str) -> None:
    model = model_of(name)
    windows, expected = planted(model, 0, UNEVEN)
    assert same(model.greedy_continuations(windows), expected)
    for length in (1, 20):
        prompts = [window.prefix for window in windows]
        plain = [plain_greedy(model, prompt, length) for prompt in prompts]
        assert same(model.continuations(prompts, length), plain)


@pytest.mark.parametrize("name", [*BY_SLOTS, *OTHERS])
def test_families_with_plain_keys_and_values_are_read_by_slots(name: str) -> None:
    assert (model_of(name)._drafter() is not None) == (name in BY_SLOTS)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def gpt(request: pytest.FixtureRequest) -> CausalTransformer:
    model = new_gpt(BYTES, style=request.param, width=32, layers=2, heads=2, context_length=48)
    spread(model.module)
    return model


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shapes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), max_size=9),
    sizes=st.tuples(*[st.integers(1, 9)] * 4),
)
def test_no_setting_changes_a_token(
    gpt: CausalTransformer, seed: int, shapes: list[tuple[int, int]], sizes: tuple[int, int, int, int]
) -> None:
    windows, expected = planted(gpt, seed, shapes)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in zip(("MAX_ROWS", "FIRST_BLOCK", "AGREED", "WORTH"), sizes, strict=True):
            patch.setattr(drafting, name, size)
        patch.setitem(drafting.READ_TOKENS, "cpu", 10 * sizes[0])
        assert same(gpt.greedy_continuations(windows), expected)


def test_text_equals_generate(gpt: CausalTransformer) -> None:
    windows, expected = planted(gpt, 3, [(8, 24)] * 6)
    for window, row in zip(windows, expected, strict=True):
        text = torch.tensor([[0, *window.prefix]])
        options = {"max_new_tokens": 24, "min_new_tokens": 24, "do_sample": False, "pad_token_id": 0}
        out = gpt.module.generate(text, attention_mask=torch.ones_like(text), eos_token_id=None, **options)
        assert row.tolist() == out[0, -24:].tolist()
    assert same(gpt.greedy_continuations(windows), expected)


def reads(monkeypatch: pytest.MonkeyPatch, model: CausalTransformer, windows: list[Window]) -> list[tuple[int, int]]:
    """Shapes of the ids that the body is given while the windows are continued."""
    model._drafter()
    shapes = []
    forward = model._body.forward

    def counted(*given: Any, **named: Any) -> Any:
        shapes.append(tuple(named["input_ids"].shape))
        return forward(*given, **named)

    monkeypatch.setattr(model._body, "forward", functools.wraps(forward)(counted))
    model.greedy_continuations(windows)
    monkeypatch.undo()
    return shapes


def test_what_is_memorised_is_checked_and_not_decoded(gpt: CausalTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    prefixes = [rng.integers(3, 259, 8, dtype=np.int32) for _ in range(5)]
    own = [Window(prefix, plain_greedy(gpt, prefix, 30)) for prefix in prefixes]
    first, rest = drafting.FIRST_BLOCK, 30 - 1 - drafting.FIRST_BLOCK
    assert reads(monkeypatch, gpt, own) == [(5, 9), (5, first), (5, rest)]


def test_a_draft_is_tried_again_after_a_difference(gpt: CausalTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = np.random.default_rng(6).integers(3, 259, 8, dtype=np.int32)
    own = plain_greedy(gpt, prefix, 36)
    suffix = own.copy()
    suffix[0] = (suffix[0] + 1) % 259
    shapes = reads(monkeypatch, gpt, [Window(prefix, suffix)])
    assert len(shapes) < 10
    assert sum(tokens for _, tokens in shapes) == 9 + 35


def test_what_cannot_be_continued_is_said(gpt: CausalTransformer) -> None:
    ids = np.arange(3, 30, dtype=np.int32)
    with pytest.raises(InputError, match="needs 49 positions, but the model reads at most 48"):
        gpt.greedy_continuations([Window(ids[:25], ids[:24])])
    assert len(gpt.greedy_continuations([Window(ids[:24], ids[:24])])[0]) == 24
    with pytest.raises(InputError, match="token id 259, but the model knows 259"):
        gpt.greedy_continuations([Window(ids[:4], np.array([259], np.int32))])


def test_a_logit_that_is_no_number_is_named() -> None:
    model = new_gpt(BYTES, width=32, layers=2, heads=2, context_length=48)
    window = Window(np.array([5], np.int32), np.array([6, 7], np.int32))
    model.greedy_continuations([window])
    with torch.no_grad():
        model.module.transformer.ln_f.bias[0] = float("nan")
    for attempt in (lambda: model.greedy_continuations([window]), lambda: model.continuations([window.prefix], 2)):
        with pytest.raises(ModelError, match="non-finite logits"):
            attempt()


def test_ties_go_to_the_smaller_id() -> None:
    model = new_gpt(BYTES, width=32, layers=2, heads=2, context_length=48)
    with torch.no_grad():
        model.module.lm_head.weight.zero_()
    window = Window(np.array([5, 9], np.int32), np.array([0, 0, 7, 0, 0, 0], np.int32))
    assert model.greedy_continuations([window])[0].tolist() == [0] * 6
