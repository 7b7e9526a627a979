"""Traces of a text: all maximal spans that the corpus holds, with true counts, places and rarities."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.runs.files import strict_json
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.index.trace import SOURCES, trace

Words = list[str]

words = st.lists(st.sampled_from("abcd"), max_size=14)


def indexed(texts: Sequence[str], unit: str = "word") -> CorpusIndex:
    every = [Document(f"id{i}", text, f"f:{i + 1}", "web") for i, text in enumerate(texts)]
    return CorpusIndex.of_documents(every, unit)


def spans_of(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [span for passage in found["passages"] for span in passage["spans"]]


def places(documents: Sequence[Words], wanted: Words) -> list[tuple[int, int]]:
    return [
        (number, i)
        for number, words in enumerate(documents)
        for i in range(len(words) - len(wanted) + 1)
        if words[i : i + len(wanted)] == wanted
    ]


@settings(deadline=None, max_examples=100)
@given(st.lists(words, min_size=1, max_size=4), words.filter(lambda w: len(w) >= 2), st.integers(1, 3))
def test_maximal_spans(documents: list[Words], query: Words, least: int) -> None:
    least = min(least, len(query))
    found = trace(indexed([" ".join(document) for document in documents]), " ".join(query), min_words=least)
    assert json.loads(strict_json(found)) == found
    held = {(i, k) for i in range(len(query)) for k in range(i + 1, len(query) + 1) if places(documents, query[i:k])}
    maximal = {(i, k) for i, k in held if not {(i - 1, k), (i, k + 1)} & held}
    expected = {(i, k): places(documents, query[i:k]) for i, k in maximal if k - i >= least}
    total = sum(map(len, documents))
    assert {(span["start"] // 2, (span["end"] + 1) // 2) for span in spans_of(found)} == expected.keys()
    assert found["spans"] == len(expected)
    assert found["covered_words"] == len({word for i, k in expected for word in range(i, k)})
    for span in spans_of(found):
        start, end = span["start"] // 2, (span["end"] + 1) // 2
        where = expected[start, end]
        assert (span["count"], span["words"]) == (len(where), end - start)
        assert span["documents"] == len({number for number, _ in where})
        firsts = [min(i for n, i in where if n == number) for number in sorted({number for number, _ in where})]
        assert [place["start"] for place in span["sources"]] == [2 * i for i in firsts]
        chances = [len(places(documents, [word])) / total for word in query[start:end]]
        assert span["rarity"] == pytest.approx(-sum(map(math.log10, chances)))


@settings(deadline=None, max_examples=50)
@given(st.lists(words, min_size=1, max_size=4), words.filter(bool))
def test_passages_are_disjoint_and_in_order_of_rarity(documents: list[Words], query: Words) -> None:
    text = " ".join(query)
    found = trace(indexed([" ".join(document) for document in documents]), text, min_words=1)
    bounds = sorted((passage["start"], passage["end"]) for passage in found["passages"])
    assert all(end <= start for (_, end), (start, _) in pairwise(bounds))
    rarities = [[span["rarity"] for span in passage["spans"]] for passage in found["passages"]]
    assert all(ranks == sorted(ranks, reverse=True) for ranks in rarities)
    assert [ranks[0] for ranks in rarities] == sorted((ranks[0] for ranks in rarities), reverse=True)
    for passage in found["passages"]:
        assert passage["text"] == text[passage["start"] : passage["end"]]
        assert passage["start"] == min(span["start"] for span in passage["spans"])
        assert passage["end"] == max(span["end"] for span in passage["spans"])


def test_spans_that_overlap_are_one_passage() -> None:
    index = indexed(["one two three four five", "four five six seven", "nine ten"])
    found = trace(index, "zero One, two three FOUR five six seven eight nine: ten", min_words=2)
    texts = [passage["text"] for passage in found["passages"]]
    assert texts == ["One, two three FOUR five six seven", "nine: ten"]
    first = found["passages"][0]
    assert [(span["words"], span["count"]) for span in first["spans"]] == [(5, 1), (4, 1)]
    assert (found["words"], found["covered_words"], found["spans"]) == (11, 9, 3)
    source = first["spans"][1]["sources"][0]
    assert source == {"source": "f:2", "document": "id1", "domain": "web", "start": 0, "end": 19}


def test_the_rarest_are_looked_up_and_the_rest_counted() -> None:
    index = indexed(["common words here"] * 9 + ["a strange utterance"])
    found = trace(index, "common words here and a strange utterance", min_words=3, limit=1)
    assert (found["spans"], [span["count"] for span in spans_of(found)]) == (2, [1])
    assert trace(index, "common words here", min_words=3)["passages"][0]["spans"][0]["documents"] == 9


def test_at_most_ten_sources() -> None:
    found = trace(indexed(["the very same text"] * 25), "the very same text", min_words=2)
    (span,) = spans_of(found)
    assert (span["count"], span["documents"], len(span["sources"])) == (25, 25, SOURCES)
    assert [place["source"] for place in span["sources"]] == [f"f:{i + 1}" for i in range(SOURCES)]


def test_found_whatever_its_typography() -> None:
    index = indexed(["It was the best of times,\nit was the worst of times"])
    found = trace(index, "“IT WAS THE BЕST OF TIMES — it wаs the worst…”", min_words=8)
    (passage,) = found["passages"]
    assert passage["text"] == "IT WAS THE BЕST OF TIMES — it wаs the worst"
    assert passage["spans"][0]["sources"][0]["end"] == 42


def test_bytes_count_whole_words() -> None:
    index = indexed(["the quick brown fox"], "byte")
    found = trace(index, "a thequick brown foxes", min_words=2)
    assert [(p["text"], p["spans"][0]["words"]) for p in found["passages"]] == []
    found = trace(index, "is quick brown foxes", min_words=2)
    assert [(p["text"], p["spans"][0]["words"]) for p in found["passages"]] == [(" quick brown fox", 2)]
    assert found["covered_words"] == 2


def test_nothing_stands_there() -> None:
    found = trace(indexed(["a b c"]), "d e f", min_words=2)
    assert (found["spans"], found["covered_words"], found["passages"]) == (0, 0, [])


def test_a_text_shorter_than_a_span_is_refused() -> None:
    with pytest.raises(InputError, match=r"the text has only 2 of the 8 words"):
        trace(indexed(["a b c"]), "a b")


def test_a_corpus_of_one_word_has_no_rarity() -> None:
    (span,) = spans_of(trace(indexed(["hello"]), "hello", min_words=1))
    assert math.copysign(1, span["rarity"]) == 1
    assert span["rarity"] == 0
