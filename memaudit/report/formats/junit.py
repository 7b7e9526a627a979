"""JUnit XML for continuous integration: a test case for the verdict, for every control, and what more the kind has.

JUnit XML has no standard. Ours is valid by the schema of Jenkins' xUnit plugin (junit-10.xsd), which knows no file or
line of a test case: places stand in the text of its outcome.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

from memaudit.errors import one_line
from memaudit.report.cases import Case
from memaudit.report.formats.base import Format
from memaudit.report.kinds.base import VerdictKind
from memaudit.runs.directory import ReportInput

_OUTCOMES = ("failure", "error", "skipped")
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run: ReportInput[Any], kind: VerdictKind[Any]) -> bytes:
    """Return ``junit.xml`` of a run, byte for byte."""
    suite = kind.suite(run.report)
    count = {tag: str(sum(case.outcome == tag for case in suite.cases)) for tag in _OUTCOMES}
    totals = {"tests": str(len(suite.cases)), "failures": count["failure"], "errors": count["error"]}
    root = ET.Element("testsuites", totals)  # which knows no count of skipped cases
    name = {"name": _xml(f"memaudit {suite.name}")}
    written = ET.SubElement(root, "testsuite", {**name, **totals, "skipped": count["skipped"]})
    written.extend(_element(case, f"memaudit.{suite.name}") for case in suite.cases)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _element(case: Case, classname: str) -> ET.Element:
    element = ET.Element("testcase", {"name": _xml(case.name), "classname": _xml(classname)})
    if case.outcome:
        ET.SubElement(element, case.outcome, {"message": _xml(case.message)}).text = _xml(case.details)
    if case.output:
        ET.SubElement(element, "system-out").text = _xml(case.output)
    return element


def _xml(text: str) -> str:
    r"""Return a text with the characters that XML 1.0 cannot hold, or should not, as ``\x1b``."""
    return _NOT_XML.sub(lambda match: one_line(match.group()), text)


JUNIT = Format("junit.xml", junit, VerdictKind)
