"""Exact pseudo-log-likelihood of a text of 128 tokens: ours beside one mask at a time through the module itself.

Random weights: the cost does not depend on them. For BERT-base 32 of the positions are asked for on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from common import Report, interleaved
from memory import peak_mib
from transformers import AutoModelForMaskedLM, BertConfig

from memaudit.models.masked import MaskedTransformer
from memaudit.models.masked_rows import SharedRows, WholeRows
from memaudit.models.products import inference
from memaudit.records import FloatArray, Window
from memaudit.text.tokenize import train_tokenizer

LENGTH = 128
CONFIGURATIONS: dict[str, tuple[dict[str, int], int, float]] = {
    "BERT d=256, 4 layers, V=30522": (
        {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}, 127, 4,
    ),
    "BERT-base, V=30522": ({}, 32, 2),
}  # fmt: skip
"""Configuration, positions asked for, and the goal; the start token makes the text 128 long."""


def made(name: str) -> tuple[MaskedTransformer, Window]:
    changed, positions, _ = CONFIGURATIONS[name]
    torch.manual_seed(0)
    module = AutoModelForMaskedLM.from_config(BertConfig(**changed), attn_implementation="sdpa")
    model = MaskedTransformer(module, train_tokenizer("byte", []))
    assert isinstance(model._rows, SharedRows)
    text = np.random.default_rng(0).integers(3, 30522, LENGTH - 1, dtype=np.int32)
    return model, Window(text[: LENGTH - 1 - positions], text[LENGTH - 1 - positions :])


def one_at_a_time(model: MaskedTransformer, window: Window) -> FloatArray:
    """What one writes by hand: mask a token, read the text, look up the token."""
    text = torch.tensor([[model.tokenizer.bos_id, *window.prefix, *window.suffix]])
    values = []
    for place in range(LENGTH - len(window.suffix), LENGTH):
        row = text.clone()
        row[0, place] = model.tokenizer.mask_id
        with torch.no_grad():
            logits = model.module(input_ids=row).logits
        values.append(torch.log_softmax(logits[0, place], dim=-1)[text[0, place]].item())
    return np.array(values)


def in_batches_of_whole_rows(model: MaskedTransformer, window: Window) -> FloatArray:
    """Our own scoring without sharing."""
    shared, model._rows = model._rows, WholeRows(model._body, model._mask_id)
    try:
        return model.score([window]).log_prob
    finally:
        model._rows = shared


def scoring(name: str) -> Callable[[], Any]:
    """What `peak_mib` runs: several windows, so that batches are full."""
    model, window = made(name)
    model.score([Window(window.prefix, window.suffix[:2])])
    return lambda: model.score([window] * 3)


def main() -> None:
    torch.set_num_threads(1)
    report = Report("masked")
    for name, (_, positions, goal) in CONFIGURATIONS.items():
        model, window = made(name)
        works: dict[str, Callable[[], FloatArray]] = {
            "one mask at a time": partial(one_at_a_time, model, window),
            "one mask at a time on our products": partial(inference()(one_at_a_time), model, window),
            "batches of whole rows": partial(in_batches_of_whole_rows, model, window),
            "ours": lambda model=model, window=window: model.score([window]).log_prob,  # type: ignore[misc]
        }
        expected = works["one mask at a time"]()
        difference = float(np.abs(works["ours"]() - expected).max())
        times = interleaved(works, repeats=3)
        report.add(f"{name}: ours, {positions} of {LENGTH} tokens", positions / times["ours"], unit="tokens/s")
        for other in list(works)[:-1]:
            ratio = times[other] / times["ours"]
            report.add(f"{name}: ours / {other}", ratio, goal=goal if other == "one mask at a time" else None)
        report.add(f"{name}: largest difference", difference, unit="nats", goal=1e-5, at_most=True)
        bounded = goal == 2
        report.add(f"{name}: peak memory", peak_mib(partial(scoring, name)), unit="MiB",
                   goal=2048 if bounded else None, at_most=bounded)  # fmt: skip
    report.finish()


if __name__ == "__main__":
    main()
