"""Every published rule gives the verdict of the oracle, which was written from the words of the papers."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

import pytest

from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.rules import RULES, Outcome
from memaudit.text.scan.stream import Scan, scan_texts
from tests.text.scan import published_oracle as oracle
from tests.text.scan.papers import MIN_CHARACTERS, Documents, by_the_papers, drawn

DOCUMENTS = 5000
PARTS = "question", "answer"
SYLLABLES = "ba de fi go hu ka le mi no pu ra se ti vo wu 7 x² ça ñe ﬁn öl Åm".split()  # noqa: SIM905


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


def substituted(rng: random.Random, text: str, vocabulary: list[str]) -> str:
    """Other words in place of three to eight of the text's, one for one."""
    pieces = re.split(r"(\w+)", text)
    for place in rng.sample(range(1, len(pieces), 2), rng.randint(3, 8)):
        pieces[place] = rng.choice(vocabulary)
    return "".join(pieces)


def texts_and_needles(seed: int, documents: int = DOCUMENTS) -> tuple[list[str], list[Needle]]:
    """Short documents of few words, so that runs recur by chance, with pieces of needles planted in many."""
    rng = random.Random(seed)
    common = ["".join(rng.choices(SYLLABLES, k=2)) for _ in range(40)]
    rare = ["".join(rng.choices(SYLLABLES, k=4)) for _ in range(3000)]
    texts = [sentence(rng, common if rng.random() < 0.5 else rare, rng.randint(0, 60)) for _ in range(documents)]
    needles = []
    for item in range(160):
        part = rng.choice(PARTS)
        lengths = (3, 6, 8, 9, 10, 12, 13, 15, 17, 20, 30, 60) if part == "question" else (9, 11, 12, 14, 25, 40)
        text = sentence(rng, rng.choice((common, rare)), rng.choice(lengths))
        needles.append(Needle(item, part, text))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 10, 11, 12, 40))):
            words = damaged(rng, text, rare).split(" ")
            first = rng.randrange(len(words)) if rng.random() < 0.4 else 0
            place = rng.randrange(documents)
            texts[place] += rng.choice(" \n") + " ".join(words[first : first + rng.choice((7, 12, 20, 99))])
    for item in range(160, 200):
        needles.append(Needle(item, "answer", sentence(rng, rare, 40)))
        texts[rng.randrange(documents)] += "\n" + substituted(rng, needles[-1].text, rare)
    return texts, needles


def scanned(texts: list[str], patterns: Patterns) -> Scan:
    return scan_texts(texts, patterns, [f"t:{number}" for number in range(1, len(texts) + 1)])


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[list[Outcome], list[Outcome]]]:
    texts, needles = texts_and_needles(seed=1)
    patterns = build_patterns(needles)
    scan = scanned(texts, patterns)
    papers = by_the_papers(Documents(texts), needles, patterns)
    return {
        name: ([rule.verdict(patterns, scan, k) for k in range(len(needles))], papers[name])
        for name, rule in RULES.items()
    }


@pytest.mark.parametrize("name", RULES)
def test_verdicts_and_scores_are_those_of_the_papers(
    name: str, outcomes: dict[str, tuple[list[Outcome], list[Outcome]]]
) -> None:
    ours, papers = outcomes[name]
    assert ours == papers
    assert {fired for fired, _ in ours} == {True, False, None}


def test_llama2_counts_its_four_classes(outcomes: dict[str, tuple[list[Outcome], list[Outcome]]]) -> None:
    scores = [score for _, score in outcomes["llama2"][0]]
    classes = [oracle.llama2_classes(score) for score in scores if score is not None]
    names = ("clean", "not clean", "not dirty", "dirty")
    expected = {name: sum(name in own for own in classes) for name in names}
    assert RULES["llama2"].count_classes(scores) == expected
    assert all(expected.values())


@pytest.mark.parametrize(("kind", "dirty"), [("numerical substitution", 129), ("digit expansion", 185)])
def test_other_numbers_in_a_question_break_most_spans_of_llama2(shared_data: Path, kind: str, dirty: int) -> None:
    file = shared_data / "contamination" / "gsm-plus-testmini" / "gsmplus_testmini.jsonl.gz"
    every = map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    rows = [row for row in every if row["perturbation_type"] == kind]
    patterns = build_patterns([Needle(number, "text", row["seed_question"]) for number, row in enumerate(rows)])
    scan = scanned([row["question"] for row in rows], patterns)
    found = [RULES["llama2"].verdict(patterns, scan, number)[0] for number in range(len(rows))]
    assert (sum(map(bool, found)), len(rows)) == (dirty, 300)


def test_drawn_substrings_are_those_of_the_definition() -> None:
    _, needles = texts_and_needles(seed=2, documents=10)
    patterns, backwards = build_patterns(needles), build_patterns(needles[::-1])
    for k, needle in enumerate(needles):
        pieces, text = drawn(patterns, k), oracle.gpt4_characters(needle.text)
        assert all(piece in text for piece in pieces)
        assert {len(piece) for piece in pieces} == (set() if len(text) < MIN_CHARACTERS else {min(50, len(text))})
        assert sorted(pieces) == sorted(drawn(backwards, len(needles) - 1 - k))
