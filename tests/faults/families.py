"""Language models of many families with small random weights, read in batches of every size, order and thread count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from memaudit.models.base import LanguageModel
from memaudit.models.body_head import quiet_transformers
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
BATCHES = (1, 2, 3, 8, 32)
SUFFIX = 10
TOLERANCE = 1e-4
"""Nats per 20 tokens."""

SIZE = {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0,
        "bos_token_id": 0, "eos_token_id": 0, "max_position_embeddings": 64}  # fmt: skip
HEADS = SIZE | {"num_attention_heads": 2, "intermediate_size": 48}
GROUPED = HEADS | {"num_key_value_heads": 1}
GPT = {"vocab_size": BYTES.vocab_size, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
EXPERTS = GROUPED | {"num_local_experts": 2, "num_experts_per_tok": 1}

CAUSAL: dict[str, dict[str, Any]] = {
    "GPT2": GPT, "GPTBigCode": GPT, "GPTJ": GPT | {"rotary_dim": 8}, "CodeGen": GPT | {"rotary_dim": 8},
    "OpenAIGPT": GPT, "CTRL": GPT | {"dff": 48}, "GPTNeoX": HEADS,
    "GPTNeo": {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "num_layers": 2, "num_heads": 2,
               "attention_types": [[["global", "local"], 1]], "window_size": 8, "max_position_embeddings": 64},
    "Bloom": {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "n_layer": 2, "n_head": 2},
    "OPT": {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 48,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64},
    "Falcon": HEADS, "Mpt": {"vocab_size": BYTES.vocab_size, "d_model": 32, "n_layers": 2, "n_heads": 2,
                             "max_seq_len": 64},
    "Llama": GROUPED, "Mistral": GROUPED | {"sliding_window": 8}, "Qwen2": GROUPED, "Qwen3": GROUPED | {"head_dim": 16},
    "Gemma": GROUPED | {"head_dim": 16}, "Gemma2": GROUPED | {"head_dim": 16, "sliding_window": 8},
    "Gemma3Text": GROUPED | {"head_dim": 16, "sliding_window": 8}, "Phi": HEADS, "Phi3": GROUPED,
    "StableLm": GROUPED, "Starcoder2": GROUPED, "Cohere": GROUPED, "Olmo": GROUPED, "Olmo2": GROUPED,
    "Granite": GROUPED, "Glm": GROUPED | {"head_dim": 16}, "Persimmon": HEADS, "Mixtral": EXPERTS,
    "Nemotron": GROUPED, "SmolLM3": GROUPED,
    "Mamba": {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "num_hidden_layers": 2},
    "Rwkv": {"vocab_size": BYTES.vocab_size, "hidden_size": 32, "num_hidden_layers": 2, "context_length": 64},
    "RecurrentGemma": GROUPED | {"head_dim": 16, "lru_width": 32, "attention_window_size": 8,
                                 "block_types": ["recurrent", "attention"]},
    "XGLM": {"vocab_size": BYTES.vocab_size, "d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 2,
             "max_position_embeddings": 64},
    "BioGpt": HEADS,
    "XLNet": {"vocab_size": BYTES.vocab_size, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
}  # fmt: skip
MASKED: dict[str, dict[str, Any]] = {
    "Bert": HEADS, "Roberta": HEADS, "Electra": HEADS | {"embedding_size": 32},
    "Albert": HEADS | {"embedding_size": 16},
    "DistilBert": {"vocab_size": BYTES.vocab_size, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48,
                   "max_position_embeddings": 64},
    "ModernBert": HEADS, "MPNet": HEADS, "ConvBert": HEADS, "DebertaV2": HEADS, "Camembert": HEADS, "FNet": HEADS,
}  # fmt: skip


@dataclass(frozen=True)
class Disagreement:
    """How far readings of the same windows lay apart."""

    hits: int
    """Windows whose tokens reproduced, or whose hit, were not those of being read alone."""
    texts: int
    """Windows whose greedy continuation was not that of being continued alone."""
    nats: float
    """Largest difference of a log-probability, per 20 tokens."""


def names() -> list[str]:
    """Return all families, ours included."""
    return [*CAUSAL, *MASKED, "ngram", "rnn"]


def new_model(name: str) -> LanguageModel:
    """Return a model whose distributions lie far from uniform, the same every time."""
    if name == "ngram":
        ids = [window.prefix for window in some_windows(40, seed=5)]
        return NgramModel.train(ids, BYTES, order=4)
    if name == "rnn":
        model = new_rnn(BYTES, width=24, layers=2)
        return _spread(model)
    shape = CAUSAL.get(name) or MASKED[name]
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**shape)
        auto = AutoModelForCausalLM if name in CAUSAL else AutoModelForMaskedLM
        module: Any = auto.from_config(config)
    wrapper: Any = CausalTransformer if name in CAUSAL else MaskedTransformer
    return _spread(wrapper(module, BYTES))


def some_windows(count: int, seed: int) -> list[Window]:
    """Return windows of many lengths."""
    lot = np.random.default_rng(seed)
    return [
        Window(lot.integers(3, 259, length, dtype=np.int32), lot.integers(3, 259, SUFFIX, dtype=np.int32))
        for length in lot.integers(4, 30, count)
    ]


def disagreement(
    model: LanguageModel, windows: Sequence[Window], batches: Sequence[int] = BATCHES, threads: Sequence[int] = (1, 2)
) -> Disagreement:
    """Read windows alone, then in batches of every size, shuffled; return how far that lay apart.

    Every second window is first given the model's own continuation for a suffix, so that there is something to hit.
    """
    own = model.greedy_continuations(windows[::2])
    windows = [*(Window(w.prefix, o) for w, o in zip(windows[::2], own, strict=True)), *windows[1::2]]
    alone = [_read(model, [window]) for window in windows]
    hits = texts = 0
    nats = 0.0
    before = torch.get_num_threads()
    try:
        for number, size in enumerate(batches):
            torch.set_num_threads(threads[number % len(threads)])
            order = np.random.default_rng(size).permutation(len(windows))
            for first in range(0, len(order), size):
                places = order[first : first + size]
                together = _read(model, [windows[i] for i in places])
                for row, i in enumerate(places):
                    [(ranks, log_prob, text)] = alone[i]
                    hits += not np.array_equal(ranks == 0, together[row][0] == 0)
                    texts += not np.array_equal(text, together[row][2])
                    nats = max(nats, float(np.abs(log_prob - together[row][1]).sum()) * 20 / SUFFIX)
    finally:
        torch.set_num_threads(before)
    return Disagreement(hits, texts, nats)


def _read(model: LanguageModel, windows: Sequence[Window]) -> list[tuple[Any, Any, Any]]:
    scores = list(model.score(windows))
    texts = model.greedy_continuations(windows)
    return [(s.rank, s.log_prob, text) for s, text in zip(scores, texts, strict=True)]


def _spread(model: Any) -> LanguageModel:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3, generator=generator)
    found: LanguageModel = model
    return found
