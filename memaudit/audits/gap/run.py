"""Does a model ace the old items and fail the new ones, more than models that cannot have seen the old ones?

`gap` reads per-item results with dates, keeps the items that every model has a result of, and asks whether the model
loses more after its cutoff than its controls do. Nothing is sampled from a model; the results are all there is.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.audits.gap.conclude import conclude
from memaudit.audits.gap.results import read_results
from memaudit.audits.result import VerdictResult
from memaudit.errors import InputError
from memaudit.report.formats import writers
from memaudit.runs.directory import RunDirectory, identity, run_folder
from memaudit.runs.files import strict_json
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.provenance import versions


@dataclass(frozen=True, slots=True)
class GapOptions:
    """What is compared, and what it is judged by.

    Raises:
        InputError: A value makes no comparison.
    """

    model: str
    """Column of the model in question."""
    controls: tuple[str, ...]
    """Columns of models that cannot have seen the old items, or saw them no more than the new ones."""
    cutoff: str
    """Last day of the model's training data, as ``2023-09-30``: items up to it are old, later ones new."""
    date_field: str | None = None
    alpha: float = 0.05
    least_gap: float = 0.15
    """A gap that must be detectable with power .8 before "no evidence" may be said."""
    permutations: int = 9999
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.controls:
            raise InputError("a gap needs a control", "--control NAME: a model that has not seen the old items")
        named = [self.model, *self.controls]
        twice = next((name for name in named if named.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"{twice} is named twice", "a model is no control of itself")
        try:
            datetime.date.fromisoformat(self.cutoff)
        except ValueError as error:
            raise InputError(f"--cutoff: no day: {self.cutoff}", "as 2023-09-30") from error
        for name in ("alpha", "least_gap"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must lie between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class GapRun(VerdictResult):
    """A finished comparison and the run directory it lies in."""


@reads_files
def gap(
    results: str | Sequence[str],
    *,
    model: str,
    controls: Sequence[str],
    cutoff: str,
    out: str | Path | None = None,
    formats: Sequence[str] = ("html",),
    invocation: Invocation | None = None,
    **fields: Any,
) -> GapRun:
    """Compare what a model loses on new items with what its controls lose.

    Args:
        results: Files of per-item results (`memaudit.audits.gap.results.read_results`).
        model: Column of the model in question.
        controls: Columns of its controls.
        cutoff: Last day of the model's training data.
        out: Run directory; by default ``runs/gap-IDENTITY``.
        formats: What to write beside report.json.
        invocation: What repeats the run; by default this call.
        **fields: Other options of `GapOptions` by name.

    Raises:
        MemauditError: Bad input, or a run directory that cannot be used.
    """
    asked = invocation or python_call("memaudit.audits.gap.run.gap", gap, locals())
    chosen_writers = writers(formats, "gap")
    options = GapOptions(model, tuple(controls), cutoff, **fields)
    specs = [results] if isinstance(results, str) else list(results)
    read = read_results(specs, [model, *controls], options.date_field)
    plan = _plan(options, specs, [dict(file) for file in read.files], asked)
    folder = run_folder(out, "gap", plan)
    with RunDirectory.open(folder, plan) as run:
        report = conclude(run.plan, read)
        run.finish(report)
        files = [write(folder) for write in chosen_writers]
    return GapRun(folder, report, files)


def _plan(
    options: GapOptions, specs: Sequence[str], files: Sequence[dict[str, Any]], invocation: Invocation
) -> dict[str, Any]:
    body = {
        "schema_version": 1,
        "kind": "gap",
        "options": dataclasses.asdict(options),
        "results": {"specs": list(specs), "files": files},
        "versions": versions(),
    }
    plan: dict[str, Any] = json.loads(strict_json(body | invocation.in_plan()))
    return plan | {"identity": identity(plan)}
