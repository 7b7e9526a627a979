"""Membership: whether a model has seen a benchmark, by detectors that each have to pass their own controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memaudit.report.blocks import Block, Grid, Words, plain
from memaudit.report.cases import Case, Suite, control_cases, verdict_case
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Problem, Rule, place, short
from memaudit.runs.reports import Detection, MembershipReport
from memaudit.stats import rounding
from memaudit.stats.rounding import p_equals

if TYPE_CHECKING:
    from rich.console import Console

RULE = Rule(
    id="memaudit/membership",
    name="BenchmarkSeenByModel",
    title="The model has seen the benchmark",
    short="A model has seen a benchmark.",
    full="The model treats the items of a benchmark, or their order, as what it was trained on, more than "
    "items of the same kind that it cannot have seen, and every control holds.",
    help="Report results on items that are newer than the model, or name the contamination beside them.",
)


class MembershipKind(VerdictKind[MembershipReport]):
    """A run of detectors over one benchmark."""

    def screen(self, report: MembershipReport, console: Console) -> None:
        """Print verdict, detectors, a line a section, what it does not show."""
        from memaudit.report.membership_terminal import print_membership

        print_membership(report, console)

    def problems(self, report: MembershipReport) -> list[Problem]:
        """Return the detectors whose answers are evidence that the model has seen the benchmark."""
        detections = {detection["name"]: detection for detection in report["detections"]}
        files = {file["path"] for file in report["benchmark"]["files"]}
        return [
            Problem(
                id=finding["id"],
                rule=RULE.id,
                level="error",
                name=f"detector {detections[finding['metric']]['label']}",
                sentence=_sentence(report, detections[finding["metric"]]),
                place=place(finding["source"], files),
                properties={"metric": finding["metric"], "score": finding["score"]},
            )
            for finding in report["findings"]
        ]

    def suite(self, report: MembershipReport) -> Suite:
        """Return a test case for the verdict, for every control and for every detector.

        A detector fails only where its answer counts as evidence; one that is not admissible is skipped and says why.
        """
        verdict = verdict_case(report, self.claim, [report["power"]["sentence"]])
        detectors = map(_detector_case, report["detections"])
        return Suite(report["model"]["name"], [verdict, *control_cases(report), *detectors])

    def summary(self, report: MembershipReport) -> list[Block]:
        """Return the table of the detectors, each with whether it is admissible."""
        rows = [
            [
                Words(d["label"], "strong" if d["name"] == report["primary"] else ""),
                *plain([rounding.p_value(d["p_value"]), rounding.p_value(d["p_holm"]), "yes" if d["speaks"] else "no"]),
            ]
            for d in report["detections"]
        ]
        return [Grid(["Detector", "p", "p, Holm", "Admissible"], rows)]


def _sentence(report: MembershipReport, detection: Detection) -> str:
    says = f"{short(report['model']['name'])} has seen this benchmark, according to {detection['label']}:"
    return f"{says} {p_equals(detection['p_holm'])} over {len(report['detections'])} detectors."


def _detector_case(detection: Detection) -> Case:
    name = f"detector: {detection['label']}"
    failing = [f"{c['name']}: {c['detail']}" for c in detection["controls"] if c["passed"] is False]
    said = f"p = {detection['p_value']}, Holm {detection['p_holm']}; {detection['reason']}"
    if detection["rejects"] and detection["speaks"]:
        return Case(name, "failure", said)
    if detection["p_value"] is None or (detection["rejects"] and failing):
        return Case(name, "skipped", "; ".join([said, *failing]))
    return Case(name)


KIND = MembershipKind(
    "membership",
    "Has the model seen the benchmark?",
    rules=(RULE,),
    claim="no evidence that the model has seen the benchmark",
)
