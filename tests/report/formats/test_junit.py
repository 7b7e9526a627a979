"""What other programs read: strict JSON, and JUnit XML that agrees with the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import orjson
import pytest

from memaudit.report.kinds.contamination import MAX_CASES
from memaudit.runs.files import strict_json
from tests.report.contamination_reports import contamination_report
from tests.report.rendered import rendered

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def junit_xml(report: dict[str, Any]) -> bytes:
    return rendered("junit", report)


def contamination_xml(**changes: Any) -> ET.Element:
    return ET.fromstring(rendered("junit", contamination_report(**changes)))


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
        assert int(suite.attrib[plural]) == int(root.get(plural, count)) == count
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


def outcome(case: ET.Element) -> list[str]:
    return [child.tag for child in case]


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("verdict", ["found", "clean", "inconclusive"])
def test_contaminated_items_fail_only_where_the_run_does(verdict: str, hostile: bool) -> None:
    root = contamination_xml(verdict=verdict, hostile=hostile, found=7, accepted=2)
    policy, control, *items = root.findall(".//testcase")
    assert outcome(policy) == {"found": ["failure"], "clean": [], "inconclusive": ["skipped"]}[verdict]
    assert outcome(control) == []
    assert [outcome(item) for item in items] == [["failure" if verdict == "found" else "skipped"]] * 5 + [
        ["skipped"]
    ] * 2
    assert int(root.attrib["tests"]) == 9
    assert int(root.attrib["failures"]) == (6 if verdict == "found" else 0)
    assert {item.get("classname") for item in items} == {"memaudit.contamination"}


def test_a_failure_names_item_document_and_similarity() -> None:
    report = contamination_report(found=1, accepted=0)
    finding = report["findings"][0]
    _, _, item = ET.fromstring(rendered("junit", report)).findall(".//testcase")
    assert item.get("name") == "item gsm8k/test/1, question"
    failure = item.find("failure")
    assert failure is not None
    assert failure.text is not None
    lines = failure.text.split("\n")
    assert lines[0] == "benchmark data/test.jsonl:1"
    assert lines[1:-2] == [f"corpus {evidence['source']}" for evidence in finding["evidence"]]
    assert lines[-2:] == ["similarity 100%", finding["id"]]
    assert finding["evidence"][0]["source"] in str(failure.get("message"))


def test_accepted_items_say_so() -> None:
    [skipped] = contamination_xml(found=1, accepted=1).findall(".//testcase/skipped")
    assert str(skipped.get("message")).startswith("accepted by the baseline: ")
    assert str(skipped.text).startswith("benchmark data/test.jsonl:1\n")


@pytest.mark.parametrize("verdict", ["found", "clean"])
def test_no_more_than_a_thousand_items_are_listed_and_the_rest_is_counted(verdict: str) -> None:
    root = contamination_xml(found=MAX_CASES + 34, accepted=0, verdict=verdict)
    assert len(root.findall(".//testcase")) == 2 + MAX_CASES
    assert "34 more contaminated items are not listed here" in ET.tostring(root[0][0], encoding="unicode")
