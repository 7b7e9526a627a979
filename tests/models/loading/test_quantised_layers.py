"""Quantised modules in memory: what is told of them, and that they are counted and replaced as what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from memaudit.models.loading.load import load_model
from memaudit.models.loading.objects import from_transformers
from memaudit.models.loading.quantised_layers import (
    dequantise_layers,
    describe,
    layers_of,
    parameters_of,
    without_packing,
)
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.quantising import KEPT, quiet

for library in ("bitsandbytes", "compressed_tensors"):
    pytest.importorskip(library)

BYTES = train_tokenizer("byte", [])
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 30, dtype=np.int32))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layers")
    new_gpt(BYTES, style="llama", width=48, layers=2, heads=2, context_length=64).save(root / "llama")
    for kind in ("nf4", "llm.int8", "w8a8"):
        KEPT[kind](root / "llama", root / kind)
    return root


def loaded(folder: Path) -> Any:
    with quiet():
        module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        without_packing(module)
        module(input_ids=torch.zeros((1, 1), dtype=torch.long))
    return module


def test_a_module_in_memory_is_told_of_as_its_folder(folders: Path) -> None:
    for kind in ("nf4", "llm.int8"):
        module, words = loaded(folders / kind), AutoTokenizer.from_pretrained(folders / kind)
        before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        memory, folder = from_transformers(module, words), load_model(str(folders / kind))
        assert (memory.notes, memory.dtype) == (folder.notes, folder.dtype)
        assert memory.parameters == folder.parameters
        np.testing.assert_allclose(memory.score(WINDOWS).log_prob, folder.score(WINDOWS).log_prob, rtol=0, atol=1e-6)
        after = module.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_type_that_is_computed_in_is_told(folders: Path) -> None:
    """Which need not be that of the embeddings: less than float32 is never called clean."""
    module, words = loaded(folders / "nf4"), AutoTokenizer.from_pretrained(folders / "nf4")
    for _, layer in layers_of(module):
        layer.compute_dtype = torch.bfloat16
    assert module.dtype == torch.float32
    assert from_transformers(module, words).dtype == "bfloat16"
    note, computed = describe(loaded(folders / "w8a8"))
    assert (note, computed) == ("weights are quantised (compressed-tensors), and read as they are", "int8 activations")


def test_of_a_plain_module_nothing_is_told(folders: Path) -> None:
    module = loaded(folders / "llama")
    assert describe(module) == ("", "")
    assert not list(layers_of(module))
    assert parameters_of(module) == sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def test_layers_are_replaced_by_what_they_stand_for(folders: Path) -> None:
    module = loaded(folders / "nf4")
    ids = torch.arange(5, 25)[None]
    expected, count = module(input_ids=ids).logits, parameters_of(module)
    dequantise_layers(module, torch.float32)
    assert not list(layers_of(module))
    assert parameters_of(module) == count
    assert torch.allclose(module(input_ids=ids).logits, expected, rtol=0, atol=1e-5)
    assert describe(module) == ("", "")
