"""Whole works in every format: the answer first, numbers that agree, nothing of the texts that may not be shown."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from memaudit.records import Shown
from memaudit.report.covered import Covered
from memaudit.report.formats import github, junit, sarif
from memaudit.report.kinds.work import KIND
from memaudit.report.wording import word_range
from memaudit.report.work_disclosure import disclosed
from memaudit.report.work_exhibits import work_galleries
from memaudit.report.work_page import MAX_BYTES, curve, render, summary, work_page
from memaudit.report.work_terminal import print_work
from memaudit.runs.directory import ReportInput
from memaudit.runs.schema import misfit
from memaudit.runs.work_report import WorkReport
from memaudit.stats.rounding import samples
from tests.report.conftest import HOSTILE
from tests.report.pages import OURS, Page
from tests.report.work_reports import alice, controls, long_work, measured, report, run


def text_of(page: bytes) -> str:
    return " ".join("".join(Page(page.decode()).text).split())


def printed(made: WorkReport, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_work(made, Console(file=stream, width=110, markup=False, highlight=False))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def page() -> bytes:
    return render(run(), KIND.title)


def test_made_up_reports_hold_what_reports_must() -> None:
    assert misfit(report(), WorkReport, "it") == ""


def test_the_answer_stands_first(page: bytes) -> None:
    text = text_of(page)
    assert text.index("Found") < text.index(report()["headline"]) < text.index("What can be had back of alice")
    assert text.index("What can be had back of alice") < text.index("Question") < text.index("The work by position")
    assert "does not show" in text
    assert len(page) < 300_000


def test_the_first_table_is_of_the_report() -> None:
    made = report()
    work = made["works"][0]
    table = summary(made, work)
    assert table.head[6:] == ["Control: frankenstein", "Control: moby-dick"]
    assert [row[0][0] for row in table.rows] == [
        "p >= 0.1%",
        "p >= 1%",
        "p >= 10%",
        "p >= 50%",
        "p >= 75%",
        "greedy decoding",
    ]
    at_half = table.rows[3]
    assert at_half[1] == ("38.2%", "[30.2%, 46.2%]")
    assert at_half[2] == ("15,580", "of 40,740")
    assert at_half[3] == ("1,780 tokens", "1,369 words")
    assert at_half[4][1] == "312 windows"
    assert [cell[0] for cell in at_half[6:]] == ["0%", "0%"]
    assert [cell[0] for cell in table.rows[5][4:6]] == ["–", "–"]


def test_many_control_works_share_a_column() -> None:
    several = [measured(f"control-{i}", [(900, -9.0 + 2 * i)], control=True, seed=i) for i in range(5)]
    made = report([alice(), *several])
    table = summary(made, made["works"][0])
    assert table.head[-1] == "5 control works, together"
    lowest = [next(r for r in work["reached"] if r["threshold"] == 0.001) for work in several]
    assert max(r["tokens"] for r in lowest) > 0
    together = sum(r["tokens"] for r in lowest) / 4500
    assert table.rows[0][-1] == (f"{together:.1%}", f"at most {max(r['share'] for r in lowest):.1%}")


def test_passages_and_holes_are_sorted_and_ties_are_said() -> None:
    made = report()
    longest, holes = work_page(ReportInput(made, [])).passages
    tokens = [int(row[4].replace(",", "")) for row in longest.table.rows]
    assert tokens == sorted(tokens, reverse=True)
    assert longest.table.rows[0][:3] == ["CHAPTER I. Down the Rabbit-Hole", "86", "924–2,292"]
    assert len(longest.table.columns) == len(holes.table.columns) + 2
    windows = (2000 - 100) // 10 + 1
    apart = "".join("5" if i % 10 == 0 else "0" for i in range(windows))
    tied: Any = measured("tied", [(2000, 0)], levels=apart)
    runs_of = int(Covered(tied, made["options"]).at_least(4).sum()) // 50
    found = work_page(ReportInput(report([tied]), [])).passages[0]
    assert found.more == f"and {runs_of - 10} more as long as the last"
    assert longest.more == ""


def test_no_control_work_no_parts_and_nothing_to_show() -> None:
    windows = (2000 - 100) // 10 + 1
    no_test = {"possible": False, "why_not": "there is no control work", "blocks": [], "block_tokens": None}
    for levels in ("0", "5"):
        made = report([measured("alone", [(2000, 0)], levels=levels * windows, titles=["the whole text"])],
                      verdict="inconclusive", test={**report()["test"], **no_test})  # fmt: skip
        text = text_of(render(ReportInput(made, []), KIND.title))
        assert "Nothing can be tested: there is no control work." in text
        assert "nothing can be tested: there is no control work" in printed(made)
        said = "nothing can be tested: there is no control work, that is why"
        told: Any = {**made, "reasons": [said]}
        assert printed(told).count("nothing can be tested") == 1
        assert text_of(render(ReportInput(told, []), KIND.title)).lower().count("nothing can be tested") == 1
        assert "Inconclusive" in text
        assert ("The longest passages of" in text) == (levels == "5")
    for tokens in (0, 60):
        made = report([measured("short", [(tokens, 0)], titles=["all"])], verdict="clean")
        assert "Clean" in text_of(render(ReportInput(made, []), KIND.title))
        assert "CLEAN" in printed(made)


def test_both_start_tokens_are_shown() -> None:
    weaker = [measured("alice", [(part["tokens"], -9.0) for part in alice()["parts"]]), *controls()]
    text = text_of(render(ReportInput(report(without_start=weaker), []), KIND.title))
    assert "With the start token" in text
    assert "Without it" in text
    table = work_page(ReportInput(report(without_start=weaker), [])).start
    assert table is not None
    assert table.rows[3] == ["alice", "p >= 50%", "38.2% [30.2%, 46.2%]", "0% [0%, 8.0%]"]


def test_several_works_have_a_test_each() -> None:
    each = {"upper": 0.4, "block_tokens": 400, "blocks": 9, "p_value": 0.0004, "p_holm": 0.0012}
    tested = [{"name": name, "share": 0.31, **each} for name in ("alice", "twin")]
    made = report([alice(), measured("twin", [(900, -2.0)])], test={**report()["test"], "works": tested})
    table = work_page(ReportInput(made, [])).tests
    assert table is not None
    assert table.rows[1] == ["twin", "31.0%", "40.0%", "0.0004", "0.0012"]
    assert "Every work against the control works" in text_of(render(ReportInput(made, []), KIND.title))
    assert work_page(run()).tests is None


def test_the_curve_has_a_line_a_work() -> None:
    chart = curve(report(), "curve")
    assert chart is not None
    assert [row[0] for row in chart.rows[::5]] == ["alice", "frankenstein (control)", "moby-dick (control)"]
    twins = [measured("twin", [(900, -2.0)], seed=i) for i in range(8)]
    chart = curve(report(twins), "curve")
    assert chart is not None
    assert len({row[0] for row in chart.rows}) == 6


def test_a_page_of_a_long_work_stays_small() -> None:
    made = report([long_work()])
    made["options"]["stride"] = 1
    page = render(ReportInput(made, []), KIND.title)
    assert len(page) < 1_200_000
    assert "60 more parts" in text_of(page)
    one = run()
    whole = render(one, KIND.title)
    fewer = render(one, KIND.title, most_bytes=len(whole) - 1)
    assert "left out to keep the page small" in text_of(fewer)
    assert len(whole) < MAX_BYTES


def test_exhibits_are_ranked_among_all_of_their_kind() -> None:
    one = run()
    passages, drawn, near = work_galleries(one)
    assert [gallery.exhibits[0].label for gallery in (passages, drawn, near)] == ["A1", "B1", "C1"]
    assert (len(passages.exhibits), len(drawn.exhibits), len(near.exhibits)) == (10, 8, 8)
    lengths = [found["tokens"] for found in one.report["works"][0]["longest"]]
    for shown, length in zip(passages.exhibits, lengths, strict=True):
        ties = lengths.count(length) - 1
        assert (shown.standing.rank, shown.standing.tied >= ties) == (1 + sum(n > length for n in lengths), True)
    assert passages.exhibits[0].standing.in_full == "1 of 94 passages, the longest first"
    assert passages.exhibits[0].place == (
        "alice.txt:116 · CHAPTER I. Down the Rabbit-Hole, token 1,201 of 2,900 · in a passage of 1,780 tokens,"
        " words 924–2,292 of the work · prompt from token 1,150"
    )
    known = [p for p in one.measured[0]["log_p"] if p is not None]
    for shown in drawn.exhibits:
        assert shown.log_p is not None
        assert shown.standing.asked == 4065
        if shown.log_p >= math.log(0.001):
            assert shown.standing.rank == 1 + sum(p > shown.log_p + 1e-9 for p in known)
    assert near.exhibits[0].standing.in_full == "below p >= 0.1%, as 3,457 of 3,457 windows are"
    assert near.exhibits[0].side == "control work"
    same = replace(one, measured=[{**line, "log_p": [-1.0] * len(line["log_p"])} for line in one.measured],
                   records=[replace(record, log_prob=-1.0) for record in one.records])  # fmt: skip
    tied = work_galleries(same)[1].exhibits[0].standing
    assert str(tied) == "shares place 1 with 4,064 others, of 4,065 windows"
    assert work_galleries(replace(one, records=[])) == []


def test_a_letter_stands_for_the_same_gallery_in_every_run() -> None:
    one = run()
    without = replace(one, records=[record for record in one.records if record.sampled or not record.member])
    assert [gallery.exhibits[0].label for gallery in work_galleries(without)] == ["B1", "C1"]


def test_a_terminal_shows_where(page: bytes) -> None:
    shown = printed(report())
    assert shown.index("FOUND") < shown.index("share of all tokens") < shown.index("alice by position")
    rows = [line for line in shown.splitlines() if line.endswith("87.2%")]
    assert rows[0].split()[0] == "I"
    assert rows[0].count("█") > 20
    plain = printed(report(), "ascii")
    assert "█" not in plain
    assert "\\u2588" not in plain
    assert "alice by position, p from 1 0.1%, 2 1%, 3 10%, 4 50%, 5 75%" in " ".join(plain.split())
    many = report([measured("many", [(200, -1.0)] * 30)])
    assert "and 6 more parts in the report" in printed(many)


def test_texts_are_masked_or_withheld() -> None:
    one = run()
    one.report["works"][0]["longest"][0]["text"] = "write to a.b@example.org about it"
    masked = disclosed(one, Shown()).report["works"][0]
    assert masked["longest"][0]["text"] == "write to •.•@•••••••.••• about it"
    assert disclosed(one, Shown(personal=True)).report == one.report
    hidden = disclosed(one, Shown(text=False))
    assert {found["text"] for found in hidden.report["works"][0]["longest"]} == {None}
    assert hidden.report["works"][0]["parts"][6]["title"] == "part VII"
    assert hidden.report["works"][1]["parts"][0]["title"] == "Letter 1"
    text = text_of(render(hidden, KIND.title))
    assert "Rabbit" not in text
    assert "Texts are withheld" in text


def test_other_programs_are_told_the_same() -> None:
    made = report()
    [problem] = KIND.problems(made)
    assert (problem.level, problem.rule, str(problem.place)) == ("error", "memaudit/work", "alice.txt:1")
    assert problem.sentence == "38.2% of alice can be had back: p_z of at least 50%."
    suite = KIND.suite(made)
    assert [case.outcome for case in suite.cases] == ["failure", None]
    assert "p >= 50% 38.2%" in suite.cases[0].details
    assert "<td>38.2% [30.2%, 46.2%]</td>" in github.step_summary(made, KIND)
    assert json.loads(sarif.SARIF.render(run(), KIND))["runs"][0]["results"][0]["ruleId"] == "memaudit/work"
    assert b"alice: greedy" in junit.JUNIT.render(run(), KIND)
    assert KIND.summary({**made, "works": []}) == []


def test_nothing_hostile_acts() -> None:
    works = [alice(titles=[f"{HOSTILE[i % len(HOSTILE)]}" for i in range(12)]), *controls()]
    works[0]["name"] = HOSTILE[0]
    works[0]["longest"][0]["text"] = HOSTILE[2]
    made = report(works, headline=HOSTILE[0], limits=list(HOSTILE))
    parsed = Page(render(ReportInput(made, []), KIND.title).decode("utf-8"))
    assert set(parsed.tags) <= OURS
    assert "\x1b" not in printed(made)


def test_numbers_in_words() -> None:
    assert [samples(count) for count in (0.0, 1.2, 1e9, 1e10, math.inf)] == [
        "0", "2", "1,000,000,000", "over 10^9", "over 10^9",
    ]  # fmt: skip
    assert word_range({"word": 9, "words": 1}) == "10"
    assert word_range({"word": None, "words": None}) == "–"


def test_of_several_works_each_has_a_p_of_its_own() -> None:
    tested = {**report()["test"]["works"][0], "p_holm": 0.031}
    both = [tested, {**tested, "name": "looking-glass", "p_value": None, "p_holm": None}]
    made = report(test={**report()["test"], "works": both})
    shown = [text_of(render(ReportInput(each, []), KIND.title)) for each in (made, report())]
    assert "one by one, adjusted by Holm: alice p = 0.031; looking-glass not tested" in " ".join(shown[0].split())
    assert "adjusted by Holm" not in shown[1]
