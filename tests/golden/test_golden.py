"""Outputs of every kind of run are those that were frozen, and run directories written before still open.

A change that is meant is frozen by ``python -m tests.golden.cases``, and read in the diff.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.golden.cases import CASES, FROZEN, SCREENS, call, pinned, produce

FILES = sorted(path.relative_to(FROZEN).as_posix() for path in FROZEN.rglob("*") if path.is_file())
NEAR = 1e-9
"""By which numbers may differ: libraries of another version add in another order."""
WRITTEN_AGAIN = {"junit": "junit.xml", "sarif": "results.sarif", "md": "report.md"}


def same(ours: Any, frozen: Any) -> bool:
    if isinstance(frozen, float) and isinstance(ours, int | float):
        return math.isclose(ours, frozen, rel_tol=NEAR, abs_tol=NEAR)
    if isinstance(frozen, dict):
        return isinstance(ours, dict) and list(ours) == list(frozen) and all(same(ours[k], frozen[k]) for k in frozen)
    if isinstance(frozen, list):
        return isinstance(ours, list) and len(ours) == len(frozen) and all(map(same, ours, frozen))
    return type(ours) is type(frozen) and bool(ours == frozen)


def values(file: Path) -> Any:
    """What a file says: numbers where it is JSON, or a log of it."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".log":
        return [json.loads(line.partition(" ")[2] or line) for line in text.splitlines()]
    return json.loads(text) if file.suffix in (".json", ".sarif") else text


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(tmp_path_factory.mktemp("inputs"))
        into = tmp_path_factory.mktemp("golden")
        produce(into)
    return into


@pytest.mark.parametrize("name", [file for file in FILES if not file.startswith("exploitation/")])
def test_a_run_is_what_it_was(name: str, produced: Path) -> None:
    assert same(values(produced / name), values(FROZEN / name))


def test_every_output_is_frozen(produced: Path) -> None:
    found = {path.relative_to(produced).as_posix() for path in produced.rglob("*") if path.is_file()}
    assert found == {file for file in FILES if not file.startswith("exploitation/")}
    assert {Path(file).parts[0] for file in FILES} == {*CASES, "exploitation", *(f"{name}.txt" for name in SCREENS)}


@pytest.mark.parametrize("name", [*CASES, "exploitation"])
def test_an_old_run_directory_opens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frozen = FROZEN / name
    shutil.copytree(frozen, name)
    for file in WRITTEN_AGAIN.values():
        Path(name, file).unlink(missing_ok=True)
    formats = [format_ for format_, file in WRITTEN_AGAIN.items() if (frozen / file).exists()]
    with pinned():
        screen = call("report", name, *(["--redact"] if "--redact" in CASES.get(name, ()) else []),
                      "--format", ",".join(["html", *formats]))  # fmt: skip
    assert screen.split("report: ")[0].rstrip() in (frozen / "screen.txt").read_text(encoding="utf-8")
    for format_ in formats:
        assert same(values(Path(name, WRITTEN_AGAIN[format_])), values(frozen / WRITTEN_AGAIN[format_]))
