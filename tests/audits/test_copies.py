"""Copies of what was asked for and places of what was said instead, against counting by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.extraction import copies
from memaudit.audits.extraction.copies import Measured, count_copies, plan_copies, whole_words
from memaudit.audits.extraction.run import audit
from memaudit.errors import InputError, RunError
from memaudit.models.base import NextTokenModel
from memaudit.records import Document, FloatArray, TokenIds, WindowRecord
from memaudit.runs.directory import read_run
from memaudit.text.index.corpus_index import CorpusIndex, build_index
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.words.words import words_of


def record(suffix: str, prefix: str = "", said: str | None = None, start: int = 0, **fields: Any) -> WindowRecord:
    about: dict[str, Any] = {
        "index": 0,
        "member": True,
        "document": "d",
        "source": "d.jsonl:1",
        "domain": None,
        "copies": None,
        "prefix_ids": [],
        "suffix_ids": [],
        "log_prob": None,
        "matched": 0,
        "extractable": False,
        "extraction_strength": None,
    }
    texts = {"start": start, "prefix_text": prefix, "suffix_text": suffix, "continuation_text": said}
    return WindowRecord(**about | texts | fields)


def indexed(*texts: str) -> CorpusIndex:
    return CorpusIndex.of_documents(Document(str(i), text, str(i)) for i, text in enumerate(texts))


def counted(suffix: str, *texts: str, **fields: Any) -> tuple[int | None, int | None]:
    [found] = count_copies([record(suffix, **fields)], indexed(*texts))
    return found.copies_exact, found.copies_normalised


spaced = st.lists(st.tuples(st.sampled_from(["a", "A", "bb", "Bb"]), st.sampled_from([" ", ", ", "\n"])), max_size=12)


def joined(pieces: list[tuple[str, str]]) -> str:
    return "".join(word + gap for word, gap in pieces)


ESCAPES = [
    "&eacute;",
    "&#233;",
    "&amp;eacute;",
    "&amp;amp;",
    "&nbsp;",
    "%C3%A9",
    "%20",
    "\\u00e9",
    "\\n",
    "-\n  e",
    "<br />",
]


@pytest.mark.parametrize("escape", [*ESCAPES, "<b class='x y'>e</b>"])
def test_a_span_that_ends_in_an_escape_is_counted_wherever_it_is_cut(escape: str) -> None:
    text = f"we met in the old caf{escape} by the river"
    for end in range(len("we met in"), len(text) + 1):
        assert counted(text[:end], text, "another text") == (1, 1), text[:end]


@settings(deadline=None, max_examples=60)
@given(st.lists(spaced, min_size=1, max_size=4), spaced.filter(len))
def test_copies_are_those_counted_by_hand(documents: list[list[tuple[str, str]]], span: list[tuple[str, str]]) -> None:
    wanted = [word.lower() for word, _ in span]
    text = joined(span)
    exact, normalised = 0, 0
    for document in documents:
        words = [word.lower() for word, _ in document]
        for at in range(len(words) - len(wanted) + 1):
            if words[at : at + len(wanted)] == wanted:
                normalised += 1
                exact += joined(document[at : at + len(wanted)]) == text
    assert counted(text, *map(joined, documents)) == (exact, normalised)


def test_copies_that_overlap_are_each_one() -> None:
    assert counted("na na na ", "na na na na na ") == (3, 3)


@pytest.mark.parametrize(
    ("prefix", "suffix", "start", "whole"),
    [
        ("the ware", "house is red", 0, ["is"]),
        ("the ", "house is red", 0, ["house", "is"]),
        ("the", " house is red.", 0, ["house", "is", "red"]),
        ("", "house is red ", 0, ["house", "is", "red"]),
        ("", "house is red ", 7, ["is", "red"]),
        ("x" * 200, "y is", 0, []),
        ("人人", "生而自由", 0, ["生", "而", "自", "由"]),
        ("e", "\u0301tude in a key ", 0, ["in", "a", "key"]),
    ],
)
def test_words_that_the_borders_cut_are_left_out(prefix: str, suffix: str, start: int, whole: list[str]) -> None:
    found = whole_words(record(suffix, prefix, start=start), suffix).keys
    expected = [words_of(word).hashes[0] for word in whole]
    assert found.tolist() == expected


def test_a_span_without_a_whole_word_is_not_counted() -> None:
    assert counted("ouse", "a house", prefix="the h") == (None, None)
    assert counted(" ?! ", "a ?! house") == (None, None)


def test_no_more_places_are_compared_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MAX_COMPARED", 3)
    assert counted(" same words ", *["the SAME words again"] * 2, *["the same words again"] * 5) == (1, 7)


SAID = "one two three four five six seven eight"


@pytest.mark.parametrize(
    ("said", "suffix", "elsewhere"),
    [
        (f" {SAID}.", " nothing of the kind", 2),
        (f" {SAID} nine.", " nothing of the kind", 0),
        (f" {SAID}", " nothing of the kind", None),  # its last word may be cut, and seven are too few
        (f" {SAID} ni", " nothing of the kind", 2),
        (f" {SAID}\ufffd\ufffd", " nothing of the kind", None),
        (f" {SAID.upper()}!", f" {SAID}.", None),
        (f" {SAID}.", f" {SAID}.", None),
        (None, f" {SAID}.", None),
    ],
)
def test_other_continuations_are_looked_for(said: str | None, suffix: str, elsewhere: int | None) -> None:
    index = indexed(f"zero {SAID} ten", f"ZERO {SAID.replace(' ', '; ')} ten")
    [found] = count_copies([record(suffix, "zero", said)], index)
    assert found.elsewhere == elsewhere


def test_other_documents_that_hold_a_span_are_named() -> None:
    texts = ["A B C D", *["x a b c d e"] * 2, "a b c d.", *["so: a b c d!"] * 3]
    index = CorpusIndex.of_documents(
        Document(f"id-{i}" if i else "t:0", text, f"t:{i}") for i, text in enumerate(texts)
    )
    [found] = count_copies([record(" b c d", "a", source="t:3", document="id-3")], index)
    assert (found.copies_normalised, found.copies_exact) == (7, 6)
    assert found.copies_in == ["id-1 (t:1)", "id-2 (t:2)", "id-4 (t:4)"]
    [found] = count_copies([record(" B C D", "A", source="t:9")], index)
    assert found.copies_in == ["t:0", "id-1 (t:1)", "id-2 (t:2)"]
    [found] = count_copies([record(" b c d", "a", source="./t:0")], indexed("a b c d", "x"))
    assert found.copies_in == [], "its own document by another name"
    [found] = count_copies([record(" nothing", "zero", f" {SAID}. ")], indexed(f"zero {SAID} ten", "a b"))
    assert (found.copies_in, found.elsewhere_in) == (None, ["0"])


def test_a_block_is_counted_as_its_records_alone() -> None:
    index = indexed(f"zero {SAID} ten", "a b c d", "A, b, c, d")
    block = [record(" b c ", "a"), record(f" {SAID} t", "zero", f" {SAID[4:]} nine ten "), record("", "a")]
    assert count_copies(block, index) == [count_copies([one], index)[0] for one in block]


def test_a_text_is_measured_anew_each_time_it_is_read() -> None:
    text = Measured([Document("a", "abc", "a"), Document("b", "de", "b")])
    assert [len(list(text)), len(list(text)), text.characters] == [2, 2, 5]


# The whole audit


def passages(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    letters = list("abcdefgh")
    return [" ".join("".join(random.choice(letters, 5)) for _ in range(40)) + "." for _ in range(count)]


def write(path: Path, texts: Sequence[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


class Follows(NextTokenModel):
    """Goes on after every known start of a text as it was told to."""

    family = "follows"

    def __init__(self, told: dict[str, str]) -> None:
        self.tokenizer = train_tokenizer("char", ["abcdefgh. "])
        self.told = told

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), self.tokenizer.vocab_size), -20.0)
        for row, prefix in zip(rows, prefixes, strict=True):
            text = self.tokenizer.decode(prefix)
            follows = self.told.get(text[:20], "")[len(text) :] or "."
            row[self.tokenizer.encode_batch([follows[0]])[0].ids[0]] = 0
        return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


@pytest.fixture
def setting(tmp_path: Path) -> tuple[Follows, str, str]:
    """Ten texts that are recited; ten others, and those held out, after which the first is recited."""
    train, heldout = passages(20, 1), passages(20, 2)
    told = {text[:20]: text for text in train[:10]}
    told |= {text[:20]: text[:20] + train[0][20:] for text in train[10:] + heldout}
    copied = [*train, train[0], train[0].upper(), f"Quoted: {train[1]} End of quote."]
    return Follows(told), write(tmp_path / "train.jsonl", copied), write(tmp_path / "heldout.jsonl", heldout)


ASKED: dict[str, Any] = {"prefix": 20, "suffix": 100, "formats": ("html",)}


def test_findings_carry_their_copies(setting: tuple[Follows, str, str], tmp_path: Path) -> None:
    result = audit(*setting, out=tmp_path / "run", **ASKED)
    found = {f["text"][:9]: (f["copies_exact"], f["copies_normalised"]) for f in result.report["findings"]}
    train = passages(20, 1)
    expected = {text[20:29]: (1, 1) for text in train[:10]}
    expected |= {train[0][20:29]: (2, 3), train[1][20:29]: (2, 2)}
    assert found == expected
    block = result.report["copies"]
    assert (block["counted"], block["reason"], block["index"]) == (True, None, None)
    sides = {side: (rate["hits"], rate["n"]) for side, rate in block["elsewhere"].items()}
    assert sides == {"train": (10, 10), "heldout": (20, 20)}
    assert {r.elsewhere for r in result.records if not r.extractable and not r.start} == {3}
    assert {r.copies_exact for r in result.records if not r.member} == {0}
    page = result.files[0].read_text(encoding="utf-8")
    page = re.sub(r"<[^>]+>", " ", page)
    for words in ("occurs 3 times in training, 2 exact", "The continuation occurs 3 times in training"):
        assert words in re.sub(r"\s+", " ", page)


def test_an_index_on_disk_gives_the_same_counts_and_another_run(
    setting: tuple[Follows, str, str], tmp_path: Path
) -> None:
    model, train, heldout = setting
    index = build_index([train], tmp_path / "index", shard_symbols=300)
    assert len(index.shards) > 1
    here = audit(model, train, heldout, out=tmp_path / "here", **ASKED)
    there = audit(model, train, heldout, index=tmp_path / "index", out=tmp_path / "there", **ASKED)
    assert here.records == there.records
    assert there.report["copies"]["index"] == {
        "sha256": index.sha256,
        "documents": index.documents,
        "words": index.symbols,
    }
    assert index.sha256[:12] in there.files[0].read_text(encoding="utf-8")
    with pytest.raises(RunError, match=r"another plan: copies\.index differs"):
        audit(model, train, heldout, out=tmp_path / "there", **ASKED)
    with pytest.raises(RunError, match=r"another plan: copies\.counted differs"):
        audit(model, train, heldout, copies=False, out=tmp_path / "here", **ASKED)


def test_copies_that_nobody_wants_are_not_counted(setting: tuple[Follows, str, str], tmp_path: Path) -> None:
    result = audit(*setting, out=tmp_path / "run", copies=False, **ASKED)
    assert all(r.copies_exact is r.copies_normalised is r.elsewhere is None for r in result.records)
    assert {f["copies_exact"] for f in result.report["findings"]} == {None}
    assert result.report["copies"]["counted"] is False
    assert "Copies in the training text were not counted: not requested." in result.report["limits"]


def test_a_text_too_big_for_memory_is_not_indexed(
    setting: tuple[Follows, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "MAX_INDEXED", 1_000)
    monkeypatch.setattr(CorpusIndex, "of_documents", lambda *_: pytest.fail("indexed all the same"))
    result = audit(*setting, out=tmp_path / "run", **ASKED)
    reason = result.report["copies"]["reason"]
    assert f"memaudit index build {setting[1]} --out DIR" in reason
    assert any(reason in limit for limit in result.report["limits"])
    assert {r.copies_exact for r in result.records} == {None}


def test_a_finished_run_needs_no_index(
    setting: tuple[Follows, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = audit(*setting, out=tmp_path / "run", **ASKED)
    monkeypatch.setattr(CorpusIndex, "of_documents", lambda *_: pytest.fail("indexed again"))
    assert audit(*setting, out=tmp_path / "run", **ASKED).report == first.report


def test_held_out_text_that_stands_in_the_index_is_named(setting: tuple[Follows, str, str], tmp_path: Path) -> None:
    model, train, heldout = setting
    build_index([train, heldout], tmp_path / "index")
    result = audit(model, train, heldout, index=tmp_path / "index", out=tmp_path / "run", **ASKED)
    assert any(
        "suffixes of 40 of 40 held-out windows occur in the training text" in limit for limit in result.report["limits"]
    )


def test_an_index_of_another_text_is_named(setting: tuple[Follows, str, str], tmp_path: Path) -> None:
    model, train, heldout = setting
    build_index([heldout], tmp_path / "index")
    result = audit(model, train, heldout, index=tmp_path / "index", out=tmp_path / "run", **ASKED)
    said = "training windows do not occur in the index: it does not cover all the training text"
    assert [said in limit for limit in result.report["limits"]].count(True) == 1
    assert not any(said in limit for limit in audit(*setting, out=tmp_path / "other", **ASKED).report["limits"])


def test_a_log_of_before_copies_can_be_read(setting: tuple[Follows, str, str], tmp_path: Path) -> None:
    from memaudit.runs.log import line_of

    audit(*setting, out=tmp_path / "run", copies=False, **ASKED)
    log = tmp_path / "run" / "items.log"
    rows = [json.loads(line[9:]) for line in log.read_bytes().splitlines()]
    new = ("copies_exact", "copies_normalised", "elsewhere", "copies_in", "elsewhere_in")
    log.write_bytes(b"".join(line_of({k: v for k, v in row.items() if k not in new}) for row in rows))
    assert [r.elsewhere for r in read_run(tmp_path / "run").records] == [None] * len(rows)


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    index = indexed("some text")
    with pytest.raises(InputError, match="no copies to count"):
        plan_copies(False, index, 9, ["a"])
    with pytest.raises(InputError, match="an index of bytes"):
        plan_copies(True, CorpusIndex.of_documents([Document("a", "b", "a")], "byte"), 9, ["a"])
