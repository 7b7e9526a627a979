"""What every command does with its options: none goes unread, and those that were not typed are listed."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand

from memaudit.cli.groups import flat
from memaudit.cli.options import IN_CI, OF_THIS_CALL, REACHED, beside_the_point
from memaudit.cli.output import log

if TYPE_CHECKING:
    from memaudit.runs.invocation import Given, Invocation

Function = TypeVar("Function", bound=Callable[..., Any])
CONFIG = "memaudit.config"
"""Where the context keeps the name of the file of options, if there is one."""


REGISTRIES = {
    "{formats}": "memaudit.report.formats.names:FORMATS",
    "{measures}": "memaudit.audits.measures.names:MEASURES",
    "{detectors}": "memaudit.audits.detectors:DETECTORS",
}
"""Words of a help text -> what lists the names that stand there; asked when help is shown, and not before."""


class Command(TyperCommand):
    """A command that refuses two values of an option that takes one, and variables that set no option.

    The parser of the command line keeps the last of several values in silence: here all are looked at before.
    """

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show help, with the names of what is installed where ``{measures}`` and the like stand."""
        from memaudit.plugins import import_object

        params: list[Any] = list(self.params)
        for param in params:
            for word, registry in REGISTRIES.items():
                if word in (param.help or ""):
                    param.help = param.help.replace(word, ", ".join(import_object(registry).ours_first()))
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            InputError: An option that takes one value has two, or a variable names an option that there is not.
        """
        if not ctx.resilient_parsing:
            self._refuse_two_values(ctx, args)
            _refuse_unknown_variables(ctx, self.params)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """List the options that were not typed, then do it.

        Raises:
            InputError: Somebody else than who typed the command would let it download, or read a pickle; or a flag was
                typed about how a model is loaded or reached, and no model is of that kind.
        """
        from memaudit.errors import InputError

        for line in set_elsewhere(ctx):
            log(line)
        self._refuse_beside_the_point(ctx)
        for name, what in (("allow_download", "a download"), ("allow_pickle", "a pickle")):
            if ctx.params.get(name) and ctx.get_parameter_source(name).name != "COMMANDLINE":
                raise InputError(f"{what} is allowed on the command line alone", f"give --{name.replace('_', '-')}")
        return super().invoke(ctx)

    def unused(self, ctx: Any) -> Collection[str]:
        """Return the names of options that this call has no use for, wherever they come from."""
        return beside_the_point(ctx.params, {param.name or "" for param in self.params if _under(param, REACHED)})

    def _refuse_beside_the_point(self, ctx: Any) -> None:
        """Refuse flags about an address where no model is one, and about loading where all are."""
        from memaudit.errors import InputError

        unused = Command.unused(self, ctx)
        for param in self.params:
            if param.name in unused and ctx.get_parameter_source(param.name).name == "COMMANDLINE":
                of = "a model behind an address, and no MODEL is one"
                if not _under(param, REACHED):
                    of = "a model that is loaded here, and a server computes as it was started"
                raise InputError(f"{param.opts[0]} is about {of}", f"leave out {param.opts[0]}")

    def _refuse_two_values(self, ctx: Any, args: Sequence[str]) -> None:
        from memaudit.errors import InputError

        keeping_all = copy.copy(self)
        keeping_all.params = [copy.copy(param) for param in self.params]
        for param in keeping_all.params:
            if param.param_type_name == "option":
                param.multiple = True
        given, _, _ = keeping_all.make_parser(ctx).parse_args(args=list(args))
        options: list[Any] = list(self.params)
        for option in options:
            if option.param_type_name != "option" or option.multiple:
                continue
            first, *others = list(dict.fromkeys(given.get(option.name) or ())) or [None]
            for other in others:
                if option.is_flag or option.process_value(ctx, first) != option.process_value(ctx, other):
                    both = f"{_words(option, first)} and {_words(option, other)}"
                    raise InputError(f"{both}: {option.opts[0]} takes one value", "leave out one of them")


class App(typer.Typer):
    """An app whose commands are of class `Command`, or of one derived from it."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **settings: Any
    ) -> Callable[[Function], Function]:
        """Return the decorator that adds a command, whose flags may stand in groups."""
        add = super().command(name, cls=cls or Command, **settings)

        def added(function: Function) -> Function:
            add(flat(function))
            return function

        return added


