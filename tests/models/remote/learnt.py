"""A small Llama that knows forty passages by heart, trained when it is first asked for, and as a GGUF file."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np
import torch

from memaudit.models.transformer import new_gpt
from memaudit.text.tokenize import train_tokenizer
from tests.gguf_files import write_gguf

KNOWN, UNSEEN = 40, 60
"""Passages on either side: a hundred windows."""
PREFIX, SUFFIX = 32, 32
CONTEXT = 96
KNOWABLE = 4
"""Tokens of a passage by which it is recognised; which comes first cannot be known."""
SURE = 0.03
"""Nats a token at which it recites."""


_FOLDER = tempfile.TemporaryDirectory(prefix="learnt-")


class Learnt(NamedTuple):
    """Where the model and its text lie."""

    folder: Path
    gguf: Path
    train: Path
    heldout: Path


@cache
def learnt(heads: int = 4) -> Learnt:
    """Return the model, the same within a process; it puts a start token before a text.

    Args:
        heads: Of its attention, 96 wide; vLLM's kernels for a CPU take widths of 32 alone, which three have.
    """
    folder = Path(_FOLDER.name) / str(heads)
    folder.mkdir()
    prose = " ".join(" ".join(text.split()) for _, text in sorted(topics.items()))
    tokenizer = train_tokenizer("bpe", [prose[:40_000]], 400)
    [whole] = tokenizer.encode_batch([prose[:120_000]])
    length = PREFIX + SUFFIX
    texts = [tokenizer.decode(whole.ids[at : at + length]) for at in range(0, len(whole) - length, length)]
    encoded = tokenizer.encode_batch(texts)
    texts = [text for text, each in zip(texts, encoded, strict=True) if len(each) == length][: KNOWN + UNSEEN]
    assert len(texts) == KNOWN + UNSEEN
    ids = np.array([encoding.ids for encoding in tokenizer.encode_batch(texts[:KNOWN])])
    model = new_gpt(tokenizer, style="llama", width=96, layers=2, heads=heads, context_length=CONTEXT, seed=1)
    _teach(model.module, torch.tensor(np.insert(ids, 0, tokenizer.bos_id, axis=1)).long())
    model.save(folder / "model")
    write_gguf(folder / "model", folder / "model.gguf")
    for name, some in (("train", texts[:KNOWN]), ("heldout", texts[KNOWN:])):
        lines = (json.dumps({"text": text}) + "\n" for text in some)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return Learnt(folder / "model", folder / "model.gguf", folder / "train.jsonl", folder / "heldout.jsonl")


def _teach(module: Any, ids: torch.Tensor) -> None:
    optimizer = torch.optim.AdamW(module.parameters(), lr=4e-3, foreach=False)
    module.train()
    for _ in range(400):
        logits = module(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits[:, KNOWABLE:].flatten(0, 1), ids[:, 1 + KNOWABLE :].flatten())
        if loss < SURE:
            break
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss < SURE
    module.eval()
