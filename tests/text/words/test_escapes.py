"""Escapes and tags are what the standard library makes of them, wherever they stand, and keep places if asked to."""

from __future__ import annotations

import html
import json
import re
from contextlib import suppress
from html.entities import html5
from itertools import pairwise
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memaudit.text.words.blocks import BLOCK
from memaudit.text.words.escapes import TIMES, find_escape, resolve, resolve_once, resolve_text, resolve_texts, room
from memaudit.text.words.markup import APART, COMMANDS, WITHIN, markup_table
from memaudit.text.words.words import encode_texts

NAMES = [name for name in html5 if name.endswith(";")]


def resolved(*texts: str) -> list[str]:
    data, ends = resolve(*encode_texts(texts))
    return [data[a:b].tobytes().decode() for a, b in pairwise(ends)]


def one(text: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    data, sources = resolve_text(encode_texts([text])[0])
    if sources is None:
        sources = np.arange(len(text) + 2)
    starts = sources[:-1]
    return data, starts, sources[np.searchsorted(sources, starts, side="right")]


ENTITY = re.compile("&(?:" + "|".join(map(re.escape, NAMES)) + "|#[0-9]+;|#[xX][0-9a-fA-F]+;)")
VALUE = """"[^"<]*"|'[^'<]*'|[^ \t\n\f\r"'<>]+"""
ATTRIBUTE = rf"""[ \t\n\f\r/]*[ \t\n\f\r][^ \t\n\f\r"'<>/=]+[ \t\n\f\r]*=[ \t\n\f\r]*({VALUE})"""
TAG = re.compile(rf"</?([a-zA-Z0-9]+)((?:{ATTRIBUTE})*)[ \t\n\f\r/]*>")


def read(text: str, at: int) -> tuple[str, int] | None:
    """What the escape or tag at a place stands for, by the standard library, and where it ends; None if none is."""
    if text[at] == "&":
        entity = ENTITY.match(text, at)
        return (html.unescape(entity[0]), entity.end()) if entity else None
    if text[at] == "<":
        return read_tag(TAG.match(text, at))
    if text[at] == "%":
        made = read_bytes(text, at, "%")
        return made if made and (made[0].isprintable() or made[0] >= "\x80" or made[0] in "\t\n\r") else None
    if text[at : at + 2].lower() == "\\x":
        single = re.match("[0-9a-fA-F]{2}", text[at + 2 :])
        return read_bytes(text, at, "\\\\[xX]") or ((chr(int(single[0], 16)), at + 4) if single else None)
    if text[at : at + 2].lower() == "\\u":
        return read_units(text, at)
    made_of = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "/": "/", "\\": "\\"}
    following = text[at + 1 : at + 2].lower()
    word = re.match("[a-zA-Z]*", text[at + 1 :])
    if text[at] != "\\" or following not in made_of or (word and word[0].lower() in COMMANDS.split()):
        return None
    return made_of[following], at + 2


def read_units(text: str, at: int) -> tuple[str, int] | None:
    for digits in (8, 4) if text[at + 1] == "U" else (4,):
        if re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", text[at + 2 : at + 2 + digits]):
            point, end = int(text[at + 2 : at + 2 + digits], 16), at + 2 + digits
            low = re.match(r"\\[uU]([dD][c-fC-F][0-9a-fA-F]{2})", text[end:])
            if 0xD800 <= point < 0xDC00 and low:
                point, end = 0x10000 + (point - 0xD800) * 0x400 + int(low[1], 16) - 0xDC00, end + 6
            character = "\ufffd" if 0xD800 <= point < 0xE000 or point > 0x10FFFF else chr(point)
            return ("" if is_no_character(character) else character), end
    return None


def is_no_character(character: str) -> bool:
    return ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) < 0xFDF0


def read_bytes(text: str, at: int, lead: str) -> tuple[str, int] | None:
    stride = 3 if lead == "%" else 4
    for size in range(1, 5):
        escaped = text[at : at + size * stride]
        if re.fullmatch(f"({lead}[0-9a-fA-F]{{2}}){{{size}}}", escaped):
            with suppress(UnicodeDecodeError):
                return bytes.fromhex(re.sub(lead, "", escaped)).decode(), at + size * stride
    return None


def read_tag(tag: re.Match[str] | None) -> tuple[str, int] | None:
    if tag is None or len(tag[0]) > 256:
        return None
    values = [attribute[1] for attribute in re.finditer(ATTRIBUTE, tag[2])]
    if any(len(re.findall("[a-zA-Z0-9]+|[^\x00-\x7f]", value)) >= 5 for value in values):
        return None
    name = tag[1].lower()
    return ("\n" if name in APART.split() else "", tag.end()) if name in (APART + " " + WITHIN).split() else None


def once(text: str) -> list[tuple[str, int, int]]:
    """Each character that is left, and where in the text it comes from; read from left to right."""
    found, at = [], 0
    while at < len(text):
        made, end = read(text, at) or (text[at], at + 1)
        found += [(character, at, end) for character in made]
        at = end
    return found


