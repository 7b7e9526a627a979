"""A module with the weights of a folder, each compared with what was read once it is in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.description import UNLIKE
from memaudit.models.loading.reasons import headless
from memaudit.models.loading.weights import check_values, one_name

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
OTHER_OBJECTIVE = re.compile(r"(^|\.)(pooler|seq_relationship)\.")
"""Weights of BERT's sentence objective, which no token prediction reads."""


def build_module(
    folder: Path,
    module_class: Any,
    config: Any,
    weights: dict[str, Tensor],
    dtype: torch.dtype,
    ignored: list[str],
) -> Any:
    """Return a module with these weights; those of objectives that predict no token are added to ``ignored``.

    Raises:
        ModelError: Tensors are missing, left over, of another shape, not finite, or other than what was read.
    """
    attention = "sdpa" if getattr(module_class, "_supports_sdpa", False) else "eager"
    try:
        with quiet_transformers():
            module, info = module_class.from_pretrained(
                None,
                config=config,
                state_dict=dict(weights),
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except Exception as error:  # a hostile configuration can fail anywhere in a family's constructor
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{folder}: weights and config.json do not fit: {reason}") from None
    unused = sorted(name for name in info["unexpected_keys"] if OTHER_OBJECTIVE.search(name))
    ignored += [f"weights: {one_name(name)}" for name in unused]
    found = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(set(info["unexpected_keys"]) - set(unused)),
        "of another shape": sorted(str(key[0]) for key in info["mismatched_keys"]),
    }
    wrong = [f"{len(names)} tensors {what}, first: {one_name(names[0])}" for what, names in found.items() if names]
    if wrong:
        raise ModelError(f"{folder}: {headless(module, found['missing'])}{'; '.join(wrong)}", UNLIKE)
    _check_same(folder, module, weights)
    return module


def moved(module: Any, device: str) -> Any:
    """Return a module on a device; ModelError where there is none."""
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("holds no numbers")
        return module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for a device that is not there
        raise ModelError(f"--device {device}: {str(error).splitlines()[0]}") from None


def known_dtype(dtype: str) -> str:
    """Return the name of a type, or raise ModelError that lists those that are known."""
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype}", f"one of {', '.join(DTYPES)}")
    return dtype


def _check_same(folder: Path, module: Any, weights: Mapping[str, Tensor]) -> None:
    """Compare what was loaded with what was read: loading has been known to succeed with random weights."""
    loaded = module.state_dict()
    for name, tensor in weights.items():
        if name in loaded and not torch.equal(loaded[name].cpu(), tensor.to(loaded[name].dtype)):
            raise ModelError(f"{folder}: tensor {one_name(name)} differs from the file after loading")
    check_values(loaded)
    embedding = module.get_input_embeddings().weight
    if not bool(embedding.any()):
        raise ModelError(f"{folder}: the token embedding holds zeros only", "the weights are damaged")
