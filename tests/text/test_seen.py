"""A text as it is seen: blanks between words and between letters; the same for a text and for many."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.seen import BLANKS, as_seen, documents_as_seen
from memaudit.text.words import encode_texts, hash_words, words_of


def words(text: str) -> list[str]:
    return words_of(text).texts


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("AT&T; R&D", "AT&T; R&D"),
        ("the\u2800cat\u2800sat", "the cat sat"),
        ("I\u3164am\u3164a\u3164man", "I am a man"),
        ("w\u2800o\u2800r\u2800d next", "w\u2800o\u2800r\u2800d next"),
        ("the\u2800\u2800cat\u3164\u2800sat", "the  cat  sat"),
        ("\u2800word\u2800", "\u2800word\u2800"),
        ("w\u2800o\u2800r\u2800d\u2800\u2800a\u2800s", "w\u2800o\u2800r\u2800d\u2800\u2800a\u2800s"),
        ("plain", "plain"),
    ],
)
def test_what_is_seen(text: str, seen: str) -> None:
    found = as_seen(text)
    assert found == seen
    assert len(found) == len(text)


@pytest.mark.parametrize("blank", BLANKS)
def test_words_set_apart_by_blanks_are_words_and_letters_are_one(blank: str) -> None:
    assert words(f"the{blank}quick{blank}brown{blank}fox") == ["the", "quick", "brown", "fox"]
    assert words(" ".join(blank.join(word) for word in ("quick", "brown", "foxes"))) == ["quick", "brown", "foxes"]


pieces = st.sampled_from([*BLANKS, "&amp;", "&", ";", " ", "a", "word", "é", "漢字", "\n"])
texts = st.lists(st.lists(pieces, max_size=12).map("".join), max_size=6)


@given(texts)
@settings(deadline=None, max_examples=200)
def test_many_documents_are_read_as_each_alone(documents: list[str]) -> None:
    data, offsets = documents_as_seen(*encode_texts(documents))
    seen = [data[a:b].tobytes().decode() for a, b in pairwise(offsets)]
    assert seen == [as_seen(text) for text in documents]
    hashes, firsts = hash_words(*encode_texts(documents))
    alone = [words_of(text).hashes.tolist() for text in documents]
    assert [hashes[a:b].tolist() for a, b in pairwise(firsts)] == alone


def test_plain_documents_are_not_copied() -> None:
    data, offsets = encode_texts(["plain words", "R&D; more"])
    assert documents_as_seen(data, offsets)[0] is data
    assert documents_as_seen(np.zeros(0, np.uint8), np.zeros(1, np.int64))[1].tolist() == [0]
