"""SARIF 2.1.0 (OASIS, 2020): findings as code hosts and editors show them beside the files they concern."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from memaudit.report.formats.base import Format
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Place, Problem, Rule
from memaudit.report.wording import counted, visible
from memaudit.runs.directory import ReportInput
from memaudit.runs.files import strict_json
from memaudit.runs.reports import VerdictReport

MAX_RESULTS = 5000
"""Code hosts show no more of one run."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
Object = dict[str, object]
"""An object of the format, which its own schema describes."""


def sarif(run: ReportInput[Any], kind: VerdictKind[Any]) -> bytes:
    """Return a run as a SARIF log: one result per finding, at most 5,000, and how many were left out."""
    report: VerdictReport = run.report
    found = kind.problems(report)
    shown = found[:MAX_RESULTS]
    left_out = len(found) - len(shown)
    rules = [_rule(rule) for rule in kind.rules]
    driver = {"name": "memaudit", "version": report["provenance"]["versions"].get("memaudit", ""), "rules": rules}
    places = {rule.id: index for index, rule in enumerate(kind.rules)}
    notes = [{"level": "note", "message": {"text": _message(text)}} for text in _notes(report, left_out)]
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"memaudit/{report['kind']}/"},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {_ROOT: {"description": {"text": "The directory memaudit was run in."}}},
                "invocations": [
                    {
                        "executionSuccessful": report["complete"],
                        "exitCode": report["exit_code"],
                        "toolExecutionNotifications": notes,
                    }
                ],
                "results": [_result(problem, places[problem.rule]) for problem in shown],
                "properties": {
                    "verdict": report["verdict"],
                    "run": report["provenance"]["identity"],
                    "findings": len(found),
                    "leftOut": left_out,
                },
            }
        ],
    }
    return strict_json(log)


def _notes(report: VerdictReport, left_out: int) -> list[str]:
    notes = [f"{report['verdict']}: {report['headline']}", *report["reasons"]]
    if left_out:
        more = counted(left_out, "more finding is", "more findings are")
        notes.append(f"{more} not listed here, but in report.json: the limit is {MAX_RESULTS:,}")
    return notes


def _rule(rule: Rule) -> Object:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": rule.full},
        "help": {"text": rule.help},
        "defaultConfiguration": {"level": "error"},
    }


def _result(problem: Problem, rule: int) -> Object:
    result: Object = {
        "ruleId": problem.rule,
        "ruleIndex": rule,
        "level": problem.level,
        "message": {"text": _message(problem.sentence)},
        "locations": [{"physicalLocation": _location(problem.place)}],
        "partialFingerprints": {"memaudit/v1": problem.id},
        "properties": {
            key: visible(value) if isinstance(value, str) else value for key, value in problem.properties.items()
        },
    }
    if problem.related:
        result["relatedLocations"] = [
            {
                "id": number,
                "physicalLocation": _location(place),
                "message": {"text": _message(problem.relation)},
            }
            for number, place in enumerate(problem.related, 1)
        ]
    if problem.accepted:
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": "Listed in the baseline file."}
        ]
    return result


def _location(place: Place) -> Object:
    location: Object = {"artifactLocation": {"uri": _uri(place.path), "uriBaseId": _ROOT}}
    if place.line is not None:
        column = {"startColumn": place.column} if place.column is not None else {}
        location["region"] = {"startLine": place.line, **column}
    return location


def _uri(path: str) -> str:
    """Return a relative path as a URI reference (RFC 3986), the bytes of its name percent-encoded."""
    try:
        name = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        name = path.encode("utf-8", "backslashreplace")
    return quote(name)


def _message(text: str) -> str:
    """Return a text as a SARIF message: braces would be placeholders, ``[a](b)`` a link (3.11.5, 3.11.6)."""
    return visible(text).replace("{", "{{").replace("}", "}}").replace("](", "] (")


SARIF = Format("results.sarif", sarif, VerdictKind)
