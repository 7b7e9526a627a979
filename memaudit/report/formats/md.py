"""A run as Markdown, for a comment on a pull request: the summary of a job, with what it does not show and its origin.

Nothing of what data holds is read as Markdown: it stands in HTML blocks, escaped and on one line.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, cast

from memaudit.errors import one_line
from memaudit.report.endpoint import TITLE, lines
from memaudit.report.formats.base import Format
from memaudit.report.formats.github import LONGEST, MAX_FINDINGS, step_summary
from memaudit.report.kinds.base import VerdictKind
from memaudit.runs.directory import ReportInput
from memaudit.runs.reports import VerdictReport

MAX_CHARACTERS = 60_000
"""Of a comment; code hosts refuse more than 65,536."""
FEWER = (MAX_FINDINGS, 20, 5, 0)
"""Findings that are listed, tried one after the other until the comment is small enough."""


def comment(run: ReportInput[Any], kind: VerdictKind[Any]) -> bytes:
    """Return ``report.md`` of a run, byte for byte: the same run gives the same comment."""
    tail = _tail(run.report)
    text = ""
    for most in FEWER:
        text = f"<!-- memaudit {run.report['kind']} -->\n{step_summary(run.report, kind, most)}{tail}"
        if len(text) <= MAX_CHARACTERS:
            break
    return text.encode("utf-8")


def _tail(report: VerdictReport) -> str:
    provenance = report["provenance"]
    asked = [provenance["command"], *provenance.get("set_elsewhere", ())]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(provenance["versions"].items()))
    return "\n".join(
        [
            *_folded("What this does not show", report["limits"]),
            *_folded(TITLE, lines(cast("Mapping[str, Any]", report.get("model", {})), report["controls"])),
            *_folded("How to repeat it", [*asked, f"run {provenance['identity']}", versions]),
            "",
        ]
    )


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines that open on a click; without a blank line, which would end the HTML block."""
    if not lines:
        return []
    items = (f"<li>{html.escape(one_line(line, LONGEST))}</li>" for line in lines)
    return [f"<details><summary>{title}</summary>", "<ul>", *items, "</ul>", "</details>", ""]


MD = Format("report.md", comment, VerdictKind)
