from __future__ import annotations

import random

import numpy as np
import pytest

from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.rules import RULES
from memaudit.text.scan.stream import scan_texts

VOCABULARY = [f"{a}{b}" for a in "bcdfghklmnprstvz" for b in "aeiou"]


def passage(rng: random.Random, count: int) -> list[str]:
    return rng.choices(VOCABULARY, k=count)


def fixture(seed: int) -> tuple[list[list[str]], list[list[str]]]:
    """Needles of all lengths, and documents that hold pieces of them, some edited, some over and over."""
    rng = random.Random(seed)
    needles = [passage(rng, rng.choice([3, 7, 9, 12, 20, 40])) for _ in range(30)]
    documents = []
    for _ in range(60):
        document = passage(rng, rng.randrange(30))
        for needle in rng.choices(needles, k=2):
            first = rng.randrange(len(needle))
            piece = needle[first : first + rng.randrange(1, 41)]
            for place in range(len(piece)):
                if rng.random() < 0.06:
                    piece[place] = rng.choice(VOCABULARY)
            document += piece
        documents.append(document)
    documents += [needles[0][:13] + passage(rng, 5) for _ in range(11)]
    return needles, documents


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def frequencies(needle: list[str], documents: list[list[str]], n: int) -> list[int]:
    return [sum(gram in set(grams(document, n)) for document in documents) for gram in grams(needle, n)]


@pytest.fixture(scope="module", params=[1, 2])
def case(request: pytest.FixtureRequest) -> tuple[list[list[str]], list[list[str]], Patterns, Scan]:
    needles, documents = fixture(request.param)
    patterns = build_patterns([Needle(i, "both", " ".join(words)) for i, words in enumerate(needles)])
    names = [f"c:{i}" for i in range(len(documents))]
    return needles, documents, patterns, scan_texts([" ".join(words) for words in documents], patterns, names)


Case = tuple[list[list[str]], list[list[str]], Patterns, Scan]


def outcomes(case: Case, name: str) -> list[tuple[bool | None, float | None]]:
    needles, _, patterns, scan = case
    return [RULES[name].verdict(patterns, scan, number) for number in range(len(needles))]


def naive_share(hits: list[bool], least: float) -> tuple[bool | None, float | None]:
    if not hits:
        return None, None
    return any(hits) and sum(hits) / len(hits) >= least, sum(hits) / len(hits)


def test_gpt3(case: Case) -> None:
    needles, documents, _, _ = case
    n = max(8, min(13, sorted(map(len, needles))[int(0.05 * (len(needles) - 1))]))
    expected = [naive_share([1 <= f <= 10 for f in frequencies(needle, documents, n)], 0) for needle in needles]
    assert outcomes(case, "gpt3") == expected
    assert {fired for fired, _ in expected} == {True, False, None}


def test_pile(case: Case) -> None:
    needles, documents, _, _ = case
    expected = [naive_share([f > 0 for f in frequencies(needle, documents, 13)], 0) for needle in needles]
    assert outcomes(case, "pile13") == expected


def test_palm(case: Case) -> None:
    needles, documents, _, _ = case
    expected = [naive_share([f > 0 for f in frequencies(needle, documents, 8)], 0.7) for needle in needles]
    assert outcomes(case, "palm") == expected
    assert {fired for fired, _ in expected} == {True, False, None}


def test_contam(case: Case) -> None:
    needles, documents, _, _ = case
    expected: list[tuple[bool | None, float | None]] = []
    for needle in needles:
        longest = max((n for n in range(8, 41) if any(frequencies(needle, documents, n))), default=0)
        score = longest / len(needle)
        expected.append((score >= 0.5, score) if len(needle) >= 8 else (None, None))
    assert outcomes(case, "contam") == expected


def test_llama2_bounds(case: Case) -> None:
    needles, documents, _, _ = case
    for needle, (fired, score) in zip(needles, outcomes(case, "llama2"), strict=True):
        if len(needle) < 11:
            assert (fired, score) == (None, None)
            continue
        assert score is not None
        assert fired == (score >= 0.8)
        copied = [any(gram in set(grams(document, 11)) for document in documents) for gram in grams(needle, 11)]
        sure = np.zeros(len(needle), bool)
        for first in np.flatnonzero(copied):
            sure[first : first + 11] = True
        assert score >= sure.mean()


def test_gpt4(case: Case) -> None:
    needles, documents, patterns, _ = case
    joined = ["".join(document) for document in documents]
    for number, (needle, (fired, score)) in enumerate(zip(needles, outcomes(case, "gpt4"), strict=True)):
        pieces = [patterns.substrings.pieces[k] for k in patterns.substrings.of(number)]
        assert (fired is None) == (len("".join(needle)) < 20) == (not pieces)
        if pieces:
            found = [any(piece in document for document in joined) for piece in pieces]
            assert (fired, score) == (any(found), sum(found) / len(found))


def test_llama2_forgives_four_mismatches_but_not_five() -> None:
    words = passage(random.Random(3), 30)
    patterns = build_patterns([Needle(0, "both", " ".join(words))])

    def verdict(changed: list[int]) -> tuple[bool | None, float | None]:
        document = ["other" if i in changed else word for i, word in enumerate(words)]
        return RULES["llama2"].verdict(patterns, scan_texts([" ".join(document)], patterns, ["d"]), 0)

    assert verdict([1, 3, 5, 7]) == (True, 26 / 30)
    assert verdict([1, 3, 5, 7, 9]) == (True, 24 / 30)
    assert verdict([1, 3, 5, 7, 9, 11]) == (False, 22 / 30)


def test_every_rule_says_where_it_comes_from() -> None:
    assert list(RULES) == ["gpt3", "pile13", "palm", "llama2", "gpt4", "contam"]
    assert all(rule.label and rule.source and rule.definition for rule in RULES.values())
