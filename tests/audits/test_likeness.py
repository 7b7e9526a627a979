"""Items counted by likeness: each once, in the bin where its similarity lies, with the rules that convict it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memaudit.audits.benchmark.items import Item
from memaudit.audits.contamination.judgement import JudgedItem
from memaudit.audits.contamination.likeness import BINS, count_likeness
from memaudit.runs.contamination_report import Likeness
from memaudit.runs.schema import misfit
from memaudit.text.scan.matching import Candidate, Match
from memaudit.text.scan.rules import RULES

VERDICTS = ("contaminated", "clean", "undecided", "not judged")


def judged(verdict: Any, similarity: float | None, fired: list[bool | None]) -> JudgedItem:
    found = [Match(Candidate(0, "a:1", 0, "", ()), "edited", similarity, 0.0, "copy")] if similarity is not None else []
    unjudged = "short" if verdict == "not judged" else None
    rules = dict(zip(RULES, fired, strict=True))
    return JudgedItem(Item("1", 1, "b:1", {"text": "x"}), 0, verdict, unjudged, found, frozenset(), rules)


similarities = st.none() | st.floats(0, 1) | st.integers(0, BINS).map(lambda n: n / BINS) | st.just(1 + 1e-15)
said = st.lists(st.sampled_from([True, False, None]), min_size=len(RULES), max_size=len(RULES))
items = st.lists(st.builds(judged, st.sampled_from(VERDICTS), similarities, said), max_size=30)


@given(items)
def test_every_item_is_counted_once_where_it_belongs(given: list[JudgedItem]) -> None:
    counted = count_likeness(given)
    assert not misfit(counted, Likeness, "it")
    assert counted["rules"] == list(RULES)
    assert sum(entry["items"] for entry in counted["counts"]) == len(given)
    places = [(entry["bin"], entry["verdict"]) for entry in counted["counts"]]
    assert len(places) == len(set(places))
    for entry in counted["counts"]:
        here = [item for item in given if item.verdict == entry["verdict"] and _lies_in(item, entry["bin"])]
        assert entry["items"] == len(here) > 0
        assert entry["convicted"] == [sum(item.rules[name] is True for item in here) for name in RULES]


@given(items, st.randoms())
def test_order_does_not_matter(given: list[JudgedItem], lot: Any) -> None:
    other = list(given)
    lot.shuffle(other)
    assert count_likeness(other) == count_likeness(given)


def test_how_far_apart_found_and_others_are() -> None:
    none = [False] * len(RULES)
    some = [("contaminated", 0.9), ("contaminated", 0.72), ("clean", 0.4), ("undecided", 0.6), ("clean", None)]
    counted = count_likeness([judged(*one, none) for one in [*some, ("not judged", 1.0)]])
    assert (counted["lowest_found"], counted["highest_other"]) == (0.72, 0.6)
    empty = count_likeness([judged("clean", None, none)])
    assert (empty["lowest_found"], empty["highest_other"]) == (None, None)


def _lies_in(item: JudgedItem, bin: int | None) -> bool:
    if bin is None or not item.matches:
        return bin is None and not item.matches
    similarity = item.matches[0].similarity
    return bin / BINS <= similarity < (bin + 1) / BINS or (bin == BINS - 1 and similarity >= 1)
