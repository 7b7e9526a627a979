"""SARIF 2.1.0 (OASIS, 2020): findings as code hosts and editors show them beside the files they concern."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from memaudit.report.problems import Place, Problem, problems
from memaudit.report.wording import counted, visible
from memaudit.runs.directory import ReportInput
from memaudit.runs.files import strict_json

MAX_RESULTS = 5000
"""Code hosts show no more of one run."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
_RULES = {
    "contamination": {
        "id": "memaudit/contamination",
        "name": "BenchmarkItemInCorpus",
        "shortDescription": {"text": "A benchmark item stands in a corpus."},
        "fullDescription": {
            "text": "The words of a benchmark item stand in a document of the corpus, raw, after normalisation or "
            "edited. A model trained on that corpus may have seen the test."
        },
        "help": {
            "text": "Compare the item with the document beside it. Leave the document out of the training data, "
            "retire the item, or accept the finding in a baseline file."
        },
    },
    "extraction": {
        "id": "memaudit/extraction",
        "name": "TrainingTextRecited",
        "shortDescription": {"text": "A model recites a document it was trained on."},
        "fullDescription": {
            "text": "Given the beginning of a training document, the model goes on as the document does, and more "
            "often so than with text it never saw."
        },
        "help": {"text": "Deduplicate or remove the document and train again, or filter what the model says."},
    },
    "membership": {
        "id": "memaudit/membership",
        "name": "BenchmarkSeenByModel",
        "shortDescription": {"text": "A model has seen a benchmark."},
        "fullDescription": {
            "text": "The model treats the items of a benchmark, or their order, as what it was trained on, more than "
            "items of the same kind that it cannot have seen, and every control holds."
        },
        "help": {
            "text": "Report results on items that are newer than the model, or name the contamination beside them."
        },
    },
    "gap": {
        "id": "memaudit/gap",
        "name": "OldItemsEasier",
        "shortDescription": {"text": "A model does better on old items than its controls explain."},
        "fullDescription": {
            "text": "On items from before the end of its training data a model is ahead of other models by more than "
            "on items from after it: it may have seen the old ones, or text about them."
        },
        "help": {"text": "Report results on the new items alone."},
    },
    "exploitation": {
        "id": "memaudit/exploitation",
        "name": "TestLabelsKnown",
        "shortDescription": {"text": "A model knows labels of a test."},
        "fullDescription": {
            "text": "The model fills in labels of the half of a test that it may have seen better than those of the "
            "other half, or classifiers made of it gain from that half."
        },
        "help": {"text": "Report results on the unseen half, or on a test that is newer than the model."},
    },
}


def sarif(run: ReportInput) -> bytes:
    """Return a run as a SARIF log: one result per finding, at most 5,000, and how many were left out."""
    report = run.report
    found = problems(report)
    shown = found[:MAX_RESULTS]
    left_out = len(found) - len(shown)
    rule = _RULES[report["kind"]] | {"defaultConfiguration": {"level": "error"}}
    driver = {"name": "memaudit", "version": report["provenance"]["versions"]["memaudit"], "rules": [rule]}
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
                "results": [_result(problem) for problem in shown],
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


def _notes(report: Any, left_out: int) -> list[str]:
    notes = [f"{report['verdict']}: {report['headline']}", *report["reasons"]]
    if left_out:
        more = counted(left_out, "more finding is", "more findings are")
        notes.append(f"{more} not listed here, but in report.json: the limit is {MAX_RESULTS:,}")
    return notes


def _result(problem: Problem) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": problem.rule,
        "ruleIndex": 0,
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
                "message": {"text": "A document of the corpus that holds the item."},
            }
            for number, place in enumerate(problem.related, 1)
        ]
    if problem.accepted:
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": "Listed in the baseline file."}
        ]
    return result


def _location(place: Place) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(place.path), "uriBaseId": _ROOT}}
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