def oracle(text: str) -> str:
    """What the standard library makes of a text that may have been escaped three times."""
    for _ in range(TIMES):
        text = "".join(character for character, _, _ in once(text))
    return text


def test_every_name_is_known() -> None:
    assert resolved(*(f"a&{name}b" for name in NAMES)) == [f"a{html5[name]}b" for name in NAMES]
    keys = markup_table()[:, 0]
    assert len(set(keys[keys > 0].tolist())) == len(NAMES) + len(
        f"{APART} {WITHIN} {COMMANDS}".split()
    )  # no two share a hash
    assert all(5 * len(html5[name].encode()) <= 6 * (1 + len(name)) for name in NAMES)  # the room that is made


def test_every_number_is_known() -> None:
    numbers = [*range(0x3000), *range(0xD700, 0xE100), *range(0xFDC0, 0x10100), *range(0x10FFFE, 0x110002), 1 << 40]
    for form in ("&#%d;", "&#x%x;", "&#X%X;", "&#00%d;"):
        references = [form % number for number in numbers]
        assert resolved(*references) == [html.unescape(reference) for reference in references]


def test_every_character_is_read_from_an_address_and_from_json() -> None:
    characters = [chr(point) for point in range(0x110000) if point % 19 == 0 or point < 0x3000]
    whole = [c for c in characters if not 0xD800 <= ord(c) < 0xE000]
    printed = [c for c in whole if c.isprintable() or c in "\t\n\r"]
    assert resolved(*(quote(c, safe="") for c in printed)) == printed
    shown = [c for c in whole if not is_no_character(c)]
    escaped = [json.dumps(c)[1:-1] for c in shown if c not in "\b\f"]
    assert resolved(*escaped) == [c for c in shown if c not in "\b\f"]
    assert resolved("\\ud800 \\udc00\\ud83d") == ["\ufffd \ufffd\ufffd"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("the%20cat%0Asat%0D%0a%09on", "the cat\nsat\r\n\ton"),
        ("caf%C3%A9 %e6%bc%a2%F0%9F%98%80", "café 漢😀"),
        ("%2520 %252520", "   "[:3]),
        ("50%fa %02d 5%A 100% %E9 %C3 %C3%E9 %C0%80 %ED%A0%80 %F5%80%80%80", None),
        ("one\\ntwo\\r\\nthree\\tfour", "one\ntwo\r\nthree\tfour"),
        ("one\\\\ntwo \\\\\\\\n \\\\", "one\ntwo \n \\"),
        ('caf\\u00e9 \\ud83d\\ude00 don\\u2019t \\"so\\" and\\/or it\\\'s', 'café 😀 don’t "so" and/or it\'s'),
        ("a\\xa0b caf\\xe9 don\\xe2\\x80\\x99t", "a\u00a0b café don’t"),
        ("\\alpha \\frac \\beta \\u12 \\x1 \\", None),
        ("\\theta+\\THETA_1 \\nu{} \\Rightarrow \\to", None),
        ("\\thetas \\nuclear ONE\\NTWO \\X41\\U00E9\\U0001F600", "\thetas \nuclear ONE\nTWO Aé😀"),
        ("one<br>two<br/>three<BR />four</p>\n<P class='x y'>five", "one\ntwo\nthree\nfour\n\n\nfive"),
        ("H<sub>2</sub>O <b>b</b>old<wbr>er <a href=/x title=y>link</A >", "H2O bolder link"),
        ("&lt;br&gt;&amp;lt;i&amp;gt; \\u003cp\\u003e %3Cbr%3E", "\n \n \n"),
        ('<span class=\\"w\\">a<\\/span>', "a"),
        (
            "a <b and c> d, a<b>0 &&c>1 <nobody> <p <br. <1> <b a=>",
            "a <b and c> d, a0 &&c>1 <nobody> <p <br. <1> <b a=>",
        ),
        ('<img alt="which of these is true"> <p title="漢字漢字漢">', None),
        ('<img alt="which of these is">', "\n"),
        ("<p " + "a=b " * 63 + ">", "\n"),
        ("<p " + "a=b " * 64 + ">", None),
        ("<br", None),
        ("vector<int> x; #include <map> <name@host.org>", None),
    ],
)
def test_what_is_made_of_an_escape(text: str, seen: str | None) -> None:
    assert resolved(text) == [text if seen is None else seen]
    assert one(text)[0].tobytes().decode() == resolved(text)[0]


def test_what_is_no_escape_stays() -> None:
    texts = ["AT&T; R&D", "&", "&;", "&#;", "&#x;", "&#xg;", "&#1a;", "&amp", "& lt;", "&bogus;", "&l&t;", "&#", ""]
    assert resolved(*texts) == texts
    data, offsets = encode_texts(texts)
    assert resolve(data, offsets)[0] is data
    assert resolved("&am", "p; <b", "r> \\", "n %", "20") == ["&am", "p; <b", "r> \\", "n %", "20"]  # of several texts


