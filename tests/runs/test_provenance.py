"""What a run says of where it came from: the code, the libraries, the machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from memaudit.runs.directory import RunDirectory
from memaudit.runs.provenance import LIBRARIES, code, machine, version, versions

PACKAGE = Path(__file__).parents[2] / "memaudit"


def test_versions_name_the_code_and_every_library_that_touches_a_number() -> None:
    found = versions()
    assert (found["memaudit"], found["code"]) == (version(), code())
    assert set(LIBRARIES) <= set(found)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_digest_of_the_code_follows_its_sources_and_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "memaudit"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def told() -> str:
        say = "import memaudit.runs.provenance as p; print(p.code())"
        done = subprocess.run([sys.executable, "-c", say], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert told() == code()
    (copy / "notes.txt").write_text("words")
    assert told() == code()
    with (copy / "report" / "templates" / "report.css").open("a") as file:
        file.write("\n")
    edited = told()
    assert edited != code()
    (copy / "sections.py").rename(copy / "grown.py")
    assert told() not in (code(), edited)


def test_the_machine_is_told_beside_the_times_and_not_in_the_plan(tmp_path: Path) -> None:
    for _ in range(2):
        with RunDirectory.open(tmp_path / "run", {"kind": "extraction"}):
            pass
    sessions = json.loads((tmp_path / "run" / "times.json").read_bytes())["sessions"]
    assert [session["machine"] for session in sessions] == [json.loads(json.dumps(machine()))] * 2
    assert all(session["started"].endswith("Z") for session in sessions)
    assert len(machine()["packages_sha256"]) == 64
    assert "machine" not in (tmp_path / "run" / "plan.json").read_text()
