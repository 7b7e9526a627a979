"""The report for machines: strict JSON, and JUnit XML for continuous integration.

JUnit XML has no standard. Ours is valid by the schema of Jenkins' xUnit plugin (junit-10.xsd), which knows no file or
line of a test case: places stand in the text of its outcome.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from memaudit.errors import one_line
from memaudit.report.problems import Problem, policy_words, problems
from memaudit.report.wording import counted, interval, percent
from memaudit.runs.directory import ReportInput
from memaudit.runs.files import strict_json

MAX_CASES = 1000
"""Contaminated items that are listed one by one."""
_OUTCOMES = ("failure", "error", "skipped")
_OUTCOME = {"found": "failure", "inconclusive": "skipped", "confounded": "skipped"}
_EVIDENCE = {
    "gap": "a gap between old and new items that the controls do not have",
    "exploitation": "labels of the test that were seen, or gained from",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report_json(run: ReportInput) -> bytes:
    """Return ``report.json`` of a run, byte for byte."""
    return strict_json(run.report)


def extraction_junit(run: ReportInput) -> bytes:
    """Return an extraction audit as JUnit XML: one test case for the policy, one for every control.

    A verdict of *found* is the only failure; *inconclusive* skips the policy's case and says why; a
    control that failed is an error, because then it was the instrument that did not work.
    """
    report = run.report
    name = f"{report['primary_metric']}: at most {percent(report['policy']['max_rate'])} of the training documents"
    primary = next(e for e in report["estimates"] if e["primary"])
    sides = [
        f"{side}: {percent(primary[key]['rate'])} {interval(primary[key])}"
        for key, side in (("train", "training text"), ("heldout", "held-out text"))
    ]
    return _junit(report["model"]["name"], [_policy_case(report, name, sides), *_control_cases(report)])


def contamination_junit(run: ReportInput) -> bytes:
    """Return a contamination check as JUnit XML: a test case for the policy, every control, every finding.

    A contaminated item fails where the verdict is *found*; one that a baseline accepts, or that the policy
    tolerates, is skipped. At most 1,000 items have a case of their own; the policy's says how many have not.
    """
    report = run.report
    found = problems(report)
    left_out = len(found) - len(found[:MAX_CASES])
    more = counted(left_out, "more contaminated item is", "more contaminated items are")
    notes = [f"{more} not listed here, but in report.json"] if left_out else []
    rates = [
        f"{e['label']}: {e['hits']:,} of {counted(e['n'], 'item')}, {percent(e['rate'])}" for e in report["estimates"]
    ]
    name = f"items that stand in the corpus: {policy_words(report['policy'])}"
    policy = _policy_case(report, name, [*rates, *notes])
    if notes and report["verdict"] not in _OUTCOME:
        ET.SubElement(policy, "system-out").text = _xml(notes[0])
    cases = [policy, *_control_cases(report), *(_finding_case(problem) for problem in found[:MAX_CASES])]
    return _junit("contamination", cases)


def membership_junit(run: ReportInput) -> bytes:
    """Return a membership run as JUnit XML: a test case for the verdict, one for every control and every detector.

    A detector fails only where its answer counts as evidence; one that may not speak is skipped and says why.
    """
    report = run.report
    least = report["power"]["sentence"]
    policy = _policy_case(report, "no evidence that the model has seen the benchmark", [least])
    cases = [policy, *_control_cases(report), *map(_detection_case, report["detections"])]
    return _junit(report["model"]["name"], cases)


def judged_junit(run: ReportInput) -> bytes:
    """Return a run that judges a model as a whole as JUnit XML: a test case for the verdict, one for every control."""
    report = run.report
    model = report.get("model", {}).get("spec") or report["options"].get("model", "")
    policy = _policy_case(report, f"no evidence of {_EVIDENCE[report['kind']]}", [])
    return _junit(f"{report['kind']} {model}".strip(), [policy, *_control_cases(report)])


def _detection_case(detection: Mapping[str, Any]) -> ET.Element:
    case = _case(f"detector: {detection['label']}")
    failing = [f"{c['name']}: {c['detail']}" for c in detection["controls"] if c["passed"] is False]
    said = f"p = {detection['p_value']}, Holm {detection['p_holm']}; {detection['reason']}"
    if detection["rejects"] and detection["speaks"]:
        ET.SubElement(case, "failure", {"message": _xml(said)})
    elif detection["p_value"] is None or (detection["rejects"] and failing):
        ET.SubElement(case, "skipped", {"message": _xml("; ".join([said, *failing]))})
    return case


def _junit(name: str, cases: list[ET.Element]) -> bytes:
    count = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in _OUTCOMES}
    totals = {"tests": str(len(cases)), "failures": count["failure"], "errors": count["error"]}
    root = ET.Element("testsuites", totals)  # which knows no count of skipped cases
    suite = ET.SubElement(root, "testsuite", {"name": _xml(f"memaudit {name}"), **totals, "skipped": count["skipped"]})
    for case in cases:
        case.set("classname", _xml(f"memaudit.{name}"))
        suite.append(case)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _policy_case(report: Mapping[str, Any], name: str, details: Iterable[str]) -> ET.Element:
    case = _case(name)
    if report["verdict"] in _OUTCOME:
        outcome = ET.SubElement(case, _OUTCOME[report["verdict"]], {"message": _xml(report["headline"])})
        outcome.text = _xml("\n".join([*report["reasons"], *details]))
    return case


def _control_cases(report: Mapping[str, Any]) -> list[ET.Element]:
    return [_control_case(control) for control in report["controls"]]


def _control_case(control: Mapping[str, Any]) -> ET.Element:
    case = _case(f"control: {control['name']}")
    if control["passed"] is not True:
        tag = "skipped" if control["passed"] is None else "error"
        ET.SubElement(case, tag, {"message": _xml(control["detail"])})
    return case


def _finding_case(problem: Problem) -> ET.Element:
    case = _case(problem.name)
    if problem.level == "error":
        outcome = ET.SubElement(case, "failure", {"message": _xml(problem.sentence)})
    else:
        why = "accepted by the baseline" if problem.accepted else "within the policy, or not decided"
        outcome = ET.SubElement(case, "skipped", {"message": _xml(f"{why}: {problem.sentence}")})
    lines = [f"benchmark {problem.place}", *(f"corpus {place}" for place in problem.related)]
    outcome.text = _xml("\n".join([*lines, f"similarity {percent(problem.properties['score'])}", problem.id]))
    return case


def _case(name: str) -> ET.Element:
    return ET.Element("testcase", {"name": _xml(name)})


def _xml(text: str) -> str:
    r"""Return a text with the characters that XML 1.0 cannot hold, or should not, as ``\x1b``."""
    return _NOT_XML.sub(lambda match: one_line(match.group()), text)
