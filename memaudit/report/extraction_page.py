"""The report of extraction audits as one page: one run or several, verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memaudit.report import wording
from memaudit.report.charts.charts import Chart, dose_chart, interval_chart
from memaudit.report.charts.distribution_chart import distribution_chart
from memaudit.report.charts.treemap import treemap
from memaudit.report.exhibits import EXHIBITS, FEWER, MAX_BYTES, Gallery, galleries, with_fewer
from memaudit.report.glossary import words_for
from memaudit.report.page import render_page
from memaudit.report.sections import ShownSection, ShownTable, shown_sections, shown_table
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.files import write_atomic

CONTEXT = ("dose", "surface")
"""Measures that say how copies and context matter; they stand with the chart of doses."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What stands under one heading: pictures, and the sections of measures that belong to them."""

    charts: list[Chart]
    measured: list[ShownSection]
    tables: list[ShownTable]


@dataclass(frozen=True, slots=True)
class _Section:
    """All that the template shows of one run."""

    id: str
    report: ExtractionReport
    name: str
    dose: Shared
    compared: list[Chart]
    composed: list[Chart]
    measured: list[ShownSection]
    text_shown: bool
    galleries: list[Gallery]
    left_out: int = 0
    """Exhibits that the page had no room for."""


def write_page(runs: Sequence[ReportInput[ExtractionReport]], path: Path, title: str) -> Path:
    """Write one page about one run or several, and return its path."""
    write_atomic(path, render(runs, title).encode("utf-8"))
    return path


def render(runs: Sequence[ReportInput[ExtractionReport]], title: str, most_bytes: int = MAX_BYTES) -> str:
    """Return the page: the same runs give the same bytes.

    Args:
        runs: One run, which then opens with its verdict, or several, which open with an overview.
        title: What the page asks; the heading where there are several runs.
        most_bytes: Of the page; above it fewer exhibits are shown, and the page says how many were left out.
    """
    if not runs:
        raise ValueError("a report needs a run")
    several = len(runs) > 1
    most = {gallery: count // (2 * len(runs)) if several else count for gallery, count in EXHIBITS.items()}
    sections = [
        _section(run, f"run-{i}", name, most, by_domain=not several)
        for i, (run, name) in enumerate(zip(runs, _names(runs), strict=True), 1)
    ]
    overview = _overview(sections) if several else None
    versions = runs[0].report["provenance"]["versions"]
    glossary = words_for(*(run.report["model"] for run in runs))
    page = ""
    for share in FEWER:
        fewer = [_with_fewer(section, share) for section in sections]
        page = render_page("report.html.j2", title, versions, sections=fewer, overview=overview, glossary=glossary)
        if len(page.encode("utf-8")) <= most_bytes:
            break
    return page


def summary(run: ReportInput[ExtractionReport], title: str) -> str:
    """Return a page of the verdict and the pictures alone: what a notebook shows."""
    section = replace(_section(run, "run-1", _names([run])[0], dict.fromkeys(EXHIBITS, 0)), galleries=[])
    return render_page("notebook.html.j2", title, run.report["provenance"]["versions"], section=section)


def _section(
    run: ReportInput[ExtractionReport], id: str, name: str, most: Mapping[str, int], *, by_domain: bool = True
) -> _Section:
    report = run.report
    measured = report.get("sections", [])
    near = [section for section in measured if section["name"] in CONTEXT]
    others = [section for section in measured if section["name"] not in CONTEXT]
    doses = report["doses"] or report.get("counted_doses", [])
    spread = [
        distribution_chart(distribution, f"{id}-{distribution['metric'].replace('_', '-')}", by_domain=by_domain)
        for distribution in report.get("distributions", [])
    ]
    return _Section(
        id,
        report,
        name,
        Shared(
            _drawn(dose_chart([(name, doses)], f"{id}-doses")),
            shown_sections(near, f"{id}-context"),
            [shown_table(table) for table in [report.get("growth")] if table],
        ),
        _drawn(interval_chart(report["estimates"], f"{id}-metrics"), *spread),
        _drawn(treemap(report.get("composition", []), f"{id}-domains")),
        shown_sections(others, id),
        run.shown.text,
        galleries(run.records, report["options"]["seed"], shown=run.shown, measured=run.measured, most=most),
    )


def _drawn(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart]


def _with_fewer(section: _Section, share: float) -> _Section:
    galleries, left_out = with_fewer(section.galleries, share)
    return replace(section, galleries=galleries, left_out=left_out)


def _overview(sections: Sequence[_Section]) -> dict[str, object]:
    """Return the table of doses by models and the chart that shows it."""
    doses = [{dose["copies"]: dose for dose in section.report["doses"]} for section in sections]
    copies = sorted(set().union(*doses))
    return {
        "rows": [(count, [known.get(count) for known in doses]) for count in copies],
        "chart": dose_chart([(section.name, section.report["doses"]) for section in sections], "overview-doses"),
        "similarity": wording.mean_similarity([section.report for section in sections]),
    }


def _names(runs: Sequence[ReportInput[ExtractionReport]]) -> list[str]:
    """Return what to call each model: its family, unless two share one."""
    families = [wording.family(run.report["model"]["family"]) for run in runs]
    if len(set(families)) == len(families):
        return families
    return [str(run.report["model"]["name"]) for run in runs]
