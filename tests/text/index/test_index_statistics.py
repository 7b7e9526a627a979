"""Statistics of an index against counts by hand: every repeat found, none invented, none across documents."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.records import Document
from memaudit.runs.files import strict_json
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.index.repeats import (
    COPIES,
    copies_histogram,
    covered_symbols,
    find_repeats,
    maximal_repeats,
    most_repeated,
)
from memaudit.text.index.statistics import index_statistics
from memaudit.text.index.units import WordUnit

Text = list[str]
LENGTHS = (1, 2, 3, 5)

texts = st.lists(st.lists(st.sampled_from("abc"), max_size=12), min_size=1, max_size=6)


def indexed(documents: Sequence[Text], cuts: Sequence[int] = ()) -> CorpusIndex:
    every = [Document(f"{i}", " ".join(words), f"f:{i + 1}", "xy"[i % 2]) for i, words in enumerate(documents)]
    ends = [*sorted(cuts), len(every)]
    parts = [every[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    shards = [CorpusIndex.of_documents(part).shards[0] for part in parts]
    for shard, part in zip(shards, parts, strict=True):
        shard.domains.flags.writeable = True
        shard.domains[:] = ["xy".index(document.domain or "") for document in part]
    about = {"domains": ["x", "y"], "corpus": None, "rule": ""}
    return CorpusIndex(shards, WordUnit(), about, "", None)


def grams(documents: Sequence[Text], length: int) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    """Where every sequence of one length stands."""
    found = defaultdict(list)
    for number, words in enumerate(documents):
        for i in range(len(words) - length + 1):
            found[tuple(words[i : i + length])].append((number, i))
    return found


def occupied(places: Sequence[tuple[int, int]], length: int) -> set[tuple[int, int]]:
    return {(number, i + k) for number, i in places for k in range(length)}


@settings(deadline=None, max_examples=100)
@given(texts)
def test_covered_symbols(documents: list[Text]) -> None:
    covered = covered_symbols(find_repeats(indexed(documents).shards[0]), LENGTHS)
    for length, count in zip(LENGTHS, covered, strict=True):
        repeated = [places for places in grams(documents, length).values() if len(places) > 1]
        assert count == len(set().union(*(occupied(places, length) for places in repeated)))


@settings(deadline=None, max_examples=100)
@given(texts, st.sampled_from(LENGTHS))
def test_copies_histogram(documents: list[Text], length: int) -> None:
    spans, places = copies_histogram(find_repeats(indexed(documents).shards[0]), length)
    counts = [len(found) for found in grams(documents, length).values() if len(found) > 1]
    classes = [max(i for i, least in enumerate(COPIES) if count >= least) for count in counts]
    assert spans == [classes.count(i) for i in range(len(COPIES))]
    assert places == [sum(c for c, k in zip(counts, classes, strict=True) if k == i) for i in range(len(COPIES))]


@settings(deadline=None, max_examples=100)
@given(texts, st.sampled_from([1, 3]))
def test_maximal_repeats(documents: list[Text], least: int) -> None:
    shard = indexed(documents).shards[0]
    spans = maximal_repeats(shard, find_repeats(shard), least)
    vocabulary = {int(key): word for word in "abc" for key in WordUnit().keys([word])[0]}
    found = {}
    for length, first, last, extent in zip(*(values.tolist() for values in spans), strict=True):
        positions = shard.suffixes[first:last]
        symbols = shard.symbols[positions[0] : positions[0] + length]
        words = tuple(vocabulary[key] for key in shard.keys_of(symbols).tolist())
        found[words] = sorted(
            (int(shard.document_at(positions[i : i + 1])[0]), int(p)) for i, p in enumerate(positions)
        )
        numbers = sorted(int(p) for p in positions)
        assert extent >= len({p + k for p in numbers for k in range(length)})
    starts = shard.documents.tolist()
    expected = {}
    for length in range(least, 13):
        for words, places in grams(documents, length).items():
            sides = product((places,), ((-1, "before"), (length, "after")))
            if len(places) > 1 and all(
                len({neighbour(documents, number, i + step) for number, i in known}) > 1 for known, (step, _) in sides
            ):
                expected[words] = [(number, starts[number] + i) for number, i in places]
    assert found == expected


def neighbour(documents: Sequence[Text], number: int, place: int) -> Any:
    """The word at a place; beyond a document something that nothing equals."""
    words = documents[number]
    return words[place] if 0 <= place < len(words) else (number, place)


def test_most_repeated_spans_are_no_variants() -> None:
    licence = [f"licence{i}" for i in range(11)]
    footer = [f"footer{i}" for i in range(9)]
    documents = [[f"a{i}", *licence, f"b{i}", f"c{i}", *footer, f"d{i}"] for i in range(9)]
    documents += [[f"e{i}", *licence[:9], f"f{i}"] for i in range(3)]
    shard = indexed(documents).shards[0]
    spans = maximal_repeats(shard, find_repeats(shard), 8)
    chosen = most_repeated(shard, spans, 20)
    assert [(int(spans.length[i]), int(spans.last[i] - spans.first[i])) for i in chosen] == [(9, 12), (9, 9)]


def test_a_run_of_one_word_is_counted_once() -> None:
    documents = [["go"] * 500, [f"w{i}" for i in range(40)], [f"w{i}" for i in range(40)]]
    statistics = index_statistics(indexed(documents))
    assert [(s["symbols"], s["count"], s["occupied"]) for s in statistics["spans"]] == [(8, 493, 500), (40, 2, 80)]
    assert statistics["repeated"][0]["symbols"] == 580


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.sampled_from("ab"), max_size=30), min_size=1, max_size=6),
    st.lists(st.integers(0, 6), max_size=2),
)
def test_the_whole_record(documents: list[Text], cuts: list[int]) -> None:
    index = indexed(documents, cuts)
    statistics = index_statistics(index)
    assert json.loads(strict_json(statistics)) == statistics
    assert statistics["documents"] == len(documents)
    assert statistics["symbols"] == sum(map(len, documents))
    assert statistics["distinct_symbols"] == len(set().union(*documents))
    domains = {d["domain"]: (d["documents"], d["symbols"]) for d in statistics["domains"]}
    assert domains == {
        name: (len(documents[i::2]), sum(map(len, documents[i::2]))) for i, name in enumerate("xy") if documents[i::2]
    }
    copies = Counter(tuple(words) for words in documents if words)
    duplicates = statistics["duplicates"]
    assert duplicates["empty"] == sum(not words for words in documents)
    assert duplicates["documents"] == sum(copies.values()) - len(copies)
    assert duplicates["symbols"] == sum(len(words) * (count - 1) for words, count in copies.items())
    assert duplicates["groups"] == sum(count > 1 for count in copies.values())
    for group in duplicates["largest"]:
        equal = [f"f:{i + 1}" for i, words in enumerate(documents) if " ".join(words) == group["text"]]
        assert (group["copies"], group["sources"]) == (len(equal), equal[:3])
    for span in statistics["spans"]:
        words = span["text"].split()
        places = grams(documents, len(words))[tuple(words)]
        assert (span["symbols"], span["count"]) == (len(words), len(places))
        assert span["documents"] == len({number for number, _ in places})
        assert span["occupied"] == len(occupied(places, len(words)))
        assert span["sources"] == [f"f:{i + 1}" for i in sorted({number for number, _ in places})][:3]
    ranks = [span["occupied"] for span in statistics["spans"]]
    assert ranks == sorted(ranks, reverse=True)
    kept = [f" {span['text']} " for span in statistics["spans"]]
    assert not [one for one, other in product(kept, kept) if one != other and one in other]
    for row in statistics["repeated"]:
        expected = 0
        ends = [*sorted(cuts), len(documents)]
        for start, end in zip([0, *ends], ends, strict=False):
            part = grams(documents[start:end], row["length"])
            expected += len(set().union(*(occupied(p, row["length"]) for p in part.values() if len(p) > 1)))
        assert row["symbols"] == expected
        assert row["share"] == (expected / statistics["symbols"] if statistics["symbols"] else None)


@pytest.mark.parametrize("unit", ["word", "byte"])
def test_repeats_of_one_shard_are_counted_in_all(unit: str) -> None:
    text = "one sentence of boilerplate that stands in very many documents of this corpus, as it does in the others."
    first = CorpusIndex.of_documents([Document(f"{i}", f"{i} {text}", f"f:{i}") for i in range(3)], unit)
    second = CorpusIndex.of_documents([Document("z", f"z {text} and no more", "g:1")], unit)
    both = CorpusIndex([*first.shards, *second.shards], first._unit, first.manifest, "", None)
    (span,) = index_statistics(both)["spans"]
    assert (span["count"], span["documents"]) == (4, 4)
    assert span["text"].strip() == (text if unit == "byte" else text.rstrip("."))


def test_a_copied_document_is_shown_although_it_holds_boilerplate() -> None:
    notice = [f"n{i}" for i in range(8)]
    whole = [*(f"d{i}" for i in range(20)), *notice]
    others = [[f"o{i}", *notice, f"p{i}"] for i in range(30)]
    found = index_statistics(indexed([whole, *others, whole]))["spans"]
    assert [(span["symbols"], span["count"]) for span in found] == [(8, 32), (28, 2)]
