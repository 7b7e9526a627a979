"""The verdict about whole works: what is found, what is not, and what cannot be tested."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.work.blocks import SHORTEST, WorkHits, adjusted, against_controls, detectable, differ
from memaudit.audits.work.judgement import CONTROLS_UNSEEN, Judgement, judge, judge_hits
from memaudit.audits.work.power import smallest_share
from memaudit.findings import Control, Policy
from memaudit.stats.blocks import block_test

STRIDE = 10
POLICY = Policy()
CHAPTER = 1 / 12


def work(name: str, tokens: int, runs: list[tuple[float, float]] = (), *, share: float = 1.0, chance: float = 0.0):
    """Return a work: runs of it reach the threshold in a share of their windows, the rest by chance."""
    rng = np.random.default_rng([len(name), tokens])
    hits = rng.random(tokens // STRIDE) < chance
    for start, stop in runs:
        first, last = int(start * len(hits)), int(min(stop, 1) * len(hits))
        hits[first:last] = rng.random(last - first) < share
    return WorkHits(name, name.startswith("control"), hits, STRIDE)


def judged(*works: WorkHits, policy: Policy = POLICY, controls: tuple[Control, ...] = ()) -> Judgement:
    return judge_hits(works, policy, controls, seed=1)


def p_of(*works: WorkHits) -> float:
    """Return the p of a verdict, without the rest of it, of which the power takes long."""
    others = [each for each in works if each.control]
    asked = [each for each in works if not each.control]
    p = against_controls(asked, others, POLICY, 1, apart=differ(others, 1)).p
    assert p is not None
    return p


NOVEL = work("control", 40_000, chance=0.01)


def test_a_work_that_is_known_by_heart_is_found_beside_one_control_work() -> None:
    found = judged(work("book", 40_000, [(0, 1)], share=0.97), NOVEL)
    assert (found.verdict, found.exit_code) == ("found", 1)
    assert found.test["p_value"] == p_of(work("book", 40_000, [(0, 1)], share=0.97), NOVEL) < 0.001
    assert found.test["blocks"] == [10, 10]
    assert found.test["block_tokens"] == SHORTEST
    assert found.test["low"] > 0.9
    assert 0.2 < found.test["detectable"] < 0.7
    assert "97.2% of the windows reach the threshold" in found.reasons[0]
    assert "10 blocks of works and 10 of control works" in found.method
    assert any("one control work" in limit for limit in found.limits)


def test_three_chapters_of_twelve_are_found_beside_two_control_works() -> None:
    runs = [(0.0, CHAPTER), (0.5, 0.5 + CHAPTER), (0.8, 0.8 + CHAPTER)]
    two = work("control 1", 40_000), work("control 2", 40_000)
    found = judged(work("book", 40_000, runs, share=0.97), *two)
    assert found.verdict == "found"
    assert found.test["dependence"] > 0.8
    assert "one control work" not in str(found.limits)
    assert judged(work("book", 40_000, runs, share=0.97), two[0]).verdict == "inconclusive"  # three events, none there


def test_half_of_a_work_is_found_beside_one_control_work() -> None:
    assert judged(work("book", 40_000, [(0, 0.5)], share=0.97), NOVEL).verdict == "found"


def test_short_passages_in_many_places_are_found() -> None:
    runs = [(place / 20, place / 20 + 0.0025) for place in range(20)]
    found = judged(work("book", 40_000, runs), work("control", 40_000))
    assert found.verdict == "found"
    assert found.test["works"][0]["share"] == pytest.approx(0.05, abs=0.002)


def test_a_work_that_was_never_seen_is_not_found() -> None:
    never = judged(work("book", 40_000), work("control", 40_000))
    assert never.verdict == "inconclusive"
    assert never.test["p_value"] == 1
    assert "74,750 tokens without a hit" in never.reasons[0]  # 299 pages
    assert "would be found with a power of 80%" in never.reasons[1]
    assert judged(work("book", 100_000), work("control", 40_000)).verdict == "clean"
    assert judged(work("book", 40_000), work("control", 40_000), policy=Policy(0.02)).verdict == "clean"
    assert judged(work("book", 40_000, chance=0.01), work("control", 40_000, chance=0.02)).verdict != "found"


def test_no_clean_verdict_without_the_controls_of_the_instrument() -> None:
    works = work("book", 100_000), work("control", 40_000)
    for passed in (False, None):
        assert judged(*works, controls=(Control("instrument", passed, "why"),)).verdict == "inconclusive"
    learnt = work("book", 40_000, [(0, 1)])
    assert judged(learnt, NOVEL, controls=(Control("instrument", False, "why"),)).verdict == "found"
    sides = Control("sides", False, "other editions", comparison=True)
    assert judged(learnt, NOVEL, controls=(sides,)).verdict == "inconclusive"


def test_one_short_document_a_side_can_show_nothing_and_that_is_said() -> None:
    short = judged(work("article", 2000, [(0, 1)]), work("control", 2000))
    assert short.verdict == "inconclusive"
    assert not short.test["possible"]
    assert "19 are needed, 38,000 tokens" in short.test["why_not"]
    assert any("nothing can be tested" in reason for reason in short.reasons)
    assert "as often as" not in f"{short.reasons} {short.method} {short.limits}"
    assert judged(work("article", 2000, [(0, 1)]), work("control", 40_000)).verdict == "found"


def test_articles_that_are_too_short_one_by_one_are_tested_together() -> None:
    articles = work("article", 4000, [(0, 1)]), work("other article", 4000, [(0, 1)])
    both = judged(*articles, work("control", 40_000))
    assert [row["p_value"] for row in both.test["works"]] == [None, None]
    assert both.test["blocks"] == [2, 10]
    assert both.test["possible"]
    assert both.test["why_not"] is None
    assert both.verdict == "found"
    assert "all 2 works together" in both.reasons[0]


@given(st.integers(400, 40_000), st.integers(4000, 12_000))
def test_blocks_as_long_as_those_of_a_work_are_as_many(windows: int, least: int) -> None:
    book = WorkHits("book", False, np.zeros(windows, bool), STRIDE)
    count = book.blocks_of(least)
    assert count == 1 or least <= book.tokens / count < 2 * least
    assert book.blocks_of(book.tokens / count) == count


def test_without_a_control_work_nothing_is_tested() -> None:
    alone = judged(work("book", 40_000, [(0, 1)]))
    assert (alone.verdict, alone.test["possible"], alone.test["estimate"]) == ("inconclusive", False, None)
    assert "no control work was given" in alone.test["why_not"]
    nothing = judged(NOVEL, WorkHits("book", False, np.zeros(0, bool), STRIDE))
    assert nothing.test["why_not"] == "no work has a window"
    assert nothing.verdict == "inconclusive"


def test_control_works_that_differ_make_works_the_unit() -> None:
    others = work("control 1", 40_000, chance=0.001), work("control 22", 40_000, chance=0.1)
    assert differ(others, 1)
    assert not differ([NOVEL, work("control 333", 40_000, chance=0.01)], 1)
    found = judged(work("book", 40_000, chance=0.15), *others)
    assert found.test["unit"] == "works"
    assert found.verdict == "inconclusive"
    assert "Crawford & Howell" in found.method
    assert [c.passed for c in found.controls if c.name == CONTROLS_UNSEEN] == [False]
    assert judged(work("book", 40_000, [(0, 1)], share=0.99), *others).verdict == "found"


def test_works_share_the_level_and_all_together_are_one_test_more() -> None:
    books = work("book", 40_000, [(0, 1)]), work("other book", 40_000)
    found = judged(*books, work("control 1", 40_000), work("control 2", 40_000))
    one, other = found.test["works"]
    assert found.verdict == "found"
    assert one["p_holm"] == pytest.approx(3 * one["p_value"])
    assert other["p_value"] == other["p_holm"] == 1
    assert one["p_value"] < found.test["p_value"] < other["p_value"]
    assert "one by one and all together" in found.method
    untested = dataclasses.replace(against_controls([books[0]], [NOVEL], POLICY, 1, apart=False), p=None)
    assert adjusted([untested]) == [None]


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.floats(0, 0.9), st.floats(0.01, 0.2)), max_size=4), st.floats(0, 0.1), st.floats(0, 0.05))
def test_neither_the_order_of_control_works_nor_the_direction_of_reading_matters(runs, chance, other) -> None:
    book = work("book", 24_000, [(start, start + length) for start, length in runs], share=0.9, chance=chance)
    others = [work("control 1", 20_000, chance=other), work("control 22", 28_000, chance=0.02)]
    p = p_of(book, *others)
    assert p_of(*others[::-1], book) == p
    backwards = [dataclasses.replace(each, hits=each.hits[::-1]) for each in (book, *others)]
    assert p_of(*backwards) == pytest.approx(p, rel=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.floats(0, 0.3), st.integers(1, 4))
def test_text_without_a_hit_that_doubles_a_work_helps_no_finding(chance, times) -> None:
    book = work("book", 20_000, chance=chance)
    longer = dataclasses.replace(book, hits=np.concatenate([book.hits, np.zeros(times * len(book.hits), bool)]))
    before, after = (p_of(each, work("control", 40_000, chance=0.02)) for each in (book, longer))
    assert after >= min(before, 0.5)


def stretches(rng: np.random.Generator, tokens: int, dense: int, name: str) -> WorkHits:
    """Return a work of which a quarter is dense with quotations of some 300 tokens, in stretches of random length."""
    hits, at = np.zeros(tokens // STRIDE, bool), 0
    inside = rng.random() < 0.25
    while at < len(hits):
        stop = at + 1 + int(rng.exponential((dense if inside else 3 * dense) / STRIDE))
        for start in np.flatnonzero(rng.random(min(stop, len(hits)) - at) < 0.03 * inside):
            hits[at + start : min(stop, at + start + 1 + int(rng.exponential(30)))] = True
        at, inside = stop, not inside
    return WorkHits(name, name == "control", hits, STRIDE)


@pytest.mark.parametrize("dense", [500, 4000])
def test_works_that_hold_quotations_as_control_works_do_are_found_no_more_often_than_the_level_says(dense) -> None:
    rng, rejected = np.random.default_rng(dense), 0
    for _ in range(200):
        book, control = (stretches(rng, 20_000, dense, name) for name in ("book", "control"))
        p = against_controls([book], [control], POLICY, 1, apart=False).p
        rejected += p is not None and p <= 0.05
    assert rejected <= 19  # of 200 with 10 expected, 99.5% are no more


def test_the_share_that_is_found_with_power_is_found_with_that_power() -> None:
    others = np.zeros(20)

    def p_values(cases: np.ndarray) -> list[float]:
        return block_test(cases, np.zeros((20, cases.shape[1])), seed=1, permutations=999)

    share = smallest_share(10, others, p_values, 0.05)
    cases = (np.random.default_rng(5).random((10, 400)) < share).astype(float)
    assert np.mean(np.array(p_values(cases)) <= 0.05) == pytest.approx(0.8, abs=0.06)
    assert smallest_share(1, np.zeros(3), lambda cases: [0.25] * cases.shape[1], 0.05) is None
    tested = against_controls([work("book", 2000)], [work("control", 40_000)], POLICY, 1, apart=False)
    assert detectable(tested, Policy(0.9), 1, apart=False) >= 0.9


def test_hits_are_read_off_the_levels_of_windows() -> None:
    options = {"threshold": 0.5, "stride": STRIDE, "max_rate": 0.01, "alpha": 0.05, "seed": 1}
    book = {"name": "book", "control": False, "levels": "54" * 2000}
    control = {"name": "control", "control": True, "levels": "3" * 4000}
    found = judge([book, control], options, [])
    assert (found.verdict, found.test["works"][0]["share"]) == ("found", 1.0)
    assert judge([book, control], options | {"threshold": 0.75}, []).test["works"][0]["share"] == 0.5
    assert judge([book | {"shared": "01" * 2000}, control], options, []).test["works"][0]["share"] == 1.0
    assert judge([book | {"shared": "1" * 4000}, control], options, []).test["works"] == []
