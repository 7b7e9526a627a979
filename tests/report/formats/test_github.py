"""Inside a GitHub workflow: at most ten annotations, a summary, and no text that is taken for either."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from memaudit.report.formats.github import publish
from tests.report.contamination_reports import contamination_report
from tests.report.rendered import step_summary, workflow_commands

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]

COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^:,]*)(?:,[a-z]+=[^:,]*)*)::(.+)")


def parsed(command: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as the runner does."""
    match = COMMAND.fullmatch(command)
    assert match is not None, command
    properties = dict(part.split("=", 1) for part in match[2].split(","))

    def unescape(value: str) -> str:
        for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            value = value.replace(code, character)
        return value

    return match[1], {key: unescape(value) for key, value in properties.items()}, unescape(match[3])


def test_an_annotation_points_at_the_line() -> None:
    report = contamination_report(found=3, accepted=1)
    commands = [parsed(command) for command in workflow_commands(report)]
    assert [level for level, _, _ in commands] == ["error", "error"]
    ordered = sorted(report["findings"][1:], key=lambda f: -f["score"])
    for (_, properties, message), finding in zip(commands, ordered, strict=True):
        path, _, line = finding["source"].rpartition(":")
        assert properties == {"file": path, "line": line, "title": "Benchmark item occurs in the corpus"}
        assert finding["evidence"][0]["source"] in message
        assert finding["item"] in message


@pytest.mark.parametrize(("verdict", "level"), [("found", "error"), ("clean", "warning")])
def test_no_more_than_ten_and_the_rest_is_counted(verdict: str, level: str) -> None:
    assert len(workflow_commands(contamination_report(verdict, found=10, accepted=0))) == 10
    commands = [parsed(command) for command in workflow_commands(contamination_report(verdict, found=42, accepted=0))]
    assert [name for name, _, _ in commands] == [level] * 9 + ["notice"]
    assert commands[-1][2] == "33 more findings: see the report of the run"


def test_an_inconclusive_run_says_so_first() -> None:
    report = contamination_report("inconclusive", found=30, accepted=0, reasons=["the control failed"])
    commands = [parsed(command) for command in workflow_commands(report)]
    assert len(commands) == 10
    assert commands[0][:2] == ("error", {"title": "memaudit: inconclusive"})
    assert commands[0][2] == f"{report['headline']}; the control failed"


@pytest.mark.parametrize("seed", range(8))
def test_hostile_text_is_one_command_of_ours(seed: int) -> None:
    report = contamination_report("inconclusive", hostile=True, seed=seed, found=9, accepted=0)
    commands = workflow_commands(report)
    assert len(commands) == 10
    for command in commands:
        assert command.isprintable()
        level, properties, message = parsed(command)
        assert level in ("error", "warning")
        assert properties.keys() <= {"file", "line", "title"}
        assert len(message) <= 1000


def test_escapes() -> None:
    report = contamination_report(found=1, accepted=0)
    report["findings"][0] |= {"item": "100%\r\n::x", "source": "a,b:c%0A.jsonl:7"}
    (command,) = workflow_commands(report)
    assert "file=a%2Cb%3Ac%250A.jsonl,line=7" in command
    assert "100%25 ::x" in command


class Summary(HTMLParser):
    """Tags and cells of the HTML in a summary."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("seed", range(8))
def test_the_summary_is_inert(seed: int) -> None:
    summary = step_summary(contamination_report(hostile=True, seed=seed, found=60, accepted=2))
    assert Summary(summary).tags <= {"p", "strong", "ul", "li", "table", "tr", "th", "td", "code"}
    for block in summary.split("\n\n"):
        lines = block.split("\n")
        # Markdown stands on lines that are ours alone; all others belong to HTML blocks, which a blank line ends.
        ours = re.fullmatch(r"#{2,3} [\w :●○◐]+|[\d,]+ more findings are in the report of the run\.|", lines[0])
        assert ours or re.match("<(p|ul|table)>", lines[0]), lines[0]
        assert len(lines) == 1 or not ours
        assert all(line.startswith("<") and line.endswith(">") for line in lines if not ours)
    assert all(character.isprintable() or character == "\n" for character in summary)


def test_the_summary_says_what_the_report_says() -> None:
    report = contamination_report(found=60, accepted=2)
    summary = html.unescape(step_summary(report))
    assert summary.startswith("## memaudit: ● Found\n")
    assert report["headline"] in summary
    for e in report["estimates"]:
        assert f"<td>{e['hits']} of {e['n']:,}</td><td>{e['rate']:.1%}</td>" in summary
    assert "<td><strong>memaudit</strong></td>" in summary
    assert "<p>Llama 2, dirty: 305 clean, 1,000 not clean, " in summary
    assert summary.count("<td>error</td>") == 50
    assert "10 more findings are in the report of the run." in summary
    assert "2 findings accepted, 1 entries match nothing" not in summary
    assert "2 findings accepted, 1 entry matches nothing" in summary
    failed = [{"name": "finds items", "passed": False, "detail": "3 of 50"}]
    assert "<li>finds items: 3 of 50</li>" in step_summary(report | {"controls": failed})
    assert "### Findings" not in step_summary(contamination_report("clean", found=0, accepted=0, baseline=None))


def test_a_small_rate_is_no_markup() -> None:
    report = contamination_report()
    summary = step_summary(report | {"estimates": [{**report["estimates"][0], "rate": 2e-7}]})
    assert "<td>&lt;0.0001%</td>" in summary


def test_extraction_audits_too(factory: Factory) -> None:
    report, _ = factory()
    level, properties, message = parsed(workflow_commands(report)[0])
    assert (level, properties["title"]) == ("error", "Training text is reproduced")
    assert report["findings"][0]["document"] in message
    summary = step_summary(report)
    assert "<td><strong>Extractable</strong></td>" in summary
    assert "Held-out text" in summary
    assert Summary(step_summary(factory(hostile=True)[0])).tags


def test_published_only_where_github_runs_the_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = contamination_report()
    path = tmp_path / "summary.md"
    publish(report, {"GITHUB_STEP_SUMMARY": str(path)})
    assert capsys.readouterr().out == ""
    assert not path.exists()
    for _ in range(2):
        publish(report, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path)})
    assert path.read_text(encoding="utf-8") == step_summary(report) * 2
    assert capsys.readouterr().out.splitlines() == workflow_commands(report) * 2


def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(contamination_report(), {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)})
    last = capsys.readouterr().out.splitlines()[-1]
    assert parsed(last)[2] == "the summary cannot be written: Is a directory"
