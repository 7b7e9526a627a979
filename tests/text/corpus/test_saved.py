"""Saving a text in pages, strings and addresses, and setting it in narrow columns, changes no word of it."""

from __future__ import annotations

import ctypes
import html
import json
import mmap
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.index import units
from memaudit.text.index.units import unit_of
from memaudit.text.words.visible_text import text_as_seen
from memaudit.text.words.words import cut_places, encode_texts, hash_words, words_of
from tests.faults.disguises import SAVED, passages

PLAIN = [text for text in passages(150) if "- " not in text]
"""Of others a hyphen may come to stand at a line end."""


def hashes(texts: list[str]) -> list[list[int]]:
    values, firsts = hash_words(*encode_texts(texts))
    return [values[a:b].tolist() for a, b in pairwise(firsts)]


@pytest.mark.parametrize("way", SAVED)
def test_no_way_of_saving_a_text_changes_its_words(way: str) -> None:
    plain = [text for text in PLAIN if way != WRAPPED or "-" not in text]
    saved = [SAVED[way](text) for text in plain]
    assert hashes(saved) == hashes(plain)
    for text in saved[:40]:
        words = words_of(text)
        assert words.hashes.tolist() == hashes([text])[0]
        for word, start, end in list(zip(words.texts, words.starts, words.ends, strict=True))[::5]:
            assert words_of(text[start:end]).texts == [word]


WRAPPED = "narrow lines, hyphenated, in JSON"
LAYOUTS = ["hyphens at line ends", "hyphens at line ends, indented", "<br> for spaces"]
ENCODINGS = ["percent-encoding", "percent-encoding, twice", "JSON", "strings of Python", "source of a page"]
LETTERS = st.text("abnrx'é漢", min_size=1, max_size=12)


@given(st.lists(LETTERS, min_size=1), st.sampled_from(LAYOUTS), st.sampled_from(ENCODINGS))
@settings(deadline=None, max_examples=300)
def test_a_text_that_was_set_and_then_encoded_keeps_its_words(parts: list[str], layout: str, encoding: str) -> None:
    text = " ".join(parts)
    saved = SAVED[encoding](SAVED[layout](text))
    assert words_of(saved).texts == words_of(text).texts
    assert hashes([saved, text])[0] == hashes([text])[0]


ANY = st.lists(
    st.one_of(LETTERS, st.sampled_from(["%", "\\\\", "<", "&", "-", "\\n", "C:\\\\new", "50%20", "a<b>c", "$\\\\nu$"]))
)


@given(ANY.map(" ".join))
@settings(deadline=None, max_examples=200)
def test_code_and_formulas_keep_their_words_where_they_are_escaped_once_more(text: str) -> None:
    """What stands in a text as if it were an escape is read so on both sides."""
    assert words_of(quote(text)).texts == words_of(html.escape(text)).texts == words_of(text).texts
    assert words_of(json.dumps(text)).texts == words_of(text).texts


@contextmanager
def guarded() -> Iterator[NDArray[np.uint8]]:
    """Pages of memory that may be used, between two that end the process when they are touched."""
    libc, page = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE
    area = mmap.mmap(-1, 4 * page)
    whole = np.frombuffer(area, np.uint8)
    for first in (0, 3 * page):
        assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + first), page, 0) == 0
    try:
        yield whole[page : 3 * page]
    finally:
        assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data), 4 * page, mmap.PROT_READ | mmap.PROT_WRITE) == 0


CUT = [
    b"&",
    b"&am",
    b"&amp;",
    b"%",
    b"%C",
    b"%C3",
    b"%F0%9F%98",
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"\\ud83d\\",
    b"\\xe2\\x80",
]
CUT += [
    b"<",
    b"<b",
    b"<br>",
    b"<p a",
    b"<p a=",
    b'<p a="',
    b"a-",
    b"a-\r",
    b"\xc2\xad",
    b"\xe2\xa0",
    b"\xf0",
    b"x" * 63,
]


@pytest.mark.skipif(os.name != "posix", reason="memory cannot be protected")
@given(
    st.lists(st.lists(st.one_of(st.sampled_from(CUT), st.binary(max_size=4)), max_size=200).map(b"".join), max_size=9)
)
@settings(deadline=None, max_examples=100)
def test_nothing_is_read_before_and_behind_a_text(texts: list[bytes]) -> None:
    with guarded() as area:
        for raw in texts:
            data = np.frombuffer(raw, np.uint8)[: len(area)]
            for place in (area[: len(data)], area[len(area) - len(data) :]):
                place[:] = data
                bounds = np.array([0, len(data) // 3, len(data)])
                for one, other in zip(hash_words(place, bounds), hash_words(data, bounds), strict=True):
                    assert np.array_equal(one, other)
                assert text_as_seen(place)[0].tobytes() == text_as_seen(data)[0].tobytes()


BROKEN = [
    "one two ",
    "a-\n",
    "<a href=x ",
    "title='y z'>",
    "&lt;p class=",
    "a\u00ad\n ",
    "w\u2800o\u2800r ",
    "\\\\\n ",
    "%2D\n",
]


@given(st.lists(st.sampled_from(BROKEN), max_size=60).map("".join), st.integers(1, 40))
@settings(deadline=None, max_examples=150)
def test_the_pieces_of_a_long_text_have_its_words(text: str, size: int) -> None:
    places = cut_places(text, size)
    pieces = [text[start:end] for start, end in pairwise([*places, len(text)])]
    assert [word for piece in pieces for word in words_of(piece).texts] == words_of(text).texts
    assert len(cut_places("plain words " * 100, size)) > 1000 // (size + 12)


def test_an_index_of_words_that_were_read_otherwise_is_told_by_its_version() -> None:
    assert unit_of("word").version != f"words 719f41c1, Unicode {unicodedata.unidata_version}"
    kinds = ["%C3%A9", "c<br>d", "e<b>f", "g\\nh", "i-\nj"]
    assert all(kind in units._SAMPLE for kind in kinds)
