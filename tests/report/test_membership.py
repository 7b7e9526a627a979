"""A membership run in every format: the same verdict and counts, and nothing of the data acting."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from memaudit.audits.comparison.options import MembershipOptions
from memaudit.report.formats.screen import print_report
from memaudit.report.wording import SYMBOLS, VERDICTS
from memaudit.runs.reports import REPORTS
from memaudit.runs.schema import misfit
from memaudit.sections import Column, Graph, Section, Series, Table
from tests.report.conftest import HOSTILE
from tests.report.pages import OURS, Page
from tests.report.rendered import rendered, step_summary, workflow_commands

DETECTORS = ("loss", "min-k", "reference", "order")
CURVE = [[i / 200, (i / 200) ** 0.5, None, None] for i in range(1, 201)]


def detection(name: str, words: str, rejects: bool, speaks: bool) -> dict[str, Any]:
    return {
        "name": name,
        "label": f"{name} {words}",
        "definition": words,
        "p_value": 0.0001 if rejects else 0.4,
        "p_holm": 0.0004 if rejects else 1.0,
        "reason": words,
        "effect": {"name": words, "estimate": 0.61, "low": 0.55, "high": 0.67},
        "members": 200,
        "heldout": 200,
        "undefined": 0,
        "effect_size": 0.3,
        "controls": [{"name": f"C2 {words}", "passed": speaks, "detail": words}],
        "speaks": speaks,
        "rejects": rejects,
    }


def options(**changes: Any) -> dict[str, Any]:
    asked = json.loads(json.dumps(dataclasses.asdict(MembershipOptions())))
    return {**asked, "asked_references": asked.pop("references"), **changes}


def model(words: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(("name", "family", "device", "dtype"), words),
        **{"objective": "masked", "parameters": 9, "context_length": 64, "vocabulary": 40},
        **{"sha256": "ef" * 32, "tokenizer_sha256": "01" * 32, "self_test": [-1.5], "files": []},
        **{"attention": None, "start_token": None, "end_tokens": [], "ignored": [words]},
    }


def finding(words: str) -> dict[str, Any]:
    about = {"kind": "membership", "document": words, "copies": None, "text": None}
    return {**about, "id": "v1:1", "source": f"{words}.jsonl", "metric": "loss", "score": 0.61}


def made(verdict: str = "found", words: str = "plain") -> dict[str, Any]:
    found = verdict == "found"
    detections = [detection(name, words, name == "loss", found or name != "loss") for name in DETECTORS]
    side = {
        "specs": [words],
        "files": [{"path": f"{words}.jsonl", "sha256": "ab" * 32, "bytes": 9}],
        "layout": words,
        "fields": {words: [words]},
        "items": 200,
        **dict.fromkeys(("empty", "rejected", "repeated", "set_aside"), 0),
        **{"first_rejected": [words], "first_set_aside": [words]},
    }
    graph = Graph(words, words, words, words, [Series(words, CURVE), Series("o", CURVE)], "log", True, True, "log")
    table = Table(words, [Column(words), Column("p", "number")], [[words, 0.0001]])
    return {
        "schema_version": 1,
        "kind": "membership",
        "complete": True,
        "verdict": verdict,
        "exit_code": {"found": 1, "no-evidence": 0}.get(verdict, 3),
        "headline": f"on 200 items, {words}",
        "reasons": [words],
        "primary": "loss",
        "options": options(guided=words, fields=[words]),
        "references": [{"name": words, "family": words, "trained": True, "documents": 3, "sha256": "cd" * 32}],
        "null": words,
        "model": model(words),
        "benchmark": side,
        "heldout": {**side, "compared": 200},
        "corpus": {"specs": [words], "units": words, "sha256": "12" * 32},
        "detections": detections,
        "blind": None,
        "controls": [
            {"name": words, "passed": True, "detail": words},
            {"name": f"not made {words}", "passed": None, "detail": words},
            {"name": f"failed {words}", "passed": False, "detail": words},
        ],
        "power": {
            **{"members": 200, "heldout": 200, "level": 0.0125, "minimum_detectable_auc": 0.6},
            "sentence": f"{words} would be seen",
            "verdicts": [{"auc": 0.5, "found": 0.012, "no_evidence": 0.943}],
            "about": words,
        },
        "limits": [words],
        "findings": [finding(words)] if found else [],
        "sections": [dataclasses.asdict(Section("s", words, words, words, [table], [graph], [words]))] * 2,
        "provenance": {"identity": "34" * 32, "command": words, "versions": {"memaudit": "0"}},
    }


def printed(report: dict[str, Any]) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, width=120, markup=False, highlight=False, emoji=False))
    return out.getvalue()


ALL = ("found", "no-evidence", "inconclusive", "confounded")


@pytest.mark.parametrize("verdict", ALL)
def test_every_format_says_the_same(verdict: str) -> None:
    report = made(verdict)
    assert not misfit(report, REPORTS["membership"], "the report")
    page = Page(rendered("html", report).decode())
    text = " ".join("".join(page.text).split())
    assert "AUC Found No evidence 0.50 1.2% 94.3%" in " ".join(" ".join(page.text).split())
    assert f"power: {report['power']['sentence']}" in " ".join(printed(report).split())
    assert f"{SYMBOLS[verdict]} {VERDICTS[verdict]}" in text
    assert f"{SYMBOLS[verdict]} {VERDICTS[verdict].upper()}" in printed(report)
    assert VERDICTS[verdict] in step_summary(report)
    log = json.loads(rendered("sarif", report))["runs"][0]
    assert log["properties"]["verdict"] == verdict
    assert log["invocations"][0]["exitCode"] == report["exit_code"]
    assert len(log["results"]) == len(report["findings"])
    suite = ET.fromstring(rendered("junit", report))[0]
    failed = int(suite.attrib["failures"])
    assert failed == (2 if verdict == "found" else 0)  # the verdict and the one detector that speaks
    assert int(suite.attrib["tests"]) == 1 + 3 + len(DETECTORS)
    # A detector that rejects but may not speak is told apart from one that rejects nothing.
    assert int(suite.attrib["skipped"]) == {"found": 1, "no-evidence": 2}.get(verdict, 3)
    levels = [command.split()[0] for command in workflow_commands(report)]
    assert levels == ([] if verdict == "no-evidence" else ["::error"])


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_inert(words: str) -> None:
    report = made(words=words)
    page = Page(rendered("html", report).decode())
    assert set(page.tags) <= OURS
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "action")]
    assert all(value.startswith("#") for tag, name, value in page.attributes if tag == "a" and name == "href")
    terminal = printed(report)
    assert not set(terminal) & (set(map(chr, range(32))) - {"\n"} | set(map(chr, range(0x7F, 0xA0))) | {"\u202e"})
    ET.fromstring(rendered("junit", report))
    json.loads(rendered("sarif", report))
    assert all("\n" not in command for command in workflow_commands(report))


def test_the_curve_is_drawn_on_two_logarithmic_axes() -> None:
    page = Page(rendered("html", made()).decode())
    text = "".join(page.text)
    assert page.tags["svg"] == 4  # two sections, two widths
    for tick in ("1%", "10%", "100%"):
        assert tick in text
    assert page.headings == sorted(page.headings, key=lambda level: level > 1)
    assert len(page.ids) == len(set(page.ids))
