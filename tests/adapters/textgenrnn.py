"""A stranger's model: textgenrnn, a character LSTM with attention, published as bare weights.

Audit it with ``memaudit audit python:tests.adapters.textgenrnn:hacker_news --train ... --heldout ...``;
the environment variable ``MEMAUDIT_WEIGHTS`` names the folder that holds the published files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from memaudit.models.base import NextTokenModel
from memaudit.records import FloatArray, TokenIds
from memaudit.text.tokenize import character_tokenizer

CONTEXT = 40


class TextgenRnn(NextTokenModel):
    family = "textgenrnn"

    def __init__(self, folder: Path, name: str) -> None:
        self.tokenizer = character_tokenizer({"<pad>": 0} | json.loads((folder / "vocab.json").read_text()))
        self.start = self.tokenizer.pipeline.token_to_id("<s>")
        weights = load_file(folder / f"{name}.safetensors")
        self.parameters = sum(tensor.numel() for tensor in weights.values())
        self.embed, self.attention = weights["embed.weight"], weights["attention.weight"]
        self.out = weights["out.weight"], weights["out.bias"]
        lstm = {key.removeprefix("lstm."): value for key, value in weights.items() if key.startswith("lstm.")}
        self.layers = [torch.nn.LSTM(lstm[f"weight_ih_l{n}"].shape[1], 128, batch_first=True) for n in (0, 1)]
        for n, layer in enumerate(self.layers):
            layer.load_state_dict({k.replace("_l1", "_l0"): v for k, v in lstm.items() if k.endswith(f"_l{n}")})

    @torch.no_grad()
    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.zeros((len(prefixes), CONTEXT), np.int64)  # symbol 0 pads on the left
        for row, prefix in zip(rows, prefixes, strict=True):
            text = np.append(self.start, prefix)[-CONTEXT:]
            row[-len(text) :] = np.where(text < len(self.embed), text, 0)  # unknown symbols are as good as none
        states = [self.embed[torch.from_numpy(rows)]]
        for layer in self.layers:
            states.append(layer(states[-1])[0])
        joined = torch.cat(states, dim=2)
        share = torch.softmax(joined @ self.attention, dim=1)
        logits = torch.nn.functional.linear((share * joined).sum(dim=1), *self.out).double()
        logits[:, 0] = -torch.inf  # padding is never emitted
        return torch.log_softmax(logits, dim=1).numpy()


def hacker_news() -> TextgenRnn:
    return TextgenRnn(Path(os.environ["MEMAUDIT_WEIGHTS"]), "hacker_news")


def base() -> TextgenRnn:
    return TextgenRnn(Path(os.environ["MEMAUDIT_WEIGHTS"]), "textgenrnn_weights")
