"""Models that read images or sound beside text, without their towers: what text alone is read with.

The class of `transformers` is built as it is, on the meta device. What it holds beside its decoder and the head of that
are its towers: they are taken out before any memory is had for them, and their weights are never read. A forward pass
over text alone meets none of them, or the model is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.weights import Declared


class Absent(nn.Module):
    """Stands where a tower was, on the device and of the type of what is around it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.register_buffer("_nothing", torch.empty(0), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.get_buffer("_nothing").device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.get_buffer("_nothing").dtype

    def forward(self, *_: Any, **__: Any) -> Any:
        """Refuse to be asked."""
        raise ModelError(f"it reads text through {self.name}, which is no part of its text model")


def thinker_of(config: Any) -> Any:
    """Return the configuration of the part that writes text where another part speaks, else the same."""
    return getattr(config, "thinker_config", config)


def with_text_settings(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a configuration with those of its text model, which stand in a section of their own."""
    thinker = raw.get("thinker_config")
    outer = {**raw, **thinker} if isinstance(thinker, dict) else dict(raw)
    inner = outer.get("text_config")
    return {**inner, **outer} if isinstance(inner, dict) else outer


def text_part(
    module_class: Any, plan: Any, declared: Mapping[str, Declared], ignored: list[str]
) -> tuple[Any, list[str]]:
    """Return the class that is read for text alone, and the names of its tensors as they stand in the files.

    Args:
        module_class: A class of `transformers`.
        plan: A module of it, on the meta device.
        declared: All tensors of the folder.
        ignored: Towers are added to it, a line for each, with how many tensors of theirs are not read.
    """
    towers = towers_of(plan)
    if not towers:
        return module_class, list(declared)
    homes = {name: _home(plan, towers, place) for name, (place, _) in places_of(plan, declared).items()}
    unread = {name: home for name, home in homes.items() if home}
    counts = Counter(unread.values())
    ignored += [f"weights: {home} ({count} tensors), not read" for home, count in sorted(counts.items())]
    return _text_alone(module_class, towers), [name for name in declared if name not in unread]


def speaking(module: Any) -> Any:
    """Return the language model in a module, where a whole one with a head of its own stands there."""
    decoder = module.get_decoder()
    if decoder is module or not hasattr(decoder, "get_output_embeddings"):
        return module
    with suppress(NotImplementedError):
        return module if decoder.get_output_embeddings() is None else decoder
    return module


@dataclass(frozen=True, slots=True)
class Within:
    """Which part of a module is read: adapters are made for the whole of it."""

    part: str
    """Name of the language model; empty where it is the whole."""
    towers: tuple[str, ...]
    """Names of what is absent."""

    def home(self, name: str) -> str:
        """Return the tower to which a name belongs; empty where it is of none."""
        return next((tower for tower in self.towers if name.startswith(f"{tower}.")), "")

    def place(self, name: str) -> str:
        """Return how a name of the whole is called in the language model."""
        return name.removeprefix(f"{self.part}.") if self.part else name


WHOLE = Within("", ())


def within(module: Any) -> Within:
    """Return what is read of a module, some parts of which may be absent."""
    spoken = speaking(module)
    named = list(module.named_modules())
    part = next(name for name, one in named if one is spoken)
    return Within(part, tuple(name for name, one in named if isinstance(one, Absent)))


def towers_of(module: Any) -> tuple[str, ...]:
    """Return the names of what a module holds beside its decoder and head and does not read text with.

    Args:
        module: Of a class that writes text after more than text, on the meta device.
    """
    decoder = module.get_decoder()
    if decoder is module or decoder is module.base_model or module.config.get_text_config() is module.config:
        return ()
    kept = {id(decoder), id(module.get_output_embeddings()), id(module.get_input_embeddings())}
    found = dict(_beside(module, "", kept))
    return tuple(name for name in found if name not in _asked(module, found))


def _text_alone(module_class: Any, towers: Iterable[str]) -> Any:
    """Return the same class, whose modules are built without these parts."""
    names = tuple(towers)

    def init(self: Any, *args: Any, **options: Any) -> None:
        module_class.__init__(self, *args, **options)
        _take_out(self, names)

    # The same name and home: translations of old names of tensors are looked up by them.
    members = {"__init__": init, "__module__": module_class.__module__, "__qualname__": module_class.__qualname__}
    return type(module_class.__name__, (module_class,), members)


def _take_out(module: Any, towers: Iterable[str]) -> None:
    """Put something without weights in the place of each of these parts."""
    for name in towers:
        parent, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(parent), leaf, Absent(name))


def _beside(module: nn.Module, prefix: str, kept: set[int]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if id(child) in kept:
            continue
        if any(id(part) in kept for part in child.modules()):
            yield from _beside(child, f"{prefix}{name}.", kept)
        else:
            yield f"{prefix}{name}", child


def _asked(module: Any, parts: Mapping[str, nn.Module]) -> set[str]:
    """Return which parts a pass over text alone runs, as far as it comes without numbers."""
    met: set[str] = set()
    handles = [
        one.register_forward_pre_hook(lambda *_, name=name: met.add(name))
        for name, part in parts.items()
        for one in part.modules()
    ]
    ids = torch.zeros((1, 4), dtype=torch.long, device="meta")
    with quiet_transformers(), torch.no_grad(), suppress(Exception):  # whatever a family computes from numbers
        module(input_ids=ids)
    for handle in handles:
        handle.remove()
    return met


def places_of(module: Any, declared: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Return where each tensor of a folder belongs in a module, by the translations of `transformers`.

    With each comes whether it is made into another tensor there, as those of all experts are into one.
    """
    from transformers import conversion_mapping
    from transformers import core_model_loading as loading

    transforms = conversion_mapping.get_model_conversion_mapping(module)
    renamed = [one for one in transforms if isinstance(one, loading.WeightRenaming)]
    converted = [one for one in transforms if isinstance(one, loading.WeightConverter)]
    state, prefix = module.state_dict(), module.base_model_prefix
    names = sorted(declared, key=loading.dot_natural_key)
    found = {name: loading.rename_source_key(name, renamed, converted, prefix, state) for name in names}
    return {name: (place, pattern is not None) for name, (place, pattern) in found.items()}


def _home(module: Any, towers: Iterable[str], place: str) -> str:
    """Return what a tensor belongs to that is not read: a tower, or a part that a family passes over; else nothing."""
    for tower in towers:
        if place.startswith(f"{tower}."):
            return tower
    if place in module.state_dict():
        return ""
    patterns = module._keys_to_ignore_on_load_unexpected or ()
    return place.partition(".")[0] if any(re.search(pattern, place) for pattern in patterns) else ""
