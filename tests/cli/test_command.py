"""No option that was named goes unread: two values add up or are refused, and what nobody typed is told."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.cli.command import Command, invocation_of
from memaudit.cli.contamination import OF_MODEL, SEARCHING
from memaudit.cli.options import OF_THIS_CALL, REACHED
from memaudit.errors import InputError
from memaudit.runs.invocation import NOT_REPEATED

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        yield from commands(command, (*above, name)) if inner else [((*above, name), command)]


COMMANDS = dict(commands())
OPTIONS = [
    pytest.param(path, option, id=f"{' '.join(path)} {option.opts[0]}")
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option"
]
WORDS = {
    "order": ["3", "4"],
    "shard": ["1/2", "2/2"],
    "cutoff": ["2023-09-30", "2023-10-01"],
    "windows": ["a.npy b.npy", "c.npy d.npy"],
    "heldout_windows": ["a.npy b.npy", "c.npy d.npy"],
}
"""Two values of options that take no other words or numbers than such."""


def context(path: tuple[str, ...]) -> Any:
    made = ROOT.make_context("memaudit", ["demo"], resilient_parsing=True)
    command: Any = ROOT
    for name in path:
        command = command.commands[name]
        made = command.context_class(command, info_name=name, parent=made)
    return made


def values_of(path: tuple[str, ...], option: Any) -> list[str]:
    """Two values that the option takes, its default behind others."""
    if option.name in WORDS:
        return WORDS[option.name]
    found: dict[str, bool] = {}
    for word in (*choices(option), "name", "other", "120", "130", "0.25", "0.75"):
        try:
            value = option.process_value(context(path), [word] if option.multiple else word)
        except Exception:
            continue
        found[word] = value == option.default
    return sorted(found, key=lambda word: found[word])[:2]


def choices(option: Any) -> list[str]:
    """The words of an option that takes some alone."""
    shown = [getattr(option, name, None) for name in ("type_descriptor", "type")]
    return re.findall(r"'([\w/.-]+)'", " ".join([str(shown[0]), str(getattr(shown[1], "choices", ""))]))


def typed(option: Any, value: str) -> list[str]:
    return [option.opts[0], *value.split()] if option.nargs == 2 else [option.opts[0], value]


def parsed(path: tuple[str, ...], arguments: list[str]) -> Any:
    made = context(path)
    made.command.parse_args(made, arguments)
    return made


def needed(path: tuple[str, ...], but: str = "") -> list[str]:
    """The arguments and options without which the command is refused."""
    words: list[str] = []
    for param in COMMANDS[path].params:
        if param.required and param.name != but:
            words += ["thing"] if param.param_type_name == "argument" else typed(param, values_of(path, param)[0])
    return words


def test_every_command_is_of_the_class_that_looks_at_all_values() -> None:
    assert all(isinstance(command, Command) for command in COMMANDS.values())
    assert len(COMMANDS) > 18


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_an_option_given_twice_adds_up_or_is_refused(path: tuple[str, ...], option: Any) -> None:
    rest = needed(path, option.name)
    if option.is_flag:
        once = parsed(path, [*rest, option.opts[0]]).params[option.name]
        assert parsed(path, [*rest, option.opts[0], option.opts[0]]).params[option.name] == once
        if option.secondary_opts:
            with pytest.raises(InputError) as caught:
                parsed(path, [*rest, option.opts[0], option.secondary_opts[0]])
            assert f"{option.opts[0]} and {option.secondary_opts[0]}" in str(caught.value)
        return
    one, other = values_of(path, option)[:2]
    first, both = [*rest, *typed(option, one)], [*rest, *typed(option, one), *typed(option, other)]
    if option.multiple:
        assert len(parsed(path, both).params[option.name]) == 2
    else:
        with pytest.raises(InputError) as caught:
            parsed(path, both)
        assert all(word in str(caught.value) for word in (*typed(option, one), *typed(option, other)))
        again = parsed(path, [*first, *typed(option, one)])
        assert again.params[option.name] == parsed(path, first).params[option.name]


@pytest.mark.parametrize(("path", "option"), [o for o in OPTIONS if o.values[1].name not in NOT_REPEATED])
def test_the_shown_command_asks_for_the_same(path: tuple[str, ...], option: Any) -> None:
    flags = [option.secondary_opts or option.opts, option.opts]
    ways = flags if option.is_flag else [typed(option, value) for value in values_of(path, option)[:2]]
    for words in ways:
        asked = parsed(path, [*needed(path, option.name), *words[: 1 + option.nargs * (not option.is_flag)]])
        unused = asked.command.unused(asked)
        shown = shlex.split(invocation_of(asked).command)
        assert tuple(shown[1 : 1 + len(path)]) == path
        again = parsed(path, [*shown[1 + len(path) :], *outputs(path)])
        spending = {p.name for p in asked.command.params if p.name in OF_THIS_CALL and p.rich_help_panel == REACHED}
        same = {name for name in asked.params if name not in (*NOT_REPEATED, *unused, *spending)}
        assert {n: again.params[n] for n in same} == {n: asked.params[n] for n in same}


def outputs(path: tuple[str, ...]) -> list[str]:
    """A required --out, which no report names."""
    return [w for p in COMMANDS[path].params if p.required and p.name in NOT_REPEATED for w in (p.opts[0], "name")]


def test_arguments_that_look_like_options_are_shown_as_such() -> None:
    asked = parsed(("contamination",), ["--corpus", "c d.jsonl", "--out", "x", "--guided=-y", "--", "-b.jsonl", "e'f"])
    shown = invocation_of(asked).command
    assert shown == "memaudit contamination --corpus 'c d.jsonl' -- -b.jsonl 'e'\"'\"'f'"
    assert list(parsed(("contamination",), shlex.split(shown)[2:]).params["benchmark"]) == ["-b.jsonl", "e'f"]


GATE = ("contamination",)


@pytest.mark.parametrize("name", sorted(OF_MODEL | SEARCHING))
def test_a_flag_of_the_other_way_to_ask_is_refused(name: str) -> None:
    option = next(param for param in COMMANDS[GATE].params if param.name == name)
    words = [option.opts[0]] if option.is_flag else typed(option, values_of(GATE, option)[0])
    way = ["--corpus", "c.jsonl"] if name in OF_MODEL else ["--model", "m"]
    done = CliRunner().invoke(app, ["contamination", "bench.jsonl", *way, *words])
    assert isinstance(done.exception, InputError)
    about = "a model, and none was named" if name in OF_MODEL else "a search of text, and --model queries a model"
    assert str(done.exception).startswith(f"{option.opts[0]} is about {about}")


def test_flags_of_both_ways_to_ask_are_these() -> None:
    both = {param.name for param in COMMANDS[GATE].params} - OF_MODEL - SEARCHING
    about_items = {"benchmark", "field", "id_field", "text_field", "split", "max_expand", "skip_bad"}
    assert both - {"help"} == {"model", "out", "formats", "redact", "show_personal", *about_items}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    leak = "the seventeen lanterns above the harbour were lit by a deaf watchman every evening of that year"
    Path("bench.jsonl").write_text(json.dumps({"text": leak}) + "\n")
    Path("corpus.jsonl").write_text(json.dumps({"text": f"once {leak} and again"}) + "\n")
    return tmp_path


def gate(*more: str) -> Any:
    arguments = ["contamination", "bench.jsonl", "--corpus", "corpus.jsonl", "--out", "run", *more]
    return CliRunner().invoke(app, arguments)


def test_what_nobody_typed_is_told_on_the_screen_and_in_the_report(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_CONTAMINATION_MAX_ITEMS", "999")
    monkeypatch.setenv("MEMAUDIT_CONTAMINATION_MASKS", "12")
    monkeypatch.setenv("CI", "true")
    Path("memaudit.toml").write_text("[contamination]\nformats = ['html', 'md']\nskip-bad = true\n")
    done = gate()
    said = "from the environment: MEMAUDIT_CONTAMINATION_MAX_ITEMS=999"
    for line in (said, "from memaudit.toml: skip_bad = True", "from the environment: CI=true, so that texts"):
        assert f"memaudit: {line}" in done.stderr
        assert line in done.stdout
    assert "MEMAUDIT_CONTAMINATION_MASKS=12 (not used here)" in done.stderr
    found = json.loads(Path("run/report.json").read_bytes())["provenance"]
    assert said in found["set_elsewhere"]
    assert not any("MASKS" in line or "formats" in line for line in found["set_elsewhere"])
    assert all(word in found["command"] for word in ("--max-items 999", "--skip-bad", "--redact"))
    for page in ("run/report.html", "run/report.md"):
        assert said in Path(page).read_text()
    assert said in CliRunner().invoke(app, ["report", "run"]).stdout
    for name in ("MEMAUDIT_CONTAMINATION_MAX_ITEMS", "CI"):
        monkeypatch.delenv(name)
    Path("memaudit.toml").unlink()
    again = CliRunner().invoke(app, [*shlex.split(found["command"])[1:], "--out", "again"])
    first, second = (json.loads(Path(run, "report.json").read_bytes()) for run in ("run", "again"))
    assert first["provenance"].pop("set_elsewhere")
    assert (first, again.exit_code) == (second, done.exit_code)


def test_a_typed_value_wins_over_one_of_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_CONTAMINATION_MAX_ITEMS", "999")
    done = gate("--max-items", "0")
    assert done.exception is not None
    assert "from the environment" not in done.stdout + done.stderr
    assert json.loads(Path("run/report.json").read_bytes())["policy"]["max_items"] == 0


def test_only_who_types_the_command_lets_it_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_SAMPLE_ALLOW_DOWNLOAD", "1")
    done = CliRunner().invoke(app, ["sample", "nowhere/nothing"])
    assert "a download is allowed on the command line alone" in str(done.exception)
    helped = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["sample", "--help"]).output
    assert "MEMAUDIT_SAMPLE_DEVICE" in helped
    assert "MEMAUDIT_SAMPLE_ALLOW" not in helped


def test_a_variable_that_sets_no_option_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_CONTAMINATION_MAX_ITEM", "999")
    assert "Did you mean 'MEMAUDIT_CONTAMINATION_MAX_ITEMS'?" in str(gate().exception)


def test_a_new_policy_shows_its_own_command(here: Path) -> None:
    gate()
    gate("--max-items", "5")
    report = json.loads(Path("run/report.json").read_bytes())
    assert report["provenance"]["command"].endswith("--max-items 5")
