"""The statistics of a corpus index as a page, and as JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memaudit.report.page import render_page
from memaudit.report.wording import between
from memaudit.runs.files import strict_json, write_atomic

PAGE, JSON = "index.html", "statistics.json"
TITLE = "What is in this corpus?"


def write_index_page(statistics: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write ``index.html`` and ``statistics.json``, and return their paths.

    Args:
        statistics: As `memaudit.text.index.statistics.index_statistics` returns them.
        folder: Created when absent.

    Raises:
        RunError: If they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / PAGE, folder / JSON
    write_atomic(data, strict_json(statistics))
    write_atomic(page, render_index(statistics).encode("utf-8"))
    return [page, data]


def render_index(statistics: Mapping[str, Any]) -> str:
    """Return the page: the same statistics give the same bytes."""
    classes = [between(cell["least"], cell["most"]) for cell in statistics["repeated"][0]["copies"]]
    versions = {"memaudit": statistics["memaudit"]}
    return render_page("index.html.j2", TITLE, versions, stats=statistics, classes=classes)
