"""Whole works: how much of each can be had back, where, and at what cost."""

from __future__ import annotations

from dataclasses import replace

from memaudit.records import Shown
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Problem, Rule, place, short
from memaudit.runs.directory import ReportInput
from memaudit.runs.parts import Finding
from memaudit.runs.work_report import WorkMeasured, WorkReport
from memaudit.stats.rounding import percent

RULE = Rule(
    id="memaudit/work",
    name="WorkRecited",
    title="A work can be had back",
    short="A model gives back passages of a work.",
    full="Given the words before them, the model writes passages of the work with a probability that counts, more than"
    " of works of the same kind that it cannot have seen.",
    help="Remove the work from the training text and train again, or filter the model's output.",
)


class WorkKind(VerdictKind[WorkReport]):
    """An audit of one model by whole works."""

    def disclosed(self, run: ReportInput[WorkReport], shown: Shown) -> ReportInput[WorkReport]:
        """Return the run without the texts of passages, where texts are not shown."""
        if shown.text:
            return run
        works = [_without_texts(work) for work in run.report["works"]]
        findings: list[Finding] = [{**finding, "text": None} for finding in run.report["findings"]]
        return replace(run, report={**run.report, "works": works, "findings": findings})

    def problems(self, report: WorkReport) -> list[Problem]:
        """Return the works that can be had back."""
        if report["verdict"] != "found":
            return []
        return [
            Problem(
                id=finding["id"],
                rule=RULE.id,
                level="error",
                name=f"work {short(finding['document'])}",
                sentence=f"{percent(finding['score'])} of {short(finding['document'])} can be had back:"
                f" {finding['metric']}.",
                place=place(finding["source"], set(report["corpus"]["specs"])),
                properties={"metric": finding["metric"], "score": finding["score"]},
            )
            for finding in report["findings"]
        ]


def _without_texts(work: WorkMeasured) -> WorkMeasured:
    return {**work, "longest": [{**passage, "text": None} for passage in work["longest"]]}


KIND = WorkKind(
    "work",
    "How much of the work can be had back?",
    rules=(RULE,),
    claim="no more of the works can be had back than is tolerated",
)
