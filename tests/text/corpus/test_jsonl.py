"""The fast reader of JSON lines has the outcome of the strict one: documents, places, counts and errors."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.corpus import containers, jsonl
from memaudit.text.corpus.specs import parse_spec
from memaudit.text.scan.batch import BatchReader
from tests.text.strict_reading import strictly

GOOD = b'{"text": "good"}'


def fast(path: str, **options):
    source = parse_spec(path).sources[0]
    reader = BatchReader(source, "block", **options)
    try:
        batches = list(reader)
    except InputError as error:
        return str(error)
    documents = [(f"{path}:{batch.places[i]}", batch.text(i)) for batch in batches for i in range(len(batch))]
    assert reader.documents == len(documents)
    by_lines = source.format == "jsonl"  # of records on several lines, a random line end makes some, it is "json"
    assert all(isinstance(batch.places, np.ndarray) == by_lines for batch in batches)
    return documents, reader.empty, reader.rejected, reader.first_rejected, [reader.digest]


def assert_same(content: bytes, **options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        path.write_bytes(content)
        assert fast(str(path), **options) == strictly(str(path), **options)
        assert fast(str(path), skip_bad=True, **options) == strictly(str(path), skip_bad=True, **options)


def sure(line: bytes) -> bool:
    """Return whether the kernel reads a line without the strict reader's help."""
    asked: list[int] = []
    for _ in jsonl.parse_json_lines([line + b"\n"], "c", "text", lambda number, _: asked.append(number)):
        pass
    return not asked


PLAIN = [
    r'{"text": "a\"b\\c\/d\be\ff\ng\rh\ti"}',
    r'{"text": "\u0041\u00e9\u20ac\ud83d\ude00\uD83D\uDE00\u0000\uFFFF\uABCD\uefAb"}',
    '{"text": "raw \x00 \x01 \x1f \x7f \t controls"}',
    '{"text": "line \u2028 separators \u2029 \x85 \x0b"}',
    '{"text": "\ufeffmark é ж 漢 😀 \U0010ffff \u0080 \u07ff \u0800 \uffff \U00010000"}',
    '{"текст": 1, "text": "names beyond ASCII", "漢": {"字": [1]}}',
    '  \t{ "id" : "x" ,\t"text"\r:\r"space" , "a" : [ ] , "b" : { } , "c" : [ 1 , 2 ] } \t\r',
    '{"text": "numbers", "n": [0, -0, 1, 10, -12.5, 1e5, 1E+5, 1.25e-7, -0e0, 1e999, 12345678901234567890123]}',
    '{"text": "literals", "l": [true, false, null]}',
    '{"a": {"text": "not this one", "a": {"a": [{"a": 1}, {"a": 2}]}}, "text": "but this"}',
    '{"text": "deep", "d": ' + "[" * 50 + "]" * 50 + "}",
    '{"text": "", "a": 1}',
    '{"text": " \\t\\n\\u00a0\\u3000\\u2003\u205f"}',
    '{"text": "\\u200b"}',
    '{"": 1, "textt": 2, "tex": 3, "text": "names alike", "TEXT": 4}',
    json.dumps({"text": "many names", **{f"name {i}": {f"{i} {k}": k for k in range(20)} for i in range(150)}}),
    json.dumps({"text": "long " * 50_000, "other": "\n\u00e9" * 3_000}),
    json.dumps({"text": '漢字\n"' * 20_000}, ensure_ascii=False),
]

