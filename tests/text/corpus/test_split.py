"""Slices are exact substrings, whole paragraphs where possible, and lose nothing but white space."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.corpus import split
from memaudit.text.corpus.split import split_text


def slices(text: str, cut: str):
    lines = text.split("\n")
    return list(split_text(iter(lines[:-1] if not lines[-1] else lines), cut, "x"))


LINE = st.one_of(
    st.sampled_from(["", " ", "\t\r", "\r"]),
    st.text("ab \u3000\r\x0bé", max_size=8),
    st.builds(lambda n, c: c * n, st.integers(900, 1100), st.sampled_from(["word ", "x"])),
    st.builds(lambda n: "word " * n, st.integers(0, 300)),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(LINE, max_size=12).map("\n".join), st.sampled_from(["paragraph", "block", "line"]))
def test_slices_are_substrings_in_order_that_lose_only_white_space(text, cut):
    lines = text.split("\n")
    end = 0
    for piece in slices(text, cut):
        start = sum(len(line) + 1 for line in lines[: piece.first - 1]) + piece.column - 1
        assert start >= end
        assert text.startswith(piece.text, start)
        assert not text[end:start].strip()
        end = start + len(piece.text)
        assert text.count("\n", 0, max(end - 1, 0)) + 1 <= piece.last + (cut == "line")
    assert not text[end:].strip()


@settings(deadline=None, max_examples=100)
@given(st.lists(LINE, max_size=20).map("\n".join))
def test_blocks_have_their_size(text):
    found = slices(text, "block")
    for piece in found[:-1]:
        assert 1_000 <= len(piece.text) <= 10_000
    assert all(piece.text and not piece.text.isspace() for piece in found)


@settings(deadline=None, max_examples=100)
@given(st.lists(LINE, max_size=12).map("\n".join))
def test_paragraphs_are_the_runs_of_lines_that_are_not_blank(text):
    groups = itertools.groupby(text.split("\n"), key=lambda line: bool(line) and not line.isspace())
    expected = ["\n".join(lines).removesuffix("\r") for filled, lines in groups if filled]
    assert [piece.text for piece in slices(text, "paragraph")] == expected


def test_block_joins_whole_paragraphs_with_what_stands_between():
    paragraphs = [f"paragraph {i} " + "word " * 60 for i in range(9)]
    text = "\n\n".join(paragraphs) + "\n"
    assert [piece.text for piece in slices(text, "block")] == ["\n\n".join(paragraphs[i : i + 4]) for i in (0, 4, 8)]


def test_paragraph_over_4000_characters_is_cut_at_line_ends():
    lines = [f"line {i:04} of a list that has no blank line in it" for i in range(1000)]
    found = slices("\n".join(lines), "block")
    assert "\n".join(piece.text for piece in found).split("\n") == lines
    assert {len(piece.text) // 100 for piece in found[:-1]} == {10}


def test_line_over_4000_characters_is_cut_at_white_space():
    text = "word " * 5000
    found = slices(text, "block")
    assert "".join(piece.text for piece in found) == text
    assert [piece.column for piece in found[:3]] == [1, 1005, 2005]
    assert all(piece.text.startswith(" word") for piece in found[1:-1])
    assert max(len(piece.text) for piece in slices("字" * 50_000, "block")) == 4_000


def test_endless_document_is_refused(monkeypatch):
    monkeypatch.setattr(split, "MAX_RECORD", 10_000)
    with pytest.raises(InputError, match="x:2: document over 10,000 bytes"):
        slices("\n" + "word\n" * 5000, "paragraph")
    with pytest.raises(InputError, match="x:1: document over 10,000 bytes"):
        slices("word\n" + "\n" * 5000, "block")
