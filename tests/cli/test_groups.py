"""Flags in groups: what Typer sees of them, and what a command is given."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner

from memaudit.cli.command import App
from memaudit.cli.groups import Panel, flat, names_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A group in a group, with a default that a group derived from it changes."""

    depth: Annotated[int, typer.Option(min=1, help="How deep.")] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeper(Inner):
    depth: Annotated[int, typer.Option(min=1, help="How deep.")] = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    files: Annotated[tuple[Path, ...], typer.Option(metavar="FILE", help="Which.")]
    inner: Inner
    names: Annotated[tuple[str, ...], typer.Option("--name", help="Whose.")] = ("nobody",)
    loud: Annotated[bool, typer.Option("--loud", help="How.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    names: Annotated[str, typer.Option(help="Whose, again.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    count: int = 3


GIVEN: list[Any] = []


def command(
    call: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="Where.")],
    *,
    outer: Annotated[Outer, Panel("In a group")],
    alone: Annotated[int | None, typer.Option(help="By itself.")] = None,
) -> None:
    """Do something."""
    GIVEN.append((call.params, place, outer, alone))


def app_of(*functions: Any) -> App:
    app = App(rich_markup_mode="rich")
    for function in functions:
        app.command()(function)
    return app


def given(*arguments: str, function: Any = command) -> Any:
    GIVEN.clear()
    done = CliRunner().invoke(app_of(function), list(arguments))
    assert done.exception is None, done.exception
    return GIVEN[0]


def test_a_command_is_given_its_groups() -> None:
    params, place, outer, alone = given(
        "here", "--files", "a", "--files", "b", "--depth", "5", "--name", "me", "--loud"
    )
    assert (place, alone) == ("here", None)
    assert outer == Outer(files=(Path("a"), Path("b")), inner=Inner(depth=5), names=("me",), loud=True)
    assert set(params) == {"place", "files", "depth", "names", "loud", "alone"}


def test_what_nobody_gives_has_its_default() -> None:
    _, _, outer, _ = given("here", "--files", "a")
    assert outer == Outer(files=(Path("a"),), inner=Inner())
    assert (outer.names, outer.inner.depth) == (("nobody",), 2)


def test_a_derived_group_may_change_a_default() -> None:
    def derived(*, inner: Deeper) -> None:
        GIVEN.append(inner)

    assert given(function=derived) == Deeper(depth=7)
    assert given("--depth", "3", function=derived) == Deeper(depth=3)


def test_flags_stand_in_the_order_of_the_groups() -> None:
    assert list(inspect.signature(flat(command)).parameters) == [
        *("call", "place", "files", "depth", "names", "loud", "alone")
    ]
    assert names_in(Outer, Twin) == {"files", "depth", "names", "loud"}


def test_a_panel_holds_its_group_and_the_groups_in_it() -> None:
    shown = {param.name: getattr(param, "rich_help_panel", None) for param in _params(command)}
    assert [name for name, panel in shown.items() if panel == "In a group"] == ["files", "depth", "names", "loud"]
    assert shown["alone"] is None

    def bare(*, outer: Outer) -> None:
        """Take the group without a heading."""

    assert not any(getattr(param, "rich_help_panel", None) for param in _params(bare))


def _params(function: Any) -> Any:
    return typer.main.get_command(app_of(function)).params


def test_required_repeated_and_bounded_flags_are_those_of_typer() -> None:
    by_name = {param.name: param for param in _params(command)}
    assert by_name["files"].required
    assert by_name["files"].multiple
    assert by_name["names"].default is None
    assert by_name["names"].opts == ["--name"]
    for arguments, why in ((["here"], "--files"), (["here", "--files", "a", "--depth", "0"], "--depth")):
        done = CliRunner().invoke(app_of(command), arguments)
        assert done.exit_code == 2
        assert why in done.output


def test_a_flag_of_no_group_is_refused() -> None:
    done = CliRunner().invoke(app_of(command), ["here", "--files", "a", "--inner", "5"])
    assert done.exit_code == 2
    assert "No such option" in done.output


def test_two_groups_with_one_flag_are_refused() -> None:
    def doubled(outer: Outer, twin: Twin) -> None:
        """Take two groups that share a name."""

    with pytest.raises(TypeError, match="doubled: two flags are called names"):
        flat(doubled)


def test_what_is_no_flag_is_refused() -> None:
    def plain(bare: Bare) -> None:
        """Take a group whose field Typer would turn into a flag without help."""

    with pytest.raises(TypeError, match="count is neither a flag"):
        flat(plain)


def test_an_app_leaves_the_function_as_it_is() -> None:
    assert App().command()(command) is command
