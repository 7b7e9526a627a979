"""The page of promises names tests that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests|benchmarks)/[\w/.]+?)(?:::(\w+))?`", PAGE)
    assert len(named) > 20
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), (path, test)


def test_every_promise_is_kept_by_something() -> None:
    tables = [part.splitlines() for part in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)]
    rows = [row for header, _, *rows in tables if header.startswith("| promise") for row in rows]
    assert len(rows) > 25
    assert all("tests/" in row.split(" | ")[1] or "the same" in row.split(" | ")[1] for row in rows)


def test_every_harness_has_its_results() -> None:
    """The figures of the page are those that are committed: nothing missed, nothing wrong."""
    named = re.findall(r"^\| `(faults_\w+)\.py` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "benchmarks").glob("faults_*.py"))
    for name in named:
        figures = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["figures"]
        assert figures
        assert not [figure for figure in figures if figure["met"] is False]
