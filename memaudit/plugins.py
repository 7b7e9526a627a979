"""Things found by name: ours, and those that installed packages declare as entry points."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from memaudit.config import did_you_mean
from memaudit.errors import InputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Value = TypeVar("Value")


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return what installed packages declare in a group; what reads it is imported here, for starting takes long."""
    from importlib.metadata import entry_points as declared

    return declared(group=group)


class Registry:
    """Names of one kind of thing and where each lives; nothing is imported before it is asked for.

    Args:
        group: Entry point group in which other packages declare theirs; ours win over a namesake.
        builtin: Name to ``"package.module:attribute"``.
    """

    def __init__(self, group: str, builtin: Mapping[str, str]) -> None:
        self.group = group
        self.builtin = builtin

    def targets(self) -> dict[str, str]:
        """Return every known name with its ``module:attribute``, sorted by name."""
        declared = {point.name: point.value for point in entry_points(group=self.group)}
        return dict(sorted({**declared, **self.builtin}.items()))

    def ours_first(self) -> list[str]:
        """Return every known name: ours in our order, then those of other packages by name."""
        return list({**self.builtin, **self.targets()})

    def resolve(self, name: str) -> Any:
        """Import and return what the name stands for; an unknown name is an InputError."""
        targets = self.targets()
        if name not in targets:
            hint = did_you_mean(name, targets) or f"there are: {', '.join(targets)}"
            raise InputError(f"unknown {self.group.rpartition('.')[2]} '{name}'", hint)
        return import_object(targets[name])


class Resolved(Mapping[str, Value]):
    """The things of a registry themselves, ours first and in our order; each is imported when it is first looked at.

    What other packages declare is asked once, for it is looked up window by window.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._found: dict[str, Value] = {}

    @cached_property
    def _targets(self) -> dict[str, str]:
        return {**self.registry.builtin, **self.registry.targets()}

    def __getitem__(self, name: str) -> Value:
        if name not in self._found:
            self._found[name] = import_object(self._targets[name])
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)


def search_working_directory() -> None:
    """Let modules be found in the working directory, last: a file in it must never stand in for an installed one."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def import_object(target: str) -> Any:
    """Return what ``package.module:attribute`` names; the working directory is searched last."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise InputError(f"'{target}' does not name an object", "write package.module:attribute")
    search_working_directory()
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script without a main guard must not end the audit
        cause = f"{type(error).__name__}: {error}"
        raise InputError(f"{target}: importing '{module_name}' failed", cause) from error
    try:
        return reduce(getattr, attribute.split("."), module)
    except AttributeError as error:
        problem = f"{target}: module '{module_name}' has no '{attribute}'"
        raise InputError(problem, did_you_mean(attribute, vars(module))) from error
