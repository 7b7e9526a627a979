"""The page of a run that is made of sections: its verdict where it has one, what was asked, how to repeat it."""

from __future__ import annotations

from memaudit.report.page import render_page
from memaudit.report.sections import shown_sections
from memaudit.runs.directory import ReportInput
from memaudit.runs.reports import SectionedReport


def render_run(run: ReportInput[SectionedReport], title: str) -> bytes:
    """Return the page: the same report gives the same bytes.

    Args:
        run: A run whose report has sections.
        title: What the page asks.
    """
    report = run.report
    versions = report["provenance"]["versions"]
    sections = shown_sections(report["sections"], "run")
    page = render_page("sections.html.j2", title, versions, report=report, sections=sections)
    return page.encode("utf-8")
