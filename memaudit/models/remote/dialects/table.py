"""Dialects by name, from the one that gives most to the one that gives least; classes are imported when needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module

from memaudit.models.remote.address import Api
from memaudit.models.remote.dialects.base import Dialect

COMPLETIONS = ("vllm", "sglang", "echo", "llamacpp", "text")
"""In the order in which they are tried; each stands in the module of its name."""
CHAT = ("chat",)


def dialects_of(api: Api) -> Iterator[type[Dialect]]:
    """Yield the dialects of one way of asking, from most to least that they give."""
    names: Sequence[str] = CHAT if api == "chat" else COMPLETIONS
    return map(dialect_named, names)


def dialect_named(name: str) -> type[Dialect]:
    """Return the dialect that stands in the module of its name."""
    module = import_module(f"memaudit.models.remote.dialects.{name}")
    found = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Dialect)]
    return next(each for each in found if getattr(each, "name", None) == name)
