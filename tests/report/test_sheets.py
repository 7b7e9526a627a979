"""Exhibits for paper: what each says, on which page, and what a browser prints of it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memaudit.errors import InputError
from memaudit.records import Shown
from memaudit.report.kinds.extraction import KIND as EXTRACTION
from memaudit.report.kinds.gap import KIND as GAP
from memaudit.report.kinds.work import KIND as WORK
from memaudit.report.sheets import render
from memaudit.report.work_exhibits import exhibited
from memaudit.runs.directory import ReportInput
from tests.report.browser import CHROMIUM, DRIVER, browser
from tests.report.pages import OURS, Page
from tests.report.work_reports import run

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def text_of(page: str) -> str:
    return " ".join("".join(Page(page).text).split())


def test_an_exhibit_says_what_repeats_it() -> None:
    one = run()
    page = render(one, exhibited(one), ["A1", "C2"])
    assert page.count('<section class="sheet">') == 2
    text = text_of(page)
    report = one.report
    for said in (
        "Exhibit A1 alice",
        "Exhibit A1, page 1 of 1",
        "Exhibit C2, page 1 of 1",
        "Given 50 tokens of the work, how probable are those that follow?",
        "alice.txt:116 · CHAPTER I. Down the Rabbit-Hole, token 1,201 of 2,900 · in a passage of 1,780 tokens,",
        f"alice, sha256 {report['works'][0]['sha256']}",
        "Rank1 of 94 passages, the longest first",
        "0.75 in one sample, 1 sample for an even chance",
        "mine, GPT, 1,600,000 parameters, next-token objective",
        f"sha256 {report['model']['sha256']}",
        "temperature 1; the continuation shown is the greedy one; seed 0",
        "Each window, prompt or document is given with the model's start token <s> before it, wherever in a text",
        "numpy 2.4.0, python 3.11.7",
        report["provenance"]["command"],
        report["provenance"]["identity"],
    ):
        assert said in text, said
    assert "10^" not in text
    assert set(Page(page).tags) <= OURS
    assert render(one, exhibited(one), ["A1", "C2"]) == page


def test_those_of_an_extraction_audit_say_their_ties(factory: Factory) -> None:
    report, records = factory()
    one = ReportInput(report, records)
    [[first, *_], _, _] = [gallery.exhibits for gallery in EXTRACTION.exhibited(one).galleries]
    assert first.standing.tied > 0
    page = text_of(render(one, EXTRACTION.exhibited(one), ["A1"]))
    assert f"shares place 1 with {first.standing.tied} other" in page
    assert "does the model reproduce the next 50 verbatim?" in page
    assert f"corpus/planted.jsonl, sha256 {'ab' * 32}" in page
    assert "greedy, ours; one attempt a window; seed 0" in page
    assert "Each window is given with the model's start token, id 0, before it." in page
    bare = replace(one, report={**report, "model": {**report["model"], "start_token": None}})
    assert "No token that stands before a text is known" in text_of(render(bare, EXTRACTION.exhibited(bare), ["A1"]))
    assert GAP.exhibited(ReportInput({}, [])) is None  # type: ignore[typeddict-item]


def test_a_long_exhibit_takes_several_pages_and_numbers_them() -> None:
    one = run()
    long = "She had not gone far before she came in sight of the house. " * 40
    records = [replace(record, prefix_text=long, suffix_text=long, continuation_text=long) for record in one.records]
    spoilt = replace(one, records=records)
    text = text_of(render(spoilt, exhibited(spoilt), ["A1", "A2"]))
    for label in ("A1", "A2"):
        pages = re.findall(rf"Exhibit {label}, page (\d) of (\d)", text)
        assert [int(page) for page, _ in pages] == list(range(1, len(pages) + 1))
        assert {int(of) for _, of in pages} == {len(pages)}
        assert len(pages) > 1


def test_what_is_not_there_is_refused_in_a_line() -> None:
    one = run()
    with pytest.raises(InputError, match=r"--exhibit Z1,A99: not in this run \(choose from A1 to A10, B1 to B8, C1"):
        render(one, exhibited(one), ["A1", "Z1", "A99"])
    nothing = replace(one, records=[])
    with pytest.raises(InputError, match="choose from none"):
        render(nothing, exhibited(nothing), ["A1"])


def test_withheld_texts_stay_out_of_print() -> None:
    hidden = WORK.disclosed(run(), Shown(text=False))
    text = text_of(render(hidden, exhibited(hidden), ["A1", "B1"]))
    assert "Rabbit" not in text
    assert "characters" in text
    assert "part I, token 1,201 of 2,900" in text


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
def test_a_browser_prints_the_pages_that_are_numbered(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    pytest.importorskip("selenium", reason="selenium is not installed")
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")  # the driver of the browser listens on this machine
    one = run()
    long = "She had not gone far before she came in sight of the house of the March Hare. " * 28
    records = [replace(r, prefix_text=long[:700], suffix_text=long, continuation_text=long) for r in one.records]
    mixed = replace(one, records=[*one.records[:10], *records[10:]])
    labels = ["A1", "A2", "B1", "C1"]
    page = render(mixed, exhibited(mixed), labels)
    (tmp_path / "exhibits.html").write_text(page, encoding="utf-8")
    with browser(tmp_path_factory.mktemp("profile")) as chromium:
        chromium.open(tmp_path / "exhibits.html", dark=True)
        printed = pypdf.PdfReader(io.BytesIO(chromium.pdf()))
    numbered = re.findall(r"Exhibit \w+, page \d of \d", text_of(page))
    texts = [" ".join(sheet.extract_text().split()) for sheet in printed.pages]
    assert [re.findall(r"Exhibit \w+, page \d of \d", text) for text in texts] == [[number] for number in numbered]
    assert len(numbered) == len(printed.pages) > len(labels)
    assert one.report["model"]["sha256"] in texts[0]
    assert "Rabbit 115 ran down the hole" in texts[0]
    assert one.report["provenance"]["command"] in texts[0]
