"""Dialects by name, from the one that gives most to the one that gives least; classes are imported when needed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from memaudit.models.remote.address import Api
from memaudit.models.remote.dialects.base import Dialect

_HERE = "memaudit.models.remote.dialects"
COMPLETIONS = {
    "vllm": f"{_HERE}.vllm:Vllm",
    "sglang": f"{_HERE}.sglang:Sglang",
    "echo": f"{_HERE}.echo:Echo",
    "llamacpp": f"{_HERE}.llamacpp:LlamaCpp",
    "text": f"{_HERE}.text:Text",
}
"""Name -> ``module:class``, in the order in which they are tried."""
CHAT = {"chat": f"{_HERE}.chat:Chat"}


def dialects_of(api: Api) -> Iterator[type[Dialect]]:
    """Yield the dialects of one way of asking, from most to least that they give."""
    for place in (CHAT if api == "chat" else COMPLETIONS).values():
        module, _, name = place.partition(":")
        try:
            found: type[Dialect] = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            continue
        yield found