ODD = [
    b"{not json}", b"", b"   \t\r", b"\x0b", b"\xef\xbb\xbf" + GOOD, b"[]", b'"text"', b"null", b"12", b"{}",
    b"{", b"}",
    b'{"text": "torn', b'{"text": "torn\\', b'{"text": "torn\\u12', b'{"text": "a"', b'{"text": "a"}}',
    b'{"text": "a"},',
    b'{"text": "a"} {"text": "b"}', b'{"text": "a",}', b'{,"text": "a"}', b'{"text" "a"}', b'{"text": }', b'{"text"}',
    b'{"text": "a" "b": 1}', b'{"text": "a", "b": [1,]}', b'{"text": "a", "b": [,1]}', b'{"text": "a", "b": [1}}',
    b'{"text": "a", "b": {1: 2}}', b'{"text": "a", b: 1}', b"{'text': 'a'}", b'{"text": "a", "b": [}', b'{"text": "a"]',
    b'{"text": null}', b'{"text": 1}', b'{"text": NaN}', b'{"text": true}', b'{"text": ["a"]}',
    b'{"text": {"text": "a"}}',
    b'{"txet": "a"}', b'{"TEXT": "a", "other": 1}', b'{"text ": "a"}', b'{"a": {"text": "inner"}}',
    b'{"text": "a", "text": "b"}', b'{"text": "a", "\\u0074ext": "b"}', b'{"\\u0074ext": "escaped name"}',
    b'{"text": "a", "b": {"c": 1, "c": 1}}', b'{"text": "a", "b": {"c": 1, "\\u0063": 1}}',
    b'{"text": "a", "": 1, "": 2}',
    b'{"text": "a", "b": [{"c": 1}, {"c": 1, "d": {"c": 1}, "d": 2}]}',
    *(b'{"text": "a", "n": %s}' % number for number in (
        b"01", b"-", b"+1", b".5", b"1.", b"1.e5", b"1e", b"1e+", b"--1", b"0x10", b"1_000", b"-01", b"00", b"1 2",
        b"NaN", b"Infinity", b"-Infinity", b"nul", b"True", b"truer", b"falsy", b"nulll", b"9" * 5_000,
        b"1." + b"5" * 400,
        b"12e", b"e5", b"1E", b"\xef\xbc\x91",
    )),
    *(b'{"text": "%s"}' % text for text in (
        b"\\ud800", b"\\udc00", b"\\ud800\\ud800", b"\\ud800x", b"\\ud83d\\u0041", b"\\uD83D \\uDE00",
        b"\\udc00\\ud800",
        b"\\ud8", b"\\u12g4", b"\\u 123", b"\\u+123", b"\\x41", b"\\'", b"\\0", b"\\a", b"\\U0041", b"\\u00e", b"\\",
        b"\xff", b"\xc3", b"\xc3(", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80",
        b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\x80",
        b"\xe2\x82", b"\xf0\x9f\x98", b"\xe2\x82\xac\xff", b"\xfe", b"caf\xe9 latin", b"x" * 70 + b"\xff",
    )),
    b'{"text": "a", "b": "\\ud800"}', b'{"text": "a", "\\ud800": 1}', b'{"text": "a", "b": "\xff"}',
    b'{"\xff": 1, "text": "a"}',
    b'{"text": "a"}\xa0', b'\xc2\xa0{"text": "a"}', b'{"text":\xe2\x80\x83"a"}', b'{"text": "a"} // note',
    b'{"text": "a"}\x00',
    b'{"text": "a", "d": ' + b"[" * 70 + b"]" * 70 + b"}",
    b'{"text": "a", "d": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"text": "a", "d": ' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}",
]  # fmt: skip


@pytest.mark.parametrize("line", [pytest.param(line.encode(), id=line[:30]) for line in PLAIN])
def test_plain_records_are_read_by_the_kernel(line):
    assert_same(line + b"\n" + GOOD)
    assert sure(line)


@pytest.mark.parametrize("number", range(len(ODD)))
def test_odd_lines_are_read_as_strictly(number):
    line = ODD[number]
    for content in (
        GOOD + b"\n" + line + b"\n" + GOOD,
        line + b"\n" + GOOD,
        GOOD + b"\r\n" + line + b"\r\n",
        GOOD + b"\n" + line,
    ):
        assert_same(content)


def test_all_odd_lines_in_one_file():
    assert_same(b"\n".join([GOOD, *ODD, GOOD, *(line.encode() for line in PLAIN), b"", b""]))


def test_names_from_the_user_are_found_as_they_are_spelt():
    lines = [b'{"a\\"b": "x", "text": "y"}', '{"é": "x", "text": "y"}'.encode(), b'{"": "z", "text": 1}', GOOD]
    for field in ('a"b', "é", "", "long name of a field " * 9):
        record = json.dumps({"other": 1, field: "one"}, ensure_ascii=False).encode()
        assert_same(b"\n".join([record, *lines, record]), text_field=field)


LETTERS = st.text(max_size=12) | st.sampled_from(["\ud83d\ude00", "a" * 63, "a" * 64, "é" * 40, "\\", '"', "/", "\x00"])
VALUES = st.recursive(
    LETTERS | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(LETTERS, children, max_size=3),
    max_leaves=6,
)


