"""SARIF 2.1.0: the structure the standard asks for, places that editors find, text that is no link."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from memaudit.report.formats.sarif import MAX_RESULTS
from memaudit.report.problems import Place, place
from tests.report.contamination_reports import contamination_report
from tests.report.rendered import rendered

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def log_of(report: dict[str, Any]) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(rendered("sarif", report))
    return log


def only(value: dict[str, Any], required: set[str], optional: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Objects of the standard have the properties it names, and no others."""
    assert required <= value.keys() <= required | optional


def check_message(message: dict[str, Any]) -> None:
    only(message, {"text"})
    text = message["text"]
    assert text
    assert text.replace("\u200d", "").isprintable()  # emoji are joined by one
    assert not re.search(r"\[(?:[^\\\[\]]|\\[\\\[\]])*\]\(", text)  # 3.11.6: no embedded link
    assert not re.search(r"[{}]", text.replace("{{", "").replace("}}", ""))  # 3.11.5: no placeholder


def check_place(location: dict[str, Any]) -> None:
    only(location, {"artifactLocation"}, {"region"})
    artifact = location["artifactLocation"]
    only(artifact, {"uri", "uriBaseId"})
    assert artifact["uriBaseId"] == "%SRCROOT%"
    parts = urlsplit(artifact["uri"])
    assert not (parts.scheme or parts.netloc or parts.query or parts.fragment)
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", artifact["uri"])
    assert not artifact["uri"].startswith("/")
    assert ".." not in artifact["uri"].split("/")
    if "region" in location:
        only(location["region"], {"startLine"}, {"startColumn"})
        assert all(isinstance(number, int) and number >= 1 for number in location["region"].values())


def check_log(log: dict[str, Any]) -> dict[str, Any]:
    """Assert what the standard requires of a log with one run, and return the run."""
    only(log, {"version", "runs", "$schema"})
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    expected = {"tool", "results", "invocations", "originalUriBaseIds", "columnKind", "automationDetails", "properties"}
    only(run, expected)
    driver = run["tool"]["driver"]
    only(driver, {"name", "version", "rules"})
    for rule in driver["rules"]:
        only(rule, {"id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration"})
        assert re.fullmatch("[A-Z][A-Za-z]+", rule["name"])
        for text in ("shortDescription", "fullDescription", "help"):
            check_message(rule[text])
            assert rule[text]["text"].endswith(".")
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    assert run["automationDetails"]["id"].endswith("/")
    (invocation,) = run["invocations"]
    only(invocation, {"executionSuccessful", "exitCode", "toolExecutionNotifications"})
    assert isinstance(invocation["executionSuccessful"], bool)
    for note in invocation["toolExecutionNotifications"]:
        only(note, {"level", "message"})
        check_message(note["message"])
    for result in run["results"]:
        check_result(result, driver["rules"])
    return run  # type: ignore[no-any-return]


