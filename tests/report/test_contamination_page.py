"""The page of a contamination check: complete, inert whatever a corpus holds, the same bytes every time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError, RunError
from memaudit.report.alignment import Piece
from memaudit.report.contamination_page import COPIED, EXHIBITS, LISTED, shorten
from memaudit.report.formats.html import HTML
from memaudit.report.formats.names import FORMATS
from memaudit.report.formats.screen import print_report
from memaudit.report.terminal import console
from memaudit.runs.directory import RunDirectory
from memaudit.stats.rounding import percent
from tests.report.contamination_reports import contamination_report, scores
from tests.report.pages import OURS, Page
from tests.report.rendered import rendered


def page(report: dict[str, Any] | None = None, **changes: Any) -> Page:
    return Page(source(report, **changes))


def source(report: dict[str, Any] | None = None, **changes: Any) -> str:
    return rendered("html", report or contamination_report(**changes)).decode("utf-8")


def text_of(shown: Page) -> str:
    return " ".join(" ".join(shown.text).split())


def test_same_report_same_bytes() -> None:
    assert source(seed=3) == source(seed=3)


@pytest.mark.parametrize("seed", range(8))
def test_hostile_text_is_inert(seed: int) -> None:
    written = source(hostile=True, seed=seed, scores=[scores()])
    shown = Page(written)
    assert not shown.open
    assert set(shown.tags) <= OURS
    assert not [a for a in shown.attributes if a[1].startswith("on") or a[1] in ("src", "style", "srcset", "action")]
    assert all(re.fullmatch("#(new|accepted)-[0-9]+", v) for _, name, v in shown.attributes if name == "href")
    values = " ".join(value for tag, _, value in shown.attributes if tag != "meta")
    assert not re.search(r"https?:|javascript:|//", values)
    controls = "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    formats = "\u202a-\u202e\u2066-\u2069\u200b\ufeff\u2028\U000e0000-\U000e007f"
    assert not re.search(f"[{controls}{formats}]", written)
    text = "".join(shown.text)
    for wanted in ("<script>alert", "onerror=alert(1)", "{{ 7 * 7 }}", r"\x1b", r"\u202e", r"\ud800", r"\U000e0041"):
        assert wanted in text


def test_page_is_well_formed_and_loads_nothing() -> None:
    written = source(scores=[scores()])
    shown = Page(written)
    assert not shown.open
    assert shown.headings[0] == 1
    assert shown.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(shown.headings, shown.headings[1:], strict=False))
    assert len(shown.ids) == len(set(shown.ids))
    assert {value[1:] for _, name, value in shown.attributes if name == "href"} <= set(shown.ids)
    assert "default-src 'none'; style-src 'sha256-" in written
    assert "<script" not in written
    assert not re.search(r"https?:|url\(|style=", written)
    assert len(written.encode()) < 200_000


@pytest.mark.parametrize(
    ("verdict", "word"), [("found", "● Found"), ("clean", "○ Clean"), ("inconclusive", "◐ Inconclusive")]
)
def test_verdict_comes_first_and_why(verdict: str, word: str) -> None:
    report = contamination_report(verdict)
    text = text_of(page(report))
    places = [text.index(part) for part in (word, report["headline"], report["reasons"][0], "Pile 13-gram", "Question")]
    assert places == sorted(places)
    assert "Incomplete" not in text
    assert "Incomplete: only a share" in text_of(page(report | {"complete": False}))


def test_every_rule_shows_count_and_rate_and_no_interval() -> None:
    report = contamination_report()
    text = text_of(page(report))
    for e in report["estimates"]:
        assert f"{e['hits']} of {e['n']:,} {percent(e['rate'])} {e['undefined']}" in text
        assert e["definition"] in text
    assert "memaudit decides" in text
    assert "Llama 2, dirty 305 clean, 1,000 not clean, " in text
    assert "question 7 of 1,312 0.534%" in text


def test_facts_and_provenance() -> None:
    report = contamination_report()
    text = text_of(page(report))
    for part in (
        "Tolerated: no item.",
        "1,312 of 1,319 items",
        "38,469 documents, 21,345,678 words, 150,234,567 bytes",
        "web/part-0.jsonl, web/part-1.jsonl, web/part-2.jsonl and 1 more file",
        "3 entries, 2 findings accepted; 1 entry matches nothing any more",
        report["provenance"]["command"],
        report["provenance"]["identity"],
        "fewer than 5 words in every part 7",
        "cannot be read data/test.jsonl:14: not valid JSON data/test.jsonl:15: not UTF-8 at byte 3 2",
        "web/part-3.jsonl:99: not valid JSON",
        *report["limits"],
        *(file["sha256"] for file in report["corpus"]["files"]),
    ):
        assert part in text


def test_index_and_rate_policy() -> None:
    corpus = contamination_report()["corpus"] | {"index": "web.index", "files": []}
    text = text_of(page(contamination_report(corpus=corpus, policy={"max_items": 5, "max_rate": 0.01})))
    assert "index web.index" in text
    assert "at most 5 items and at most 1.0% of the judged items" in text


def test_an_exhibit_shows_both_texts_and_what_is_copied() -> None:
    report = contamination_report(found=1, accepted=0)
    finding = report["findings"][0] | {"match": "edited", "score": 0.9234, "coverage": 0.5, "documents": 7}
    evidence = {
        "source": "web/a.jsonl:3",
        "start": 1234,
        "score": 0.9234,
        "match": "edited",
        "item_pieces": [["Tom has ", False], ["five red apples & pears", True]],
        "corpus_pieces": [["Ann has ", False], ["five red apples & pears", True], [" today", False]],
        "spans": [{"text": "five red apples & pears", "documents": 7}],
    }
    report["findings"] = [finding | {"evidence": [evidence], "more_documents": 6, "rules": ["palm", "gpt4"]}]
    shown = page(report)
    text = text_of(shown)
    assert shown.marked[1:] == ["five red apples & pears"] * 2  # the first mark explains itself
    for part in (
        "edited copy · similarity 92.3% · seeds covered 50.0% · rarest span in 7 documents",
        "Tom has five red apples & pears data/test.jsonl:1, question",
        "Ann has five red apples & pears today web/a.jsonl:3, from character 1,234",
        "five red apples & pears 7",
        "6 more documents hold it. Called contaminated by: PaLM 8-gram 70%, GPT-4 substrings.",
        finding["id"],
    ):
        assert part in text


def test_new_and_accepted_items_stand_apart_the_likest_first() -> None:
    report = contamination_report(found=12, accepted=4)
    shown = page(report)
    text = "".join(shown.text)
    new, accepted = text[text.index("Marked are") : text.index("Findings that the baseline lists")], text
    accepted = text[text.index("Findings that the baseline lists") : text.index("What most published rules flag")]
    for finding in report["findings"]:
        assert (finding["id"] in new, finding["id"] in accepted) == (not finding["accepted"], finding["accepted"])
    by_score = sorted((f for f in report["findings"] if not f["accepted"]), key=lambda f: -f["score"])
    assert new.rindex(by_score[-1]["item"] + "\n") > new.rindex(by_score[0]["item"] + "\n")
    assert sum(id.startswith("new-") for id in shown.ids) == 8
    assert sum(id.startswith("accepted-") for id in shown.ids) == 4


def test_items_that_do_not_count_say_why() -> None:
    report = contamination_report()
    text = text_of(page(report))
    assert "5 items are flagged by most of the published rules" in text
    assert "The first 3:" in text
    for item in report["spared"]:
        assert f"{item['item']} {item['source']} GPT-3 n-gram, PaLM 8-gram 70% {item['reason']}" in text


def test_clean_pages_have_no_findings() -> None:
    report = contamination_report("clean", found=0, accepted=0, spared=[], spared_count=0, baseline=None)
    text = text_of(page(report))
    assert "Contaminated items" not in text
    assert "Accepted" not in text
    assert "Not counted" not in text


@pytest.mark.parametrize("verdict", ["found", "clean", "inconclusive"])
def test_what_was_not_looked_for_stands_beside_the_verdict(verdict: str) -> None:
    report = contamination_report(verdict)
    text = text_of(page(report))
    head, _, listed = text.partition("What this does not show")
    assert head.index(report["headline"]) < head.index(report["limits"][0]) < head.index("Question")
    assert report["limits"][1] not in head
    assert all(limit in listed for limit in report["limits"])
    assert page(report | {"limits": []}).tags["h1"] == 1


def test_the_picture_and_its_numbers() -> None:
    shown = page()
    assert shown.tags["svg"] == 2
    assert "How similar each item is to a document" in text_of(shown)
    assert "70% to 75%" not in text_of(shown)  # no item lies there
    for line in ("95% to 100% memaudit 7 of 7 –", "no similar document memaudit – 0 of 1,207"):
        assert line in text_of(shown)
    assert page(likeness=contamination_report()["likeness"] | {"counts": []}).tags["svg"] == 0


def test_long_lists_are_cut_and_say_so() -> None:
    written = source(found=LISTED + 150, accepted=0)
    shown = Page(written)
    assert sum(id.startswith("new-") for id in shown.ids) == EXHIBITS["new"]
    assert "150 more rows are in report.json" in text_of(shown)
    assert len(written.encode()) < 1_000_000


def test_scores_of_clean_and_contaminated_items() -> None:
    text = text_of(page(scores=[scores("one"), scores("two") | {"difference": None, "p_value": None}]))
    assert "85.7% [42.0%, 99.6%] 6 of 7 30.7% [28.0%, 33.0%] 400 of 1,305 +55.1 [+11.0, +69.0] 0.0031" in text
    assert "3 judged items without a score 1 score of other items" in text
    assert "two answers contaminated items more often." in text


def test_texts_that_are_left_out_and_undefined_rates() -> None:
    report = contamination_report()
    for finding in report["findings"]:
        for evidence in finding["evidence"]:
            evidence |= {"item_pieces": None, "corpus_pieces": None}
            evidence["spans"] = [span | {"text": None} for span in evidence["spans"]]
    empty = {"hits": 0, "n": 0, "rate": None, "undefined": 1312}
    report["estimates"][1] |= empty
    report["parts"] = [{"part": "question", "hits": 0, "n": 0}]
    shown = page(report)
    text = text_of(shown)
    assert "The text is not shown." in text
    assert shown.marked == ["Marked"]
    assert "GPT-3 n-gram 0 of 0 – 1,312" in text
    assert "question 0 of 0 –" in text


def test_failed_controls_are_limits() -> None:
    controls = [
        {"name": "finds items that were planted", "passed": passed, "detail": "3 of 50"} for passed in (False, None)
    ]
    text = text_of(page(controls=controls))
    assert "Control failed: finds items that were planted. 3 of 50" in text
    assert "Control could not be run: finds items that were planted. 3 of 50" in text


pieces = st.lists(
    st.builds(Piece, st.text("ab \n", max_size=3 * COPIED), st.sampled_from(["plain", "copied"])), max_size=6
)


def left_out(piece: Piece) -> int:
    return int(piece.text.split()[1].replace(",", "")) if piece.kind == "left out" else 0


@settings(deadline=None, max_examples=100)
@given(pieces, st.integers(1, 900))
def test_shortened_texts_say_how_much_is_missing(given: list[Piece], context: int) -> None:
    shown = shorten(given, context)
    assert sum(left_out(piece) or len(piece.text) for piece in shown) == sum(len(piece.text) for piece in given)
    kept = "".join(piece.text for piece in shown if piece.kind != "left out")
    assert all(left_out(piece) > context for piece in shown if piece.kind == "left out")
    whole = "".join(piece.text for piece in given)
    assert kept == whole or len(kept) < len(whole)
    for piece in given:
        if len(piece.text) <= (COPIED if piece.kind == "copied" else context):
            assert piece.text in kept


def test_texts_are_cut_away_from_what_is_copied() -> None:
    long = "x" * 5000
    gap = Piece(" … 4,900 characters … ", "left out")
    assert shorten([Piece(long), Piece("copy", "copied"), Piece(long)], 100) == [
        gap,
        Piece("x" * 100),
        Piece("copy", "copied"),
        Piece("x" * 100),
        gap,
    ]
    assert [piece.kind for piece in shorten([Piece(long, "copied")], 100)] == ["copied", "left out", "copied"]
    assert shorten([Piece(long)], 100) == [Piece("x" * 100), gap]
    edit = Piece(long, "edited", 1)
    assert shorten([Piece("a", "copied"), edit, Piece("b", "copied")], 100)[1] == edit


def test_edits_bear_the_same_number_on_both_sides() -> None:
    report = contamination_report()
    evidence = report["findings"][0]["evidence"][0]
    evidence["item_pieces"] = [
        ["It said ", False],
        ["the quick brown", True],
        [" fox, ", False],
        ["jumps over it", True],
    ]
    evidence["corpus_pieces"] = [
        ["the quick brown", True],
        [" dog ", False],
        ["jumps over it", True],
        [" twice", False],
    ]
    written = source(report)
    for word in ("fox,", "dog"):
        assert f'<span class="edit">{word}<sup>1</sup></span>' in written
    evidence["item_pieces"].pop()
    with pytest.raises(InputError, match="copied spans"):
        source(report)


def test_every_format_of_a_run_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    report = contamination_report(hostile=True)
    with RunDirectory.open(folder, {"kind": "contamination", "command": "memaudit contamination x"}) as run:
        run.append([{"index": 0, "scan": {}}])
        run.finish(report)
    written = {name: FORMATS.resolve(name)(folder) for name in FORMATS.builtin}
    assert {name: path.name for name, path in written.items()} == {
        "html": "report.html",
        "json": "report.json",
        "junit": "junit.xml",
        "sarif": "results.sarif",
        "md": "report.md",
    }
    assert written["html"].read_bytes() == rendered("html", json.loads(written["json"].read_bytes()))
    print_report(report, console())
    assert "● FOUND" in capsys.readouterr().out


def test_runs_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path / "run", {"kind": "horoscope"}) as run:
        run.finish(contamination_report(kind="horoscope"))
    with pytest.raises(RunError, match="of kind 'horoscope' cannot be shown"):
        HTML(tmp_path / "run")
