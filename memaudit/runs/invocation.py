"""What repeats a run: a command line or a call from Python, both made of the parameters as they were given.

A command and a function each list what they were `Given`; which of it must be said again is decided once, here, and
written in either language.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
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


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """A parameter of a command or a function, as a run was given it."""

    name: str
    value: Any
    """On a command line, True stands for the flag alone, a list for the flag again and again, a tuple for several
    words after it, None for nothing."""
    flag: str = ""
    """As a command line has it; empty for an argument, and in Python."""
    positional: bool = False
    implied: bool = False
    """Whether the same value would hold if the parameter were left out."""

    @property
    def repeated(self) -> bool:
        """Whether it must be said again for the same results."""
        return not self.implied and self.name not in NOT_REPEATED


def command_line(command: Sequence[str], given: Iterable[Given]) -> str:
    """Return a command line that a shell reads back as it was meant.

    Args:
        command: Words before everything else: ``memaudit train gpt``.
        given: Arguments and flags.
    """
    repeated = [parameter for parameter in given if parameter.repeated]
    arguments = [str(word) for parameter in repeated if parameter.positional for word in _each(parameter.value)]
    flags = [
        word
        for parameter in repeated
        if not parameter.positional
        for value in _each(parameter.value)
        for word in _typed(parameter.flag, value)
    ]
    behind = any(argument.startswith("-") for argument in arguments)
    return shlex.join([*command, *flags, "--", *arguments] if behind else [*command, *arguments, *flags])


def python_call(name: str, function: Callable[..., Any], values: Mapping[str, Any]) -> Invocation:
    """Return the call from Python that repeats a run.

    Args:
        name: Under which the function is imported: ``memaudit.audit``.
        function: What was called.
        values: Its parameters and their values, as ``locals()`` has them at its beginning.
    """
    words: list[str] = []
    by_name = False
    for parameter in _given(function, values):
        by_name |= not (parameter.repeated and parameter.positional)
        if parameter.repeated:
            text = _shown(parameter.value, parameter.name)
            words.append(f"{parameter.name}={text}" if by_name else text)
    return Invocation(f"{name}({', '.join(words)})")


def _given(function: Callable[..., Any], values: Mapping[str, Any]) -> Iterator[Given]:
    """Yield what a function was given; ``options`` and ``**fields``, which go over them, as single fields."""
    for name, parameter in inspect.signature(function).parameters.items():
        value = values[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from (Given(*field) for field in value.items())
        elif name == "options":
            yield from (Given(*field) for field in _changed(value) if field[0] not in values.get("fields", ()))
        else:
            positional = parameter.kind is not parameter.KEYWORD_ONLY
            yield Given(name, value, positional=positional, implied=_same(value, parameter.default))


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _typed(flag: str, value: Any) -> list[str]:
    """Return a flag and its value as words of a command line."""
    words = [] if value is True else [str(word) for word in (value if isinstance(value, tuple) else (value,))]
    return [f"{flag}={words[0]}"] if len(words) == 1 and words[0].startswith("-") else [flag, *words]


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
        fields = ", ".join(f"{field}={_shown(held, field)}" for field, held in _changed(value))
        return f"{kind.__module__}.{kind.__qualname__}({fields})"
    if isinstance(value, list | tuple):
        if value and not any(map(_can_be_written, value)):
            return name
        inner = ", ".join(_shown(one, f"{name}[{place}]") for place, one in enumerate(value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value) if value is None or isinstance(value, str | bool | int | float) else name


def _can_be_written(value: Any) -> bool:
    """Whether a value is written out, and not called by the name of its parameter."""
    if isinstance(value, list | tuple):
        return all(map(_can_be_written, value))
    held = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return value is None or held or isinstance(value, str | bool | int | float | Path)


def _changed(options: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every field that differs from its default and has to be said again; of None, nothing."""
    for field in dataclasses.fields(options) if options is not None else ():
        value = getattr(options, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.init and field.metadata.get("repeated", True) and not _same(value, default):
            yield field.name, value
