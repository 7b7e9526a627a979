"""Entities are what the standard library makes of them, wherever they stand, and keep places if asked to."""

from __future__ import annotations

import html
import re
from html.entities import html5
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.entities import NOTHING, entity_table, resolve
from memaudit.text.words import encode_texts

NAMES = [name for name in html5 if name.endswith(";")]


def resolved(*texts: str, in_place: bool = False) -> list[str]:
    data, ends = resolve(*encode_texts(texts), in_place=in_place)
    return [data[a:b].tobytes().decode() for a, b in pairwise(ends)]


def oracle(text: str) -> str:
    """What the standard library makes of the references that end in a semicolon and have a name it knows."""
    whole = re.compile("&(?:" + "|".join(map(re.escape, NAMES)) + r"|#[0-9]{1,31};|#[xX][0-9a-fA-F]{1,30};)")
    return whole.sub(lambda match: html.unescape(match[0]), text)


def test_every_name_is_known() -> None:
    assert resolved(*(f"a&{name}b" for name in NAMES)) == [f"a{html5[name]}b" for name in NAMES]
    keys = entity_table().keys
    assert len(set(keys[keys > 0].tolist())) == len(NAMES)  # no two share a hash


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


@given(texts)
@settings(deadline=None, max_examples=300)
def test_places_stay_if_asked_to(documents: list[str]) -> None:
    kept = resolved(*documents, in_place=True)
    assert [text.replace(NOTHING, "") for text in kept] == [oracle(text) for text in documents]
    assert [len(text) for text in kept] == [len(text) for text in documents]


def test_a_part_of_the_bytes_is_read_as_if_alone() -> None:
    data = np.frombuffer(b"&lt;a&gt;&amp;b", np.uint8)
    part, ends = resolve(data, np.array([4, 9, 14]))
    assert (part.tobytes(), ends.tolist()) == (b"a>&", [0, 2, 3])
