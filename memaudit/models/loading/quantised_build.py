"""What a quantised folder describes, and a quantised base model made fit for an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError
from memaudit.models.loading.kept import kept_shapes, needed
from memaudit.models.loading.packed import plain_shapes
from memaudit.models.loading.precision import DTYPES
from memaudit.models.loading.quantised import Quantisation
from memaudit.models.loading.quantised_layers import dequantise_layers, layers_of
from memaudit.models.loading.weights import Declared

Parts = Mapping[str, Declared]


def shapes_of(folder: Path, quantisation: Quantisation, declared: Parts) -> Parts:
    """Return the tensors that a configuration should describe, from those that a folder declares.

    Raises:
        ModelError: What reads them is missing, no tensor is quantised, or parts of a weight do not fit each other.
    """
    if not quantisation.library:
        return plain_shapes(folder, quantisation, declared)
    needed(folder, quantisation)
    return kept_shapes(folder, quantisation, declared)


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
