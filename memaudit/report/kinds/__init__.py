"""The kinds of run, by name; other packages declare theirs as entry points of the group ``memaudit.kind``.

`memaudit.report.kinds.base` says what a kind is. Nothing else in the package lists kinds of run to render them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaudit.errors import InputError, RunError
from memaudit.plugins import Registry, import_object
from memaudit.report.kinds.base import Kind
from memaudit.runs.reports import REPORTS
from memaudit.runs.schema import misfit

KINDS = Registry(
    "memaudit.kind",
    {
        "extraction": "memaudit.report.kinds.extraction:KIND",
        "contamination": "memaudit.report.kinds.contamination:KIND",
        "membership": "memaudit.report.kinds.membership:KIND",
        "gap": "memaudit.report.kinds.gap:KIND",
        "exploitation": "memaudit.report.kinds.exploitation:KIND",
        "laws": "memaudit.report.kinds.laws:KIND",
        "counterfactual": "memaudit.report.kinds.counterfactual:KIND",
        "work": "memaudit.report.kinds.work:KIND",
        "reconstruction": "memaudit.report.kinds.reconstruction:KIND",
    },
)


def kind_named(name: str) -> Kind[Any]:
    """Return a kind of run by its name.

    Raises:
        RunError: If there is no such kind.
        InputError: If another package declares it and it is none.
    """
    target = KINDS.builtin.get(name) or KINDS.targets().get(name)
    if target is None:
        raise RunError(f"a run of kind '{name}' cannot be shown", "it was written by another version of memaudit")
    kind = import_object(target)
    if not isinstance(kind, Kind) or kind.name != name:
        raise InputError(f"{target} is not the kind '{name}'", "declare a memaudit.report.kinds.base:Kind of that name")
    return kind


def kind_of(report: Mapping[str, object]) -> Kind[Any]:
    """Return the kind of a run.

    What our own reports hold was asked where the run directory was read; those of other packages are asked here.

    Args:
        report: What report.json holds.

    Raises:
        RunError: If there is no such kind, or if the report does not hold what its kind needs.
        InputError: If another package declares the kind and it is none.
    """
    kind = kind_named(str(report["kind"]))
    if kind.name not in REPORTS and (problem := misfit(report, kind.report, "the report")):
        raise RunError(problem, f"a run of kind '{kind.name}' must hold it")
    return kind
