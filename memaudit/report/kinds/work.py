"""Whole works: how much of a book can be had back from a model, where in it, and at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memaudit.records import Shown
from memaudit.report.blocks import Block, Grid, Words, paragraph, plain
from memaudit.report.cases import Suite, control_cases, verdict_case
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Problem, Rule, place, short
from memaudit.report.wording import interval
from memaudit.runs.directory import ReportInput
from memaudit.runs.work_report import Reached, WorkReport
from memaudit.stats.rounding import percent, stated

if TYPE_CHECKING:
    from rich.console import Console

    from memaudit.report.exhibits import Exhibited

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
    """An audit of whole works, control works beside them."""

    def page(self, run: ReportInput[WorkReport]) -> bytes:
        """Return the page: shares and costs, the works by position, passages and holes."""
        from memaudit.report.work_page import render

        return render(run, self.title)

    def exhibited(self, run: ReportInput[WorkReport]) -> Exhibited:
        """Return the windows that the page shows, for paper."""
        from memaudit.report.work_exhibits import exhibited

        return exhibited(run)

    def screen(self, report: WorkReport, console: Console) -> None:
        """Print verdict, shares, a line a part."""
        from memaudit.report.work_terminal import print_work

        print_work(report, console)

    def disclosed(self, run: ReportInput[WorkReport], shown: Shown) -> ReportInput[WorkReport]:
        """Return the run with its passages masked, or with their places alone."""
        from memaudit.report.work_disclosure import disclosed

        return disclosed(run, shown)

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

    def suite(self, report: WorkReport) -> Suite:
        """Return a test case for the verdict and one for every control."""
        lines = [f"{work['name']}: {', '.join(map(_share, work['reached']))}" for work in report["works"]]
        return Suite(report["model"]["name"], [verdict_case(report, self.claim, lines), *control_cases(report)])

    def summary(self, report: WorkReport) -> list[Block]:
        """Return the table of what can be had back of every work."""
        head = ["Work", *(_at(entry) for entry in report["works"][0]["reached"])] if report["works"] else []
        rows = [
            [
                Words(f"{work['name']} (control)" if work["control"] else work["name"], "code"),
                *plain([f"{percent(entry['share'])} {interval(entry)}" for entry in work["reached"]]),
            ]
            for work in report["works"]
        ]
        return [paragraph("Share of all tokens of the work that can be had back"), Grid(head, rows)] if rows else []


def _at(entry: Reached) -> str:
    return "greedy" if entry["threshold"] is None else f"p >= {stated(entry['threshold'])}"


def _share(entry: Reached) -> str:
    return f"{_at(entry)} {percent(entry['share'])} {interval(entry)}"


KIND = WorkKind(
    "work",
    "How much of the work can be had back?",
    rules=(RULE,),
    claim="no more of the works can be had back than is tolerated",
)
