"""What repeats a run is read back, by a shell and by Python, as what the run was given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.runs.invocation import NOT_REPEATED, Given, Invocation, command_line, python_call

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS, st.lists(WORDS))


@dataclass(frozen=True)
class Options:
    limit: int | None = None
    names: tuple[str, ...] = ()
    extra: list[str] = field(default_factory=list)


def asked(
    model: Any, train: Any = (), *, options: Options | None = None, out: Any = None, seed: Any = 0, **fields: Any
) -> tuple[Any, ...]:
    """A function as the public ones are: options as an object, fields over them, a destination."""
    chosen = {"limit": None, "names": (), "extra": []} | ({} if options is None else vars(options)) | fields
    return model, tuple(train) if isinstance(train, list) else train, chosen, seed


def call_of(model: Any, train: Any = (), **more: Any) -> str:
    options = {name: more.pop(name) for name in ("options", "out", "seed") if name in more}
    values = {"model": model, "train": train, "options": None, "out": None, "seed": 0} | options | {"fields": more}
    return python_call("asked", asked, values).command


@given(VALUES, VALUES, st.integers(0, 3), st.lists(WORDS, max_size=2), st.dictionaries(st.just("limit"), VALUES))
def test_python_reads_back_what_a_function_was_given(
    model: Any, train: Any, limit: int, names: list[str], fields: dict[str, Any]
) -> None:
    options = Options(limit or None, tuple(names))
    call = call_of(model, train, options=options, out="somewhere", seed=names, **fields)
    assert eval(call, {"asked": asked}) == asked(model, train, options=options, seed=names, **fields)
    assert "somewhere" not in call


def test_defaults_are_left_out_and_objects_go_by_the_name_of_their_parameter() -> None:
    assert call_of("gpt2") == "asked('gpt2')"
    assert call_of("gpt2", ["a"], limit=5) == "asked('gpt2', ['a'], limit=5)"
    assert call_of(object(), seed=1) == "asked(model, seed=1)"
    assert call_of(1, options=Options(extra=["x"])) == "asked(1, extra=['x'])"
    assert call_of(True, 0) == "asked(True, 0)"  # 0 is not the default, an empty tuple


@given(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=3), WORDS, st.tuples(WORDS, WORDS))
def test_a_shell_reads_back_every_word(
    arguments: list[str], several: list[str], one: str, pair: tuple[str, str]
) -> None:
    parameters = [
        Given("files", arguments, positional=True),
        Given("train", several, "--train"),
        Given("windows", pair, "--windows"),
        Given("fuzzy", True, "--no-fuzzy"),
        Given("index", one, "--index"),
        Given("model", None, "--model"),
    ]
    words = shlex.split(command_line(["memaudit", "audit"], parameters))
    assert words[:2] == ["memaudit", "audit"]
    flags = [word for value in several for word in typed("--train", value)]
    flags += ["--windows", *pair, "--no-fuzzy", *typed("--index", one)]
    behind = ["--", *arguments] if any(argument.startswith("-") for argument in arguments) else []
    assert words[2:] == (flags + behind if behind else arguments + flags)


def typed(flag: str, value: str) -> list[str]:
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


@pytest.mark.parametrize("name", sorted(NOT_REPEATED))
def test_what_changes_no_result_is_not_repeated(name: str) -> None:
    assert command_line(["memaudit"], [Given(name, 1, "--x"), Given("seed", 1, "--seed", implied=True)]) == "memaudit"


def test_a_plan_says_which_options_nobody_typed() -> None:
    assert Invocation("memaudit gap").in_plan() == {"command": "memaudit gap"}
    told = Invocation("memaudit gap", ("from the environment: MEMAUDIT_SEED=5",)).in_plan()
    assert told["set_elsewhere"] == ["from the environment: MEMAUDIT_SEED=5"]
