"""Findings of any kind of run as other programs list them: one plain sentence each, and where to look."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from memaudit.findings import fingerprint
from memaudit.report.wording import counted, percent, visible

MATCHES = {"raw": "raw copy", "normalised": "normalised copy", "edited": "edited copy"}
"""How the text of an item and of a document agree."""

LONGEST = 200
"""Characters of an id of an item or a document that are shown."""
_MEASURES = ("part", "match", "score", "coverage", "documents", "rules", "more_documents")
_NUMBERED = re.compile(r"(.+):(\d{1,9})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file a record stands."""

    path: str
    """Relative to the working directory where it lies under it, else the bare name of the file."""
    line: int | None
    """From 1; None where the whole file is meant."""
    column: int | None = None

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding as a list of problems shows it."""

    id: str
    """Fingerprint that survives moved lines and folders."""
    rule: str
    level: Literal["error", "warning", "note"]
    """An error where the run's verdict is *found*; a note where a baseline accepts the finding."""
    name: str
    sentence: str
    place: Place
    related: list[Place]
    """Documents that hold the text."""
    accepted: bool
    properties: Mapping[str, Any]


def problems(report: Mapping[str, Any]) -> list[Problem]:
    """Return the findings of a report, the worst first, those that a baseline accepts last."""
    return _KINDS[report["kind"]](report)


def place(source: str, files: Collection[str]) -> Place:
    """Split ``file:line`` or ``file:line:column``, whatever the file's own name looks like.

    Args:
        source: As corpora and benchmarks name their records.
        files: Paths of the files that were read.
    """
    path, numbers = source, list[int]()
    while path not in files and len(numbers) < 2 and (match := _NUMBERED.fullmatch(path)):
        path, numbers = match[1], [int(match[2]), *numbers]
    line, column = (*numbers, None, None)[:2]
    return Place(relative_path(path), line or None, column or None)


def relative_path(path: str) -> str:
    """Return a path relative to the working directory, or its last part if it does not lie under it."""
    base = Path.cwd()
    whole = Path(os.path.normpath(base / path))
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else whole.name


def worst_first(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return contaminated items, those most like their documents first."""
    return sorted(findings, key=lambda f: (-f["score"], -f["coverage"], f["number"]))


def and_others(finding: Mapping[str, Any]) -> str:
    """Return how many documents hold the text of an item beside the first, as the end of a phrase."""
    others = len(finding["evidence"]) - 1 + int(finding["more_documents"])
    return f" and {counted(others, 'more document')}" if others else ""


def policy_words(policy: Mapping[str, Any]) -> str:
    """Return how many contaminated items a policy tolerates."""
    limits = []
    if policy["max_items"] is not None:
        limits.append(f"at most {counted(policy['max_items'], 'item')}" if policy["max_items"] else "no item")
    if policy["max_rate"] is not None:
        limits.append(f"at most {percent(policy['max_rate'])} of the judged items")
    return " and ".join(limits) or "any number of items"


def spared_words(report: Mapping[str, Any]) -> str:
    """Return how many items most published rules convict and ours does not; empty where there is none."""
    return f"{counted(report['spared_count'], 'item')} that most published rules convict" if report["spared"] else ""


def _contaminated(report: Mapping[str, Any]) -> list[Problem]:
    """Return the contaminated items of a benchmark."""
    benchmark, corpus = ({file["path"] for file in report[side]["files"]} for side in ("benchmark", "corpus"))
    level: Literal["error", "warning"] = "error" if report["verdict"] == "found" else "warning"
    return [
        Problem(
            id=finding["id"],
            rule="memaudit/contamination",
            level="note" if finding["accepted"] else level,
            name=f"item {_name(finding['item'])}, {_name(finding['part'])}",
            sentence=_sentence(finding),
            place=place(finding["source"], benchmark),
            related=[place(evidence["source"], corpus) for evidence in finding["evidence"]],
            accepted=finding["accepted"],
            properties={key: finding[key] for key in _MEASURES},
        )
        for finding in sorted(worst_first(report["findings"]), key=lambda f: bool(f["accepted"]))
    ]


def _sentence(finding: Mapping[str, Any]) -> str:
    return (
        f"Benchmark item {_name(finding['item'])} ({_name(finding['part'])}) stands in "
        f"{_line(finding['evidence'][0]['source'])}{and_others(finding)}: {MATCHES[finding['match']]}, "
        f"similarity {percent(finding['score'])}."
    )


def _recited(report: Mapping[str, Any]) -> list[Problem]:
    """Return the training documents that a model recites."""
    labels = {estimate["metric"]: estimate["label"] for estimate in report["estimates"]}
    level: Literal["error", "warning"] = "error" if report["verdict"] == "found" else "warning"
    files = {file["path"] for file in report["train"]["files"]}
    return [
        Problem(
            id=finding["id"],
            rule="memaudit/extraction",
            level=level,
            name=f"document {_name(finding['document'])}",
            sentence=f"The model recites training document {_name(finding['document'])} "
            f"({_name(labels.get(finding['metric'], finding['metric']))}, score {percent(finding['score'])}).",
            place=place(finding["source"], files),
            related=[],
            accepted=False,
            properties={key: finding[key] for key in ("metric", "score", "copies")},
        )
        for finding in report["findings"]
    ]


def _seen(report: Mapping[str, Any]) -> list[Problem]:
    """Return the detectors whose answers are evidence that a model has seen a benchmark."""
    shown = {detection["name"]: detection for detection in report["detections"]}
    files = {file["path"] for file in report["benchmark"]["files"]}
    model = _name(report["model"]["name"])
    return [
        Problem(
            id=finding["id"],
            rule="memaudit/membership",
            level="error",
            name=f"detector {shown[finding['metric']]['label']}",
            sentence=f"{model} has seen this benchmark, says {shown[finding['metric']]['label']}:"
            f" p = {shown[finding['metric']]['p_holm']:.2g} over {len(shown)} detectors.",
            place=place(finding["source"], files),
            related=[],
            accepted=False,
            properties={key: finding[key] for key in ("metric", "score")},
        )
        for finding in report["findings"]
    ]


def _judged(report: Mapping[str, Any]) -> list[Problem]:
    """Return the one finding of a run that judges a model as a whole."""
    if report["verdict"] != "found":
        return []
    rule = f"memaudit/{report['kind']}"
    file = next(iter(report["corpus"]["specs"]), "")
    return [
        Problem(
            id=fingerprint(report["kind"], report["options"].get("model", ""), " ".join(report["corpus"]["specs"])),
            rule=rule,
            level="error",
            name=report["kind"],
            sentence=_line(report["headline"]),
            place=place(file, {file}),
            related=[],
            accepted=False,
            properties={},
        )
    ]


def _name(text: object) -> str:
    line = _line(str(text))
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _line(text: str) -> str:
    """Return a text on one line, without characters that nobody sees."""
    return visible(" ".join(text.split()))


_KINDS = {
    "contamination": _contaminated,
    "extraction": _recited,
    "membership": _seen,
    "gap": _judged,
    "exploitation": _judged,
}