@st.composite
def lines(draw) -> bytes:
    """A record, its text among other fields, written in one of many ways, and perhaps damaged."""
    record = draw(
        st.dictionaries(LETTERS.filter(lambda name: name not in {"id", "date", "domain", "copies"}), VALUES, max_size=4)
    )
    if draw(st.integers(0, 9)):
        record["text"] = draw(LETTERS if draw(st.integers(0, 9)) else VALUES)
    line = json.dumps(
        record,
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\r: ")])),
    ).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 2)) == 0:
        at = draw(st.integers(0, len(line)))
        junk = draw(
            st.sampled_from(
                [b"", b",", b"}", b"]", b'"', b"\\", b"\\u", b"0", b"-", b"\xff", b"\xe2\x82", b"e", b" ", b":"]
            )
            | st.binary(max_size=3)
        )
        line = line[:at] + junk + line[at + draw(st.integers(0, 2)) :]
    return line


@given(
    st.lists(lines(), max_size=8), st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.sampled_from([7, 64, 1 << 20])
)
@settings(deadline=None, max_examples=100)
def test_random_lines_in_chunks_of_any_size(records, end, ends, chunk):
    content = end.join([*[GOOD] * 40, *records, GOOD]) + (end if ends else b"")
    with mock.patch.object(containers, "CHUNK", chunk), mock.patch.object(jsonl, "CHUNK", chunk):
        assert_same(content)


def test_white_space_is_that_of_python():
    """Every character that is UTF-8 of up to three bytes, alone as a text."""
    points = [point for point in range(0x10000) if not 0xD800 <= point < 0xE000]
    content = b"\n".join(json.dumps({"text": chr(p)}, ensure_ascii=p % 2 == 0).encode() for p in points)
    parsed = list(
        jsonl.parse_json_lines([content], "c", "text", lambda number, line: pytest.fail(f"{line!r} is unsure"))
    )
    kept = {points[line - 1] for part in parsed for line in part.lines.tolist()}
    assert kept == {point for point in points if not chr(point).isspace()}
    assert sum(part.empty for part in parsed) == len(points) - len(kept)
    assert b"".join(p.data.tobytes() for p in parsed).decode() == "".join(chr(p) for p in points if p in kept)


def test_batches_are_small_and_number_their_lines_through(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    records = [b"" if i % 10 == 9 else json.dumps({"text": f"{i} " * 500}).encode() for i in range(2_999)]
    records[1_500] = json.dumps({"text": "x" * 3_000_000}).encode()
    path.write_bytes(gzip.compress(b"\n".join(records), 1))
    reader = BatchReader(parse_spec(str(path)).sources[0], "block")
    sizes, places = [], []
    for batch in reader:
        sizes.append(int(batch.offsets[-1]))
        places += batch.places.tolist()
        assert len(batch.data) == batch.offsets[-1]
    assert places == [i + 1 for i in range(2_999) if i % 10 != 9]
    assert (reader.documents, reader.empty) == (2_700, 299)
    assert sorted(sizes)[-1] < 5 << 20
    assert sorted(sizes)[-2] < 1 << 20


def small(module, limit):
    return mock.patch.multiple(module, MAX_RECORD=limit, CHUNK=700)


def test_a_line_over_the_limit_is_refused_like_any_other(tmp_path):
    content = b"\n".join([GOOD] * 60 + [b'{"text": "%s"}' % (b"x" * 3_000), GOOD])
    for limit in (2_000, 3_012, 3_013):
        with small(containers, limit), small(jsonl, limit):
            assert_same(content)
            assert_same(content.replace(b'x"}', b"x"))


def test_a_bad_line_counts_before_the_damage_that_follows_it(tmp_path):
    data = gzip.compress(
        b"\n".join([GOOD] * 50 + [b"{not json}"] + [json.dumps({"text": str(i)}).encode() for i in range(9_000)])
    )
    for name, content in (("cut", data[:-900]), ("good", data)):
        path = tmp_path / f"{name}.jsonl.gz"
        path.write_bytes(content)
        assert fast(str(path)) == strictly(str(path))
        assert fast(str(path), skip_bad=True) == strictly(str(path), skip_bad=True)
        assert "51: not valid JSON" in fast(str(path))
