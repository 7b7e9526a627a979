"""Reconstruction: how much of a work a model writes by itself, from its first words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memaudit.findings import fingerprint
from memaudit.records import Shown
from memaudit.report.cases import Suite, control_cases, verdict_case
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Problem, Rule, place, short
from memaudit.runs.directory import ReportInput
from memaudit.runs.reconstruction_report import ReconstructionReport
from memaudit.stats.rounding import percent

if TYPE_CHECKING:
    from rich.console import Console

RULE = Rule(
    id="memaudit/reconstruction",
    name="WorkWritten",
    title="A work is written by the model",
    short="A model writes passages of a work by itself.",
    full="Given the first words of a work, the model writes passages of at least a hundred words of it that it was not"
    " given, and none of a control work.",
    help="Deduplicate or remove the work and train again, or filter the model's output.",
)


class ReconstructionKind(VerdictKind[ReconstructionReport]):
    """Works that a model was let to write."""

    def page(self, run: ReportInput[ReconstructionReport]) -> bytes:
        """Return the page with work and output side by side."""
        from memaudit.report.reconstruction_page import render

        return render(run, self.title)

    def screen(self, report: ReconstructionReport, console: Console) -> None:
        """Print verdict, recall, a line a work, what it does not show."""
        from memaudit.report.reconstruction_terminal import print_reconstruction

        print_reconstruction(report, console)

    def disclosed(self, run: ReportInput[ReconstructionReport], shown: Shown) -> ReportInput[ReconstructionReport]:
        """Return the run with its texts masked, or without them."""
        from memaudit.report.reconstruction_disclosure import disclosed

        return disclosed(run, shown)

    def problems(self, report: ReconstructionReport) -> list[Problem]:
        """Return the works of which a passage was written."""
        if report["verdict"] != "found":
            return []
        files = {file["path"] for file in report["texts"]["files"]}
        return [
            Problem(
                id=fingerprint(self.name, report["model"]["name"], work["sha256"]),
                rule=RULE.id,
                level="error",
                name=f"work {short(work['name'])}",
                sentence=f"The model writes {percent(work['recall'][0]['share'])} of {short(work['name'])} by itself,"
                f" the longest passage {work['recall'][0]['longest']:,} words.",
                place=place(work["source"], files),
                properties={"recall": work["recall"][0]["share"], "longest": work["recall"][0]["longest"]},
            )
            for work in report["works"]
            if not work["control"] and work["recall"][0]["words"]
        ]

    def suite(self, report: ReconstructionReport) -> Suite:
        """Return a test case for the verdict and for every control."""
        return Suite(report["model"]["name"], [verdict_case(report, self.claim), *control_cases(report)])


KIND = ReconstructionKind(
    "reconstruction",
    "How much of the work does it write by itself?",
    rules=(RULE,),
    claim="no passage of a hundred words is written without help",
)
