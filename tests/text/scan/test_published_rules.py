"""Every published rule gives the verdict that a naive implementation of its definition gives."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.rules import RULES
from memaudit.text.scan.stream import Scan, scan_texts
from memaudit.text.words import words_of

DOCUMENTS = 5000
SYLLABLES = "ba de fi go hu ka le mi no pu ra se ti vo wu 7 x² ça ñe ﬁn öl Åm".split()  # noqa: SIM905


def _naive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("naive_rules", Path(__file__).with_name("naive_rules.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


naive = _naive()


def sentence(rng: random.Random, vocabulary: list[str], words: int) -> str:
    """Random words in random case, between separators of many kinds."""
    pieces = []
    for word in rng.choices(vocabulary, [1 / (k + 3) for k in range(len(vocabulary))], k=words):
        pieces += [rng.choice((str.lower, str.lower, str.lower, str.upper, str.title))(word)]
        pieces += [rng.choice((" ", " ", " ", " ", ", ", "\n", "-", ". ", " ‘", "\u00a0"))]
    return "".join(pieces[:-1])


def damaged(rng: random.Random, text: str, vocabulary: list[str]) -> str:
    """Some other words in place of, between or instead of some of the text's."""
    words = text.split(" ")
    for _ in range(rng.choice((0, 0, 1, 2, 3, 4, 5, 8))):
        place = rng.randrange(len(words))
        words[place : place + rng.choice((0, 1, 1, 1))] = rng.choice(([], [rng.choice(vocabulary)]))
        words = words or ["x"]
    return " ".join(words)


def texts_and_needles(seed: int, documents: int = DOCUMENTS) -> tuple[list[str], list[Needle]]:
    """Short documents of few words, so that runs recur by chance, with pieces of needles planted in many."""
    rng = random.Random(seed)
    common = ["".join(rng.choices(SYLLABLES, k=2)) for _ in range(40)]
    rare = ["".join(rng.choices(SYLLABLES, k=4)) for _ in range(3000)]
    texts = [sentence(rng, common if rng.random() < 0.5 else rare, rng.randint(0, 60)) for _ in range(documents)]
    needles = []
    for item in range(160):
        part = rng.choice(("question", "answer"))
        lengths = (3, 6, 8, 9, 10, 12, 13, 15, 17, 20, 30, 60) if part == "question" else (9, 11, 12, 14, 25, 40)
        text = sentence(rng, rng.choice((common, rare)), rng.choice(lengths))
        needles.append(Needle(item, part, text))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 10, 11, 12, 40))):
            words = damaged(rng, text, rare).split(" ")
            first = rng.randrange(len(words)) if rng.random() < 0.4 else 0
            place = rng.randrange(documents)
            texts[place] += rng.choice(" \n") + " ".join(words[first : first + rng.choice((7, 12, 20, 99))])
    return texts, needles


def expected(texts: list[str], needles: list[Needle], patterns: Patterns) -> dict[str, list[tuple]]:
    return naive.verdicts(
        texts,
        [words_of(text).texts for text in texts],
        [needle.text for needle in needles],
        [words_of(needle.text).texts for needle in needles],
        [drawn(patterns, k) for k in range(len(needles))],
        [needle.part for needle in needles],
    )


def scanned(texts: list[str], patterns: Patterns) -> Scan:
    return scan_texts(texts, patterns, [f"t:{number}" for number in range(1, len(texts) + 1)])


@pytest.fixture(scope="module")
def verdicts() -> dict[str, tuple[list, list]]:
    texts, needles = texts_and_needles(seed=1)
    patterns = build_patterns(needles)
    scan = scanned(texts, patterns)
    naively = expected(texts, needles, patterns)
    return {
        name: ([rule.verdict(patterns, scan, k) for k in range(len(needles))], naively[name])
        for name, rule in RULES.items()
    }


@pytest.mark.parametrize("name", RULES)
def test_verdicts_are_those_of_the_definition(name: str, verdicts: dict[str, tuple[list, list]]) -> None:
    ours, naively = verdicts[name]
    assert ours == naively
    assert {fired for fired, _ in ours} == {True, False, None}


def drawn(patterns: Patterns, needle: int) -> list[str]:
    return [patterns.substrings.pieces[number] for number in patterns.substrings.of(needle)]


def test_drawn_substrings_are_those_of_the_definition() -> None:
    _, needles = texts_and_needles(seed=2, documents=10)
    patterns, backwards = build_patterns(needles), build_patterns(needles[::-1])
    for k, needle in enumerate(needles):
        pieces, text = drawn(patterns, k), naive.stripped(needle.text)
        assert all(piece in text for piece in pieces)
        assert {len(piece) for piece in pieces} == (set() if len(text) < 20 else {min(50, len(text))})
        assert sorted(pieces) == sorted(drawn(backwards, len(needles) - 1 - k))
