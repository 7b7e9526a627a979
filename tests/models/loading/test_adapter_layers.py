"""Adapters in memory: their identity is what they do now, and their base model is there or no control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.models.loading.adapter_layers import (
    active_adapters,
    adapter_layers,
    adapter_note,
    adapter_state,
    why_no_base,
)
from memaudit.models.loading.objects import from_transformers, tensors_sha256
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")

BYTES = train_tokenizer("byte", [])
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 30, dtype=np.int32))]
IDS = torch.tensor([[5, 6, 7, 8]])


def gpt() -> Any:
    return new_gpt(BYTES, style="llama", width=16, layers=1, heads=2, context_length=64, seed=1).module


def config(**others: Any) -> Any:
    return peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, **others)


def two() -> Any:
    torch.manual_seed(3)
    model = peft.get_peft_model(gpt(), config())
    model.add_adapter("other", config(lora_alpha=64))
    return model.eval()


def scaled(model: Any, factor: float) -> None:
    for layer in adapter_layers(model).values():
        layer.scaling = {name: value * factor for name, value in layer.scaling.items()}


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(["default", "other", "both", "on", "off", "stronger"]), min_size=1, max_size=5))
def test_models_of_one_identity_compute_the_same(steps: list[str]) -> None:
    model, found = two(), {}
    inner = model.get_base_model()
    for step in ["on", *steps]:
        if step in ("on", "off"):
            (model.base_model.enable_adapter_layers if step == "on" else model.base_model.disable_adapter_layers)()
        elif step == "stronger":
            scaled(model, 3.0)
        else:
            model.base_model.set_adapter(["default", "other"] if step == "both" else step)
        with torch.no_grad():
            logits = inner(input_ids=IDS).logits
        assert torch.equal(found.setdefault(tensors_sha256(inner), logits), logits)


def test_another_adapter_of_one_model_is_another_run(tmp_path: Path) -> None:
    model, plain = two(), gpt()
    first = from_transformers(model, BYTES)
    model.set_adapter("other")
    second = from_transformers(model, BYTES)
    assert first.base is not None
    assert second.base is not None
    assert len({first.sha256, second.sha256, first.base.sha256, second.base.sha256}) == 4
    assert not np.allclose(first.score(WINDOWS).log_prob, second.score(WINDOWS).log_prob, atol=1e-4)
    own = from_transformers(plain, BYTES).score(WINDOWS).log_prob
    for read in (first, second):
        assert np.allclose(read.base.score(WINDOWS).log_prob, own, rtol=0, atol=1e-5)
    assert adapter_state(plain) == {}
    assert adapter_note(plain) == ""


def test_adapters_that_are_switched_off_are_not_said_to_act() -> None:
    model = two()
    with model.disable_adapter():
        read = from_transformers(model, BYTES)
        assert active_adapters(model) == []
    assert read.base is None
    assert read.notes == (
        "adapter of the model in memory, switched off: default",
        "no control by the base model: its adapter is switched off",
    )
    assert active_adapters(model) == ["default"]


def test_an_adapter_without_a_peft_model_around_it_has_its_base_beside() -> None:
    wrapped, injected = two(), gpt()
    own = from_transformers(gpt(), BYTES).score(WINDOWS).log_prob
    peft.inject_adapter_in_model(config(), injected)
    for model in (wrapped.get_base_model(), injected):
        read = from_transformers(model, BYTES)
        assert read.base is not None
        assert np.allclose(read.base.score(WINDOWS).log_prob, own, rtol=0, atol=1e-5)
        assert "default (LORA)" in read.notes[0]
        assert from_transformers(model, BYTES, base_control=False).base is None


@pytest.mark.parametrize("more", [{}, {"modules_to_save": ["lm_head"]}, {"trainable_token_indices": [1, 2]}])
def test_weights_that_are_trained_beside_an_adapter_are_no_base(more: dict[str, Any]) -> None:
    model = peft.get_peft_model(gpt(), config(**more))
    assert why_no_base(model.get_base_model()) == ""
    model.get_base_model().model.norm.weight.requires_grad_(True)
    assert why_no_base(model.get_base_model()) == (
        "weights of the base model itself are trained beside its adapter (1, first: model.norm.weight)"
    )
    assert from_transformers(model, BYTES).base is None


def test_hooks_of_ones_own_are_named_and_no_reading_is_like_another() -> None:
    model, own = gpt(), from_transformers(gpt(), BYTES)
    handle = model.model.layers[0].mlp.register_forward_hook(lambda _module, _rows, out: out + 1)
    first, second = from_transformers(model, BYTES), from_transformers(model, BYTES)
    assert "hooks in the model in memory are part of it" in first.notes[0]
    assert len({own.sha256, first.sha256, second.sha256}) == 3
    handle.remove()
    assert from_transformers(model, BYTES).sha256 == own.sha256
