"""Placeholder of this branch: the verdict for one work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.findings import Control
from memaudit.runs.options import WorkOptions
from memaudit.runs.report_parts import PolicyVerdict
from memaudit.runs.work_report import WorkMeasured, WorkTest


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and why."""

    verdict: PolicyVerdict
    exit_code: int
    reasons: list[str]
    test: WorkTest
    controls: list[Control]
    method: str
    limits: list[str]


def judge(works: Sequence[WorkMeasured], options: WorkOptions, controls: Sequence[Control]) -> Judgement:  # noqa: ARG001
    """Return that nothing is judged yet."""
    why = (
        "nothing can be tested without a control work"
        if not any(work["control"] for work in works)
        else "no test on this branch"
    )
    test: WorkTest = {
        "possible": False,
        "why_not": why,
        "estimate": None,
        "low": None,
        "high": None,
        "p_value": None,
        "block_tokens": None,
        "blocks": [0, 0],
        "dependence": None,
        "unit": "blocks",
        "detectable": None,
    }
    return Judgement("inconclusive", 3, [why], test, list(controls), "", [])
