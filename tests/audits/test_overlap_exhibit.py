"""Overlap metrics against published predictions of real models, row by row: equal, or the difference is explained.

The rows (Xu et al. 2024: Qwen-1.8B and Gemma-2B on the test split of GSM8K) carry predicted and true text, where the
prediction began, and the scores that the authors published: exact match, edit similarity and ROUGE.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from memaudit.metrics.fuzzy import edit_similarity, rouge_l_text, words
from memaudit.metrics.overlap import GRAM, STARTS, gram_starts

EXACT = {"Qwen-1_8B": (2549, "38.7%"), "Gemma-2B": (1066, "16.2%")}
ROWS, ITEMS = 6595, 1319
STEMMED = RougeScorer(["rougeL"], use_stemmer=True)
PLAIN = RougeScorer(["rougeL"])
EXPLAINED = {
    "Qwen-1_8B": {"equal": 6515, "stems": 78, "words outside ASCII": 2},
    "Gemma-2B": {"equal": 6496, "stems": 79, "words outside ASCII": 4, "no word": 16},
}

Row = dict[str, Any]


@pytest.fixture(scope="module", params=EXACT)
def published(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, list[Row]]:
    file = shared_data / "exhibits/real-llm-ngram-predictions" / f"5gram-{request.param}-GSM8K-test.jsonl.gz"
    if not file.is_file():
        pytest.skip(f"{file.name} does not lie beside this checkout")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return request.param, [json.loads(line) for line in lines]


def test_exact_matches_are_the_published_ones(published: tuple[str, list[Row]]) -> None:
    model, rows = published
    exact = [row["predicted"] == row["original"] for row in rows]
    assert [row["exact"] for row in rows] == exact
    hits, rate = EXACT[model]
    assert (len(rows), sum(exact), f"{sum(exact) / len(rows):.1%}") == (ROWS, hits, rate)


def test_starts_are_the_published_ones(published: tuple[str, list[Row]]) -> None:
    """The last place is `GRAM` tokens before the end, so it tells how long the item was in the model's tokens."""
    _, rows = published
    places: dict[int, list[int]] = {}
    for row in rows:
        places.setdefault(row["idx"], []).append(row["start"])
    assert len(places) == ITEMS
    assert Counter(map(len, places.values())) == {STARTS: ITEMS}
    assert all(gram_starts(own[-1] + GRAM) == own for own in places.values())


def test_edit_similarities_are_the_published_ones(published: tuple[str, list[Row]]) -> None:
    """Theirs is of characters, over the longer length: ours on strings, in every row."""
    _, rows = published
    ours = [edit_similarity(row["predicted"], row["original"]) for row in rows]
    assert ours == pytest.approx([row["edit_similarity"] for row in rows], abs=1e-12)


def test_rouge_differs_in_what_a_word_is_and_nothing_else(published: tuple[str, list[Row]]) -> None:
    model, rows = published
    assert Counter(kind_of_difference(row) for row in rows) == EXPLAINED[model]


def kind_of_difference(row: Row) -> str:
    """Return why our ROUGE-L of words is not the published one, checked in the row; ``equal`` where it is.

    - stems: theirs cuts words to their stems, so that "exercised" is "exercises"; without stems it is ours.
    - words outside ASCII: theirs drops every character that is no ASCII letter or digit, in the middle of a word too;
      ours reads words of any script. With such a character in the row, ours of what theirs keeps is theirs unstemmed.
    - no word: ours is undefined where a side has no word to compare; theirs is 0.
    """
    true, said = row["original"], row["predicted"]
    ours, theirs = rouge_l_text(true, said), row["rouge"]
    assert theirs == pytest.approx(STEMMED.score(true, said)["rougeL"].fmeasure, abs=1e-12)
    if ours == pytest.approx(theirs, abs=1e-12):
        return "equal"
    if ours is None:
        assert not (words(true) and words(said))
        assert theirs == 0
        return "no word"
    plain = PLAIN.score(true, said)["rougeL"].fmeasure
    if ours == pytest.approx(plain, abs=1e-12):
        return "stems"
    assert not (true + said).isascii()
    kept = (" ".join(tokenize(text, None)) for text in (true, said))
    assert rouge_l_text(*kept) == pytest.approx(plain, abs=1e-12)
    return "words outside ASCII"
