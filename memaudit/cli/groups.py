"""Flags in groups: a command takes frozen dataclasses of flags, Typer sees one flat signature.

So a flag is a typed attribute (``search.max_items``) from the command line to the place that uses it, and a group that
several commands share is declared once. A field of a group is a flag, ``Annotated[T, typer.Option(...)]`` with its
default, or a group again. ``tuple[T, ...]`` is a flag that may be repeated.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.models import ParameterInfo

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Panel:
    """The heading under which help shows a group: ``Annotated[Group, Panel("Querying a model")]``."""

    title: str


def flat(command: Callable[..., Result]) -> Callable[..., Result]:
    """Return a command whose parameters are all its flags; called with them, it packs them into their groups.

    Raises:
        TypeError: Two flags have one name, or a parameter is neither a flag nor a group.
    """
    declared = list(inspect.signature(command, eval_str=True).parameters.values())
    flags: dict[str, Parameter] = {}
    for flag in (flag for parameter in declared for flag in _flags(parameter)):
        if flag.name in flags:
            raise TypeError(f"{command.__name__}: two flags are called {flag.name}")
        flags[flag.name] = flag

    @functools.wraps(command)
    def called(**values: Any) -> Result:
        return command(**{parameter.name: _packed(parameter, values) for parameter in declared})

    called.__signature__ = inspect.Signature(list(flags.values()))  # type: ignore[attr-defined]
    called.__annotations__ = {name: flag.annotation for name, flag in flags.items()}
    return called


def names_in(*groups: type) -> frozenset[str]:
    """Return the names of all flags of groups, as the environment and a file of options know them."""
    return frozenset(flag.name for group in groups for field in _fields(group) for flag in _flags(field))


@functools.cache
def _fields(group: Any) -> tuple[Parameter, ...]:
    """Return the fields of a group."""
    hints = get_type_hints(group, include_extras=True)
    defaults = {field.name: Parameter.empty if field.default is MISSING else field.default for field in fields(group)}
    return tuple(
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in defaults.items()
    )


def _flags(parameter: Parameter, panel: str | None = None) -> Iterator[Parameter]:
    """Yield what Typer is to see of a parameter or field, under which heading."""
    kind, extras = _split(parameter.annotation)
    panel = next((extra.title for extra in extras if isinstance(extra, Panel)), panel)
    if _is_group(kind):
        for field in _fields(kind):
            yield from _flags(field, panel)
        return
    infos = [copy.copy(extra) for extra in extras if isinstance(extra, ParameterInfo)]
    if not infos and kind is not typer.Context:
        raise TypeError(f"{parameter.name} is neither a flag, Annotated[..., typer.Option()], nor a group of flags")
    for info in infos:
        info.rich_help_panel = panel or info.rich_help_panel
    default = parameter.default
    if element := _repeated(kind):
        kind = list[element] if default is Parameter.empty else list[element] | None  # type: ignore[valid-type]
        default = Parameter.empty if default is Parameter.empty else None
    yield Parameter(
        parameter.name,
        Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, infos[0]] if infos else kind,
    )


def _packed(parameter: Parameter, values: Mapping[str, Any]) -> Any:
    """Return the value of a parameter or field, made of the values of all flags."""
    kind, _ = _split(parameter.annotation)
    if _is_group(kind):
        return kind(**{field.name: _packed(field, values) for field in _fields(kind)})
    value = values[parameter.name]
    if _repeated(kind):
        return tuple(value) if value else parameter.default
    return value


def _is_group(kind: Any) -> bool:
    return is_dataclass(kind)


def _split(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type and what it is annotated with."""
    return (annotation.__origin__, annotation.__metadata__) if get_origin(annotation) is Annotated else (annotation, ())


def _repeated(kind: Any) -> Any:
    """Return T of ``tuple[T, ...]``, None of every other type."""
    inner = get_args(kind) if get_origin(kind) is tuple else ()
    return inner[0] if inner[1:] == (...,) else None
