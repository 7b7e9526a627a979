"""Extraction: whether a model reproduces text it was trained on, beside text it never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memaudit.records import Shown
from memaudit.report import wording
from memaudit.report.blocks import Block, Grid, Words, plain
from memaudit.report.cases import Suite, control_cases, verdict_case
from memaudit.report.endpoint import VERBATIM, in_chat
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Level, Problem, Rule, place, short
from memaudit.report.wording import interval
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.stats.rounding import percent

if TYPE_CHECKING:
    from rich.console import Console

    from memaudit.report.exhibits import Exhibited

RULE = Rule(
    id="memaudit/extraction",
    name="TrainingTextRecited",
    title="Training text is reproduced",
    short="A model reproduces a document it was trained on.",
    full="Given the beginning of a training document, the model continues as the document does, more often than for"
    " text it never saw.",
    help="Deduplicate or remove the document and train again, or filter the model's output.",
)


class ExtractionKind(VerdictKind[ExtractionReport]):
    """An audit of one model by windows of training and of held-out text."""

    def page(self, run: ReportInput[ExtractionReport]) -> bytes:
        """Return the page with its exhibits: prompt, continuation and true text side by side."""
        from memaudit.report.extraction_page import render

        return render([run], self.title).encode("utf-8")

    def notebook(self, run: ReportInput[ExtractionReport]) -> str:
        """Return the verdict and the charts alone."""
        from memaudit.report.extraction_page import summary

        return summary(run, self.title)

    def exhibited(self, run: ReportInput[ExtractionReport]) -> Exhibited:
        """Return the windows that the page shows, for paper."""
        from memaudit.report.exhibits import Exhibited, galleries

        report = run.report
        files = [*report["train"]["files"], *report["heldout"]["files"]]
        return Exhibited(
            galleries(run.records, report["options"]["seed"], shown=run.shown, measured=run.measured),
            wording.question(report),
            {file["path"]: file["sha256"] for file in files},
            wording.decoding(report),
        )

    def screen(self, report: ExtractionReport, console: Console) -> None:
        """Print verdict, estimates, controls, the three worst findings."""
        from memaudit.report.extraction_terminal import print_extraction

        print_extraction(report, console)

    def disclosed(self, run: ReportInput[ExtractionReport], shown: Shown) -> ReportInput[ExtractionReport]:
        """Return the run with its texts masked, or with their lengths and digests in place of them."""
        from memaudit.report.extraction_disclosure import disclosed

        return disclosed(run, shown)

    def problems(self, report: ExtractionReport) -> list[Problem]:
        """Return the training documents that the model reproduces."""
        labels = {estimate["metric"]: estimate["label"] for estimate in report["estimates"]}
        level: Level = "error" if report["verdict"] == "found" else "warning"
        files = {file["path"] for file in report["train"]["files"]}
        return [
            Problem(
                id=finding["id"],
                rule=RULE.id,
                level=level,
                name=f"document {short(finding['document'])}",
                sentence=f"The model reproduces training document {short(finding['document'])} "
                f"({short(labels.get(finding['metric'], finding['metric']))}, score {percent(finding['score'])}).",
                place=place(finding["source"], files),
                properties={"metric": finding["metric"], "score": finding["score"], "copies": finding["copies"]},
            )
            for finding in report["findings"]
        ]

    def suite(self, report: ExtractionReport) -> Suite:
        """Return a test case for the policy and one for every control."""
        metric = VERBATIM.lower() if in_chat(report["model"]) else report["primary_metric"]
        name = f"{metric}: at most {percent(report['policy']['max_rate'])} of the training documents"
        primary = next(e for e in report["estimates"] if e["primary"])
        sides = ("training text", primary["train"]), ("held-out text", primary["heldout"])
        rates = [f"{name}: {percent(side['rate'])} {interval(side)}" for name, side in sides]
        return Suite(report["model"]["name"], [verdict_case(report, name, rates), *control_cases(report)])

    def summary(self, report: ExtractionReport) -> list[Block]:
        """Return the table of what was reproduced of training and of held-out text."""
        rows = [
            [
                Words(e["label"], "strong" if e["primary"] else ""),
                *plain([f"{percent(side['rate'])} {interval(side)}" for side in (e["train"], e["heldout"])]),
                Words(f"{wording.points(e['difference'])} {wording.point_interval(e['difference'])}"),
            ]
            for e in report["estimates"]
        ]
        return [Grid(["Metric", "Training text", "Held-out text", "Difference, points"], rows)]


KIND = ExtractionKind("extraction", "Does it reproduce its training text?", rules=(RULE,))