SIGNS = [
    "&",
    "#",
    ";",
    "amp",
    "&amp;",
    "&nGt;",
    "&#233;",
    "&#x1F600;",
    "&#2;",
    "x",
    "x" * 60,
    "é",
    "漢 ",
    "%",
    "\\",
    "<",
]
SIGNS += [
    "%20",
    "%C3",
    "%A9",
    "%25",
    "%3Cb",
    "20",
    "\\n",
    "\\u00",
    "e9",
    "\\ud83d",
    "\\ude00",
    "\\x",
    "\\xe2\\x80",
    "\\x99",
]
SIGNS += [
    "<br>",
    "</",
    "b",
    ">",
    "<p ",
    "a=",
    '"',
    "'",
    "=",
    " ",
    "/",
    "<i>",
    "&lt;",
    "\\u003c",
    "d\u0301",
    "\\\\",
    "\\N",
    "ot",
    "\\U",
    "\\X",
    "\\tau",
]
pieces = st.sampled_from(SIGNS)
texts = st.lists(st.lists(pieces, max_size=12).map("".join), max_size=6)


@example(["\\N", "e9"])
@given(texts)
@settings(deadline=None, max_examples=500)
def test_texts_are_read_as_the_standard_library_reads_them(documents: list[str]) -> None:
    assert resolved(*documents) == [oracle(text) for text in documents]


@given(st.lists(pieces, max_size=14).map("".join))
@settings(deadline=None, max_examples=500)
def test_every_character_knows_where_it_comes_from(text: str) -> None:
    data, starts, ends = one(text)
    assert data.tobytes().decode() == oracle(text) == resolved(text)[0]
    assert (starts[-1], ends[-1]) == (len(text), len(text) + 1)
    assert (np.diff(starts) >= 0).all()
    assert (starts < ends).all()
    expected = once(text)
    if oracle(text) == "".join(character for character, _, _ in expected):  # escaped but once
        assert starts[:-1].tolist() == [start for _, start, _ in expected]
        # What is left out belongs to the character before it.
        assert all(end <= last for (_, _, end), last in zip(expected, ends, strict=False))


RUNS = [
    "&Afr;",
    "&nGt;",
    "&#9;",
    "&#65536;",
    "&#2;",
    "&amp;",
    "&amp;amp;",
    "&zopf;x",
    "\\n",
    "%20",
    "%25",
    "<b>",
    "<br>",
]
RUNS += ["%F0%9F%98%80", "\\xe9", "\\u00e9", "\\", "<", "%", "<b a=", '<b a="', "&amp;nGt;", "%26nGt;"]


@pytest.mark.parametrize("escape", RUNS)
@pytest.mark.parametrize("times", [1, 64, 65, 5000])
def test_long_runs_fit(escape: str, times: int) -> None:
    text = escape * times
    assert resolved(text, text) == [oracle(text)] * 2
    data, starts, ends = one(text)
    assert data.tobytes().decode() == oracle(text)
    assert starts[-1] == len(text)
    assert (starts < ends).all()


@given(st.lists(st.sampled_from([*SIGNS, *RUNS]), max_size=300).map("".join))
@settings(deadline=None, max_examples=200)
def test_nothing_is_written_beyond_the_room(text: str) -> None:
    data, offsets = encode_texts([text])
    table, size = markup_table(), room(len(data))
    arena, edits = np.full(size + 4 * BLOCK, 0xA5, np.uint8), np.full((len(data) // 2 + 3, 4), -1)
    place = find_escape(data, 0, len(data), table)
    resolve_once(data, 0, place, len(data), table, arena[:size], edits[:-2])
    assert (arena[size:] == 0xA5).all()
    assert (edits[-2:] == -1).all()
    resolve_texts(data, offsets, table, arena[:size], np.zeros(2, np.int64))
    assert (arena[size:] == 0xA5).all()


def test_what_was_escaped_more_than_once_is_what_it_was() -> None:
    text = "a &amp;eacute; b%255Cn\\\\u003cbr>c"
    data, starts, ends = one(text)
    assert data.tobytes().decode() == "a é b\n\nc"
    assert [text[a:b] for a, b in zip(starts[:-1], ends[:-1], strict=True)] == [
        "a", " ", "&amp;eacute;", " ", "b", "%255Cn", "\\\\u003cbr>", "c",
    ]  # fmt: skip


def test_a_part_of_the_bytes_is_read_as_if_alone() -> None:
    data = np.frombuffer(b"&lt;a&gt;&amp;b%20", np.uint8)
    part, ends = resolve(data, np.array([4, 9, 14]))
    assert (part.tobytes(), ends.tolist()) == (b"a>&", [0, 2, 3])
