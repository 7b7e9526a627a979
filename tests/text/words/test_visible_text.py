"""A text as it is seen: entities, blanks between words and between letters; the same for a text and for many."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.words.visible_text import BLANKS, documents_as_seen, find_blank, text_as_seen
from memaudit.text.words.words import encode_texts, hash_words, spans_of, words_of


def as_seen(*texts: str) -> list[str]:
    data, offsets = documents_as_seen(*encode_texts(texts))
    return [data[a:b].tobytes().decode() for a, b in pairwise(offsets)]


def one(text: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    data, sources = text_as_seen(encode_texts([text])[0])
    if sources is None:
        sources = np.arange(len(text) + 2)
    starts = sources[:-1]
    return data, starts, sources[np.searchsorted(sources, starts, side="right")]


def words(text: str) -> list[str]:
    return words_of(text).texts


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("don&#39;t", "don't"),
        ("caf&eacute; &amp; bar", "café & bar"),
        ("a&nbsp;b", "a\u00a0b"),
        ("&#x54;he &#116;ruth", "The truth"),
        ("don&amp;#39;t &amp;amp;amp;amp;", "don't &amp;"),
        ("the&#x2800;cat&#x2800;sat", "the cat sat"),
        ("a&#x2800;&#x2800;word", "a  word"),
        ("AT&T; R&D", "AT&T; R&D"),
        ("&bogus; & ;", "&bogus; & ;"),
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
    assert as_seen(text) == [seen]
    data, starts, ends = one(text)
    assert data.tobytes().decode() == seen
    assert len(starts) == len(ends) == len(seen) + 1
    assert (starts[-1], ends[-1]) == (len(text), len(text) + 1)


@pytest.mark.parametrize("blank", BLANKS)
def test_words_set_apart_by_blanks_are_words_and_letters_are_one(blank: str) -> None:
    assert words(f"the{blank}quick{blank}brown{blank}fox") == ["the", "quick", "brown", "fox"]
    assert words(" ".join(blank.join(word) for word in ("quick", "brown", "foxes"))) == ["quick", "brown", "foxes"]


def test_a_page_saved_as_html_has_the_words_of_its_text() -> None:
    text = "Don't \u2014 she said \u2014 take the caf\u00e9's \"best\" caf\u00e9 & go: 5 < 6"
    page = html.escape(text).replace("\u2014", "&mdash;").replace("\u00e9", "&eacute;")
    assert words(page) == words(text)
    place = words(page).index("best")
    assert page[words_of(page).starts[place] :].startswith("best&quot;")


HIDDEN = ["&#x2800;", "&#x1160;", "%E2%A0%80", "\\u3164"]
ENTITIES = ["&amp;", "&#233;", "&#x1F600;", "&lt;p&gt;", "&nbsp;", "&#2;", "&amp;#39;", "&frac12;", "&Afr;", "&nGt;"]
ENTITIES += ["&Lmidot;", "&#39;", "&amp;amp;amp;", "%20", "%C3%A9", "\\n", "\\u00e9", "<br>", "<b>", "</b >", "%26#39;"]
PLAIN = ["&", ";", " ", "a", "word", "é", "漢字", "\n", "-", "-\n", "\u00ad", "%", "<", ">", "\\"]
pieces = st.sampled_from([*BLANKS, *HIDDEN, *ENTITIES, *PLAIN])
texts = st.lists(st.lists(pieces, max_size=12).map("".join), max_size=6)


@given(texts)
@settings(deadline=None, max_examples=200)
def test_many_documents_are_read_as_each_alone(documents: list[str]) -> None:
    assert as_seen(*documents) == [seen for text in documents for seen in as_seen(text)]
    hashes, firsts = hash_words(*encode_texts(documents))
    alone = [words_of(text).hashes.tolist() for text in documents]
    assert [hashes[a:b].tolist() for a, b in pairwise(firsts)] == alone


@given(st.lists(st.sampled_from([*ENTITIES, *PLAIN]), max_size=12).map("".join))
@settings(deadline=None, max_examples=300)
def test_every_word_is_found_again_where_it_is_said_to_stand(text: str) -> None:
    found = words_of(text)
    for word, start, end in zip(found.texts, found.starts, found.ends, strict=True):
        assert word in words(text[start:end])
    assert spans_of(text, [(i, i + 1) for i in range(len(found))]) == list(zip(found.starts, found.ends, strict=True))


def test_plain_documents_are_not_copied() -> None:
    data, offsets = encode_texts(["plain words", "R&D; more"])
    assert documents_as_seen(data, offsets)[0] is data
    assert documents_as_seen(np.zeros(0, np.uint8), np.zeros(1, np.int64))[1].tolist() == [0]


@given(st.lists(pieces, max_size=60).map("".join), st.integers(0, 70))
@settings(deadline=None, max_examples=200)
def test_blanks_are_found_wherever_they_stand(text: str, before: int) -> None:
    raw = b"x" * before + text.encode()
    data = np.frombuffer(raw, np.uint8)
    place, places = find_blank(data, 0, len(raw)), []
    while place < len(raw):
        places.append(place)
        place = find_blank(data, place + 1, len(raw))
    assert places == [match.start() for match in re.finditer("|".join(BLANKS).encode(), raw)]


def test_bytes_that_are_no_text_do_no_harm() -> None:
    raw = b"\xff the\xe2\xa0\x80cat \xed\xa0\x80 &#65; \xe2\xa0"
    data, _ = documents_as_seen(np.frombuffer(raw, np.uint8), np.array([0, len(raw)]))
    assert data.tobytes() == b"\xff the cat \xed\xa0\x80 A \xe2\xa0"
