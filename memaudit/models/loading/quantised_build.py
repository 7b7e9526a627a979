"""A module with the quantised weights of a folder: dequantised by us, or kept as the library of their method has."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.build import DTYPES, build_module, moved
from memaudit.models.loading.kept import build_kept, kept_shapes, needed, read_kept
from memaudit.models.loading.packed import check_room, dequantised, plain_shapes
from memaudit.models.loading.quantised import Quantisation
from memaudit.models.loading.quantised_layers import dequantise_layers, layers_of
from memaudit.models.loading.weights import Declared, check_values

Parts = Mapping[str, Declared]


@dataclass(frozen=True, slots=True)
class Blank:
    """A model of which all is known but its weights."""

    folder: Path
    module_class: Any
    """Of `transformers`."""
    config: Any


def described(folder: Path, quantisation: Quantisation, declared: Parts) -> Parts:
    """Return the tensors that a configuration should describe, from those that a folder declares.

    Raises:
        ModelError: What reads them is missing, no tensor is quantised, or parts of a weight do not fit each other.
    """
    if not quantisation.library:
        return plain_shapes(folder, quantisation, declared)
    needed(folder, quantisation)
    return kept_shapes(folder, quantisation, declared)


def build_quantised(
    blank: Blank, quantisation: Quantisation, held: Parts, shapes: Parts, dtype: torch.dtype, device: str,
    ignored: list[str],
) -> Any:  # fmt: skip
    """Return a module with the weights of a folder.

    Args:
        blank: The model without its weights.
        quantisation: How they are quantised.
        held: What the files declare.
        shapes: What that describes, from `described`.
        dtype: In which is computed.
        device: Where.
        ignored: Weights that no token prediction reads are added to it.

    Raises:
        ModelError: As `build_module`, or if there is no memory for weights that are dequantised.
    """
    if quantisation.library:
        moved(torch.nn.Linear(1, 1), device)  # a device that is not there is told before anything is read
        weights = read_kept(blank.folder)
        return build_kept(blank.folder, blank.module_class, blank.config, quantisation, weights, dtype, device)
    check_room(blank.folder, shapes, dtype)
    weights = _without_empty_biases(blank, dequantised(blank.folder, quantisation, held, dtype))
    check_values(weights)
    return moved(build_module(blank.folder, blank.module_class, blank.config, weights, dtype, ignored), device)


def _without_empty_biases(blank: Blank, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out biases of zeros that the model has no room for: old tools for GPTQ wrote one for every layer."""
    empty = [name for name, tensor in weights.items() if name.endswith(".bias") and not bool(tensor.any())]
    if not empty:
        return weights
    with quiet_transformers(), torch.device("meta"):
        known = blank.module_class(copy.deepcopy(blank.config)).state_dict().keys()
    return {name: tensor for name, tensor in weights.items() if name in known or name not in empty}


def make_mergeable(name: str, module: Any, note: str, activations: str, dtype: str) -> str:
    """Give a quantised base model plain weights, to which an adapter can be added; return what a report says of it.

    Merged into weights of 4 bits it would be rounded away: `peft` keeps the two apart, which comes to the same sum.

    Args:
        name: Of the base model, for messages.
        module: Of the base model; its layers are replaced.
        note: What a report says of its weights so far.
        activations: Type to which what its layers are given is rounded; empty where it is not.
        dtype: In which is computed.

    Raises:
        ModelError: What its layers are given is rounded, in a way that a merged adapter would not be read.
    """
    if not any(layers_of(module)):
        if activations:
            raise ModelError(
                f"{name}: rounds what its layers are given to {activations}, and an adapter does not",
                "name the unquantised base model with --base",
            )
        return note
    dequantise_layers(module, DTYPES[dtype])
    rounded = ", without rounding what its layers are given" if activations else ""
    return f"{note.partition(', and read')[0]}, and dequantised to {dtype} for the adapter{rounded}"
