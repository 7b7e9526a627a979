"""Whose characters: against counting by hand, and no better than guessing where nothing differs."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from memaudit.audits.comparison.kind import LENGTHS, SMOOTHING, kind_scores
from memaudit.metrics.roc import auc


def by_hand(members: list[str], heldout: list[str], place: int) -> float:
    """Count all n-grams of either side but those of the text itself, one by one."""
    texts = [*members, *heldout]

    def grams(text: str) -> list[str]:
        return [text[i : i + n] for n in LENGTHS for i in range(len(text) - n + 1)]

    vocabulary = {gram for text in texts for gram in grams(text)}
    sides = []
    for side in (range(len(members)), range(len(members), len(texts))):
        counted = [gram for i in side if i != place for gram in grams(texts[i])]
        total = len(counted) + SMOOTHING * len(vocabulary)
        sides.append([math.log((counted.count(gram) + SMOOTHING) / total) for gram in grams(texts[place])])
    return sum(a - b for a, b in zip(*sides, strict=True)) / max(1, len(sides[0]))


def test_scores_are_those_of_counting_by_hand() -> None:
    members, heldout = ["abab cab", "bab", "ccab a"], ["dada", "add ab", "", "x"]
    found = np.concatenate(kind_scores(members, heldout))
    for place in range(7):
        assert found[place] == pytest.approx(by_hand(members, heldout, place), abs=1e-12)


def test_it_guesses_on_one_kind_of_text_and_tells_two_apart() -> None:
    drawn, areas = random.Random(1), []
    words = ["".join(drawn.choices("abcdefghij", k=4)) for _ in range(200)]
    for _ in range(20):
        texts = [" ".join(drawn.choices(words, k=12)) for _ in range(80)]
        areas.append(auc(*kind_scores(texts[:40], texts[40:])).estimate)  # type: ignore[union-attr]
    assert abs(float(np.mean(areas)) - 0.5) < 0.05
    other = [
        " ".join(drawn.choices(["".join(drawn.choices("ghijklmn", k=4)) for _ in range(200)], k=12)) for _ in range(40)
    ]
    told = auc(*kind_scores(texts[:40], other))
    assert told is not None
    assert told.estimate > 0.95
