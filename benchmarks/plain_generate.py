"""The script that people would write without memaudit: transformers' own ``generate``, greedy and batched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from memaudit.models.transformer import CausalTransformer
from memaudit.records import TokenIds, Window

Verdicts = np.ndarray[Any, np.dtype[np.bool_]]


@torch.inference_mode()
def generated(model: CausalTransformer, windows: Sequence[Window], batch: int) -> list[TokenIds]:
    """Return what it writes behind every prefix, as long as the suffix; prefixes and suffixes have one length each."""
    rows: list[TokenIds] = []
    for first in range(0, len(windows), batch):
        some = windows[first : first + batch]
        prompts, length = np.stack(model.prefixes(some)), len(some[0].suffix)
        ids = torch.as_tensor(prompts, dtype=torch.long, device=next(model.module.parameters()).device)
        text = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, min_new_tokens=length,
            do_sample=False, use_cache=True, pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        rows += list(text[:, ids.shape[1] :].cpu().numpy().astype(np.int32))
    return rows


def reproduced(model: CausalTransformer, windows: Sequence[Window], batch: int) -> Verdicts:
    """Return whether it writes each suffix, token for token."""
    texts = generated(model, windows, batch)
    return np.array([bool((row == window.suffix).all()) for row, window in zip(texts, windows, strict=True)])