def set_elsewhere(ctx: Any, kept: Collection[str] = ()) -> list[str]:
    """Return where the options came from that the command line does not have, a line each.

    Args:
        ctx: Of the command.
        kept: Names of options to leave out.
    """
    unused = ctx.command.unused(ctx) if isinstance(ctx.command, Command) else ()
    lines = []
    for param in ctx.command.params:
        where = _elsewhere(ctx, param)
        if where and param.name not in kept:
            lines.append(f"{where} (not used here)" if param.name in unused else where)
    return lines


def invocation_of(ctx: Any, **changed: Any) -> Invocation:
    """Return what repeats a command.

    Options that change no result are left out, so that a report does not depend on them; what came from the
    environment or from a file is typed in.

    Args:
        ctx: Of the command.
        **changed: Values of parameters that are shown otherwise than they were given.
    """
    from memaudit.runs.invocation import NOT_REPEATED, Invocation, command_line

    words: list[str] = []
    at = ctx
    while at.parent is not None:
        words, at = [at.info_name, *words], at.parent
    command = command_line(["memaudit", *words], _given(ctx, changed))
    return Invocation(command, tuple(set_elsewhere(ctx, kept={*NOT_REPEATED, *_left_out(ctx, changed)})))


def _given(ctx: Any, changed: Mapping[str, Any]) -> Iterator[Given]:
    """Yield what a command was given that it has a use for."""
    from memaudit.runs.invocation import Given

    left_out = _left_out(ctx, changed)
    for param in ctx.command.params:
        if param.name not in ctx.params or param.name in left_out:
            continue
        value = changed.get(param.name, ctx.params[param.name])
        if param.param_type_name == "argument":
            yield Given(param.name, list(_several(value)), positional=True)
        elif param.is_flag:
            flag = next(iter(param.opts if value else param.secondary_opts), "")
            yield Given(param.name, True, flag, implied=not flag or _implied(ctx, param, value))
        else:
            shown = list(_several(value)) if param.multiple else value
            yield Given(param.name, shown, param.opts[0], implied=_implied(ctx, param, value))


def _left_out(ctx: Any, changed: Mapping[str, Any]) -> set[str]:
    """Return the names of flags that a command has no use for, and those that change no result: what a run may cost."""
    about = {param.name for param in ctx.command.params if _under(param, REACHED)}
    of_others = beside_the_point({**ctx.params, **changed}, about)
    return {*ctx.command.unused(ctx), *of_others, *(about & OF_THIS_CALL)}


def _under(param: Any, heading: str) -> bool:
    """Whether help shows a flag under a heading."""
    return getattr(param, "rich_help_panel", None) == heading


def _implied(ctx: Any, param: Any, value: Any) -> bool:
    """Whether a command does the same if an option is not typed."""
    if value is None or _elsewhere(ctx, param):
        return value is None
    set_otherwise = _variable(ctx, param) in os.environ or param.name in (ctx.default_map or {})
    return ctx.get_parameter_source(param.name).name != "COMMANDLINE" or (value == param.default and not set_otherwise)


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


def _words(option: Any, value: Any) -> str:
    """Return a flag and its value as they are typed."""
    if option.is_flag:
        return str((option.opts if value else option.secondary_opts)[0])
    return " ".join([option.opts[0], *map(str, _several(value))])


def _elsewhere(ctx: Any, param: Any) -> str:
    """Return where an option came from that the command line does not have; empty where nobody set it."""
    source = ctx.get_parameter_source(param.name)
    if source is not None and source.name == "ENVIRONMENT":
        variable = _variable(ctx, param)
        return f"from the environment: {variable}={os.environ[variable]}"
    if source is not None and source.name == "DEFAULT_MAP":
        given = ctx.default_map[param.name]
        return f"from {ctx.meta.get(CONFIG, 'a file')}: {param.name} = {given!r}"
    return str(ctx.meta[IN_CI]) if param.name == "redact" and IN_CI in ctx.meta else ""


def _variable(ctx: Any, param: Any) -> str:
    return f"{ctx.auto_envvar_prefix}_{param.name.upper()}"


def _refuse_unknown_variables(ctx: Any, params: Iterable[Any]) -> None:
    """Refuse a variable that seems to set an option and sets none: a name that is misspelt would go unread."""
    from memaudit.config import did_you_mean
    from memaudit.errors import InputError

    known = [_variable(ctx, param) for param in params if param.param_type_name == "option"]
    for variable in os.environ:
        if variable.startswith(f"{ctx.auto_envvar_prefix}_") and variable not in known:
            raise InputError(f"{variable}: {ctx.command_path} has no such option", did_you_mean(variable, known))
