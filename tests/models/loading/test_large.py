"""Memory that loading takes: little more than the weights, however they lie in files, and less where layers are left.

Each model is loaded in a process of its own, a fork that has everything imported, so that nothing else is counted.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading import placement
from memaudit.models.loading.load import load_model
from memaudit.models.transformer import new_gpt
from memaudit.text.tokenize import train_tokenizer
from tests.faults.isolation import Outcome, isolated

BYTES = train_tokenizer("byte", [])
LIBRARIES = 32 << 20
"""Bytes that the first products of a process take: code that is made for the processor, buffers of threads."""


def saved(folder: Path, *, shards: int, tied: bool) -> Path:
    """A folder that is written in a process of its own: memory that was freed in this one could hide what is taken."""
    outcome = isolated(lambda: save(folder, shards=shards, tied=tied))
    assert outcome.exit_code == 0, outcome.message
    assert len(list(folder.glob("*.safetensors"))) == shards
    return folder


def save(folder: Path, *, shards: int, tied: bool) -> None:
    """Write a Llama in bf16 of 200 MB; its numbers repeat, as making new ones would take longer than all else."""
    config = LlamaConfig(
        vocab_size=16_000 if tied else 300, num_hidden_layers=5 if tied else 6,
        hidden_size=1024, intermediate_size=4096, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=64, tie_word_embeddings=tied,
    )  # fmt: skip
    with torch.device("meta"):
        module = LlamaForCausalLM(config)
    some = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).mul_(0.02).bfloat16()
    module = module.to(torch.bfloat16).to_empty(device="cpu")
    module.tie_weights()
    for parameter in module.parameters():
        flat = parameter.data.view(-1)
        for first in range(0, len(flat), len(some)):
            flat[first : first + len(some)] = some[: len(flat) - first]
    with quiet_transformers():
        module.save_pretrained(folder, max_shard_size="58MB" if shards > 1 else "1GB")
    BYTES.save(folder)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("four"), shards=4, tied=False)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("one"), shards=1, tied=True)


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that is imported on first use is imported before a process is forked."""
    folder = tmp_path_factory.mktemp("warm")
    new_gpt(BYTES, width=32, style="llama").save(folder)
    load_model(str(folder), dtype="bfloat16")


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def taken(outcome: Outcome) -> float:
    """Bytes at the peak."""
    assert outcome.exit_code == 0, outcome.message
    return outcome.mebibytes * 2**20 - LIBRARIES


def test_bf16_in_four_shards_takes_little_more_than_the_files(four: Path) -> None:
    outcome = isolated(lambda: load_model(str(four), dtype="bfloat16").dtype)
    assert outcome.value == "bfloat16"
    assert size_of(four) <= taken(outcome) + LIBRARIES <= 1.3 * size_of(four)


def test_bf16_in_one_file_with_tied_ends(one: Path) -> None:
    assert taken(isolated(lambda: load_model(str(one), dtype="auto").dtype)) <= 1.2 * size_of(one)


def test_float32_of_bf16_takes_the_module_and_a_part_of_it(four: Path) -> None:
    module = 2 * size_of(four)
    outcome = isolated(lambda: load_model(str(four)).dtype)
    assert module <= taken(outcome) + LIBRARIES <= 1.3 * module


def test_layers_on_the_disk_take_no_memory(four: Path) -> None:
    def loaded() -> str:
        placement.free_memory = lambda: {"cpu": int(0.6 * size_of(four))}
        return load_model(str(four), dtype="bfloat16", device="auto").placement

    outcome = isolated(loaded)
    assert "on disk" in outcome.value
    assert taken(outcome) <= 0.85 * size_of(four)
