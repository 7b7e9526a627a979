"""Entities are what the standard library makes of them, wherever they stand, and keep places if asked to."""

from __future__ import annotations

import html
import re
from html.entities import html5
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.escapes import resolve, resolve_text
from memaudit.text.markup import markup_table
from memaudit.text.words import encode_texts

NAMES = [name for name in html5 if name.endswith(";")]


def resolved(*texts: str) -> list[str]:
    data, ends = resolve(*encode_texts(texts))
    return [data[a:b].tobytes().decode() for a, b in pairwise(ends)]


def one(text: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    data, origins = resolve_text(encode_texts([text])[0])
    places = np.arange(len(text) + 1)
    return data, *(origins or (places, places + 1))


WHOLE = re.compile("&(?:" + "|".join(map(re.escape, NAMES)) + r"|#[0-9]+;|#[xX][0-9a-fA-F]+;)")


def oracle(text: str) -> str:
    """What the standard library makes of the references that end in a semicolon and have a name it knows, twice."""
    for _ in range(3):
        text = WHOLE.sub(lambda match: html.unescape(match[0]), text)
    return text


def origins(text: str) -> list[tuple[str, int, int]]:
    """Each character that the standard library leaves and where in the text it comes from, as for one escape."""
    found, at = [], 0
    for match in WHOLE.finditer(text):
        found += [(text[i], i, i + 1) for i in range(at, match.start())]
        found += [(character, match.start(), match.end()) for character in html.unescape(match[0])]
        at = match.end()
    return found + [(text[i], i, i + 1) for i in range(at, len(text))]


def test_every_name_is_known() -> None:
    assert resolved(*(f"a&{name}b" for name in NAMES)) == [f"a{html5[name]}b" for name in NAMES]
    keys = markup_table().keys
    assert len(set(keys[keys > 0].tolist())) == len(NAMES)  # no two share a hash
    assert all(5 * len(html5[name].encode()) <= 6 * (1 + len(name)) for name in NAMES)  # the room that is made


def test_every_number_is_known() -> None:
    numbers = [*range(0x3000), *range(0xD700, 0xE100), *range(0xFDC0, 0x10100), *range(0x10FFFE, 0x110002), 1 << 40]
    for form in ("&#%d;", "&#x%x;", "&#X%X;", "&#00%d;"):
        references = [form % number for number in numbers]
        assert resolved(*references) == [html.unescape(reference) for reference in references]


def test_what_is_no_entity_stays() -> None:
    texts = ["AT&T; R&D", "&", "&;", "&#;", "&#x;", "&#xg;", "&#1a;", "&amp", "& lt;", "&bogus;", "&l&t;", "&#", ""]
    assert resolved(*texts) == texts
    data, offsets = encode_texts(texts)
    assert resolve(data, offsets)[0] is data
    assert resolved("&am", "p;") == ["&am", "p;"]  # of two texts


pieces = st.sampled_from(
    ["&", "#", ";", "amp", "&amp;", "&nGt;", "&#233;", "&#x1F600;", "&#2;", "x", "x" * 60, "é", "漢 "]
)
texts = st.lists(st.lists(pieces, max_size=12).map("".join), max_size=6)


@given(texts)
@settings(deadline=None, max_examples=300)
def test_texts_are_read_as_the_standard_library_reads_them(documents: list[str]) -> None:
    assert resolved(*documents) == [oracle(text) for text in documents]


@given(st.lists(pieces, max_size=12).map("".join).filter(lambda text: "amp" not in text))
@settings(deadline=None, max_examples=300)
def test_every_character_knows_where_it_comes_from(text: str) -> None:
    data, starts, ends = one(text)
    expected = origins(text)
    assert data.tobytes().decode() == "".join(character for character, _, _ in expected)
    assert starts[:-1].tolist() == [start for _, start, _ in expected]
    # What is left out belongs to the character before it.
    assert all(end <= last for (_, _, end), last in zip(expected, ends, strict=False))


@pytest.mark.parametrize("entity", ["&Afr;", "&nGt;", "&#9;", "&#65536;", "&#2;", "&amp;", "&amp;amp;", "&zopf;x"])
@pytest.mark.parametrize("times", [1, 64, 65, 5000])
def test_long_runs_fit(entity: str, times: int) -> None:
    text = entity * times
    assert resolved(text, text) == [oracle(text)] * 2
    data, starts, ends = one(text)
    assert data.tobytes().decode() == oracle(text)
    assert starts[-1] == len(text)
    assert (starts < ends).all()


def test_an_entity_that_was_escaped_is_an_entity() -> None:
    text = "a &amp;eacute; b"
    data, starts, ends = one(text)
    assert data.tobytes().decode() == "a é b"
    assert list(zip(starts, ends, strict=True)) == [(0, 1), (1, 2), (2, 14), (14, 15), (15, 16), (16, 17)]


def test_a_part_of_the_bytes_is_read_as_if_alone() -> None:
    data = np.frombuffer(b"&lt;a&gt;&amp;b", np.uint8)
    part, ends = resolve(data, np.array([4, 9, 14]))
    assert (part.tobytes(), ends.tolist()) == (b"a>&", [0, 2, 3])
