"""Whether memaudit works with the lowest version of every library that it declares.

    python benchmarks/floors.py [FOLDER OF THE ENVIRONMENT]

Builds an environment in which every dependency is pinned to its floor, and runs in it what a newcomer would: train,
index, audit, search, report; then a few tests. Of torch the one release is taken that is to be had for the machine the
committed result is from (2.13.0, a CPU build); its own floor, 2.10, is not tested here. An environment that stands
there is used again. Needs an index of packages, and 3 GB.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from common import Report

ROOT = Path(__file__).resolve().parents[1]
INSTEAD = {"torch": "2.13.0"}
"""Releases that are taken instead of the floor."""
TESTING = ("pytest", "hypothesis")
TESTS = (
    "tests/cli/test_command.py",
    "tests/audits/test_own_text.py",
    "tests/test_config.py",
    "tests/text/corpus/test_read.py",
)
LETTERS = "abcdefghijklmnop"
STEPS = (
    (0, "train ngram --corpus corpus.jsonl --unit word --out ngram"),
    (0, "train gpt --corpus corpus.jsonl --unit word --width 16 --layers 1 --heads 2 --epochs 1 --out gpt"),
    (0, "index build corpus.jsonl --out index"),
    (1, "audit ngram --train corpus.jsonl --heldout heldout.jsonl --prefix 5 --suffix 5 --out audit --format html,md"),
    (3, "audit gpt --train corpus.jsonl --heldout heldout.jsonl --prefix 5 --suffix 5 --limit 20 --out audit-gpt"),
    (1, "contamination items.jsonl --corpus corpus.jsonl --out gate --format html,junit,sarif,md,json"),
    (1, "contamination items.jsonl --index index --out gate-index"),
    (0, "report gate --format html"),
    (0, "index stats index --out statistics"),
)
"""Exit code, command."""


def floors() -> dict[str, str]:
    """Return the lowest version that is declared of every dependency, those of the tests included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = [
        line for line in project["optional-dependencies"]["dev"] if re.match(rf"({'|'.join(TESTING)})\b(?!-)", line)
    ]
    found = (re.match(r"([\w.-]+)>=([\d.]+)", line) for line in [*project["dependencies"], *extra])
    return {match[1]: INSTEAD.get(match[1], match[2]) for match in found if match}


def environment(folder: Path, pins: dict[str, str]) -> Path:
    """Return the interpreter of an environment that holds these releases."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pinned = [f"{name}=={version}" for name, version in pins.items()]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *pinned], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True
        )
    return python


def installed(python: Path) -> dict[str, str]:
    listed = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    return {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"] for each in json.loads(listed.stdout)}


def write_text(folder: Path) -> None:
    """Write what is trained on, what is not, and items of which half stands in it: all of made-up words."""
    drawn = random.Random(0)
    words = ["".join(drawn.choices(LETTERS, k=drawn.randint(2, 7))) for _ in range(500)]
    texts = [" ".join(drawn.choices(words, k=40)) for _ in range(400)]
    for name, chosen in (("corpus", texts[:200]), ("heldout", texts[200:]), ("items", texts[195:205])):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in chosen)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def main() -> None:
    report = Report("floors")
    pins = floors()
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="memaudit-floors-"))
    python = environment(place, pins)
    have = installed(python)
    for name, version in sorted(pins.items()):
        there = have[re.sub(r"[-_.]+", "-", name).lower()].split("+")[0]
        same = [int(n) for n in there.split(".")[: version.count(".") + 1]] == [int(n) for n in version.split(".")]
        report.add(f"{name} {there}", same, unit="pinned", goal=1, note="not the floor" if name in INSTEAD else "")
    quiet = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
    with tempfile.TemporaryDirectory() as folder:
        write_text(Path(folder))
        for expected, step in STEPS:
            done = subprocess.run(
                [str(python), "-m", "memaudit", *step.split()],
                cwd=folder,
                env=quiet,
                capture_output=True,
                text=True,
                check=False,
            )
            right = done.returncode == expected
            if not right:
                print(done.stdout[-2000:], done.stderr[-2000:])
            report.add(f"memaudit {' '.join(step.split()[:2])}: exit {done.returncode}", right, unit="right", goal=1)
    plain = ["-o", "addopts=--import-mode=importlib", "-W", "ignore::DeprecationWarning"]
    pytest = [str(python), "-m", "pytest", "-q", *plain, *TESTS]
    tested = subprocess.run(pytest, cwd=ROOT, env=quiet, check=False)
    report.add("tests that pass", tested.returncode == 0, unit="right", goal=1, note=" ".join(TESTS))
    report.finish()


if __name__ == "__main__":
    main()
