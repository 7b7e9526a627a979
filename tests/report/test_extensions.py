"""A kind of run and formats that an installed package declares: as good as ours in every output."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from memaudit.audits.result import VerdictResult
from memaudit.cli.app import app
from memaudit.errors import InputError, RunError
from memaudit.records import Shown
from memaudit.report.formats import base as format_base
from memaudit.report.formats import writers
from memaudit.report.formats.github import publish
from memaudit.report.kinds import base as kind_base
from memaudit.report.kinds import kind_named
from memaudit.runs.directory import RunDirectory
from memaudit.sections import Column, Section, Table
from tests.report.pages import Page
from tests.report.schemas import junit_errors, sarif_errors

SECRET = "a rhyme that nobody may read"
MORE = '''
import dataclasses
from pathlib import Path

from memaudit.report.formats.html import HTML
from memaudit.report.kinds import kind_of
from memaudit.report.kinds.base import Kind
from memaudit.runs.directory import ReportInput, read_finished
from memaudit.runs.reports import AnyReport


def lines(folder: Path) -> Path:
    """A format that is a plain function."""
    run = read_finished(folder)
    (folder / "lines.txt").write_text(f"{kind_of(run.report).title}\\n{run.report['headline']}\\n")
    return folder / "lines.txt"


class PoemsReport(AnyReport):
    """What the report of a poem holds."""

    headline: str
    poem: str | None


class Poems(Kind):
    """A kind whose report quotes."""

    @property
    def report(self):
        return PoemsReport

    def page(self, run):
        return f"<p>{run.report['poem']}</p>".encode()

    def screen(self, report, console):
        console.print(f"a poem: {report['poem']}")

    def disclosed(self, run, shown):
        return run if shown.text else ReportInput({**run.report, "poem": None}, run.records, run.measured, shown)


POEMS = Poems("poems", "Which poem?")
TALLY = Kind("tally", "How many rhymes?")
IMPOSTOR = object()
'''
POINTS = """
[memaudit.kind]
rhymes = theirs:KIND
tally = theirs:TALLY
poems = theirs:POEMS
impostor = theirs:IMPOSTOR
renamed = theirs:TALLY

[memaudit.format]
csv = theirs:CSV
lines = theirs:lines
"""


def example(module: Any) -> str:
    """The code that a docstring shows."""
    behind = module.__doc__.partition("::\n\n")[2].splitlines()
    indented = [line for at, line in enumerate(behind) if not any(row[:1].strip() for row in behind[: at + 1])]
    return textwrap.dedent("\n".join(indented))


@pytest.fixture(autouse=True)
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package: a module and its entry points."""
    site = tmp_path / "site"
    metadata = site / "theirs-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "theirs.py").write_text(example(kind_base) + example(format_base) + MORE, encoding="utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("theirs", None)


def report_of(kind: str, **more: Any) -> dict[str, Any]:
    columns = [Column("line"), Column("rhymes", "share")]
    table = Table("Rhymes by line", columns, [["<b>first</b>", 0.75]])
    section = Section("rhymes", "Rhymes", "Three of four lines rhyme.", "Counted.", [table], [], ["Not scanned."])
    return {
        "schema_version": 1,
        "kind": kind,
        "complete": True,
        "exit_code": 1,
        "headline": "three of four lines rhyme",
        "options": {"model": "bard"},
        "corpus": {"specs": ["poems.txt"], "units": "lines"},
        "sections": [dataclasses.asdict(section)],
        "provenance": {"identity": "12" * 32, "command": f"theirs {kind}", "versions": {"memaudit": "0"}},
        **more,
    }


def judged(**more: Any) -> dict[str, Any]:
    controls = [{"name": "prose", "passed": True, "detail": "no line of prose rhymes"}]
    told = {"verdict": "found", "reasons": ["more than held out"], "controls": controls, "limits": ["no metre"]}
    return report_of("rhymes", **told, **more)


def finished(report: dict[str, Any]) -> Path:
    folder = Path("run")
    with RunDirectory.open(folder, {"kind": report["kind"], "command": f"theirs {report['kind']}"}) as run:
        run.finish(report)
    return folder


def report(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["report", "run", *arguments])


