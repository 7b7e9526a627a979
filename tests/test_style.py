"""The style that the code keeps, checked by the tools that define it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("tool", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--strict", "memaudit"]])
def test_tools_find_nothing(tool: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


MISSPELT = """
from memaudit.audits.gap.run import GapRun
from memaudit.audits.measures.protocol import PROTOCOL
from memaudit.audits.subject import Subject
from memaudit.report.kinds.extraction import KIND
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport


def of_a_result(run: GapRun) -> object:
    return run.report["p_valeu"]


def of_a_line(subject: Subject) -> object:
    return PROTOCOL.measure(subject, PROTOCOL.items(subject))[0]["lost"]


def of_what_is_shown(run: ReportInput[ExtractionReport]) -> object:
    return KIND.disclosed(run, run.shown).report["polcy"]
"""


def test_a_misspelt_key_is_found(tmp_path: Path) -> None:
    """It reads what the run of mypy above has cached."""
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "misspelt.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(r'error: TypedDict "(\w+)" has no key "(\w+)"', done.stdout)
    assert found == [("GapReport", "p_valeu"), ("ProtocolLine", "lost"), ("ExtractionReport", "polcy")], done.stdout
    assert "Found 3 errors in 1 file" in done.stdout
