"""The page of a run that is made of sections: its verdict where it has one, what was asked, how to repeat it."""

from __future__ import annotations

from memaudit.report.page import render_page
from memaudit.report.sections import shown_sections
from memaudit.runs.directory import ReportInput

TITLES = {
    "laws": "How does memorization grow?",
    "counterfactual": "What does a model know only if it saw it?",
    "gap": "Does it ace the old test and fail the new one?",
    "membership": "Has the model seen the benchmark?",
    "exploitation": "Does the model know the labels of the test, and use them?",
}
"""Kind of run -> what its page asks."""


def render_run(run: ReportInput) -> bytes:
    """Return the page: the same report gives the same bytes."""
    report = run.report
    title = TITLES[report["kind"]]
    versions = report["provenance"]["versions"]
    page = render_page("sections.html.j2", title, versions, report=report, sections=shown_sections(report, "run"))
    return page.encode("utf-8")
