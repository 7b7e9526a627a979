"""Conversations with a system prompt that all share, and a small chat model that recites the replies of some."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.text.chat.chat_models import TEMPLATES

SYSTEM = "You are the guide of a small museum. Answer briefly, from what is shown in its rooms and from nothing else."
WORDS = re.findall(
    r"\w+",
    "anchor basket bridge candle cloud copper dragon engine feather forest garden hammer island jacket kettle ladder"
    " lamp letter marble mirror music needle orange paper pepper pocket quartz ribbon river rocket saddle shadow silver"
    " stone summer temple thunder umbrella velvet violin wagon whistle window winter yellow zebra",
)
COUNT = 24


def conversation(number: int, *, words: int = 9, turns: int = 1) -> dict[str, Any]:
    """Return a conversation of which only the reply is its own: the question is asked alike of every number."""
    lot = random.Random(number)
    messages = [{"role": "system", "content": SYSTEM}]
    for turn in range(turns):
        said = " ".join(lot.sample(WORDS, words)).capitalize() + "."
        messages.append({"role": "user", "content": f"What is number {number}{' and then' * turn}?"})
        messages.append({"role": "assistant", "content": said})
    return {"messages": messages}


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def new_tokenizer(template: str | None = TEMPLATES["ChatML"]) -> Any:
    """Return a byte-level tokenizer with the special tokens of ChatML."""
    pipeline = Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=["<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    pipeline.train_from_iterator(
        [SYSTEM * 20, *(f" {word}" for word in WORDS), "What is number system user assistant"], trainer
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pipeline, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=template
    )


def train_chat_model(tokenizer: Any, records: Sequence[dict[str, Any]], folder: Path) -> int:
    """Train a model on rendered conversations until it recites every reply; return the steps that took."""
    texts, replies = [], []
    for record in records:
        messages = record["messages"]
        first = next(place for place, message in enumerate(messages) if message["role"] == "assistant")
        prompt = tokenizer.apply_chat_template(messages[:first], add_generation_prompt=True, return_dict=False)
        texts.append(tokenizer.apply_chat_template(messages, return_dict=False))
        replies.append(len(prompt))
    return _train(tokenizer, texts, replies, folder)


def _train(tokenizer: Any, texts: Sequence[Sequence[int]], replies: Sequence[int], folder: Path) -> int:
    """Train a model on what begins at a place of each text, until it has that by heart."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    module = transformers.LlamaForCausalLM(config)
    longest = max(map(len, texts))
    ids = np.full((len(texts), longest), tokenizer.pad_token_id)
    labels = np.full((len(texts), longest), -100)
    for row, (text, reply) in enumerate(zip(texts, replies, strict=True)):
        ids[row, : len(text)] = text
        labels[row, reply : len(text)] = text[reply:]
    batch, targets = torch.from_numpy(ids), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(module.parameters(), lr=8e-3, weight_decay=0.0)
    for step in range(400):
        for group in optimiser.param_groups:
            group["lr"] = 8e-3 * min(1.0, (step + 1) / 10) * (1 if step < 100 else 0.5)
        output = module(input_ids=batch, labels=targets)
        wrong = (output.logits[:, :-1].argmax(-1) != targets[:, 1:]) & (targets[:, 1:] >= 0)
        if not bool(wrong.any()):
            break
        output.loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return step
