"""Contamination: which items of a benchmark occur in a corpus."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memaudit.records import Shown
from memaudit.report import wording
from memaudit.report.blocks import Block, Grid, Paragraph, Words, paragraph, plain
from memaudit.report.cases import Case, Suite, control_cases, verdict_case
from memaudit.report.contamination_wording import MATCHES, and_others, policy_words, spared_words, worst_first
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Level, Problem, Rule, on_one_line, place, short
from memaudit.report.wording import counted
from memaudit.runs.contamination_report import ContaminationReport, ItemFinding
from memaudit.runs.directory import ReportInput
from memaudit.stats.rounding import percent

if TYPE_CHECKING:
    from rich.console import Console

RULE = Rule(
    id="memaudit/contamination",
    name="BenchmarkItemInCorpus",
    title="Benchmark item occurs in the corpus",
    short="A benchmark item occurs in a corpus.",
    full="The words of a benchmark item occur in a document of the corpus, raw, after normalisation or "
    "edited. A model trained on that corpus may have seen the test.",
    help="Compare the item with the document beside it. Leave the document out of the training data, "
    "retire the item, or accept the finding in a baseline file.",
)
MAX_CASES = 1000
"""Contaminated items that have a test case of their own."""


class ContaminationKind(VerdictKind[ContaminationReport]):
    """A search of a corpus for the items of a benchmark."""

    def page(self, run: ReportInput[ContaminationReport]) -> bytes:
        """Return the page: each item beside the document that holds it."""
        from memaudit.report.contamination_page import render_run

        return render_run(run, self.title)

    def screen(self, report: ContaminationReport, console: Console) -> None:
        """Print verdict, rules, what was not judged, the ten worst items."""
        from memaudit.report.contamination_terminal import print_contamination

        print_contamination(report, console)

    def disclosed(self, run: ReportInput[ContaminationReport], shown: Shown) -> ReportInput[ContaminationReport]:
        """Return the run with its evidence masked, or without the texts of it."""
        from memaudit.report.contamination_disclosure import disclosed

        return disclosed(run, shown)

    def problems(self, report: ContaminationReport) -> list[Problem]:
        """Return the contaminated items of the benchmark."""
        benchmark = {file["path"] for file in report["benchmark"]["files"]}
        corpus = {file["path"] for file in report["corpus"]["files"]}
        level: Level = "error" if report["verdict"] == "found" else "warning"
        return [
            Problem(
                id=finding["id"],
                rule=RULE.id,
                level="note" if finding["accepted"] else level,
                name=f"item {short(finding['item'])}, {short(finding['part'])}",
                sentence=_sentence(finding),
                place=place(finding["source"], benchmark),
                related=[place(evidence["source"], corpus) for evidence in finding["evidence"]],
                relation="A document of the corpus that holds the item.",
                accepted=finding["accepted"],
                properties={
                    "part": finding["part"],
                    "match": finding["match"],
                    "score": finding["score"],
                    "coverage": finding["coverage"],
                    "documents": finding["documents"],
                    "rules": finding["rules"],
                    "more_documents": finding["more_documents"],
                },
            )
            for finding in sorted(worst_first(report["findings"]), key=lambda f: bool(f["accepted"]))
        ]

    def suite(self, report: ContaminationReport) -> Suite:
        """Return a test case for the policy, every control, every finding.

        A contaminated item fails where the verdict is *found*; one that a baseline accepts, or that the policy
        tolerates, is skipped. At most 1,000 items have a case of their own; the policy's says how many have not.
        """
        found = self.problems(report)
        left_out = len(found) - len(found[:MAX_CASES])
        more = counted(left_out, "more contaminated item is", "more contaminated items are")
        notes = [f"{more} not listed here, but in report.json"] if left_out else []
        rates = [
            f"{e['label']}: {e['hits']:,} of {counted(e['n'], 'item')}, {percent(e['rate'])}"
            for e in report["estimates"]
        ]
        name = f"items that occur in the corpus: {policy_words(report['policy'])}"
        policy = verdict_case(report, name, [*rates, *notes])
        if policy.outcome is None:
            policy = replace(policy, output="".join(notes))
        return Suite("contamination", [policy, *control_cases(report), *map(_item_case, found[:MAX_CASES])])

    def summary(self, report: ContaminationReport) -> list[Block]:
        """Return what was not looked for, the table of our rule and the published ones, what is spared or accepted."""
        rows = [
            [
                Words(e["label"], "strong" if e["primary"] else ""),
                *plain([wording.hits(e), percent(e["rate"]), f"{e['undefined']:,}"]),
            ]
            for e in report["estimates"]
        ]
        return [
            *map(paragraph, report["limits"][:1]),
            Grid(["Rule", "Contaminated items", "Rate", "Undefined"], rows),
            *(Paragraph(plain([e["label"], ": ", wording.classes(e)])) for e in report["estimates"] if e["classes"]),
            *_asides(report),
        ]


def _sentence(finding: ItemFinding) -> str:
    return (
        f"Benchmark item {short(finding['item'])} ({short(finding['part'])}) occurs in"
        f" {on_one_line(finding['evidence'][0]['source'])}{and_others(finding)}: {MATCHES[finding['match']]}, "
        f"similarity {percent(finding['score'])}."
    )


def _item_case(problem: Problem) -> Case:
    lines = [f"benchmark {problem.place}", *(f"corpus {place}" for place in problem.related)]
    details = "\n".join([*lines, f"similarity {percent(problem.properties['score'])}", problem.id])
    if problem.level == "error":
        return Case(problem.name, "failure", problem.sentence, details)
    why = "accepted by the baseline" if problem.accepted else "within the policy, or not decided"
    return Case(problem.name, "skipped", f"{why}: {problem.sentence}", details)


def _asides(report: ContaminationReport) -> list[Block]:
    """Return what was not counted as a finding, and why."""
    blocks: list[Block] = []
    if spared := spared_words(report):
        first = report["spared"][0]
        source = Words(first["source"], "code")
        blocks.append(Paragraph([Words(f"Not counted: {spared}, first "), source, *plain([": ", first["reason"]])]))
    if baseline := report["baseline"]:
        accepted = counted(baseline["accepted"], "finding")
        stale = counted(baseline["stale"], "entry matches", "entries match")
        path = Words(baseline["path"], "code")
        blocks.append(Paragraph([Words("Baseline "), path, Words(f": {accepted} accepted, {stale} nothing")]))
    return blocks


KIND = ContaminationKind("contamination", "Does the benchmark occur in the corpus?", rules=(RULE,))
