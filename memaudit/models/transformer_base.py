"""What causal and masked transformers share: the module cut in two halves, ids to tensors, rows to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import torch
from torch import Tensor

from memaudit.errors import InputError
from memaudit.families import find_family
from memaudit.models.base import LanguageModel
from memaudit.models.body_head import context_length, quiet_transformers, split_head
from memaudit.models.parts import device_of
from memaudit.records import TokenIds, TokenScores, Window
from memaudit.text.tokenize import Tokenizer

T = TypeVar("T")

SCORE_ROWS = 8
"""Windows read together: more would leave the processor's cache (measured, up to 45% slower at 128)."""
DECODE_ROWS = 64
"""Prompts continued together; bounds the memory of their key-value caches."""


class TransformerModel(LanguageModel):
    """What causal and masked transformers share: the module cut in two halves, and ids to tensors."""

    def __init__(self, module: Any, tokenizer: Tokenizer, *, family: str = "", ignored: Sequence[str] = ()) -> None:
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.family = family or str(module.config.model_type)
        self.ignored = tuple(ignored)
        self.training: dict[str, Any] = {}
        self.attention = getattr(module.config, "_attn_implementation", None)
        self.context_length = context_length(module.config)
        self.parameters = sum(p.numel() for p in module.parameters())
        self._vocabulary = module.get_input_embeddings().weight.shape[0]
        self._body, self._head, self._is_split = split_head(module)

    def save(self, folder: Path) -> None:
        """Write a plain ``save_pretrained`` folder, and ``memaudit.json`` for models trained here."""
        with quiet_transformers():
            self.module.save_pretrained(str(folder))
        self.tokenizer.save(folder)
        if find_family(self.family) is not None:
            description = {
                "format": 1,
                "family": self.family,
                "objective": self.objective,
                "config": {"architecture": type(self.module).__name__},
                "training": self.training,
            }
            (folder / "memaudit.json").write_bytes(orjson.dumps(description, option=orjson.OPT_INDENT_2))

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """Tokens that the model is given before and behind every text."""
        return self._with_bos().tolist(), []

    def _with_bos(self, *parts: TokenIds) -> TokenIds:
        bos = self.tokenizer.bos_id
        return np.concatenate([np.array([] if bos is None else [bos], np.int32), *parts]).astype(np.int32)

    def _check(self, ids: TokenIds, length: int, what: str) -> None:
        if self.context_length is not None and length > self.context_length:
            raise InputError(
                f"{what} needs {length} positions, but the model reads at most {self.context_length}",
                "ask for fewer tokens",
            )
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self._vocabulary:
            raise InputError(
                f"{what} holds the token id {int(ids.max())}, but the model knows {self._vocabulary} tokens",
                "is this the tokenizer of this model?",
            )

    def _tensor(self, rows: Any) -> Tensor:
        return torch.as_tensor(np.asarray(rows), dtype=torch.long, device=device_of(self.module))


def common_config(tokenizer: Tokenizer, width: int, heads: int) -> dict[str, Any]:
    """Return what the configurations of all styles share; InputError where the heads cannot share the width."""
    if width % heads:
        raise InputError(f"a width of {width} cannot be shared by {heads} heads", "use a multiple of the heads")
    eos = tokenizer.eos_id
    # No padding id: transformers would freeze that token's embedding at zero, and ours is <eos>.
    return {
        "vocab_size": tokenizer.vocab_size, "bos_token_id": eos, "eos_token_id": eos, "pad_token_id": None
    }  # fmt: skip


def initialised(auto_class: Any, config: Any, seed: int) -> Any:
    """Return a module with random weights, fixed by the seed; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        return auto_class.from_config(config, attn_implementation="sdpa")


def window_name(window: Window) -> str:
    """Return how messages call a window."""
    return f"{window.source or 'a window'}: prefix with suffix"


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of ``size``, the last one perhaps shorter."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def equal_lengths(prompts: Sequence[TokenIds], size: int) -> Iterator[list[int]]:
    """Yield batches of the indices of prompts that have the same length, at most ``size`` each."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for _, group in groupby(order, key=lambda i: len(prompts[i])):
        yield from chunks(group, size)


def in_first_order(scores: TokenScores, order: list[int]) -> TokenScores:
    """Return scores of windows that were sorted as ``order`` in the order in which they came."""
    if order == sorted(order):
        return scores
    places = np.argsort(order)
    starts, ends = scores.offsets[places], scores.offsets[places + 1]
    rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    return TokenScores(offsets, scores.log_prob[rows], scores.rank[rows], scores.mean[rows], scores.std[rows])
