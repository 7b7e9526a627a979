"""A stranger's recurrent model: the two-layer character LSTM of tensorflow-char-rnn, read in one scan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from memaudit.models.base import NextTokenModel
from memaudit.records import FloatArray, TokenIds
from memaudit.text.tokenize import character_tokenizer


class CharRnn(NextTokenModel):
    family = "charrnn"

    def __init__(self, folder: Path) -> None:
        self.tokenizer = character_tokenizer(json.loads((folder / "vocab.json").read_text()))
        weights = load_file(folder / "model.safetensors")
        self.out = weights["out.weight"], weights["out.bias"]
        self.lstm = torch.nn.LSTM(self.out[0].shape[0], 128, num_layers=2, batch_first=True)
        self.lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in weights.items() if k.startswith("lstm.")})

    @torch.no_grad()
    def log_probs(self, rows: np.ndarray) -> torch.Tensor:
        """Log-probabilities of the token after each of [rows, length] ids, as [rows, length, vocabulary]."""
        inputs = torch.nn.functional.one_hot(torch.from_numpy(rows.astype(np.int64)), len(self.out[1])).float()
        return torch.log_softmax(torch.nn.functional.linear(self.lstm(inputs)[0], *self.out), dim=2)

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        return np.stack([self.log_probs(prefix[None])[0, -1].double().numpy() for prefix in prefixes])
