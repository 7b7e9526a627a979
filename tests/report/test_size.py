"""Pages of large runs: quick, small, and honest about what they had no room for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from memaudit.records import WindowRecord
from memaudit.report.extraction_page import MAX_BYTES
from memaudit.runs.directory import ReportInput
from tests.report.conftest import build_records, build_report
from tests.report.pages import Page
from tests.report.rendered import extraction_pages

Factory = Callable[..., tuple[dict[str, Any], list[WindowRecord]]]


def test_thousands_of_windows_make_a_page_of_two_hundred_exhibits() -> None:
    records = build_records(1, 0.8, per_dose=150)
    assert len(records) == 2100
    report = build_report(records)
    started = time.perf_counter()
    page = extraction_pages([ReportInput(report, records)])
    assert time.perf_counter() - started < 30
    assert page.count("<article") == 200
    assert len(page.encode()) < 500_000  # code and prose of 70 words, longer than 50 tokens of most models


def test_a_page_that_would_be_too_large_shows_fewer_exhibits_and_says_so(factory: Factory) -> None:
    report, records = factory()
    whole = extraction_pages([ReportInput(report, records)])
    smaller = extraction_pages([ReportInput(report, records)], most_bytes=len(whole.encode()) - 1)
    assert len(smaller.encode()) < len(whole.encode())
    left = whole.count("<article") - smaller.count("<article")
    assert left > 0
    text = " ".join("".join(Page(smaller).text).split())
    assert f"{left} exhibits were left out to keep the page small" in text
    assert "The best of the held-out text" in text
    assert "left out to keep" not in "".join(Page(whole).text)


def test_no_exhibit_is_worth_more_than_the_limit(factory: Factory) -> None:
    report, records = factory()
    long = "word " * 4_000
    huge = [replace(r, document=f"{r.document} {'x' * 30_000}", prefix_text=long, suffix_text=long) for r in records]
    page = extraction_pages([ReportInput(report, huge)])
    assert len(page.encode()) <= MAX_BYTES
    assert re.search(r"\d+ exhibits were left out", "".join(Page(page).text))
    assert report["headline"] in "".join(Page(page).text)
