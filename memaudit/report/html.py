"""The report of extraction audits as one page: one run or several, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.files import write_atomic
from memaudit.report import wording
from memaudit.report.charts import Chart, dose_chart, interval_chart
from memaudit.report.exhibits import Gallery, choose
from memaudit.report.page import render_page
from memaudit.report.sections import ShownSection, shown_sections
from memaudit.runs import FinishedRun

TITLE = "Does it recite its training text?"
EXHIBITS = {"worst": 20, "sample": 10, "heldout": 5}
EXHIBITS_EACH = {"worst": 8, "sample": 4, "heldout": 3}
"""Where several runs share a page: it must still be read, and mailed."""


@dataclass(frozen=True, slots=True)
class _Section:
    """All that the template shows of one run."""

    id: str
    report: Mapping[str, Any]
    name: str
    charts: list[Chart]
    galleries: list[Gallery]
    measured: list[ShownSection]


def render_run(run: FinishedRun) -> bytes:
    """Return the page of one run."""
    return render([run]).encode("utf-8")


def write_page(runs: Sequence[FinishedRun], path: Path, title: str = TITLE) -> Path:
    """Write one page about one run or several, and return its path."""
    write_atomic(path, render(runs, title).encode("utf-8"))
    return path


def render(runs: Sequence[FinishedRun], title: str = TITLE) -> str:
    """Return the page: the same runs give the same bytes.

    Args:
        runs: One run, which then opens with its verdict, or several, which open with an overview.
        title: What the page asks; the heading where there are several runs.
    """
    if not runs:
        raise ValueError("a report needs a run")
    names = _names(runs)
    several = len(runs) > 1
    sections = [
        _section(run, f"run-{i}", name, EXHIBITS_EACH if several else EXHIBITS)
        for i, (run, name) in enumerate(zip(runs, names, strict=True), 1)
    ]
    return render_page(
        "report.html.j2",
        title,
        runs[0].report["provenance"]["versions"],
        sections=sections,
        overview=_overview(sections) if several else None,
    )


def _section(run: FinishedRun, id: str, name: str, exhibits: Mapping[str, int]) -> _Section:
    report = run.report
    charts = [
        dose_chart([(name, report["doses"])], f"{id}-doses"),
        interval_chart(report["estimates"], f"{id}-metrics"),
    ]
    galleries = choose(run.records, report["options"]["seed"], **exhibits)
    drawn = [chart for chart in charts if chart]
    return _Section(id, report, name, drawn, galleries, shown_sections(report, id))


def _overview(sections: Sequence[_Section]) -> dict[str, Any]:
    """Return the table of doses by models and the chart that shows it."""
    doses = [{dose["copies"]: dose for dose in section.report["doses"]} for section in sections]
    copies = sorted(set().union(*doses))
    return {
        "rows": [(count, [known.get(count) for known in doses]) for count in copies],
        "chart": dose_chart([(section.name, section.report["doses"]) for section in sections], "overview-doses"),
    }


def _names(runs: Sequence[FinishedRun]) -> list[str]:
    """Return what to call each model: its family, unless two share one."""
    families = [wording.family(run.report["model"]["family"]) for run in runs]
    if len(set(families)) == len(families):
        return families
    return [str(run.report["model"]["name"]) for run in runs]
