"""One run, six renderers: all tell the same verdict and the same counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from memaudit.records import WindowRecord
from memaudit.report.formats.md import MAX_CHARACTERS
from memaudit.report.formats.names import FORMATS
from memaudit.report.formats.screen import print_report
from memaudit.report.terminal import console
from memaudit.stats.rounding import percent
from tests.report.contamination_reports import contamination_report
from tests.report.rendered import rendered
from tests.report.stories import plain

Factory = Callable[..., tuple[dict[str, Any], list[WindowRecord]]]
VERDICTS = ("found", "clean", "inconclusive")


def told_by(report: dict[str, Any], records: list[WindowRecord], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    texts = {name: rendered(name, report, records).decode("utf-8") for name in FORMATS.builtin}
    print_report(report, console())
    return texts | {"terminal": capsys.readouterr().out}


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("kind", ["extraction", "contamination"])
def test_verdict(factory: Factory, capsys: pytest.CaptureFixture[str], kind: str, verdict: str) -> None:
    report, records = factory(verdict=verdict) if kind == "extraction" else (contamination_report(verdict), [])
    texts = told_by(report, records, capsys)
    assert json.loads(texts["json"])["verdict"] == verdict
    assert json.loads(texts["sarif"])["runs"][0]["properties"]["verdict"] == verdict
    suite = ET.fromstring(texts["junit"])[0]
    assert (suite[0].find("failure") is not None, suite[0].find("skipped") is not None) == (
        verdict == "found",
        verdict == "inconclusive",
    )
    for name in ("html", "md", "terminal"):
        words = plain(name, texts[name]).lower()
        assert f"{verdict}" in words[:400]
        assert not [other for other in VERDICTS if other != verdict and f"○ {other}" in words]


@pytest.mark.parametrize("kind", ["extraction", "contamination"])
def test_counts(factory: Factory, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    report, records = factory() if kind == "extraction" else (contamination_report(), [])
    texts = told_by(report, records, capsys)
    shown = {name: plain(name, texts[name]) for name in ("html", "md", "terminal", "junit")}
    assert all(" ".join(report["headline"].split()) in shown[name] for name in ("html", "md", "terminal"))
    findings = len(report["findings"])
    assert len(json.loads(texts["json"])["findings"]) == findings
    sarif = json.loads(texts["sarif"])["runs"][0]
    assert len(sarif["results"]) == sarif["properties"]["findings"] == findings
    for e in report["estimates"]:
        sides = [e[side] for side in ("train", "heldout")] if kind == "extraction" else [e]
        for side in sides:
            counts = [f"{side['hits']:,}{of}{side['n']:,}" for of in (" of ", "/")]
            for name in ("html", "terminal"):
                assert any(count in shown[name] for count in counts), (name, e["label"])
            assert percent(side["rate"]) in shown["md"]
    if kind == "contamination":
        cases = ET.fromstring(texts["junit"]).iter("testcase")
        assert sum(case.get("name", "").startswith("item gsm8k/") for case in cases) == findings


@pytest.mark.parametrize("kind", ["extraction", "contamination"])
def test_the_comment_fits_and_is_inert(factory: Factory, kind: str) -> None:
    report = factory(hostile=True)[0] if kind == "extraction" else contamination_report(hostile=True)
    report["findings"] = report["findings"] * 40
    text = rendered("md", report).decode("utf-8")
    assert text.startswith(f"<!-- memaudit {kind} -->\n## memaudit: ● Found")
    assert len(text) <= MAX_CHARACTERS
    assert rendered("md", report).decode("utf-8") == text
    tags = set(re.findall(r"<(\w+)", text))
    assert tags <= {"p", "strong", "ul", "li", "table", "tr", "th", "td", "code", "details", "summary"}
    assert not re.search(r"<\w+ [^>]*>", text.replace("<!--", ""))
    outside = [line for line in text.split("\n") if line and not line.lstrip().startswith("<")]
    assert all(re.match(r"#{2,3} |\d|and ", line) for line in outside), outside
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_the_comment_says_how_to_repeat_the_run(factory: Factory) -> None:
    report, records = factory()
    text = unescape(rendered("md", report, records).decode("utf-8"))
    for part in (report["provenance"]["command"], report["provenance"]["identity"], *report["limits"], "torch 2.13.0"):
        assert part in text
