"""The report as one page: no script, no address, nothing to load; it reads the same in ten years.

What a model wrote is hostile text. Every value goes through Jinja's autoescape, every invisible
character is shown as what it is, and the page forbids by policy what it does not need: all but its own
style sheet.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from memaudit.report import wording
from memaudit.report.charts import Chart, dose_chart, interval_chart
from memaudit.report.exhibits import Gallery, choose
from memaudit.runs import FinishedRun, read_finished, write_atomic

TEMPLATES = Path(__file__).parent / "templates"
PAGE = "report.html"
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


def write_html(folder: Path) -> Path:
    """Write ``report.html`` of a run directory that has a ``report.json``, and return its path.

    Raises:
        RunError: If the run never came to a report.
    """
    return write_page([read_finished(folder)], folder / PAGE)


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
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            css=Markup(css),  # our own file
            style_hash=digest,
            sections=sections,
            overview=_overview(sections) if several else None,
            version=runs[0].report["provenance"]["versions"].get("memaudit", ""),
        )
    )


def _section(run: FinishedRun, id: str, name: str, exhibits: Mapping[str, int]) -> _Section:
    report = run.report
    charts = [
        dose_chart([(name, report["doses"])], f"{id}-doses"),
        interval_chart(report["estimates"], f"{id}-metrics"),
    ]
    galleries = choose(run.records, report["options"]["seed"], **exhibits)
    return _Section(id, report, name, [chart for chart in charts if chart], galleries)


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


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        percent=wording.percent,
        interval=wording.interval,
        points=wording.points,
        point_interval=wording.point_interval,
        p_value=wording.p_value,
        number=wording.number,
        hits=wording.hits,
        plain=lambda text: Markup.escape(wording.visible(text)),  # where no markup may stand
        family=wording.family,
        picture=Markup,  # of charts only: their labels are escaped by the renderer
    )
    environment.globals.update(symbols=wording.SYMBOLS, verdicts=wording.VERDICTS, none=wording.NONE)
    return environment


def _finalize(value: object) -> object:
    """Make sure that no text reaches the page with characters that nobody sees."""
    return _visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _visible(text: str) -> Markup:
    r"""Return a text escaped, its invisible characters set apart as ``\x1b``."""
    return Markup("").join(
        Markup('<span class="hidden">{}</span>').format(piece) if hidden else piece
        for piece, hidden in wording.visible_parts(text)
    )