def test_a_kind_of_another_package_stands_in_every_format() -> None:
    finished(judged())
    done = report("--format", "html,json,junit,sarif,md,csv,lines")
    assert done.exit_code == 0, done.output
    read = {path.suffix: path.read_text(encoding="utf-8") for path in Path("run").iterdir()}
    page = Page(read[".html"])
    text = " ".join("".join(page.text).split())
    assert "Does the model rhyme?" in text
    assert "three of four lines rhyme" in text
    assert "<b>first</b>" in text
    assert json.loads(Path("run/report.json").read_text())["kind"] == "rhymes"
    suite = ET.fromstring(read[".xml"])[0]
    assert suite.get("name") == "memaudit rhymes bard"
    assert [(c.get("name"), [child.tag for child in c]) for c in suite] == [
        ("no evidence that the model rhymes", ["failure"]),
        ("control: prose", []),
    ]
    (sarif,) = json.loads(read[".sarif"])["runs"]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["theirs/rhymes"]
    (result,) = sarif["results"]
    assert (result["ruleId"], result["message"]["text"]) == ("theirs/rhymes", "three of four lines rhyme")
    assert [*junit_errors(read[".xml"].encode()), *sarif_errors(read[".sarif"].encode())] == []
    assert "<td>&lt;b&gt;first&lt;/b&gt;</td><td>75.0%</td>" in read[".md"]
    assert "● FOUND  three of four lines rhyme" in done.output
    assert "Three of four lines rhyme." in done.output


def test_formats_of_another_package_ask_the_kind() -> None:
    folder = finished(judged())
    csv, lines = writers(["csv", "lines"], "rhymes")
    assert csv(folder).read_text() == "rule,where,level\ntheirs/rhymes,poems.txt,error"
    assert lines(folder).read_text() == "Does the model rhyme?\nthree of four lines rhyme\n"
    writers(["csv"], "extraction")
    with pytest.raises(InputError, match="format 'csv': not for a run of kind 'tally'"):
        writers(["csv"], "tally")
    with pytest.raises(InputError, match="format 'lines': it cannot leave texts out"):
        writers(["lines"], "rhymes", Shown(text=False))


def test_a_workflow_and_a_notebook_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    publish(judged(), {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "summary.md"})
    assert capsys.readouterr().out == ("::error file=poems.txt,title=The model rhymes::three of four lines rhyme\n")
    assert "Rhymes by line" in Path("summary.md").read_text()
    shown = VerdictResult(Path("run"), judged(), [])._repr_html_()
    assert "Does the model rhyme?" in shown


def test_a_kind_without_a_verdict_has_a_page_and_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    finished(report_of("tally"))
    done = report("--format", "html,json")
    assert done.exit_code == 0, done.output
    assert "How many rhymes?" in Path("run/report.html").read_text()
    assert "Three of four lines rhyme." in done.output
    for name in ("junit", "sarif", "md"):
        with pytest.raises(InputError, match="not for a run of kind 'tally'"):
            writers([name], "tally")
    publish(report_of("tally"), {"GITHUB_ACTIONS": "true"})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("redact", [False, True])
def test_a_kind_says_what_of_its_texts_leaves_it(redact: bool) -> None:
    finished(report_of("poems", poem=SECRET))
    done = report("--format", "html,json", *["--redact"] * redact)
    assert done.exit_code == 0, done.output
    for shown in (done.output, Path("run/report.html").read_text(), Path("run/report.json").read_text()):
        assert (SECRET in shown) != redact


@pytest.mark.parametrize("gone", ["sections", "headline", "verdict", "controls"])
def test_a_report_that_lacks_what_its_kind_needs_is_refused(gone: str) -> None:
    whole = judged()
    finished({name: value for name, value in whole.items() if name != gone})
    with pytest.raises(RunError, match=f"the report has no '{gone}'"):
        writers(["html"])[0](Path("run"))


def test_a_report_of_another_kind_than_its_plan_is_refused() -> None:
    with RunDirectory.open(Path("run"), {"kind": "rhymes"}) as run:
        run.finish(report_of("tally"))
    with pytest.raises(RunError, match=r"the report\.kind is not rhymes"):
        writers(["html"])[0](Path("run"))


@pytest.mark.parametrize("name", ["impostor", "renamed"])
def test_what_is_declared_must_be_a_kind_of_that_name(name: str) -> None:
    with pytest.raises(InputError, match=f"is not the kind '{name}'"):
        kind_named(name)


def test_ours_win_over_a_namesake(tmp_path: Path) -> None:
    points = tmp_path / "site" / "theirs-1.0.dist-info" / "entry_points.txt"
    points.write_text("[memaudit.kind]\ngap = theirs:IMPOSTOR\n[memaudit.format]\nhtml = theirs:lines\n")
    importlib.invalidate_caches()
    assert kind_named("gap").title.startswith("Does it ace")
    assert kind_named("gap").name == "gap"
