"""Laws that the published rules keep, whatever stands in the corpus, and cases of them worked out by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.rules import RULES, Outcome
from memaudit.text.scan.stream import scan_texts

THIRTY = [f"w{number}" for number in range(30)]
WORDS = st.sampled_from([f"w{number}" for number in range(8)])
OTHERS = st.lists(st.sampled_from([f"v{number}" for number in range(8)]), max_size=40)
"""Documents that share no word with an item."""


@st.composite
def items_and_documents(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]]]:
    """Items, and documents of which most hold pieces of them with a few other words."""
    items = draw(st.lists(st.lists(WORDS, min_size=1, max_size=40), min_size=1, max_size=4))
    documents = []
    for _ in range(draw(st.integers(0, 4))):
        piece = list(draw(st.sampled_from(items)))[draw(st.integers(0, 12)) :]
        for place in draw(st.lists(st.integers(0, 39), max_size=5)):
            piece[place : place + 1] = draw(st.lists(WORDS, max_size=2))
        documents.append([*draw(OTHERS), *piece, *draw(st.lists(WORDS, max_size=5))])
    return items, documents


def outcomes(items: list[list[str]], documents: list[list[str]]) -> dict[str, list[Outcome]]:
    patterns = build_patterns([Needle(number, "both", " ".join(words)) for number, words in enumerate(items)])
    return by_rule(patterns, [" ".join(words) for words in documents])


def by_rule(patterns: Patterns, texts: list[str]) -> dict[str, list[Outcome]]:
    scan = scan_texts(texts, patterns, [f"c:{number}" for number in range(len(texts))])
    return {
        name: [rule.verdict(patterns, scan, k) for k in range(len(patterns.needles))] for name, rule in RULES.items()
    }


@settings(deadline=None, max_examples=60)
@given(items_and_documents(), st.integers(1, 30))
def test_gpt3_convicts_whatever_the_pile_convicts(case: tuple[list[list[str]], list[list[str]]], copies: int) -> None:
    found = outcomes(case[0], case[1] * copies)
    for gpt3, pile in zip(found["gpt3"], found["pile13"], strict=True):
        assert gpt3[0] or not pile[0]


@settings(deadline=None, max_examples=60)
@given(items_and_documents(), st.integers(1, 30), st.lists(OTHERS, max_size=30))
def test_more_documents_never_acquit(
    case: tuple[list[list[str]], list[list[str]]], copies: int, unrelated: list[list[str]]
) -> None:
    """Neither copies of the corpus, nor copies of an item, nor documents that have nothing to do with either."""
    items, documents = case
    before = outcomes(items, documents)
    assert outcomes(items, documents * copies + unrelated) == before
    for name, after in outcomes(items, documents + items[:1] * copies).items():
        for (fired, score), (fires, scores) in zip(before[name], after, strict=True):
            assert (fires, scores) == (fired, score) == (None, None) or (fires >= fired and scores >= score), name


@pytest.mark.parametrize("copies", [1, 10, 11, 300])
def test_an_item_that_stands_there_is_convicted_by_every_rule(copies: int) -> None:
    found = outcomes([THIRTY], [THIRTY] * copies)
    assert all(said == [(True, 1.0)] for said in found.values())


@pytest.mark.parametrize(
    ("changed", "share"),
    [
        ([10, 12, 14, 16], 26),  # four mismatches behind the first ten words
        ([10, 12, 14, 16, 18, 20], 14),  # with a fifth the span ends, and behind the sixth no ten words are left
        ([9], 20),  # a mismatch among the first ten: the nine before it lie in no span
        ([29], 29),  # a mismatch at the end belongs to none
        ([*range(10, 14)], 26),
        ([*range(10, 15)], 15),  # the ten before it are not more than ten; behind it are fifteen
        ([4, 10, 16, 22, 28], 0),  # five words in a row are not ten
    ],
)
def test_llama2_spans(changed: list[int], share: int) -> None:
    document = ["other" if place in changed else word for place, word in enumerate(THIRTY)]
    [(fired, score)] = outcomes([THIRTY], [document])["llama2"]
    assert score == share / 30
    assert fired == (share >= 24)


def test_llama2_adds_up_documents() -> None:
    assert outcomes([THIRTY], [THIRTY[:12], THIRTY[12:25]])["llama2"] == [(True, 25 / 30)]


def test_every_rule_says_where_it_comes_from() -> None:
    assert list(RULES) == ["gpt3", "pile13", "palm", "llama2", "gpt4", "longest-match"]
    for rule in RULES.values():
        assert rule.label and rule.definition
        assert "section" in rule.source or "appendix" in rule.source
    assert "ours" in RULES["longest-match"].source


def test_only_llama2_has_more_than_two_classes() -> None:
    rng = random.Random(1)
    scores = [None, 0.0, 0.2, 0.8, 1.0, *(rng.random() for _ in range(20))]
    for name, rule in RULES.items():
        assert bool(rule.count_classes(scores)) == (name == "llama2")
    assert RULES["llama2"].count_classes([None, 0.0, 0.19, 0.2, 0.79, 0.8, 1.0]) == {
        "clean": 2,
        "not clean": 4,
        "not dirty": 4,
        "dirty": 2,
    }
