"""Does a configuration describe the tensors of a folder? Told from their declared shapes, before memory is taken."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.weights import Declared, one_name

DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
DEEPEST = 1000
"""Layers that any configuration may name: some families list their layers before a module is built."""
TABLES = 1 << 26
"""Values that a model may compute for itself (positions, masks), or that files of old releases hold beside it."""
UNLIKE = "weights and config.json are of different models"

Shapes = Mapping[str, Declared]


def check_depth(file: Path, raw: Any, declared: Shapes) -> None:
    """Refuse a configuration that names more layers than there are tensors, before anything is made of it."""
    for key, value in _items(raw):
        if key in DEPTHS and isinstance(value, int) and value > max(DEEPEST, len(declared)):
            raise ModelError(f"{file}: {key} is {value}, which the weights cannot fill", UNLIKE)


def check_sizes(file: Path, config: Any, declared: Shapes) -> None:
    """Refuse sizes that the weights cannot fill."""
    text = config.get_text_config()
    largest = max((side for tensor in declared.values() for side in tensor.shape), default=0)
    for name, limit in (("num_hidden_layers", len(declared)), ("vocab_size", largest), ("hidden_size", largest)):
        size = getattr(text, name, None)
        if isinstance(size, int) and not 0 < size <= limit:
            raise ModelError(f"{file}: {name} is {size}, which the weights cannot fill", UNLIKE)


def described(folder: Path, module_class: Any, config: Any, declared: Shapes) -> Any:
    """Return the module that a configuration describes, built without memory.

    Args:
        folder: Of the model, or the one file that it is.
        module_class: Of `transformers`.
        config: Of the model.
        declared: What its files hold.

    Raises:
        ModelError: It cannot be built, or has by far more tensors than are declared.
    """
    file = folder if folder.is_file() else folder / "config.json"
    with _few_parameters(file, 4 * len(declared) + 1000):
        try:
            with quiet_transformers(), torch.device("meta"):
                module = module_class(copy.deepcopy(config))
        except ModelError:
            raise
        except Exception as error:  # a hostile configuration can fail anywhere in a family's constructor
            reason = one_line(" ".join(str(error).split()), 150)
            raise ModelError(f"{folder}: weights and config.json do not fit: {reason}") from None
    with suppress(AttributeError, NotImplementedError):
        if module.get_input_embeddings().weight.dim() == 2:
            return module
    raise ModelError(f"{folder}: {module_class.__name__} has no embedding of tokens", "is it a language model?")


def check_tensors(folder: Path, module: Any, declared: Shapes, names: Iterable[str]) -> None:
    """Compare the tensors of a module, which was built without memory, with those that are declared.

    Names that a release of transformers translates are left to its loader.

    Args:
        folder: For messages.
        module: As `described` built it.
        declared: All tensors of the folder.
        names: Those that are to be read.

    Raises:
        ModelError: They differ in shape, or in kind (whole numbers are quantised weights), or in size by far.
    """
    expected = module.state_dict()
    for name in sorted(expected.keys() & set(names)):
        found, wanted = declared[name], tuple(expected[name].shape)
        if expected[name].is_floating_point() and found.kind.startswith(("I", "U", "BOOL", "F8")):
            hint = "config.json does not say how it is quantised"
            raise ModelError(f"{found.file}: tensor {one_name(name)} holds {found.kind}", hint)
        if found.shape != wanted:
            sizes = f"{list(found.shape)}, config.json describes {list(wanted)}"
            raise ModelError(f"{folder}: tensor {one_name(name)} is of another shape: {sizes}"[:600], UNLIKE)
    _check_amounts(folder if folder.is_file() else folder / "config.json", module, declared)


def _check_amounts(file: Path, module: nn.Module, declared: Shapes) -> None:
    described = sum(value.numel() for value in (*module.parameters(), *module.buffers()))
    held = sum(tensor.values for tensor in declared.values())
    if max(described - 2 * held, held - 2 * described) > TABLES:
        raise ModelError(f"{file}: describes {described:,} values, the weights hold {held:,}", UNLIKE)


@contextmanager
def _few_parameters(file: Path, limit: int) -> Iterator[None]:
    """Stop a constructor that makes many more parameters than there are tensors: a million layers or experts."""
    made = 0

    def count(*_: Any) -> None:
        nonlocal made
        made += 1
        if made > limit:
            raise ModelError(f"{file}: describes more than {limit:,} tensors, the weights cannot fill them", UNLIKE)

    hook = nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _items(raw: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield key, value
            yield from _items(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from _items(value)
