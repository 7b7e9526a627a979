"""What a kind of run has to say, in one place: its page, its screen, its findings, its test cases, its texts.

Formats know no kind: they ask the kind of the run that is to be written. A run made of sections needs a name and a
title alone; one that comes to a verdict is a `VerdictKind`, and a rule is enough to list what it found. Another package
declares its kind as an entry point of the group ``memaudit.kind``, under its name::

    # theirs.py; in pyproject.toml: [project.entry-points."memaudit.kind"] rhymes = "theirs:KIND"
    from memaudit.report.kinds.base import VerdictKind
    from memaudit.report.problems import Rule

    RULE = Rule(
        id="theirs/rhymes",
        name="ModelRhymes",
        title="The model rhymes",
        short="A model rhymes where its corpus does not.",
        full="More of the lines it writes rhyme than of held-out lines.",
        help="Train on prose.",
    )
    KIND = VerdictKind("rhymes", "Does the model rhyme?", rules=(RULE,), claim="no evidence that the model rhymes")

Its run directories then have every format, a screen and a page in notebooks. What report.json holds (`Kind.report`) and
what of it may be shown (`Kind.disclosed`) are for the kind to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from memaudit.findings import fingerprint
from memaudit.records import Shown
from memaudit.report.blocks import Block, Grid, paragraph, plain
from memaudit.report.cases import Suite, control_cases, verdict_case
from memaudit.report.problems import Problem, Rule, on_one_line, place
from memaudit.runs.directory import ReportInput
from memaudit.runs.reports import JudgedReport, SectionsReport, VerdictReport

if TYPE_CHECKING:
    from rich.console import Console

    from memaudit.report.exhibits import Exhibited


Report = TypeVar("Report", bound=Mapping[str, Any])
"""What report.json of the kind holds: `memaudit.runs.reports`."""
Judged = TypeVar("Judged", bound=VerdictReport | Mapping[str, Any])
"""The same of a kind that comes to a verdict."""


@dataclass(frozen=True)
class Kind(Generic[Report]):
    """A kind of run; by default one whose report is made of sections and comes to no verdict.

    Charts, templates and tables of a terminal are imported by the methods that need them.
    """

    name: str
    """As plan.json and report.json have it."""
    title: str
    """What its page asks."""

    @property
    def report(self) -> type:
        """What report.json must hold: a TypedDict; asked of kinds of other packages."""
        return SectionsReport

    def page(self, run: ReportInput[Report]) -> bytes:
        """Return report.html: the same run gives the same bytes."""
        from memaudit.report.sections_page import render_run

        return render_run(cast("ReportInput[SectionsReport]", run), self.title)

    def notebook(self, run: ReportInput[Report]) -> str:
        """Return the page that a notebook shows."""
        return self.page(run).decode("utf-8")

    def exhibited(self, run: ReportInput[Report]) -> Exhibited | None:  # noqa: ARG002 (of kinds that show windows)
        """Return the exhibits of a run, for paper; None of a kind that has none."""
        return None

    def screen(self, report: Report, console: Console) -> None:
        """Print the report on a terminal, the verdict first."""
        from memaudit.report.sections_terminal import print_sections

        print_sections(cast("SectionsReport", report), console)

    def disclosed(self, run: ReportInput[Report], shown: Shown) -> ReportInput[Report]:
        """Return the run with no more of its texts than may be shown.

        By default the run itself: a report of sections holds numbers and our own sentences. A kind whose report quotes
        a corpus or a model says here what is masked, and what is left out.
        """
        del shown
        return run


@dataclass(frozen=True)
class VerdictKind(Kind[Judged]):
    """A kind of run that comes to a verdict, with reasons, controls and limits."""

    rules: Sequence[Rule] = ()
    """What its findings are cases of; every problem names one."""
    claim: str = "nothing was found"
    """What holds where nothing is found: the name of the test case of the verdict."""

    @property
    def report(self) -> type:
        """What report.json must hold: sections, and the verdict with all that it rests on."""
        return JudgedReport

    def problems(self, report: Judged) -> list[Problem]:
        """Return the findings, the worst first, those that a baseline accepts last.

        By default one where the verdict is *found* and the kind has a rule: the model, or the corpus, as a whole.
        """
        judged = cast("JudgedReport", report)
        if judged["verdict"] != "found" or not self.rules:
            return []
        specs = judged["corpus"]["specs"]
        model, file = str(judged["options"].get("model") or ""), next(iter(specs), "")
        return [
            Problem(
                id=fingerprint(self.name, model, " ".join(specs)),
                rule=self.rules[0].id,
                level="error",
                name=self.name,
                sentence=on_one_line(judged["headline"]),
                place=place(file, {file}),
            )
        ]

    def suite(self, report: Judged) -> Suite:
        """Return the test cases: by default one for the verdict and one for every control."""
        holds: Mapping[str, Any] = report  # of some kinds a model, of others an option that names one
        model = holds.get("model", {}).get("spec") or holds["options"].get("model", "")
        cases = [verdict_case(report, self.claim), *control_cases(report)]
        return Suite(f"{self.name} {model}".strip(), cases)

    def summary(self, report: Judged) -> list[Block]:
        """Return what a summary shows between the reasons and the findings: by default the first table of a section."""
        from memaudit.report.sections import shown_table

        sections = cast("JudgedReport", report)["sections"]
        tables = [table for section in sections[:1] for table in section["tables"][:1]]
        if not tables:
            return []
        table = shown_table(tables[0])
        grid = Grid([label for label, _ in table.columns], [plain(row) for row in table.rows])
        return [paragraph(table.caption), grid]
