"""Options from a file: ``memaudit.toml``, or the ``[tool.memaudit]`` table of ``pyproject.toml``.

The command line hands the result to click as ``default_map``, so flags win over ``MEMAUDIT_*``
variables and those win over the file.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import InputError


def load_config(
    folder: Path,
    known: Mapping[str, Collection[str]],
    lists: Mapping[str, Collection[str]] | None = None,
    flags: Mapping[str, Collection[str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Read the options set in a folder's ``memaudit.toml`` or else in its ``pyproject.toml``.

    Args:
        folder: Where to look; no folder above it is searched.
        known: Names of the options of every command. A command of a group is written with a dot, as
            its table is: ``{"audit": ["limit", ...], "train.gpt": [...]}``.
        lists: Names of those that may be repeated; in the file they may be one value or a list of values.
        flags: Names of those that are true or false; None: any may be.

    Returns:
        One dictionary of options per command, those of a group nested (``{"audit": {"limit": 200},
        "train": {"gpt": {...}}}``); dashes in option names become underscores. Empty without a file.

    Raises:
        InputError: The file is not TOML, or names a command or an option that does not exist.
    """
    file = config_file(folder)
    if file is None:
        return {}
    if file.name != "pyproject.toml":
        return _checked(_parse(file), _Known(known, lists or {}, flags), str(file), "")
    tools = _parse(file).get("tool", {})
    table = tools.get("memaudit", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise InputError(f"{file}: tool.memaudit is not a table", "write [tool.memaudit.audit]")
    return _checked(table, _Known(known, lists or {}, flags), f"{file} [tool.memaudit]", "")


@dataclass(frozen=True, slots=True)
class _Known:
    """Options of every command, those that may be repeated, and those that are true or false."""

    options: Mapping[str, Collection[str]]
    lists: Mapping[str, Collection[str]]
    flags: Mapping[str, Collection[str]] | None


def config_file(folder: Path) -> Path | None:
    """Return the file of a folder that may set options: ``memaudit.toml``, or else ``pyproject.toml``."""
    files = (folder / name for name in ("memaudit.toml", "pyproject.toml"))
    return next((file for file in files if file.is_file()), None)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return ``"Did you mean 'name'?"`` for the name nearest to ``word``, or an empty string."""
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"Did you mean '{near[0]}'?" if near else ""


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start + 1}") from error
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\s*\(at line (\d+), column \d+\)$", str(error))
        place = f"{file}:{at[1]}" if at else str(file)
        raise InputError(f"{place}: not valid TOML ({str(error)[: at.start() if at else None]})") from error
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def _checked(table: Mapping[str, Any], known: _Known, place: str, group: str) -> dict[str, dict[str, Any]]:
    """Return the table with every command and option found among the known ones."""
    commands = {name.removeprefix(group).split(".")[0] for name in known.options if name.startswith(group)}
    result: dict[str, dict[str, Any]] = {}
    for name, options in table.items():
        command = f"{group}{name}"
        if name not in commands:
            raise InputError(f"{place}: unknown command '{command}'", did_you_mean(name, sorted(commands)))
        if not isinstance(options, dict):
            raise InputError(f"{place}: '{command}' is not an option but a command", f"write [{command}]")
        if command in known.options:
            checked = _options(options, known.options[command], f"{place}: [{command}]")
            if known.flags is not None:
                _refuse_truth(checked, known.flags.get(command, ()), f"{place}: [{command}]")
            result[name] = {
                option: [value] if option in known.lists.get(command, ()) and not isinstance(value, list) else value
                for option, value in checked.items()
            }
        else:
            result[name] = _checked(options, known, place, f"{command}.")
    return result


def _refuse_truth(options: Mapping[str, Any], flags: Collection[str], place: str) -> None:
    """Refuse true and false for what is no flag: the command line would take them for 1 and 0."""
    for name, value in options.items():
        if name not in flags and any(
            isinstance(each, bool) for each in (value if isinstance(value, list) else [value])
        ):
            raise InputError(f"{place} {name}: {str(value).lower()} is no value of it", "true and false are for flags")


def _options(options: Mapping[str, Any], known: Collection[str], place: str) -> dict[str, Any]:
    names = {name.replace("-", "_") for name in known}
    result = {}
    for key, value in options.items():
        name = key.replace("-", "_")
        if name not in names:
            raise InputError(f"{place} has no option '{key}'", did_you_mean(name, sorted(names)))
        if name in result:
            raise InputError(f"{place} sets '{key}' twice", "with a dash and with an underscore")
        result[name] = value
    return result
