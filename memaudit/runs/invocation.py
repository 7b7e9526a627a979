"""How a run was asked for: what repeats it, and which of its options were not typed."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NOT_REPEATED = frozenset(
    {
        *("out", "clean_split", "formats", "shard", "processes", "personal", "show_personal"),
        *("progress", "log", "load", "invocation"),
    }
)
"""Options that change no result: where it goes, who does which share of it, how it is shown. A report must not depend
on them, so that neither does the command in it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Invocation:
    """How a run was asked for."""

    command: str
    """A command line, or a call from Python, that asks for the same again."""
    set_elsewhere: tuple[str, ...] = ()
    """Where the options that were not typed came from: ``from the environment: MEMAUDIT_AUDIT_LIMIT=5``."""

    def in_plan(self) -> dict[str, Any]:
        """Return what a plan says of it, beside what it is about."""
        told = {"set_elsewhere": list(self.set_elsewhere)} if self.set_elsewhere else {}
        return {"command": self.command, **told}


def command_line(command: Sequence[str], arguments: Sequence[str], options: Iterable[tuple[str, object]]) -> str:
    """Return a command line that a shell reads back as it was meant.

    Args:
        command: Words before the arguments: ``memaudit train gpt``.
        arguments: Positional ones.
        options: Flag and value; a value of True stands for the flag alone, one of None for nothing, a tuple for
            several words.
    """
    flags: list[str] = []
    for flag, value in options:
        values = [] if value is None or value is True else [*value] if isinstance(value, tuple) else [value]
        words = [str(word) for word in values]
        if value is not None:
            flags += [f"{flag}={words[0]}"] if len(words) == 1 and words[0].startswith("-") else [flag, *words]
    behind = any(argument.startswith("-") for argument in arguments)
    return shlex.join([*command, *flags, "--", *arguments] if behind else [*command, *arguments, *flags])


def python_call(name: str, function: Callable[..., Any], given: Mapping[str, Any]) -> Invocation:
    """Return the call from Python that repeats a run.

    Args:
        name: Under which the function is imported: ``memaudit.audit``.
        function: What was called.
        given: Its parameters and their values, as ``locals()`` has them at its beginning.
    """
    parameters = inspect.signature(function).parameters
    words: list[str] = []
    by_name = False
    for parameter in parameters.values():
        value = given[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            words += [f"{field}={_shown(held, field)}" for field, held in value.items()]
        elif parameter.name in NOT_REPEATED or _same(value, parameter.default):
            by_name = True
        elif parameter.name == "options":
            words += [word for word in _changed(value) if word.partition("=")[0] not in given["fields"]]
        else:
            by_name |= parameter.kind is parameter.KEYWORD_ONLY
            text = _shown(value, parameter.name)
            words.append(f"{parameter.name}={text}" if by_name else text)
    return Invocation(f"{name}({', '.join(words)})")


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return type(value) is type(default) and bool(value == default)


def _shown(value: Any, name: str) -> str:
    """Return how a value is written in Python; an object that is more than values goes by the name of its parameter."""
    if isinstance(value, Path):
        return repr(str(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        return f"{kind.__module__}.{kind.__qualname__}({', '.join(_changed(value))})"
    if isinstance(value, list | tuple):
        inner = ", ".join(_shown(one, name) for one in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    return repr(value) if value is None or isinstance(value, str | bool | int | float) else name


def _changed(options: Any) -> Iterator[str]:
    """Yield ``name=value`` of every field that differs from its default."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.init and not _same(value, default):
            yield f"{field.name}={_shown(value, field.name)}"
