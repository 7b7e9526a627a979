"""Does a model ace the old items and fail the new ones, more than models that cannot have seen the old ones?

`gap` reads per-item results with dates, keeps the items that every model has a result of, and asks whether the model
loses more after its cutoff than its controls do. Nothing is sampled from a model; the results are all there is.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.audits.gap.conclude import conclude
from memaudit.audits.gap.results import read_results
from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.errors import InputError
from memaudit.runs.directory import RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.options import GapOptions as StoredOptions
from memaudit.runs.plans import GapPlan, GapSubject
from memaudit.runs.reports import GapReport
from memaudit.runs.schema import as_record
from memaudit.text.corpus.objects import Listed, TextSource, listed, specs_of


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
class GapRun(VerdictResult[GapReport]):
    """A finished comparison and the run directory it lies in."""


def gap(
    results: TextSource,
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
    repeated = invocation or python_call("memaudit.gap", gap, locals())
    question = Gap(listed(results, "results"), GapOptions(model, tuple(controls), cutoff, **fields))
    return carry_out(question, Delivery(repeated, out, formats))


class Gap(Question[GapRun, GapReport]):
    """Results of a model and of its controls, on items that are dated."""

    kind = "gap"

    def __init__(self, specs: Listed, options: GapOptions) -> None:
        self.specs, self.options = specs, options

    def prepare(self) -> None:
        """Read the results."""
        self.read = read_results(self.specs, [self.options.model, *self.options.controls], self.options.date_field)

    def plan(self) -> GapSubject:
        """Return the options, and what was read."""
        options = as_record(self.options, StoredOptions)
        return {"options": options, "results": {"specs": specs_of(self.specs), "files": self.read.files}}

    def measure(self, run: RunDirectory) -> None:
        """Do nothing: the results are all there is."""

    def conclude(self, run: RunDirectory) -> GapReport:
        """Compare the losses."""
        return conclude(run.plan_as(GapPlan), self.read)

    def result(self, outcome: RunResult[GapReport]) -> GapRun:
        """Return the outcome with its verdict."""
        return refined(outcome, GapRun)
