"""What a run says inside a GitHub workflow: annotations beside the lines they concern, and a summary of the job.

The log of a job is read for commands and the summary for Markdown and HTML: no text of a corpus or a
benchmark may be taken for either.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memaudit.errors import one_line
from memaudit.report import wording
from memaudit.report.blocks import Block, Paragraph, Words, plain
from memaudit.report.kinds import kind_of
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Problem
from memaudit.runs.reports import VerdictReport

MAX_ANNOTATIONS = 10
"""A step shows no more of one level."""
MAX_FINDINGS = 50
"""Rows of the summary, which may hold 1 MiB in all."""
LONGEST = 1000
"""Characters of one message or cell."""


def publish(report: VerdictReport, environ: Mapping[str, str]) -> None:
    """Print annotations and append the summary of a run, where GitHub runs the job; elsewhere do nothing.

    Neither is there anything to annotate of a run that comes to no verdict.

    Args:
        report: What report.json holds.
        environ: Environment of the process: ``GITHUB_ACTIONS``, ``GITHUB_STEP_SUMMARY``.
    """
    if not environ.get("GITHUB_ACTIONS"):
        return
    kind = kind_of(report)
    if not isinstance(kind, VerdictKind):
        return
    lines = workflow_commands(report, kind)
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(step_summary(report, kind))
        except OSError as error:  # a courtesy: it changes no verdict
            lines.append(_command("warning", f"the summary cannot be written: {error.strerror}", title="memaudit"))
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def workflow_commands(report: VerdictReport, kind: VerdictKind[Any]) -> list[str]:
    """Return a report as workflow commands: at most 10, the last of which says how many findings have none.

    Findings that a baseline accepts have none; an inconclusive run says so first, without a file.
    """
    commands = []
    if report["verdict"] in ("inconclusive", "confounded"):
        why = "; ".join([report["headline"], *report["reasons"]])
        commands.append(_command("error", why, title=f"memaudit: {report['verdict']}"))
    open_problems = [problem for problem in kind.problems(report) if not problem.accepted]
    room = MAX_ANNOTATIONS - len(commands)
    shown = open_problems if len(open_problems) <= room else open_problems[: room - 1]
    titles = {rule.id: rule.title for rule in kind.rules}
    commands += [_annotation(problem, titles[problem.rule]) for problem in shown]
    if left_out := len(open_problems) - len(shown):
        more = wording.counted(left_out, "more finding")
        commands.append(_command("notice", f"{more}: see the report of the run", title="memaudit"))
    return commands


def step_summary(report: VerdictReport, kind: VerdictKind[Any], most: int = MAX_FINDINGS) -> str:
    """Return a report as Markdown for the summary of a job.

    All that comes from data stands in HTML blocks, escaped and on one line: no Markdown is read there.

    Args:
        report: What report.json holds.
        kind: Of the run.
        most: Findings that are listed; how many are not is said.
    """
    found = kind.problems(report)
    verdict = report["verdict"]
    parts = [
        f"## memaudit: {wording.SYMBOLS[verdict]} {wording.VERDICTS[verdict]}",
        f"<p><strong>{_text(report['headline'])}</strong></p>",
        _list(report["reasons"]),
        *map(_block, kind.summary(report)),
    ]
    if found:
        parts.append(f"### Findings\n\n{_findings(found[:most])}" if most else "### Findings")
    if left_out := len(found) - len(found[:most]):
        parts.append(f"{wording.counted(left_out, 'more finding is', 'more findings are')} in the report of the run.")
    if doubtful := [f"{c['name']}: {c['detail']}" for c in report["controls"] if not c["passed"]]:
        parts.append(f"### Controls that did not pass\n\n{_list(doubtful)}")
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _annotation(problem: Problem, title: str) -> str:
    place = problem.place
    line = {} if place.line is None else {"line": str(place.line)}
    return _command(problem.level, problem.sentence, file=place.path, **line, title=title)


def _command(level: str, message: str, **properties: str) -> str:
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{level} {given}::{_data(message)}"


def _data(text: str) -> str:
    return one_line(text, LONGEST).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _findings(found: Iterable[Problem]) -> str:
    rows = [[Words(p.level), Words(str(p.place), "code"), Words(p.sentence, "code")] for p in found]
    return _table(plain(["Level", "Where", "What"]), rows)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{''.join(map(_words, block.pieces))}</p>"
    return _table(plain(block.head), block.rows)


def _table(head: Iterable[Words], rows: Iterable[Iterable[Words]]) -> str:
    """Return an HTML table: it has no blank line, which would end the HTML block."""
    lines = ["<tr>" + "".join(f"<th>{_words(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{_words(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(["<table>", *lines, "</table>"])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(["<ul>", *(f"<li>{_text(line)}</li>" for line in lines), "</ul>"]) if lines else ""


def _words(words: Words) -> str:
    return f"<{words.style}>{_text(words.text)}</{words.style}>" if words.style else _text(words.text)


def _text(text: str) -> str:
    return html.escape(one_line(text, LONGEST))