def check_result(result: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    required = {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints", "properties"}
    only(result, required, {"relatedLocations", "suppressions"})
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["level"] in ("error", "warning", "note")
    check_message(result["message"])
    (location,) = result["locations"]
    only(location, {"physicalLocation"})
    check_place(location["physicalLocation"])
    ids = [related["id"] for related in result.get("relatedLocations", [])]
    assert len(ids) == len(set(ids))
    for related in result.get("relatedLocations", []):
        only(related, {"id", "physicalLocation", "message"})
        check_place(related["physicalLocation"])
        check_message(related["message"])
    for suppression in result.get("suppressions", []):
        only(suppression, {"kind", "status", "justification"})
        assert suppression["kind"] == "external"
        assert suppression["status"] == "accepted"
    assert all(isinstance(value, str) and value for value in result["partialFingerprints"].values())


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize(("verdict", "level"), [("found", "error"), ("clean", "warning"), ("inconclusive", "warning")])
@pytest.mark.parametrize("seed", range(3))
def test_contaminated_items(verdict: str, level: str, hostile: bool, seed: int) -> None:
    report = contamination_report(verdict, hostile=hostile, seed=seed)
    run = check_log(log_of(report))
    results = run["results"]
    assert [result["level"] for result in results] == [level] * 5 + ["note"] * 2
    assert ["suppressions" in result for result in results] == [False] * 5 + [True] * 2
    assert {result["ruleId"] for result in results} == {"memaudit/contamination"}
    prints = [result["partialFingerprints"]["memaudit/v1"] for result in results]
    assert sorted(prints) == sorted(finding["id"] for finding in report["findings"])
    assert run["invocations"][0]["exitCode"] == report["exit_code"]
    assert run["properties"]["verdict"] == verdict


def test_places_documents_and_one_plain_sentence() -> None:
    report = contamination_report(found=1, accepted=0)
    report["findings"][0] |= {"more_documents": 3, "source": "data/test.jsonl:12"}
    (result,) = log_of(report)["runs"][0]["results"]
    location = result["locations"][0]["physicalLocation"]
    assert location == {
        "artifactLocation": {"uri": "data/test.jsonl", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    evidence = report["findings"][0]["evidence"]
    related = [other["physicalLocation"] for other in result["relatedLocations"]]
    assert [f"{r['artifactLocation']['uri']}:{r['region']['startLine']}" for r in related] == [
        e["source"] for e in evidence
    ]
    assert result["message"]["text"] == (
        f"Benchmark item gsm8k/test/1 (question) occurs in {evidence[0]['source']} and {len(evidence) + 2} more "
        "documents: normalised copy, similarity 100%."
    )
    assert result["properties"]["coverage"] == 1.0


def test_recited_documents(factory: Factory) -> None:
    for hostile in (False, True):
        report, _ = factory(hostile=hostile)
        run = check_log(log_of(report))
        assert len(run["results"]) == len(report["findings"]) > 0
        assert {result["level"] for result in run["results"]} == {"error"}
        assert {result["ruleId"] for result in run["results"]} == {"memaudit/extraction"}
    first, finding = log_of(factory()[0])["runs"][0]["results"][0], factory()[0]["findings"][0]
    location = first["locations"][0]["physicalLocation"]
    assert f"{location['artifactLocation']['uri']}:{location['region']['startLine']}" == finding["source"]
    assert finding["document"] in first["message"]["text"]


def test_no_more_than_five_thousand_results_and_the_rest_is_counted() -> None:
    report = contamination_report(found=20, accepted=0)
    report["findings"] = [report["findings"][i % 20] | {"number": i} for i in range(MAX_RESULTS + 7)]
    run = log_of(report)["runs"][0]
    assert len(run["results"]) == MAX_RESULTS
    assert run["properties"] | {"findings": MAX_RESULTS + 7, "leftOut": 7} == run["properties"]
    last = run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"]
    assert last.startswith("7 more findings are not listed here")


def test_same_report_same_bytes_and_incomplete_runs() -> None:
    report = contamination_report(complete=False)
    assert rendered("sarif", report) == rendered("sarif", report)
    assert log_of(report)["runs"][0]["invocations"][0]["executionSuccessful"] is False


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("data/a.jsonl:7", Place("data/a.jsonl", 7)),
        ("data/a.jsonl:7:12", Place("data/a.jsonl", 7, 12)),
        ("data/a.txt", Place("data/a.txt", None)),
        ("data/a.jsonl:0", Place("data/a.jsonl", None)),
        ("odd:5", Place("odd:5", None)),
        ("odd:5:7", Place("odd:5", 7)),
        ("odd:5:7:9", Place("odd:5", 7, 9)),
        (":7", Place(":7", None)),
        ("a:1234567890", Place("a:1234567890", None)),
        ("./data/../data/a.jsonl:7", Place("data/a.jsonl", 7)),
        ("../../else/where.jsonl:7", Place("where.jsonl", 7)),
        ("/else/where.jsonl:7", Place("where.jsonl", 7)),
        ("{base}/in/here.jsonl:7", Place("in/here.jsonl", 7)),
    ],
)
def test_places(source: str, expected: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place(source.format(base=tmp_path), {"odd:5", "data/a.jsonl"}) == expected


@pytest.mark.parametrize("name", ["a b#c?.jsonl", "100%.jsonl", "tëst/日本.jsonl", "c:\\x.jsonl", "a\udcff.jsonl"])
def test_uris_give_the_name_back(name: str) -> None:
    report = contamination_report(found=1, accepted=0)
    report["findings"][0]["source"] = f"{name}:3"
    run = check_log(log_of(report))
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(uri, errors="surrogateescape") == name
