"""A second module over the same weights, so that a model in somebody's hands is read without being touched.

The twin shares every tensor and nothing else: it is in evaluation mode while the original goes on training, and what
is done to its structure (adapters merged, halves cut apart) the original never sees.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from memaudit.errors import ModelError, one_line

_KNOWN = frozenset({"torch", "transformers", "peft", "accelerate", "trl", "bitsandbytes"})
"""Packages whose hooks are told by the class and the configuration of a model."""


def twin_of(module: Any) -> Any:
    """Return a copy of a module in evaluation mode whose parameters and buffers are the memory of the original's.

    Hooks stay, as they may be part of what it computes; those of the backward pass are left out. So is whatever a
    trainer put in the place of ``forward`` (mixed precision, a fused loss): it may hold on to the original module, and
    a model that is saved and loaded has it no longer. Parts that were compiled are read as they were before.

    Raises:
        ModelError: The module holds something that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for one in module.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            memo[id(getattr(one, name))] = copy.copy(getattr(one, name))
        for name in ("_backward_hooks", "_backward_pre_hooks"):
            memo[id(getattr(one, name))] = type(getattr(one, name))()
        for value in vars(one).values():
            memo |= {id(tensor): tensor.detach().clone() for tensor in _computed(value)}
    for tensor in _tensors(module):
        memo[id(tensor)] = _shared(tensor)
    try:
        twin = copy.deepcopy(module, memo)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a lock, an open file, whatever somebody keeps in a module
        reason = one_line(f"{type(error).__name__}: {error}", 150)
        raise ModelError(f"{type(module).__name__} holds what cannot be copied: {reason}", "take it out") from error
    for one in twin.modules():
        if "_hf_hook" not in vars(one):  # of `accelerate`, which moves inputs to the weights
            vars(one).pop("forward", None)
        for name, part in one._modules.items():
            one._modules[name] = getattr(part, "_orig_mod", part)
    return twin.eval()


def runs_original(module: Any, twin: Any, ids: Tensor) -> str:
    """Return the class of a module of the original that runs where its twin should; empty where there is none.

    Functions are not copied: a hook may hold on to a module, with its mode, its adapters and its dropout.

    Args:
        module: The original.
        twin: Of it.
        ids: Tokens to try it with, of shape (1, length).
    """
    originals, met = {id(one) for one in module.modules()}, []

    def note(one: nn.Module, _: Any) -> None:
        if id(one) in originals:
            met.append(type(one).__name__)

    handle = register_module_forward_pre_hook(note)
    try:
        with torch.no_grad():
            twin(input_ids=ids)
    finally:
        handle.remove()
    return met[0] if met else ""


def strange_hooks(module: Any) -> list[str]:
    """Return the names of the functions of somebody's own that are hooked into what a module computes."""
    held = [h for one in module.modules() for h in (*one._forward_hooks.values(), *one._forward_pre_hooks.values())]
    while any(isinstance(hook, functools.partial) for hook in held):
        held = [hook.func if isinstance(hook, functools.partial) else hook for hook in held]
    homes = [
        (str(getattr(hook, "__module__", "")), getattr(hook, "__qualname__", type(hook).__name__)) for hook in held
    ]
    return [name for home, name in homes if home.partition(".")[0] not in _KNOWN]


def _computed(value: Any) -> Iterator[Tensor]:
    """Yield the tensors with a history of computation in a plain attribute, which do not let themselves be copied."""
    if isinstance(value, Tensor):
        if not value.is_leaf:
            yield value
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _computed(inner)


def _tensors(module: Any) -> Iterator[Tensor]:
    for one in module.modules():
        yield from (
            tensor for held in (one._parameters, one._buffers) for tensor in held.values() if tensor is not None
        )


def _shared(tensor: Tensor) -> Tensor:
    """Return another parameter or buffer over the same memory; of a class that we do not know, itself."""
    if type(tensor) is nn.Parameter:
        return nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
    return tensor.detach() if type(tensor) is Tensor else tensor
