"""One run, six renderers: what each of them tells of the verdict, the headline and the findings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from memaudit.report.formats import writers
from memaudit.report.formats.names import FORMATS
from memaudit.report.wording import VERDICTS
from tests.report.pages import Page
from tests.report.schemas import junit_errors, sarif_errors


def plain(name: str, text: str) -> str:
    """The words that a reader sees, on one line."""
    if name == "html":
        text = " ".join(Page(text).text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def differing(folder: Path, printed: str) -> list[str]:
    """Return which renderers of a finished run tell another verdict, headline or number of findings than its report.

    What the schemas of JUnit XML and SARIF refuse is returned too.

    Args:
        folder: The run directory.
        printed: What the command printed of it.
    """
    texts = {name: writers([name])[0](folder).read_text(encoding="utf-8") for name in FORMATS.builtin}
    report = json.loads(texts["json"])
    headline, word = " ".join(report["headline"].split()), VERDICTS[report["verdict"]].lower()
    told = {name: plain(name, texts[name]) for name in ("html", "md")} | {"terminal": plain("terminal", printed)}
    wrong = [name for name, said in told.items() if headline not in said or word not in said.lower()[:600]]
    return [*wrong, *_machines(report, texts)]


def _machines(report: dict[str, Any], texts: dict[str, str]) -> list[str]:
    [run] = json.loads(texts["sarif"])["runs"]
    found = report["verdict"] == "found"
    wrong = []
    if run["properties"]["verdict"] != report["verdict"] or run["invocations"][0]["exitCode"] != report["exit_code"]:
        wrong.append("sarif")
    if bool(run["results"]) != found or len(run["results"]) != run["properties"]["findings"]:
        wrong.append("sarif: findings")
    suite = ET.fromstring(texts["junit"])[0]
    outcome = "failure" if found else "skipped" if report["exit_code"] == 3 else None
    said = [tag for tag in ("failure", "skipped", "error") if suite[0].find(tag) is not None]
    failing = sum(control["passed"] is False for control in report["controls"])
    if said != [outcome] * bool(outcome) or sum(case.find("error") is not None for case in suite) != failing:
        wrong.append("junit")
    return [*wrong, *junit_errors(texts["junit"].encode()), *sarif_errors(texts["sarif"].encode())]


def quoted(folder: Path, texts: Iterable[str], words: int = 8) -> list[str]:
    """Return the runs of so many words of the texts that stand in a file of a run other than its log."""
    files = [file for file in folder.iterdir() if file.suffix in (".json", ".html", ".md", ".xml", ".sarif")]
    shown = " ".join(" ".join(unescape(file.read_text(encoding="utf-8")).split()) for file in files)
    runs = (" ".join(text.split()[at : at + words]) for text in texts for at in range(len(text.split()) - words + 1))
    return [run for run in runs if run in shown]
