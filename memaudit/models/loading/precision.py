"""The type in which a model's weights are held: the one that somebody names, or that of the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from memaudit.errors import ModelError
from memaudit.models.loading.weights import Declared

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
AUTO = "auto"
"""Asks for the type of the files."""
_STORED = {"F32": "float32", "F64": "float64", "BF16": "bfloat16", "F16": "float16"}


def wanted_dtype(dtype: str, raw: Mapping[str, Any], declared: Mapping[str, Declared]) -> str:
    """Return the name of the type of the weights in memory.

    Args:
        dtype: A name in `DTYPES`, or `AUTO`.
        raw: What config.json holds.
        declared: The tensors of the weight files.

    Raises:
        ModelError: No such type; it lists those that are known.
    """
    if dtype == AUTO:
        return stored_dtype(raw, declared)
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype}", f"one of {', '.join(DTYPES)}, {AUTO}")
    return dtype


def stored_dtype(raw: Mapping[str, Any], declared: Mapping[str, Declared]) -> str:
    """Return the type that a configuration names, else that of most floating point numbers; float32 if there are none.

    A name that is none of `DTYPES` counts as no name: what the files hold says more.
    """
    text = raw.get("text_config")
    for settings in (raw, text if isinstance(text, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            name = settings.get(key)
            if isinstance(name, str) and (known := name.removeprefix("torch.")) in DTYPES:
                return known
    held = Counter[str]()
    for tensor in declared.values():
        if tensor.kind in _STORED:
            held[_STORED[tensor.kind]] += tensor.values
    return max(held, key=lambda name: held[name], default="float32")
