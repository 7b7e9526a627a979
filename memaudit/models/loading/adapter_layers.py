"""Layers that `peft` put into a module in memory: what they do at this moment, and the model without them.

They are looked for in the module itself, whatever wraps it: a ``PeftModel``, a model of `transformers` that loaded an
adapter by itself, or one into which layers were injected. `peft` is not imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from torch import nn

_CLASSES = (("peft.tuners.tuners_utils", "BaseTunerLayer"), ("peft.utils.other", "AuxiliaryTrainingWrapper"))
_OF_TORCH = frozenset(vars(nn.Module())) | {"training"}
_PLAIN = (bool, int, float, str, type(None))


def adapter_layers(module: Any) -> dict[str, Any]:
    """Return the layers of adapters in a module, by name."""
    kinds = tuple(
        kind for home, name in _CLASSES if isinstance(kind := getattr(sys.modules.get(home), name, None), type)
    )
    return {name: one for name, one in module.named_modules() if isinstance(one, kinds)}


def adapter_state(module: Any) -> dict[str, dict[str, Any]]:
    """Return what layers of adapters compute beside their tensors: which are active, merged, and how they are scaled.

    Tensors and configuration of a module are the same whichever of its adapters is at work.
    """
    return {name: dict(_settings(one)) for name, one in adapter_layers(module).items()}


def active_adapters(module: Any) -> list[str]:
    """Return the names of the adapters that act in a module now; those that are switched off do not."""
    found = [name for one in adapter_layers(module).values() if not one.disable_adapters for name in _active(one)]
    return list(dict.fromkeys(found))


def adapter_note(module: Any) -> str:
    """Return what a reader should know of the adapters in a module; empty where there are none."""
    if not (layers := adapter_layers(module)):
        return ""
    active = active_adapters(module)
    if not active:
        named = ", ".join(dict.fromkeys(name for one in layers.values() for name in _active(one)))
        return f"adapter of the model in memory, switched off: {named or 'none is active'}"
    kinds = getattr(module, "peft_config", {})
    named = ", ".join(
        f"{name} ({getattr(kind, 'value', kind)})" if (kind := getattr(kinds.get(name), "peft_type", None)) else name
        for name in active
    )
    return f"adapter of the model in memory, not merged: {named}"


def why_no_base(module: Any) -> str:
    """Say why a module without its adapters is not the model that they were trained on; empty where it is."""
    if not active_adapters(module):
        return "its adapter is switched off"
    if any(getattr(one, "merged", False) is True for one in module.modules()):
        return "its adapter is merged into the weights"
    configs = getattr(module, "peft_config", {}).values()
    if any(getattr(config, "bias", "none") != "none" for config in configs):
        return "its adapter trains biases of the base model itself"
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    if trained and (others := set(trained) - set(_own_parameters(module))):
        first = min(others).replace(".base_layer.", ".")
        return f"weights of the base model itself are trained beside its adapter ({len(others):,}, first: {first})"
    return ""


def switch_off(module: Any) -> None:
    """Let a module compute what it would without any adapter."""
    for one in adapter_layers(module).values():
        one.enable_adapters(False)


def _settings(layer: Any) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(layer).items()):
        if name not in _OF_TORCH and (plain := _plain(value)) is not ...:
            yield name, plain


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it; ``...`` where it is no plain one."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict):
        inner = {str(key): _plain(one) for key, one in value.items()}
        return ... if ... in inner.values() else inner
    if isinstance(value, list | tuple | set | frozenset):
        items = [_plain(one) for one in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
        return ... if any(one is ... for one in items) else items
    return ...


def _active(layer: Any) -> list[str]:
    names = layer.active_adapters if hasattr(layer, "active_adapters") else layer.active_adapter
    return [names] if isinstance(names, str) else list(names or ())


def _own_parameters(module: Any) -> Iterator[str]:
    """Yield the names of the parameters that adapters brought."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    for layer in adapter_layers(module).values():
        beneath = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer.original_module
        kept = {id(parameter) for parameter in beneath.parameters()}
        yield from (names[id(one)] for one in layer.parameters() if id(one) not in kept and id(one) in names)
