"""The way of every run, written once: options -> plan -> folder -> resume -> measure -> conclude -> finish -> write.

A question (`memaudit.audits.gap.run.Gap`, ...) says what its run is about, how it is measured and what follows from the
log; `carry_out` does the rest, so that every kind of run resumes, refuses, redacts and reports in the same way.
"""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from memaudit.audits.result import RunResult
from memaudit.records import SHOWN, Shown
from memaudit.report.formats import Writer, writers
from memaudit.runs.directory import ReportInput, RunDirectory, identity, run_folder
from memaudit.runs.files import strict_json
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation
from memaudit.runs.plans import PLANS, PlanHead
from memaudit.runs.provenance import versions

if TYPE_CHECKING:  # a run of many kinds asks none
    from memaudit.models.base import LanguageModel
from memaudit.models.remote.resumed import going_on_in

SCHEMA_VERSION = 1
ANSWERS_OF_REFERENCE = "reference-"
"""How the folder in a run directory begins in which what a reference answers is kept, with its number."""
Result = TypeVar("Result", bound=RunResult[Any])
Report = TypeVar("Report", bound=Mapping[str, object])
"""What report.json of the kind holds: `memaudit.runs.reports`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a run goes and what is written of it: nothing of this changes what it measures."""

    invocation: Invocation
    """What repeats the run."""
    out: str | Path | None = None
    """Run directory; None: ``runs/NAME-IDENTITY``, where the same call finds it again."""
    formats: Sequence[str] = ("html",)
    """What is written beside report.json."""
    shown: Shown = SHOWN
    """What of the texts may stand in it."""


class Question(ABC, Generic[Result, Report]):
    """What one kind of run asks. `carry_out` calls its methods in the order in which they stand here, each once."""

    kind: ClassVar[str]
    """As the plan names it; `memaudit.report.kinds` says how such a run looks."""

    def prepare(self) -> None:
        """Load and read what the run is about, and refuse what cannot be asked, before a folder is taken.

        Raises:
            MemauditError: Bad input, or a model that is refused.
        """

    @abstractmethod
    def plan(self) -> Mapping[str, object]:
        """Return what the run is about, as JSON values; its identity follows from them.

        `memaudit.runs.plans` says which (``GapSubject``, ...). ``controls`` and ``judgement`` may be among them: they
        are shown and do not enter the identity.
        """

    @property
    def folder_name(self) -> str:
        """How a run directory begins that nobody named."""
        return self.kind

    @property
    def models(self) -> Sequence[LanguageModel]:
        """The models that are asked: what they answer is kept in the folder, where asking costs something."""
        return ()

    @abstractmethod
    def measure(self, run: RunDirectory) -> None:
        """Measure what the log lacks; each record is appended as soon as it is done."""

    @abstractmethod
    def conclude(self, run: RunDirectory) -> Report:
        """Return the report that follows from plan and log, as values that JSON can hold; no new facts."""

    def derive(self, run: RunDirectory, shown: Shown) -> None:
        """Write the tables that stand beside the report."""

    def disclosed(self, report: Report, shown: Shown) -> Mapping[str, object]:  # noqa: ARG002 (of those that hold texts)
        """Return what report.json may hold of a report."""
        return report

    def finished(self, report: Report, run: RunDirectory) -> ReportInput[Report]:  # noqa: ARG002 (of those that log)
        """Return what formats are written from: what `memaudit.runs.directory.read_finished` would read again."""
        return ReportInput(report, ())

    def write_beside(self) -> list[Path]:
        """Write files outside the run directory that were asked for, and return their paths."""
        return []

    def notices(self) -> Iterator[str]:
        """Yield what the user should know beside the verdict."""
        yield from ()

    @abstractmethod
    def result(self, outcome: RunResult[Report]) -> Result:
        """Return what the caller gets."""


@reads_files
def carry_out(question: Question[Result, Report], delivery: Delivery) -> Result:
    """Take a question from its options to its report; the same call resumes what is in the folder.

    Raises:
        MemauditError: Bad input, a refused model, an unknown format, or a run directory that cannot be used.
    """
    chosen = writers(delivery.formats, question.kind, delivery.shown)  # refused before anything is read
    with going_on_in(delivery.out):
        question.prepare()
    plan = sealed_plan(question.kind, question.plan(), delivery.invocation)
    return in_folder(question, plan, run_folder(delivery.out, question.folder_name, plan), chosen, delivery.shown)


def in_folder(
    question: Question[Result, Report],
    plan: Mapping[str, Any],
    folder: Path,
    chosen: Sequence[Writer],
    shown: Shown = SHOWN,
) -> Result:
    """Measure, conclude and write a plan in its folder."""
    with RunDirectory.open(folder, plan) as run:
        run.plan_as(PLANS.get(question.kind, PlanHead))  # refused before hours are spent on it
        for number, model in enumerate(question.models):
            model.keep_in(run.folder if number == 0 else run.folder / f"{ANSWERS_OF_REFERENCE}{number}")
        question.measure(run)
        for model in question.models:
            model.check_unchanged()
        report: Any = json.loads(strict_json(question.conclude(run)))
        question.derive(run, shown)
        known: Any = json.loads(strict_json(question.disclosed(report, shown)))
        run.finish(known)
        finished = question.finished(known, run)
        files = [write(folder, finished) for write in chosen]
        files += question.write_beside()
        spent = dict.fromkeys(map(_spent, question.models))
        notice = "; ".join(filter(None, (run.notice, *question.notices(), *spent)))
    return question.result(RunResult(folder, report, files, notice, shown))


def _spent(model: LanguageModel) -> str:
    """Return what asking a model cost and where, in words; nothing of it stands in a report."""
    where = "" if model.endpoint is None else f"{model.endpoint['url']}: "
    return model.spent and f"{where}{model.spent}"


def sealed_plan(kind: str, about: Mapping[str, object], invocation: Invocation) -> dict[str, Any]:
    """Return a plan as plan.json holds it: what it is about, what made it, how it was asked for, its identity."""
    body = {"schema_version": SCHEMA_VERSION, "kind": kind, **about, "versions": versions(), **invocation.in_plan()}
    plan: dict[str, Any] = json.loads(strict_json(body))
    return plan | {"identity": identity(plan)}


def refined(outcome: RunResult[Any], kind: type[Result], **more: Any) -> Result:
    """Return an outcome as a result of another class, with what that has more."""
    known = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(RunResult)}
    return kind(**known, **more)
