"""Extensions of every sort, added by an installed package and by no change of memaudit: each stands where it must."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.report.pages import Page
from tests.report.schemas import junit_errors, sarif_errors

POINTS = """
[memaudit.family]
echo = theirs:ECHO
[memaudit.metric]
first_letters = theirs:FIRST_LETTERS
[memaudit.measure]
lengths = theirs:LENGTHS
[memaudit.detector]
first-tokens = theirs:FIRST_TOKENS
[memaudit.format]
findings = theirs:FINDINGS
[memaudit.kind]
shouting = theirs:SHOUTING
"""
TEXTS = [f"{word} sphinx of black quartz, judge my vow number {word} today" for word in "abcdefghijkl"]
OTHERS = [f"{word} pack my box with five dozen liquor jugs in {word} please" for word in "mnopqrstuvwx"]
SIDES = ("--train", "train.jsonl", "--heldout", "new.jsonl", "--prefix", "12", "--suffix", "12")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, beside an installed package."""
    place = tmp_path_factory.mktemp("outside")
    metadata = place / "site" / "theirs-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    (place / "site" / "theirs.py").write_bytes((Path(__file__).parent / "theirs.py").read_bytes())
    for name, texts in (("train", TEXTS), ("new", OTHERS)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    (place / "loud.txt").write_text("calm\nLOUD & <LOUD>\nLOUDER\n", encoding="utf-8")
    run(place, "train", "echo", "--corpus", "train.jsonl", "--unit", "char", "--size", "8", "--out", "model")
    return place


def run(place: Path, *arguments: str, expected: int = 0, program: tuple[str, ...] = ("-m", "memaudit")) -> str:
    path = os.pathsep.join([str(place / "site"), os.environ["PYTHONPATH"], str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}
    command = [sys.executable, *program, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expected, done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def audited(place: Path) -> Path:
    """An audit of a model of their family, with their metric, their measure, and their format."""
    formats = ("--format", "html,json,junit,sarif,md,findings")
    screen = run(place, "audit", "model", *SIDES, "--measure", "lengths", *formats, "--out", "audited", expected=1)
    (place / "screen.txt").write_text(screen, encoding="utf-8")
    return place / "audited"


def test_help_lists_them(place: Path) -> None:
    assert "echo" in run(place, "train", "--help")
    told = " ".join(run(place, "audit", "--help").replace("│", " ").split())
    assert "lengths" in told
    assert "findings" in told
    assert "first-tokens" in " ".join(run(place, "contamination", "--help").replace("│", " ").split())


def test_a_family_is_trained_loaded_and_named(audited: Path) -> None:
    report = json.loads((audited / "report.json").read_bytes())
    assert (report["model"]["family"], report["verdict"]) == ("echo", "found")
    assert "Echo" in " ".join(Page((audited / "report.html").read_text(encoding="utf-8")).text)


def test_a_metric_is_logged_compared_averaged_and_shown(audited: Path) -> None:
    import pyarrow.parquet as pq

    report = json.loads((audited / "report.json").read_bytes())
    [rate] = [estimate for estimate in report["estimates"] if estimate["metric"] == "first_letters"]
    assert rate["train"]["rate"] > rate["heldout"]["rate"]
    assert rate["p_holm"] is not None
    [mean] = [mean for mean in report["means"] if mean["metric"] == "first_letters"]
    assert mean["train"] > mean["heldout"]
    first = (audited / "items.log").read_text(encoding="utf-8").splitlines()[0]
    assert json.loads(first.partition(" ")[2])["others"].keys() == {"first_letters"}
    assert "first_letters" in pq.read_table(audited / "records.parquet").column_names
    assert json.loads((audited / "plan.json").read_bytes())["metrics"] == ["first_letters"]
    page = " ".join(Page((audited / "report.html").read_text(encoding="utf-8")).text)
    assert page.count("First letters") >= 2
    assert "First letters" in (audited.parent / "screen.txt").read_text(encoding="utf-8")


def test_a_measure_and_a_format_are_in_the_run(audited: Path) -> None:
    report = json.loads((audited / "report.json").read_bytes())
    assert [section["name"] for section in report["sections"]] == ["lengths", "unprompted"]
    assert "Lengths of suffixes" in (audited.parent / "screen.txt").read_text(encoding="utf-8")
    assert "12 characters on average" in " ".join(Page((audited / "report.html").read_text(encoding="utf-8")).text)
    lines = (audited / "findings.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "rule,where,level"
    assert lines[1].startswith("memaudit/extractable,train.jsonl:") or len(lines) == 1 + len(report["findings"])


def test_a_detector_is_asked_and_can_find(place: Path) -> None:
    arguments = ("contamination", "train.jsonl", "--model", "model", "--detector", "first-tokens", "--out", "asked")
    screen = run(place, *arguments, "--format", "html,junit", expected=1)
    assert "First tokens" in screen
    report = json.loads((place / "asked" / "report.json").read_bytes())
    assert [detection["name"] for detection in report["detections"]] == ["first-tokens"]
    assert "First tokens" in (place / "asked" / "junit.xml").read_text(encoding="utf-8")


def test_a_detector_that_is_installed_and_not_named_changes_nothing(place: Path) -> None:
    sides = ("contamination", "train.jsonl", "--model", "model", "--heldout", "new.jsonl")
    run(place, *sides, "--out", "unnamed", "--order-permutations", "19", expected=3)
    plan = json.loads((place / "unnamed" / "plan.json").read_bytes())
    assert [measure["name"] for measure in plan["measures"]] == ["text", "membership", "order", "overlap"]


def test_a_kind_comes_to_a_verdict_in_every_format(place: Path) -> None:
    formats = "('html', 'json', 'junit', 'sarif', 'md', 'findings')"
    code = f"from pathlib import Path; import theirs; print(theirs.shouting(Path('loud.txt'), Path('loud'), {formats}))"
    assert "found: 2 of 3 lines are in capitals" in run(place, "-c", code, program=())
    screen = run(place, "report", "loud")
    assert screen.startswith("● FOUND  2 of 3 lines are in capitals")
    folder = place / "loud"
    assert "Does the corpus shout?" in " ".join(Page((folder / "report.html").read_text(encoding="utf-8")).text)
    junit, sarif = (folder / "junit.xml").read_bytes(), (folder / "results.sarif").read_bytes()
    assert [*junit_errors(junit), *sarif_errors(sarif)] == []
    assert ET.fromstring(junit)[0][0].find("failure") is not None
    [result] = json.loads(sarif)["runs"][0]["results"]
    assert result["ruleId"] == "theirs/shouting"
    assert "Small letters can shout too." in (folder / "report.md").read_text(encoding="utf-8")
    assert (folder / "findings.csv").read_text(encoding="utf-8").splitlines()[1] == "theirs/shouting,loud.txt,error"


def test_it_resumes_like_ours(place: Path) -> None:
    code = "from pathlib import Path; import theirs; theirs.shouting(Path('loud.txt'), Path('again'), ('json',))"
    run(place, "-c", code, program=())
    log, report = (place / "again" / name for name in ("items.log", "report.json"))
    whole, told = log.read_bytes(), report.read_bytes()
    report.unlink()
    log.write_bytes(whole[: whole.index(b"\n") + 1])
    run(place, "-c", code, program=())
    assert (log.read_bytes(), report.read_bytes()) == (whole, told)
