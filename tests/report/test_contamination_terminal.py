"""A contamination check on a terminal: verdict first, one screen, and nothing that a corpus holds does anything."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from memaudit.report.contamination_terminal import print_contamination
from tests.report.contamination_reports import contamination_report, scores


def printed(report: dict[str, Any], width: int = 110, terminal: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    colours = "truecolor" if terminal else None
    screen = Console(file=stream, width=width, force_terminal=terminal, highlight=False, color_system=colours)
    print_contamination(report, screen)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("verdict", "word"), [("found", "● FOUND"), ("clean", "○ CLEAN"), ("inconclusive", "◐ INCONCLUSIVE")]
)
def test_verdict_rules_and_items(verdict: str, word: str) -> None:
    report = contamination_report(verdict)
    text = printed(report)
    lines = text.splitlines()
    assert lines[0] == f"{word}  {report['headline']}"
    assert lines[1] == f"  {report['reasons'][0]}"
    assert lines[2] == f"  {report['limits'][0]}"
    for e in report["estimates"]:
        row = next(line for line in lines if line.startswith(e["label"]))
        assert f"{e['hits']} of {e['n']:,}" in row
        assert "[" not in row, "all items were examined: a count has no interval"
    assert len(lines) <= 40
    dirty = next(e["hits"] for e in report["estimates"] if e["metric"] == "llama2")
    for part in (
        f"Llama 2, dirty: 305 clean, 1,000 not clean, {1305 - dirty:,} not dirty, {dirty} dirty",
        "controls passed: finds items that were planted",
        "not judged: 7 items, fewer than 5 words in every part",
        "skipped in the benchmark: 2 records, first data/test.jsonl:14: not valid JSON",
        "skipped in the corpus: 1 record, first web/part-3.jsonl:99: not valid JSON",
        "not counted: 5 items that most published rules flag, first data/test.jsonl:900: the most similar document"
        " holds 60.0% of its own words",
        "baseline accepted.json: 2 findings accepted; 1 of its entries matches nothing",
    ):
        assert part in lines


def test_the_ten_worst_new_items_have_places_and_an_excerpt() -> None:
    report = contamination_report(found=20, accepted=3)
    text = printed(report)
    new = sorted((f for f in report["findings"] if not f["accepted"]), key=lambda f: -f["score"])
    for place, finding in enumerate(new):
        where = f"{finding['source']} occurs in {finding['evidence'][0]['source']}"
        assert (f"  {finding['item']}  " in text, where in text) == ((True, True) if place < 10 else (False, False))
    assert len(re.findall("^    > .{1,72}$", text, re.MULTILINE)) == 10
    assert "  and 7 more contaminated items" in text.splitlines()


def test_what_models_score_is_said_for_each() -> None:
    text = printed(contamination_report(scores=[scores("gpt-x"), scores("\x1b[31m##[error]y")]))
    assert "gpt-x answers contaminated items more often." in text
    assert r"\x1b[31m#\x23[error]y answers contaminated items more often." in text


def test_records_without_text_are_told_even_where_the_verdict_is_clean() -> None:
    report = contamination_report("clean", found=0, accepted=0)
    report["benchmark"]["empty"] = 1_234
    text = printed(report)
    assert "empty in the benchmark: 1,234 records without text" in text
    assert "empty in the corpus: 12 records without text" in text
    report["benchmark"]["empty"] = report["corpus"]["empty"] = 0
    assert "empty in the" not in printed(report)


def test_texts_that_are_left_out_and_incomplete_runs() -> None:
    report = contamination_report(complete=False, baseline=None)
    for finding in report["findings"]:
        for evidence in finding["evidence"]:
            evidence |= {"item_pieces": None, "corpus_pieces": None}
    text = printed(report)
    assert "INCOMPLETE: only a share of the corpus was read" in text
    assert "    > " not in text
    assert "baseline" not in text


def test_only_a_clean_screen_says_plainly_what_was_not_looked_for() -> None:
    for verdict, styled in (("clean", "  "), ("found", "\x1b[2m  ")):
        report = contamination_report(verdict)
        lines = printed(report, terminal=True).splitlines()
        assert f"{styled}{report['limits'][0]}" in [line.removesuffix("\x1b[0m") for line in lines]
    assert "Matching is by words" not in printed(contamination_report(limits=[]))


def test_nothing_is_spared_where_no_rule_says_more() -> None:
    assert "not counted" not in printed(contamination_report(spared=[], spared_count=0))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [40, 110])
@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_text_does_nothing(seed: int, width: int, terminal: bool) -> None:
    text = printed(contamination_report(hostile=True, seed=seed, found=12), width, terminal)
    if terminal:  # our own colours, and no other sequence
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert "[link=https://evil.example]" in text.replace("\n", "").replace(" ", "") or terminal or width == 40


@pytest.mark.parametrize("seed", range(5))
def test_a_log_holds_no_command_of_theirs(seed: int) -> None:
    report = contamination_report(hostile=True, seed=seed, found=12, estimates=contamination_report()["estimates"])
    text = printed(report)
    assert "set-output" in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]
    assert "##[" not in text


def test_terminal_without_unicode() -> None:
    text = printed(contamination_report(headline="é"), encoding="ascii")
    assert text.startswith("> FOUND  \\xe9")
