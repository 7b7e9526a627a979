"""What leaves a run: nothing of its texts where they are withheld, no address where nobody asked for one."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from memaudit.errors import InputError
from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.report import formats
from memaudit.report.disclosure import disclosed
from memaudit.report.extraction_disclosure import without_texts
from memaudit.report.extraction_terminal import print_extraction
from memaudit.report.formats import writers
from memaudit.report.formats.json import JSON
from memaudit.report.formats.names import FORMATS
from memaudit.report.terminal import console
from memaudit.runs.directory import ReportInput, RunDirectory
from memaudit.runs.parquet import write_parquet
from tests.report.contamination_reports import contamination_report

Made = tuple[dict[str, Any], list[WindowRecord]]
Factory = Callable[..., Made]
WITHHELD = Shown(text=False)
SECRET = "call me at bob.smith@example.org or 555-123-4567 before the ides"


def words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def leaks(output: str, records: list[WindowRecord]) -> list[str]:
    text = " ".join(words(html.unescape(re.sub(r"<[^>]+>", " ", output))))
    known = {" ".join(words(r.prefix_text + r.suffix_text)) for r in records}
    runs = {" ".join(k.split(" ")[at : at + 8]) for k in known for at in range(len(k.split(" ")) - 7)}
    return sorted(run for run in runs if run in text)


def written(folder: Path, report: dict[str, Any], records: list[WindowRecord]) -> Path:
    with RunDirectory.open(folder, {"kind": report["kind"], "command": "memaudit audit x"}) as run:
        run.append([asdict(record) for record in records] or [{"index": 0, "scan": {}}])
        run.finish(report)
    return folder


def told(made: Made) -> Made:
    """A run whose ids, domains and table cells quote the training text."""
    report, records = made
    quoted = [
        replace(
            r,
            document=r.prefix_text[:70],
            domain=r.suffix_text[:60],
            source=f"{r.prefix_text[5:80]}:1",
            copies_in=[f"{r.suffix_text[:70]} (b:2)"],
            elsewhere_in=[r.prefix_text[9:70]],
        )
        for r in records
    ]
    findings = [
        {**f, "document": r.document, "source": r.source, "text": r.suffix_text}
        for f, r in zip(report["findings"], [r for r in quoted if r.member and r.extractable], strict=True)
    ]
    section = {
        "name": "near-verbatim",
        "title": "A measure that quotes",
        "summary": "One sentence.",
        "method": "By hand.",
        "tables": [
            {"caption": "Quoted", "columns": [{"label": "Text", "kind": "text"}], "rows": [[quoted[0].suffix_text]]}
        ],
        "graphs": [],
        "notes": [],
    }
    domains = {r.domain: 1 for r in quoted}
    overlaps = [{"heldout": quoted[-1].document, "train": quoted[0].document, "view": "exact"}]
    changed = {
        "findings": findings,
        "sections": [section],
        "train": {**report["train"], "domains": domains},
        "windows": {**report["windows"], "overlaps": overlaps},
        "domains": [{**report["domains"][0], "domain": quoted[0].domain}],
    }
    return report | changed, quoted


@pytest.mark.parametrize("name", sorted(FORMATS.builtin))
def test_withheld_texts_stand_in_no_format(factory: Factory, tmp_path: Path, name: str) -> None:
    report, records = told(factory())
    folder = written(tmp_path / "run", report, records)
    before = writers([name], shown=Shown(personal=True))[0](folder).read_text(encoding="utf-8")
    assert leaks(before, records) or name == "junit", "the check itself must be able to fail"
    after = writers([name], shown=WITHHELD)[0](folder).read_text(encoding="utf-8")
    assert leaks(after, records) == []
    assert after == writers([name], shown=WITHHELD)[0](folder).read_text(encoding="utf-8")


def test_withheld_texts_are_told_by_length_and_digest(factory: Factory) -> None:
    report, records = factory()
    finding = disclosed(ReportInput(report, records), WITHHELD).report["findings"][0]
    text = report["findings"][0]["text"]
    assert finding["text"] is None
    assert finding["characters"] == len(text)
    assert re.fullmatch("[0-9a-f]{16}", finding["sha256"])


def test_names_that_hold_no_text_stay(factory: Factory) -> None:
    report, records = factory()
    shown = disclosed(ReportInput(report, records), WITHHELD)
    assert [r.document for r in shown.records] == [r.document for r in records]
    assert [f["source"] for f in shown.report["findings"]] == [f["source"] for f in report["findings"]]
    assert shown.report["headline"] == report["headline"]


def test_texts_come_back_when_they_are_asked_for(factory: Factory, tmp_path: Path) -> None:
    report, records = factory()
    folder = written(tmp_path / "run", report, records)
    writers(["json"], shown=WITHHELD)[0](folder)
    assert json.loads((folder / "report.json").read_bytes())["findings"][0]["text"] is None
    writers(["json"])[0](folder)
    texts = [finding["text"] for finding in json.loads((folder / "report.json").read_bytes())["findings"]]
    assert texts == [finding["text"] for finding in report["findings"]]


def test_the_terminal_withholds_and_masks(factory: Factory, capsys: pytest.CaptureFixture[str]) -> None:
    report, records = factory()
    report["findings"][0]["text"] = SECRET
    for shown, wanted in ((Shown(personal=True), True), (SHOWN, False), (WITHHELD, False)):
        print_extraction(disclosed(ReportInput(report, records), shown).report, console())
        printed = capsys.readouterr().out
        assert ("bob.smith" in printed) == ("555-123" in printed) == wanted
        assert ("before the ides" in printed) == shown.text


def test_addresses_are_masked_in_pages_and_not_in_data(factory: Factory, tmp_path: Path) -> None:
    report, records = factory()
    one = replace(next(r for r in records if r.extractable), suffix_text=SECRET, continuation_text=SECRET)
    report["findings"] = [{**report["findings"][0], "document": one.document, "source": one.source, "text": SECRET}]
    folder = written(tmp_path / "run", report, [replace(one, index=0)])
    page = writers(["html"])[0](folder).read_text(encoding="utf-8")
    assert "example.org" not in page
    assert "555-123" not in page
    assert "••••••@" not in page  # names are masked dot by dot
    assert "•••.•••••@•••••••.•••" in page
    assert "bob.smith@example.org" in writers(["html"], shown=Shown(personal=True))[0](folder).read_text("utf-8")
    assert json.loads(writers(["json"])[0](folder).read_bytes())["findings"][0]["text"] == SECRET


def test_tables_without_texts_keep_the_numbers(factory: Factory, tmp_path: Path) -> None:
    _, records = told(factory())
    write_parquet(without_texts(records), tmp_path / "records.parquet")
    table = pq.read_table(tmp_path / "records.parquet")
    assert leaks(json.dumps(table.to_pylist()), records) == []
    assert set(map(len, table["suffix_ids"].to_pylist())) == {0}
    assert table["matched"].to_pylist() == [r.matched for r in records]


@pytest.mark.parametrize("name", ["html", "json", "md", "sarif", "junit"])
def test_items_of_a_contaminated_benchmark_are_withheld_too(tmp_path: Path, name: str) -> None:
    report = contamination_report()
    folder = written(tmp_path / "run", report, [])
    spans = [span["text"] for f in report["findings"] for e in f["evidence"] for span in e["spans"]]
    output = html.unescape(writers([name], shown=WITHHELD)[0](folder).read_text(encoding="utf-8"))
    assert spans
    assert not [span for span in spans if span and span[:40] in output]


@pytest.mark.parametrize("name", ["html", "json", "md", "sarif", "junit"])
@pytest.mark.parametrize("side", ["benchmark", "corpus"])
def test_why_a_record_was_rejected_is_withheld_where_it_is_a_reason_too(tmp_path: Path, name: str, side: str) -> None:
    report = contamination_report("inconclusive")
    why = "data/test.jsonl:3: field 'text' is 17, not a text: the quick brown fox"
    report[side]["first_rejected"] = [why, "data/test.jsonl:33: not UTF-8"]
    report["reasons"] = [f"1 record of the {side} was skipped, first {why}"]
    folder = written(tmp_path / "run", report, [])
    output = html.unescape(writers([name], shown=WITHHELD)[0](folder).read_text(encoding="utf-8"))
    assert "quick brown" not in output
    assert f"1 record of the {side} was skipped, first data/test.jsonl:3" in output
    assert report["spared"][0]["reason"] in output or name in ("sarif", "junit")


def test_pieces_of_contamination_are_masked_whole() -> None:
    report = contamination_report()
    evidence = report["findings"][0]["evidence"][0]
    evidence["item_pieces"] = [["write to bob", True], ["@example.org", False]]
    evidence["spans"] = [{"text": SECRET, "documents": 1}]
    shown = disclosed(ReportInput(report, ()), SHOWN).report["findings"][0]["evidence"][0]
    assert shown["item_pieces"] == [["write to •••", True], ["@•••••••.•••", False]]
    assert "example" not in shown["spans"][0]["text"]
    assert disclosed(ReportInput(report, ()), Shown(personal=True)).report == report


def test_formats_of_others_cannot_be_asked_to_withhold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats.FORMATS, "resolve", lambda name: lambda folder: folder / name)
    assert writers(["theirs"])[0](Path("run")) == Path("run/theirs")
    with pytest.raises(InputError, match="cannot leave texts out"):
        writers(["theirs"], shown=WITHHELD)


def test_data_formats_are_not_masked() -> None:
    assert not JSON.excerpts
