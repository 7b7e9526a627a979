"""What other programs read: strict JSON, and JUnit XML that agrees with the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest

from memaudit.report.machine import junit_xml
from memaudit.runs import strict_json

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def test_json_is_strict_and_byte_stable(factory: Factory) -> None:
    report, _ = factory()
    data = strict_json(report)
    assert data == strict_json(factory()[0])
    assert orjson.loads(data) == json.loads(data) == report
    hostile = factory(hostile=True)[0]
    assert json.loads(strict_json(hostile)) == hostile
    assert not set(strict_json(hostile)) - set(range(0x20, 0x7F)) - {0x0A}
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json(report | {"power": {"upper_bound": float("nan")}})


@pytest.mark.parametrize(("verdict", "failures"), [("found", 1), ("clean", 0), ("inconclusive", 0)])
@pytest.mark.parametrize("hostile", [False, True])
def test_junit_counts_agree_with_the_verdict(factory: Factory, verdict: str, failures: int, hostile: bool) -> None:
    report, _ = factory(verdict=verdict, hostile=hostile)
    data = junit_xml(report)
    assert data == junit_xml(report)
    root = ET.fromstring(data)
    suite = root[0]
    cases = suite.findall("testcase")
    assert len(cases) == 1 + len(report["controls"]) == int(root.attrib["tests"])
    for tag, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        count = sum(len(case.findall(tag)) for case in cases)
        assert int(root.attrib[plural]) == int(suite.attrib[plural]) == count
    assert int(root.attrib["failures"]) == failures == (report["exit_code"] == 1)
    assert (cases[0].find("skipped") is not None) == (verdict == "inconclusive")


def test_controls_that_failed_are_errors_and_those_not_run_are_skipped(factory: Factory) -> None:
    controls = [{"name": str(passed), "passed": passed, "detail": "so"} for passed in (True, False, None)]
    cases = ET.fromstring(junit_xml(factory(controls=controls)[0])).findall(".//testcase")[1:]
    assert [[child.tag for child in case] for case in cases] == [[], ["error"], ["skipped"]]


def test_characters_that_xml_lacks_are_shown(factory: Factory) -> None:
    report, _ = factory(headline="a\x00b\x1b[31m\ud800\ufffe ]]> <&> é")
    failure = ET.fromstring(junit_xml(report)).find(".//failure")
    assert failure is not None
    assert failure.get("message") == r"a\x00b\x1b[31m\ud800\ufffe ]]> <&> é"
