"""A run as test cases of continuous integration: for the verdict, for every control, and what more a kind has.

Only the verdict *found* fails. *Inconclusive* and *confounded* skip the case of the verdict and say why; a control that
failed is an error, because then it was the instrument that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memaudit.runs.parts import Control
from memaudit.runs.report_parts import Judged
from memaudit.runs.reports import VerdictReport

Outcome = Literal["failure", "error", "skipped"]
_OUTCOMES: Mapping[str, Outcome] = {"found": "failure", "inconclusive": "skipped", "confounded": "skipped"}


@dataclass(frozen=True, slots=True)
class Case:
    """One test case; without an outcome it passed."""

    name: str
    outcome: Outcome | None = None
    message: str = ""
    details: str = ""
    """Lines behind the message."""
    output: str = ""
    """What a case that passed has to say."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The test cases of a run."""

    name: str
    cases: Sequence[Case]


def verdict_case(report: VerdictReport | Mapping[str, Any], name: str, details: Iterable[str] = ()) -> Case:
    """Return the case of a run's verdict.

    Args:
        report: What report.json holds.
        name: What holds where nothing is found.
        details: Lines behind the reasons of a verdict that is not good.
    """
    outcome = _OUTCOMES.get(report["verdict"])
    if outcome is None:
        return Case(name)
    return Case(name, outcome, report["headline"], "\n".join([*report["reasons"], *details]))


def control_cases(report: Judged | Mapping[str, Any]) -> list[Case]:
    """Return a case for every control."""
    return [_control_case(control) for control in report["controls"]]


def _control_case(control: Control) -> Case:
    name = f"control: {control['name']}"
    if control["passed"] is True:
        return Case(name)
    return Case(name, "skipped" if control["passed"] is None else "error", control["detail"])
