"""The index answers as a search through the documents would, in any unit and however it is cut into shards."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.records import Document
from memaudit.text.index.corpus_index import CorpusIndex, build_index
from memaudit.text.index.units import ByteUnit, TokenUnit, Unit, WordUnit
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.words.words import words_of

WORDS = ["the", "The", "fox", "dog", "café", "CAFE\u0301", "Ѕаme", "same", "x"]
TOKENIZER = train_tokenizer("bpe", ["the fox and the dog at the same café"], 300)
UNITS: dict[str, Unit] = {"word": WordUnit(), "token": TokenUnit(TOKENIZER), "byte": ByteUnit()}

sentences = st.lists(st.sampled_from(WORDS), max_size=8).map(", ".join)
corpora = st.lists(sentences, min_size=1, max_size=6)


def documents(texts: Sequence[str]) -> list[Document]:
    return [Document(f"id{i}", text, f"file:{i + 1}", "even" if i % 2 == 0 else None) for i, text in enumerate(texts)]


def indexed(texts: Sequence[str], unit: str = "word", cuts: Sequence[int] = ()) -> CorpusIndex:
    """Return an index with a new shard at every cut."""
    tokenizer = TOKENIZER if unit == "token" else None
    pieces = np.split(np.arange(len(texts)), sorted(cuts))
    every = documents(texts)
    parts = [CorpusIndex.of_documents([every[i] for i in piece], unit, tokenizer) for piece in pieces]
    whole = CorpusIndex.of_documents(every, unit, tokenizer)
    return CorpusIndex(
        [part.shards[0] for part in parts], UNITS[unit], {**whole.manifest, "domains": ["even"]}, "", None
    )


def keys(text: str, unit: str) -> list[int]:
    return [int(key) for key in UNITS[unit].keys([text])[0]]


def places(texts: Sequence[str], wanted: Sequence[int], unit: str) -> list[tuple[int, int]]:
    """Where a sequence of keys stands: document and first symbol, by trying every place."""
    found = []
    for number, text in enumerate(texts):
        symbols = keys(text, unit)
        for i in range(len(symbols) - len(wanted) + 1):
            if symbols[i : i + len(wanted)] == list(wanted):
                found.append((number, i))
    return found if wanted else []


cases = st.tuples(corpora, sentences, st.sampled_from(list(UNITS)), st.lists(st.integers(0, 6), max_size=2))


@settings(deadline=None, max_examples=100)
@given(cases)
def test_count_and_locate(case: tuple[list[str], str, str, list[int]]) -> None:
    texts, query, unit, cuts = case
    index = indexed(texts, unit, cuts)
    queries = [query, query[:5], texts[0], "absent", ""]
    expected = [places(texts, keys(text, unit), unit) for text in queries]
    assert index.count(queries) == [len(found) for found in expected]
    for text, found in zip(queries, expected, strict=True):
        where = index.locate(text, 1000)
        assert [(int(o.document[2:]), o.source) for o in where] == [(i, f"file:{i + 1}") for i, _ in found]
        assert where[:2] == index.locate(text, 2)
        assert {o.domain for o in where} <= {"even", None}
        once = index.places(index.keys(text), 1000, one_per_document=True)
        assert (once.count, once.documents) == (len(found), len({i for i, _ in found}))
        assert [o.document for o in once.occurrences] == [f"id{i}" for i in sorted({i for i, _ in found})]
        for occurrence in where:
            raw = texts[int(occurrence.document[2:])][occurrence.start : occurrence.end]
            assert raw == index.text_at(occurrence)
            if unit == "word":
                assert keys(raw, unit) == keys(text, unit)
            else:
                assert text in raw


@settings(deadline=None, max_examples=100)
@given(cases)
def test_longest_matches(case: tuple[list[str], str, str, list[int]]) -> None:
    texts, query, unit, cuts = case
    lengths, counts = indexed(texts, unit, cuts).longest_matches(query)
    symbols = keys(query, unit)
    assert len(lengths) == len(counts) == len(symbols)
    for i in range(len(symbols)):
        longest = max((k for k in range(1, len(symbols) - i + 1) if places(texts, symbols[i : i + k], unit)), default=0)
        assert (lengths[i], counts[i]) == (longest, len(places(texts, symbols[i : i + longest], unit)))


@settings(deadline=None, max_examples=100)
@given(cases)
def test_next_counts(case: tuple[list[str], str, str, list[int]]) -> None:
    texts, query, unit, cuts = case
    index = indexed(texts, unit, cuts)
    length, found, counts = index.next_counts(index.keys(query))
    context = keys(query, unit)
    ends = [k for k in range(1, len(context) + 1) if places(texts, context[-k:], unit)]
    assert length == max(ends, default=0)
    following: Counter[int] = Counter()
    for number, text in enumerate(texts):
        symbols = [*keys(text, unit), 0]
        starts = (
            [i for n, i in places(texts, context[-length:], unit) if n == number] if length else range(len(symbols))
        )
        following.update(symbols[i + length] for i in starts)
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == dict(following)
    assert found.tolist() == sorted(found.tolist())


@settings(deadline=None, max_examples=50)
@given(corpora, st.sampled_from(list(UNITS)), st.lists(st.integers(0, 6), max_size=2))
def test_words_of_all_documents(texts: list[str], unit: str, cuts: list[int]) -> None:
    index = indexed(texts, unit, cuts)
    number = 0
    for block in index.word_hashes():
        for i in range(len(block.offsets) - 1):
            assert block.text_of(i) == texts[number]
            assert block.source_of(i) == f"file:{number + 1}"
            hashes = block.hashes[block.offsets[i] : block.offsets[i + 1]]
            assert hashes.tolist() == words_of(texts[number]).hashes.tolist()
            number += 1
    assert number == len(texts)


def test_blocks_of_words_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memaudit.text.index.corpus_index.BLOCK", 10)
    texts = ["a b c", "d e f g h", "", "i", "j k l m n o p q r s t u v", "w"]
    blocks = list(indexed(texts).word_hashes())
    assert [len(block.offsets) - 1 for block in blocks] == [2, 2, 1, 1]
    assert [block.text_of(0) for block in blocks] == [texts[0], texts[2], texts[4], texts[5]]
    assert next(iter(indexed(texts, cuts=[1]).word_hashes([0]))).text_of(0) == "a b c"


def test_typography_and_disguise_do_not_count_in_words() -> None:
    index = indexed(["It was the BEST of times;\nit was the worst…", "Iт wаs the  b\u200best o\u00adf, times"])
    assert index.count(["it was the best"]) == [2]
    first, second = index.locate("the best of")
    assert index.text_at(first) == "the BEST of"
    assert index.text_at(second) == "the  b\u200best o\u00adf"
    assert index.count(["IT WAS THE — worst!"]) == [1]


def test_bytes_are_as_they_are() -> None:
    index = indexed(["naïve Naïve"], "byte")
    assert index.count(["naïve", "aïve", "naive", "ï"]) == [1, 2, 0, 2]
    assert [(o.start, o.end) for o in index.locate("ïv")] == [(2, 4), (8, 10)]


def test_tokens_keep_their_tokenizer(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text('{"text": "the fox and the dog"}\n{"text": "the same fox"}\n', encoding="utf-8")
    index = build_index([str(corpus)], tmp_path / "index", unit="token", tokenizer=TOKENIZER)
    again = CorpusIndex.open(tmp_path / "index")
    assert again.tokenizer is not None
    assert again.tokenizer.sha256 == TOKENIZER.sha256
    ids = TOKENIZER.encode_batch(["the fox"])[0].ids
    assert (again.keys("the fox") == ids.astype(np.uint64) + 1).all()
    assert index.count(["the", " the"]) == again.count(["the", " the"]) == [2, 1]
    assert index.symbols == sum(len(e) for e in TOKENIZER.encode_batch(["the fox and the dog", "the same fox"]))


def test_shards_hold_all_documents(tmp_path: Path) -> None:
    texts = ["a b c d", "e f", "g", "", "a b c", "d d d d d d d d"]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text or "..."}) + "\n" for text in texts), encoding="utf-8")
    whole = build_index([str(corpus)], tmp_path / "whole")
    cut = build_index([str(corpus)], tmp_path / "cut", shard_symbols=9)
    assert [len(shard) for shard in cut.shards] == [2, 3, 1]
    assert all(len(shard.symbols) <= 9 for shard in cut.shards)
    assert (cut.symbols, cut.documents) == (whole.symbols, whole.documents) == (18, 6)
    for query in ("a b c", "d", "d d", "zzz"):
        assert cut.count([query]) == whole.count([query])
        located = [[(o.source, o.start, o.end) for o in index.locate(query)] for index in (cut, whole)]
        assert located[0] == located[1]
    assert [cut.document_text(0, 1), cut.source(2, 0)] == ["e f", f"{corpus}:6"]


def test_the_documented_example(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "index.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], *lines[2:]] == ["[3, 2, 0]", "[0 0 6 5 4 3 2 1]", "3 [2 1]", "it was the best of times"]
    assert "source='book.txt:1', document='a', start=7, end=18" in lines[1]
