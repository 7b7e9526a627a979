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
from memaudit.report.problems import Problem, problems, spared_words
from memaudit.report.sections import shown_table

MAX_ANNOTATIONS = 10
"""A step shows no more of one level."""
MAX_FINDINGS = 50
"""Rows of the summary, which may hold 1 MiB in all."""
LONGEST = 1000
"""Characters of one message or cell."""
_TITLES = {
    "memaudit/contamination": "Benchmark item stands in the corpus",
    "memaudit/extraction": "Training text is recited",
    "memaudit/membership": "The model has seen the benchmark",
    "memaudit/gap": "Old items are easier than the controls explain",
    "memaudit/exploitation": "The model knows labels of the test",
}


def publish(report: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Print annotations and append the summary of a run, where GitHub runs the job; elsewhere do nothing.

    Args:
        report: What report.json holds.
        environ: Environment of the process: ``GITHUB_ACTIONS``, ``GITHUB_STEP_SUMMARY``.
    """
    if not environ.get("GITHUB_ACTIONS"):
        return
    lines = workflow_commands(report)
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(step_summary(report))
        except OSError as error:  # a courtesy: it changes no verdict
            lines.append(_command("warning", f"the summary cannot be written: {error.strerror}", title="memaudit"))
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def workflow_commands(report: Mapping[str, Any]) -> list[str]:
    """Return a report as workflow commands: at most 10, the last of which says how many findings have none.

    Findings that a baseline accepts have none; an inconclusive run says so first, without a file.
    """
    commands = []
    if report["verdict"] in ("inconclusive", "confounded"):
        why = "; ".join([report["headline"], *report["reasons"]])
        commands.append(_command("error", why, title=f"memaudit: {report['verdict']}"))
    open_problems = [problem for problem in problems(report) if not problem.accepted]
    room = MAX_ANNOTATIONS - len(commands)
    shown = open_problems if len(open_problems) <= room else open_problems[: room - 1]
    commands += [_annotation(problem) for problem in shown]
    if left_out := len(open_problems) - len(shown):
        more = wording.counted(left_out, "more finding")
        commands.append(_command("notice", f"{more}: see the report of the run", title="memaudit"))
    return commands


def step_summary(report: Mapping[str, Any], most: int = MAX_FINDINGS) -> str:
    """Return a report as Markdown for the summary of a job.

    All that comes from data stands in HTML blocks, escaped and on one line: no Markdown is read there.

    Args:
        report: What report.json holds.
        most: Findings that are listed; how many are not is said.
    """
    found = problems(report)
    verdict = report["verdict"]
    parts = [
        f"## memaudit: {wording.SYMBOLS[verdict]} {wording.VERDICTS[verdict]}",
        f"<p><strong>{_text(report['headline'])}</strong></p>",
        _list(report["reasons"]),
        *_KINDS[report["kind"]](report),
    ]
    if found:
        parts.append(f"### Findings\n\n{_findings(found[:most])}" if most else "### Findings")
    if left_out := len(found) - len(found[:most]):
        parts.append(f"{wording.counted(left_out, 'more finding is', 'more findings are')} in the report of the run.")
    if doubtful := [f"{c['name']}: {c['detail']}" for c in report["controls"] if not c["passed"]]:
        parts.append(f"### Controls that did not pass\n\n{_list(doubtful)}")
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _annotation(problem: Problem) -> str:
    place = problem.place
    line = {} if place.line is None else {"line": str(place.line)}
    return _command(problem.level, problem.sentence, file=place.path, **line, title=_TITLES[problem.rule])


def _command(level: str, message: str, **properties: str) -> str:
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{level} {given}::{_data(message)}"


def _data(text: str) -> str:
    return one_line(text, LONGEST).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _rules(report: Mapping[str, Any]) -> list[str]:
    """Return what was not looked for, the table of our rule and the published ones, what is spared or accepted."""
    rows = [
        [_label(e), wording.hits(e), wording.percent(e["rate"]), f"{e['undefined']:,}"] for e in report["estimates"]
    ]
    parts = [f"<p>{_text(limit)}</p>" for limit in report["limits"][:1]]
    parts.append(_table(["Rule", "Contaminated items", "Rate", "Undefined"], rows))
    parts += [f"<p>{_text(e['label'])}: {_text(wording.classes(e))}</p>" for e in report["estimates"] if e["classes"]]
    if spared := spared_words(report):
        first = report["spared"][0]
        parts.append(f"<p>Not counted: {spared}, first {_code(first['source'])}: {_text(first['reason'])}</p>")
    if baseline := report["baseline"]:
        accepted = wording.counted(baseline["accepted"], "finding")
        stale = wording.counted(baseline["stale"], "entry matches", "entries match")
        parts.append(f"<p>Baseline {_code(baseline['path'])}: {accepted} accepted, {stale} nothing</p>")
    return parts


def _metrics(report: Mapping[str, Any]) -> list[str]:
    """Return the table of what was reproduced of training and of held-out text."""
    rows = [
        [
            _label(e),
            *(f"{wording.percent(e[side]['rate'])} {wording.interval(e[side])}" for side in ("train", "heldout")),
            f"{wording.points(e['difference'])} {wording.point_interval(e['difference'])}",
        ]
        for e in report["estimates"]
    ]
    return [_table(["Metric", "Training text", "Held-out text", "Difference, points"], rows)]


def _detectors(report: Mapping[str, Any]) -> list[str]:
    """Return the table of the detectors, each with whether it may speak."""
    rows = [
        [
            f"<strong>{_text(d['label'])}</strong>" if d["name"] == report["primary"] else _text(d["label"]),
            wording.p_value(d["p_value"]),
            wording.p_value(d["p_holm"]),
            "yes" if d["speaks"] else "no",
        ]
        for d in report["detections"]
    ]
    return [_table(["Detector", "p", "p, Holm", "May speak"], rows)]


def _first_table(report: Mapping[str, Any]) -> list[str]:
    """Return the table that a run's section begins with: what it compared."""
    table = shown_table(report["sections"][0]["tables"][0])
    rows = [[_text(cell) for cell in row] for row in table.rows]
    return [f"<p>{_text(table.caption)}</p>", _table([_text(label) for label, _ in table.columns], rows)]


def _findings(found: Iterable[Problem]) -> str:
    rows = [[problem.level, _code(str(problem.place)), _code(problem.sentence)] for problem in found]
    return _table(["Level", "Where", "What"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return cells, escaped already, as an HTML table: it has no blank line, which would end the HTML block."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(["<table>", *lines, "</table>"])


def _list(lines: Sequence[str]) -> str:
    return "\n".join(["<ul>", *(f"<li>{_text(line)}</li>" for line in lines), "</ul>"]) if lines else ""


def _label(estimate: Mapping[str, Any]) -> str:
    label = _text(estimate["label"])
    return f"<strong>{label}</strong>" if estimate["primary"] else label


def _code(text: str) -> str:
    """Return a text as code: there, names of people and numbers of issues are no links either."""
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    return html.escape(one_line(text, LONGEST))


_KINDS = {
    "contamination": _rules,
    "extraction": _metrics,
    "membership": _detectors,
    "gap": _first_table,
    "exploitation": _first_table,
}
