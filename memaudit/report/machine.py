"""The report for machines: strict JSON, and JUnit XML for continuous integration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from memaudit.errors import one_line
from memaudit.report.wording import interval, percent
from memaudit.runs import REPORT, read_finished, strict_json, write_atomic

_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_json(folder: Path) -> Path:
    """Write ``report.json`` of a finished run again, byte for byte, and return its path."""
    path = folder / REPORT
    write_atomic(path, strict_json(read_finished(folder).report))
    return path


def write_junit(folder: Path) -> Path:
    """Write ``junit.xml`` of a finished run and return its path."""
    path = folder / "junit.xml"
    write_atomic(path, junit_xml(read_finished(folder).report))
    return path


def junit_xml(report: Mapping[str, Any]) -> bytes:
    """Return a report as JUnit XML: one test case for the policy, one for every control.

    A verdict of *found* is the only failure; *inconclusive* skips the policy's case and says why; a
    control that failed is an error, because then it was the instrument that did not work.
    """
    model = report["model"]["name"]
    cases = [_policy_case(report), *(_control_case(control) for control in report["controls"])]
    count = {tag: str(sum(case.find(tag) is not None for case in cases)) for tag in _OUTCOMES}
    totals = {
        "tests": str(len(cases)),
        "failures": count["failure"],
        "errors": count["error"],
        "skipped": count["skipped"],
    }
    root = ET.Element("testsuites", totals)
    suite = ET.SubElement(root, "testsuite", {"name": _xml(f"memaudit {model}"), **totals})
    for case in cases:
        case.set("classname", _xml(f"memaudit.{model}"))
        suite.append(case)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


_OUTCOMES = ("failure", "error", "skipped")
_OUTCOME = {"found": "failure", "inconclusive": "skipped"}


def _policy_case(report: Mapping[str, Any]) -> ET.Element:
    limit = percent(report["policy"]["max_rate"])
    case = _case(f"{report['primary_metric']}: at most {limit} of the training documents")
    if report["verdict"] in _OUTCOME:
        primary = next(e for e in report["estimates"] if e["primary"])
        sides = [
            f"{name}: {percent(primary[side]['rate'])} {interval(primary[side])}"
            for side, name in (("train", "training text"), ("heldout", "held-out text"))
        ]
        outcome = ET.SubElement(case, _OUTCOME[report["verdict"]], {"message": _xml(report["headline"])})
        outcome.text = _xml("\n".join([*report["reasons"], *sides]))
    return case


def _control_case(control: Mapping[str, Any]) -> ET.Element:
    case = _case(f"control: {control['name']}")
    if control["passed"] is not True:
        tag = "skipped" if control["passed"] is None else "error"
        ET.SubElement(case, tag, {"message": _xml(control["detail"])})
    return case


def _case(name: str) -> ET.Element:
    return ET.Element("testcase", {"name": _xml(name)})


def _xml(text: str) -> str:
    r"""Return a text with the characters that XML 1.0 cannot hold, or should not, as ``\x1b``."""
    return _NOT_XML.sub(lambda match: one_line(match.group()), text)
