"""What every kind of run must offer, and every format make of it: runs of each kind as they were frozen."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from memaudit.audits.result import RunResult
from memaudit.errors import InputError
from memaudit.records import Shown
from memaudit.report.blocks import Grid, Paragraph
from memaudit.report.formats import writers
from memaudit.report.formats.names import FORMATS, OF_ANY_RUN, OF_VERDICTS
from memaudit.report.formats.screen import print_report
from memaudit.report.kinds import KINDS, kind_named, kind_of
from memaudit.report.kinds.base import Kind, VerdictKind
from memaudit.report.page import framed
from memaudit.runs.directory import ReportInput, read_finished
from memaudit.runs.schema import misfit
from tests.golden.cases import FROZEN
from tests.report.pages import OURS, Page
from tests.report.rendered import rendered
from tests.report.schemas import junit_errors, sarif_errors

ALL = sorted(KINDS.builtin)
JUDGED = [name for name in ALL if isinstance(kind_named(name), VerdictKind)]
WITHHELD = Shown(text=False)


@pytest.fixture
def folder(kind: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(FROZEN / kind, tmp_path / "run"))


@pytest.fixture
def run(folder: Path) -> ReportInput:
    return read_finished(folder)


@pytest.mark.parametrize("kind", ALL)
def test_a_kind_names_itself(kind: str) -> None:
    found = kind_named(kind)
    assert isinstance(found, Kind)
    assert (found.name, found.title.endswith("?")) == (kind, True)


def test_every_rule_is_one_of_a_kind_and_described() -> None:
    rules = [rule for name in JUDGED for rule in verdict_kind(name).rules]
    assert all(verdict_kind(name).rules for name in JUDGED)
    for part in ("id", "name", "title", "short", "full"):
        assert len({getattr(rule, part) for rule in rules} - {""}) == len(rules)
    assert all(rule.help and rule.short.endswith(".") and rule.full.endswith(".") for rule in rules)


def verdict_kind(name: str) -> VerdictKind:
    kind = kind_named(name)
    assert isinstance(kind, VerdictKind)
    return kind


@pytest.mark.parametrize("format_", OF_VERDICTS)
@pytest.mark.parametrize("kind", ALL)
def test_a_run_has_every_format_that_suits_it_and_no_other(kind: str, format_: str, folder: Path) -> None:
    if kind in JUDGED or format_ in OF_ANY_RUN:
        (write,) = writers([format_], kind)
        first = write(folder).read_bytes()
        assert first == write(folder).read_bytes() == FORMATS.resolve(format_)(folder).read_bytes()
        return
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(InputError, match=rf"not for a run of kind '{kind}' \(html and json are\)"):
        writers([format_], kind)
    with pytest.raises(InputError, match=f"not for a run of kind '{kind}'"):
        writers([format_])[0](folder)
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("kind", ALL)
def test_pages_and_the_screen_tell_the_outcome(kind: str, run: ReportInput) -> None:
    told = run.report["headline"] if kind in JUDGED else run.report["sections"][0]["summary"]
    told = " ".join(told.split())
    for source in (kind_of(run.report).page(run).decode(), kind_of(run.report).notebook(run)):
        page = Page(source)
        assert set(page.tags) <= OURS
        assert not page.open
        assert told in " ".join("".join(page.text).split())
    screen = io.StringIO()
    options = {**run.report["provenance"], "set_elsewhere": ["--limit 24 from MEMAUDIT_LIMIT"]}
    print_report({**run.report, "provenance": options}, Console(file=screen, width=4000, highlight=False, markup=False))
    assert told in " ".join(screen.getvalue().split())
    assert screen.getvalue().endswith("--limit 24 from MEMAUDIT_LIMIT\n")


@pytest.mark.parametrize("kind", ALL)
def test_a_notebook_shows_what_the_kind_says(kind: str, run: ReportInput, folder: Path) -> None:
    shown = kind_of(run.report).disclosed(ReportInput(run.report, ()), WITHHELD)
    result = RunResult(folder, dict(run.report), [], shown=WITHHELD)
    assert result._repr_html_() == framed(kind_of(run.report).notebook(shown))


@pytest.mark.parametrize("kind", ALL)
def test_what_is_disclosed_can_be_disclosed_again(kind: str, run: ReportInput) -> None:
    once = kind_of(run.report).disclosed(run, WITHHELD)
    again = kind_of(run.report).disclosed(once, WITHHELD)
    assert (again.report, again.records) == (once.report, once.records)


@pytest.mark.parametrize("kind", JUDGED)
def test_problems_name_rules_of_their_kind(kind: str, run: ReportInput) -> None:
    found = {**run.report, "verdict": "found", "exit_code": 1}
    problems = verdict_kind(kind).problems(found)
    assert bool(problems) == bool(run.report.get("findings", True))
    assert {problem.rule for problem in problems} <= {rule.id for rule in verdict_kind(kind).rules}
    assert len({problem.id for problem in problems}) == len(problems)
    assert all(problem.level == ("note" if problem.accepted else "error") for problem in problems)
    assert all(problem.relation.endswith(".") for problem in problems if problem.related)
    assert all("\n" not in problem.sentence and problem.sentence and problem.name for problem in problems)
    assert json.loads(json.dumps([dict(problem.properties) for problem in problems], allow_nan=False)) is not None
    assert [p.accepted for p in problems] == sorted(p.accepted for p in problems)
    results = json.loads(rendered("sarif", found))["runs"][0]["results"]
    assert [result["partialFingerprints"]["memaudit/v1"] for result in results] == [p.id for p in problems]


@pytest.mark.parametrize("verdict", ["found", "clean", "no-evidence", "inconclusive", "confounded"])
@pytest.mark.parametrize("kind", JUDGED)
def test_the_first_case_is_the_verdict_and_every_control_has_one(kind: str, verdict: str, run: ReportInput) -> None:
    controls = [{"name": str(passed), "passed": passed, "detail": "so"} for passed in (True, False, None)]
    report = {**run.report, "verdict": verdict, "controls": controls}
    first, *others = verdict_kind(kind).suite(report).cases
    assert first.outcome == {"found": "failure", "inconclusive": "skipped", "confounded": "skipped"}.get(verdict)
    assert first.message == (report["headline"] if first.outcome else "")
    assert [(case.name, case.outcome) for case in others[:3]] == [
        ("control: True", None),
        ("control: False", "error"),
        ("control: None", "skipped"),
    ]
    document = rendered("junit", report)
    assert len(ET.fromstring(document).findall(".//testcase")) == 1 + len(others)
    assert [*junit_errors(document), *sarif_errors(rendered("sarif", report))] == []


@pytest.mark.parametrize("kind", JUDGED)
def test_a_summary_has_tables_with_a_cell_a_column(kind: str, run: ReportInput) -> None:
    blocks = verdict_kind(kind).summary(run.report)
    grids = [block for block in blocks if isinstance(block, Grid)]
    assert grids
    assert all(isinstance(block, Grid | Paragraph) for block in blocks)
    assert all(len(row) == len(grid.head) for grid in grids for row in grid.rows)
    comment = rendered("md", run.report).decode()
    assert comment.startswith(f"<!-- memaudit {kind} -->")
    assert comment.count("<table>") == len(grids) + bool(verdict_kind(kind).problems(run.report))


def test_our_own_reports_fit_the_shape_of_their_kind() -> None:
    """So that a kind of another package, which is made as ours of sections are, is asked for no more than they hold."""
    sections = [name for name in ALL if name not in ("extraction", "contamination")]
    reports: dict[str, Any] = {name: read_finished(FROZEN / name).report for name in sections}
    assert [problem for name in sections if (problem := misfit(reports[name], kind_named(name).report, name))] == []
