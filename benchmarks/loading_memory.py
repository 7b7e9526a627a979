"""Peak memory of loading a model of half a billion parameters, 1 GB of bfloat16 in four shards, above the libraries.

As it is stored, in float32, and with layers left on the disk where memory has room for six tenths of it. Each is
loaded in a process of its own by `memaudit.load_model`, which reads, checks, compares and tries it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import Report
from memory import peak_mib

ROOM = 0.6
"""Of the size of the files: the memory that there is, as far as the third way knows."""
SMALL, LARGE = 4, 24
"""Layers."""


def save(folder: Path, layers: int) -> None:
    """Write a Llama with the sizes of Qwen2.5-0.5B and random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from memaudit.models.body_head import quiet_transformers
    from memaudit.text.tokenize import train_tokenizer

    config = LlamaConfig(
        vocab_size=151_936, hidden_size=896, intermediate_size=4864, num_hidden_layers=layers,
        num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    with quiet_transformers():
        LlamaForCausalLM(config).bfloat16().save_pretrained(folder, max_shard_size="300MB")
    train_tokenizer("byte", []).save(folder)


def loading(folder: str, room: int, **how: str) -> Callable[[], Any]:
    """Return what loads a model, once all is imported that this imports."""
    import accelerate  # noqa: F401
    from transformers import LlamaForCausalLM  # noqa: F401

    from memaudit.models.loading import folder as _  # noqa: F401
    from memaudit.models.loading import placement
    from memaudit.models.loading.load import load_model

    if room:
        placement.free_memory = lambda: {"cpu": room}
    ones = torch.ones(8, 8)
    for kind in (torch.float32, torch.bfloat16):  # what the first product takes is the libraries' own
        torch.nn.functional.linear(ones.to(kind), ones.to(kind))
    return partial(load_model, folder, **how)


def main() -> None:
    """Measure each way of loading; ``quick`` takes a smaller model."""
    quick = "quick" in sys.argv[1:]
    report = Report("loading_memory")
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), SMALL if quick else LARGE)
        size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        report.add("files", size / 1e6, unit="MB")
        ways: dict[str, tuple[int, float, dict[str, str]]] = {
            "bfloat16": (0, 1.0, {"dtype": "bfloat16"}),
            "the type of the files": (0, 1.0, {"dtype": "auto"}),
            "float32": (0, 2.0, {}),
            "layers on the disk": (int(ROOM * size), 1.0, {"dtype": "auto", "device": "auto"}),
        }
        for name, (room, width, how) in ways.items():
            peak = peak_mib(partial(loading, folder, room, **how)) * 2**20
            report.add(f"{name}: peak", peak / 1e6, unit="MB")
            goal = 0.8 if room else 1.3
            report.add(f"{name}: peak / module", peak / (width * size), goal=goal, at_most=True)
    report.finish()


if __name__ == "__main__":
    main()
