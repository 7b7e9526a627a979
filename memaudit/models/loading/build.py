"""A module with the weights of a folder, each compared with what was read once it is in its place."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.description import UNLIKE
from memaudit.models.loading.old_masks import old_masks
from memaudit.models.loading.reasons import headless
from memaudit.models.loading.stored import LazyTensor, check_finite_values, is_finite, pieces_of
from memaudit.models.loading.weights import one_name

OTHER_OBJECTIVE = re.compile(r"(^|\.)(pooler|seq_relationship)\.")
"""Weights of BERT's sentence objective, which no token prediction reads."""


@dataclass(frozen=True, slots=True)
class Blank:
    """A model of which all is known but its weights."""

    folder: Path
    """For messages."""
    module_class: Any
    """Of `transformers`."""
    config: Any


def build_module(
    blank: Blank,
    weights: Mapping[str, LazyTensor | Tensor],
    dtype: torch.dtype,
    ignored: list[str],
    places: Mapping[str, Any],
) -> Any:
    """Return a module with these weights; those of objectives that predict no token are added to ``ignored``.

    The module is made without memory, and each tensor is read, checked and converted when its place in it is filled.
    ``places`` is what transformers is told of devices: see `memaudit.models.loading.placement`.

    Raises:
        ModelError: Tensors are missing, left over, of another shape, not finite, or other than what was read.
    """
    with quiet_transformers(), _one_by_one():
        module, info = filled(blank, weights, dtype, **places)
    ignored += _unused(blank.folder, module, info, weights)
    check_same(blank.folder, module, weights)
    return module


def filled(
    blank: Blank, weights: Mapping[str, LazyTensor | Tensor], dtype: torch.dtype, label: str = "", **places: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Return the module that the loader of transformers makes of tensors, and what it says of those without a place.

    Args:
        blank: The model without its weights.
        weights: By their names in the files.
        dtype: Of the module.
        label: How the weights are quantised, for messages.
        **places: What the loader is told of devices.

    Raises:
        ModelError: It fails, whatever it says.
    """
    attention = "sdpa" if getattr(blank.module_class, "_supports_sdpa", False) else "eager"
    try:
        module, info = blank.module_class.from_pretrained(
            None,
            config=blank.config,
            state_dict=dict(weights),
            dtype=dtype,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused by name: see `check_places`
            **places,
        )
    except ModelError:
        raise
    except Exception as error:  # a hostile configuration can fail anywhere in a family's constructor
        reason, told = one_line(" ".join(str(error).split()), 150), f"{label}: " if label else ""
        raise ModelError(f"{blank.folder}: {told}weights and config.json do not fit: {reason}") from None
    return module, info


def check_places(folder: Path, module: Any, info: Mapping[str, Any], passed_over: Iterable[str] = ()) -> None:
    """Refuse tensors that the loader of transformers found missing, of another shape, or in no place of a module.

    Args:
        folder: For messages.
        module: As it was loaded.
        info: What the loader says.
        passed_over: Names of tensors that need no place.

    Raises:
        ModelError: How many there are of each kind, and the first.
    """
    found = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(set(info["unexpected_keys"]).difference(passed_over)),
        "of another shape": sorted(str(key[0]) for key in info["mismatched_keys"]),
    }
    wrong = [f"{len(names)} tensors {what}, first: {one_name(names[0])}" for what, names in found.items() if names]
    if wrong:
        raise ModelError(f"{folder}: {headless(module, found['missing'])}{'; '.join(wrong)}", UNLIKE)


@contextmanager
def _one_by_one() -> Iterator[None]:
    """Let transformers read tensors when it needs them: threads that read ahead hold many that have no place yet."""
    name = "HF_DEACTIVATE_ASYNC_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _unused(
    folder: Path, module: Any, info: Mapping[str, Any], weights: Mapping[str, LazyTensor | Tensor]
) -> list[str]:
    """Return what was left out of what may be; ModelError about any other difference of tensors and module."""
    unused = sorted(name for name in info["unexpected_keys"] if OTHER_OBJECTIVE.search(name))
    masks = old_masks(sorted(info["unexpected_keys"]), weights)
    check_places(folder, module, info, (*unused, *masks))
    told = [f"{len(masks)} masks of an old release, such as {one_name(masks[0])}"] if masks else []
    return [f"weights: {name}" for name in (*map(one_name, unused), *told)]


def check_same(folder: Path, module: Any, weights: Mapping[str, LazyTensor | Tensor]) -> None:
    """Compare what was loaded with what is read once more, a piece at a time, and check the values of all the rest.

    Loading has been known to succeed with random weights.

    Raises:
        ModelError: A tensor differs from the file, or has values that are not finite in its type.
    """
    loaded = module.state_dict()
    for name, stored in weights.items():
        if name not in loaded:
            for piece in pieces_of(stored):
                check_finite_values(name, piece)
            continue
        held = _held(module, name, loaded[name])
        if not _is_same(held, stored):
            check_finite_values(name, held)
            raise ModelError(f"{folder}: tensor {one_name(name)} differs from the file after loading")
    for name in loaded.keys() - weights.keys():
        check_finite_values(name, _held(module, name, loaded[name]))
    embedding = module.get_input_embeddings().weight
    names = [name for name, parameter in module.named_parameters() if parameter is embedding]
    if not any(bool(_held(module, name, embedding).any()) for name in names):
        raise ModelError(f"{folder}: the token embedding holds zeros only", "the weights are damaged")


def _held(module: Any, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor of a module from where it lies, which may be the disk."""
    if tensor.device.type != "meta":
        return tensor
    from transformers.integrations.accelerate import load_offloaded_parameter

    try:
        held: Tensor = load_offloaded_parameter(module, name)
    except KeyError:  # of a tensor that is tied to another, and was written under the name of that alone
        reason = f"{type(module).__name__} does not compute in parts: tensor {one_name(name)} is not on the disk"
        raise ModelError(reason, "name one device") from None
    return held


def _is_same(loaded: Tensor, stored: LazyTensor | Tensor) -> bool:
    """Return whether a tensor has the values that are stored, as its type has them, and all are finite."""
    pairs = zip(pieces_of(loaded), pieces_of(stored), strict=True)
    return all(torch.equal(own.cpu(), piece.to(own.dtype)) and is_finite(own) for own, piece in pairs)
