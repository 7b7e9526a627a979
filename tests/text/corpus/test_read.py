"""A corpus reads every record, or says which one it cannot read and why."""

from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.corpus.read import read_corpus

GOOD = '{"id": "a", "text": "one"}'


def write_lines(path: Path, *lines: str | bytes) -> str:
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
    return str(path)


def refusal(spec: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        list(read_corpus([spec], **options))
    return str(caught.value)


def texts(*specs: str, **options) -> list[str]:
    return [document.text for document in read_corpus(specs, **options)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json}", "not valid JSON"),
        ('{"text": "torn', "not valid JSON"),
        ('{"text": "a"} {"text": "b"}', "not valid JSON (Extra data"),
        ('{"text": "a"},', "not valid JSON (Extra data"),
        ('{"text": "a", "n": NaN}', "not valid JSON (NaN"),
        ('{"text": NaN}', "not valid JSON (NaN"),
        ('{"text": "a", "n": -Infinity}', "not valid JSON (-Infinity"),
        ('{"text": "a", "n": ' + "9" * 5000 + "}", "holds a whole number of more than 4,300 digits"),
        ('{"text": "a", "text": "b"}', 'field "text" appears twice'),
        ('{"text": "a", "meta": {"k": 1, "k": 2}}', 'field "k" appears twice'),
        ('{"text" : "a"\t, "text"\t: "b"}', 'field "text" appears twice'),
        ('{"text": null}', '"text" is null, expected string'),
        ('{"text": 2}', '"text" is a number, expected string'),
        ('{"text": 2.5}', '"text" is a number, expected string'),
        ('{"text": true}', '"text" is a boolean, expected string'),
        ('{"text": ["a"]}', '"text" is an array, expected string'),
        ('{"text": {"a": 1}}', '"text" is an object, expected string'),
        ('{"id": "a"}', "no field 'text'; fields: id."),
        ("{}", "no field 'text'; fields: none."),
        ('["text"]', "an array, expected an object"),
        ('"text"', "a string, expected an object"),
        ("null", "null, expected an object"),
        ('{"text": "t\\ud800wo"}', "lone surrogate"),
        ('{"text": "t\\uDFFFwo"}', "lone surrogate"),
        ('{"text": "a", "\\udc00": 1}', "lone surrogate"),
        ('{"text": "a", "meta": ' + "[" * 100_000 + "]" * 100_000 + "}", "JSON nested too deeply"),
        ("[" * 100_000, "JSON nested too deeply"),
        ('{"text": "a", "id": 1.5}', '"id" is a number, expected string or whole number'),
        ('{"text": "a", "id": true}', '"id" is a boolean'),
        ('{"text": "a", "domain": ["web"]}', '"domain" is an array'),
        ('{"text": "a", "copies": -1}', '"copies" is -1, expected a whole number'),
        ('{"text": "a", "copies": 1.0}', '"copies" is a number'),
        ('{"text": "a", "copies": "many"}', '"copies" is many'),
        ("\x0b", "not valid JSON"),
        ("\ufeff" + GOOD, "not valid JSON"),
    ],
)
def test_bad_record_is_refused_with_its_line_and_counted_on_request(tmp_path, line, problem):
    spec = write_lines(tmp_path / "train.jsonl", GOOD, line, '{"id": "c", "text": "three"}')
    assert refusal(spec).startswith(f"{spec}:2: {problem}")
    corpus = read_corpus([spec], skip_bad=True)
    assert [document.text for document in corpus] == ["one", "three"]
    summary = corpus.summary()
    assert (summary["documents"], summary["empty"], summary["rejected"]) == (2, 0, 1)
    assert summary["first_rejected"][0].startswith(f"{spec}:2: {problem}")


@pytest.mark.parametrize(
    ("line", "byte"),
    [
        (b'{"id": "b", "text": "caf\xff"}', 25),
        ('{"id": "b", "text": "café"}'.encode("latin-1"), 25),
        (b'\xff{"text": "a"}', 1),
        (b'{"text": "\xc0\x80"}', 11),
        (b'{"text": "\xed\xa0\x80"}', 11),
    ],
)
def test_bytes_that_are_no_utf8_are_named_within_their_line(tmp_path, line, byte):
    spec = write_lines(tmp_path / "train.jsonl", GOOD, line)
    assert refusal(spec).startswith(f"{spec}:2: not UTF-8 at byte {byte} ")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["train.jsonl", "train.txt", "train.csv"])
def test_utf16_is_named(tmp_path, encoding, name):
    path = tmp_path / name
    path.write_text(f"text\n{GOOD}\n", encoding=encoding)
    assert "UTF-16" in refusal(str(path))


def test_byte_order_mark_is_dropped_at_the_start_of_a_file_only(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + '{"text": "a\ufeffb"}\n'.encode())
    assert texts(str(path)) == ["a\ufeffb"]
    path.with_suffix(".csv").write_bytes(b"\xef\xbb\xbftext\none\n")
    assert texts(str(path.with_suffix(".csv"))) == ["one"]


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "a\x0bb",
        "a\x0cb",
        "a\x1cb",
        "a\x85b",
        "a\u2028b",
        "a\u2029b",
        "a\rb",
        "a\tb",
        "😀",
        "\ufffe",
    ],
)
def test_unusual_characters_neither_cut_nor_change_a_record(tmp_path, text):
    raw = f'{{"text": "{text}"}}'
    spec = write_lines(tmp_path / "train.jsonl", raw, json.dumps({"text": text}), GOOD)
    assert texts(spec) == [text, text, "one"]


def test_windows_line_ends_belong_to_no_record(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"text": "a"}\r\n\r\n{"text": "b"}\r\n')
    corpus = read_corpus([str(path)])
    assert [(d.text, d.source) for d in corpus] == [("a", f"{path}:1"), ("b", f"{path}:3")]
    assert corpus.summary()["empty"] == 1


def test_last_line_needs_no_line_end_and_torn_one_is_refused(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "b"}')
    assert texts(str(path)) == ["a", "b"]
    path.write_bytes(b'{"text": "a"}\n{"text": "b')
    assert refusal(str(path)).startswith(f"{path}:2: not valid JSON")


def test_bad_line_far_down_is_named_with_flat_memory(tmp_path):
    path = tmp_path / "train.jsonl"
    line = b'{"text": "' + b"the quick brown fox " * 8 + b'"}\n'
    path.write_bytes(line * 9 + b"{not json}\n")
    refusal(str(path))  # what reading imports is not part of it
    path.write_bytes(line * 249_999 + b"{not json}\n" + line * 50_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal(str(path)).startswith(f"{path}:250000: not valid JSON")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < path.stat().st_size / 2


def test_missing_field_names_the_fields_and_the_nearest(tmp_path):
    spec = write_lines(tmp_path / "train.jsonl", GOOD)
    assert "no field 'txt'; fields: id, text. Did you mean 'text'?" in refusal(spec, text_field="txt")


@pytest.mark.parametrize("content", [b"", b"\n", b"\n \n\t\r\n", b'{"text": ""}\n{"text": " \\n"}\n'])
def test_corpus_without_text_is_refused(tmp_path, content):
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    assert refusal(str(path)).startswith(f"no records in {path}")


def test_corpus_of_bad_records_alone_shows_the_first(tmp_path):
    spec = write_lines(tmp_path / "train.jsonl", "", '{"body": "a"}', '{"body": "b"}')
    message = refusal(spec, skip_bad=True)
    assert message.startswith(f"no records in {spec} (1 empty, 2 rejected, first {spec}:2: no field 'text'")


def test_empty_texts_are_counted_not_read(tmp_path):
    spec = write_lines(tmp_path / "train.jsonl", GOOD, '{"text": ""}', "", '{"text": " \\t"}')
    corpus = read_corpus([spec])
    assert [document.id for document in corpus] == ["a"]
    assert corpus.summary()["empty"] == 3


def test_optional_fields(tmp_path):
    spec = write_lines(
        tmp_path / "train.jsonl",
        '{"id": 17, "text": "a", "domain": "web", "date": 2020, "copies": 64}',
        '{"id": "x", "text": "b", "date": "2020-01-01", "copies": 0}',
        '{"id": null, "text": "c", "domain": "", "copies": null}',
        '{"id": 123456789012345678901234567890, "text": "d"}',
    )
    corpus = read_corpus([spec])
    assert list(corpus) == [
        Document("17", "a", f"{spec}:1", "web", "2020", 64),
        Document("x", "b", f"{spec}:2", None, "2020-01-01", 0),
        Document(f"{spec}:3", "c", f"{spec}:3"),
        Document("123456789012345678901234567890", "d", f"{spec}:4"),
    ]
    assert corpus.summary()["domains"] == {"web": 1}


def test_identifier_that_looks_like_another_source_is_refused(tmp_path):
    spec = str(tmp_path / "train.jsonl")
    write_lines(tmp_path / "train.jsonl", json.dumps({"id": f"{spec}:2", "text": "a"}), '{"text": "b"}')
    assert refusal(spec).startswith(f'{spec}:2: id "{spec}:2" also appears at {spec}:1')


def test_text_may_stand_in_a_field_that_is_a_label_elsewhere(tmp_path):
    spec = write_lines(tmp_path / "train.jsonl", '{"domain": "a", "id": "x"}')
    assert list(read_corpus([spec], text_field="domain")) == [Document("x", "a", f"{spec}:1")]


def test_repeated_id_in_one_file_is_refused_with_both_places(tmp_path):
    spec = write_lines(tmp_path / "train.jsonl", GOOD, '{"text": "b"}', '{"id": "a", "text": "c"}')
    assert refusal(spec).startswith(f'{spec}:3: id "a" also appears at {spec}:1')


def test_files_that_number_their_records_alike_do_not_collide(tmp_path):
    first = write_lines(tmp_path / "a.jsonl", '{"id": 0, "text": "a"}', '{"text": "b"}')
    second = write_lines(tmp_path / "b.jsonl", '{"id": 0, "text": "c"}')
    assert [d.id for d in read_corpus([first, second])] == [f"{first}#0", f"{first}:2", f"{second}#0"]


def test_corpus_is_read_anew_each_time_and_must_not_change(tmp_path):
    path = tmp_path / "train.jsonl"
    corpus = read_corpus([write_lines(path, GOOD)])
    assert list(corpus) == list(corpus)
    write_lines(path, '{"id": "a", "text": "other"}')
    with pytest.raises(InputError, match=r"train.jsonl: changed since it was last read"):
        list(corpus)


def test_summary_of_a_mixture(tmp_path):
    web = write_lines(tmp_path / "web.jsonl", GOOD, "", '{"text": "two"}')
    for number in range(3):
        (tmp_path / f"{number}.py").write_text(f"x = {number}\n")
    (tmp_path / "3.py").write_text("")
    specs = [f"web={web}", f"code={tmp_path}/*.py"]
    summary = read_corpus(specs).summary()
    content = Path(web).read_bytes()
    assert summary["specs"] == specs
    assert summary["files"][0] == {
        "path": web,
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    assert [Path(file["path"]).name for file in summary["files"]] == [
        "web.jsonl",
        "0.py",
        "1.py",
        "2.py",
        "3.py",
    ]
    assert summary["domains"] == {"web": 2, "code": 3}
    assert (summary["documents"], summary["empty"]) == (5, 1)
    assert summary["units"] == (
        "2 records of 1 file, each one document; "
        "4 files cut into 3 blocks of whole paragraphs of at least 1,000 characters"
    )
    assert "rejected" not in summary
    assert json.loads(json.dumps(summary)) == summary


def test_domain_of_the_spec_wins_over_that_of_the_record(tmp_path):
    spec = write_lines(tmp_path / "a.jsonl", '{"text": "a", "domain": "b"}')
    assert [document.domain for document in read_corpus([f"web={spec}"])] == ["web"]


@pytest.mark.parametrize(("count", "documents"), [(19, 38), (20, 20)])
def test_auto_takes_whole_files_where_there_are_many(tmp_path, count, documents):
    text = "word " * 210 + "\n\n" + "word " * 10
    for number in range(count):
        (tmp_path / f"{number:02}.txt").write_text(text)
    corpus = read_corpus([f"{tmp_path}/*.txt"])
    found = list(corpus)
    assert len(found) == documents
    if count == 20:
        assert found[0] == Document(found[0].source, text, str(tmp_path / "00.txt"))
        assert corpus.summary()["units"] == "20 files, each one document"


def test_auto_is_decided_domain_by_domain(tmp_path):
    (tmp_path / "book.md").write_text("word " * 300 + "\n\n" + "word " * 300)
    for number in range(25):
        (tmp_path / f"{number}.py").write_text("x = 1\n\n" * 300)
    corpus = read_corpus([f"book={tmp_path}/book.md", f"code={tmp_path}/*.py"])
    assert corpus.summary()["domains"] == {"book": 2, "code": 25}


def test_links_to_a_file_of_the_same_glob_are_read_once(tmp_path):
    folder = tmp_path / "real"
    folder.mkdir()
    write_lines(folder / "m.jsonl", GOOD)
    (folder / "a.jsonl").symlink_to(folder / "m.jsonl")
    (tmp_path / "zlink").symlink_to(folder)
    corpus = read_corpus([f"{tmp_path}/*/*.jsonl"])
    assert {document.source.rpartition(":")[0] for document in corpus} == {str(folder / "m.jsonl")}
    assert len(list(corpus)) == corpus.summary()["documents"] == len(list(read_corpus([f"{folder}/m.jsonl"])))
    assert corpus.summary()["units"].endswith("; 3 links to them are not read again")
    with pytest.raises(InputError, match=r"a.jsonl: named twice, first as .*m.jsonl") as refused:
        read_corpus([f"{folder}/m.jsonl", f"{folder}/a.jsonl"])
    assert "\n" not in str(refused.value)


def test_file_named_twice_is_refused(tmp_path):
    spec = write_lines(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(InputError, match=r"a.jsonl: named twice"):
        read_corpus([spec, f"web={tmp_path}/./*.jsonl"])
    with pytest.raises(InputError, match="no corpus given"):
        read_corpus([])


def test_single_spec_may_be_a_plain_string(tmp_path):
    spec = write_lines(tmp_path / "a.jsonl", GOOD)
    assert [document.text for document in read_corpus(spec)] == ["one"]


JSON_LINE = st.one_of(
    st.builds(lambda t: json.dumps({"text": t}).encode(), st.text(max_size=12)),
    st.builds(lambda t: json.dumps({"text": t}, ensure_ascii=False).encode("utf-8", "replace"), st.text(max_size=12)),
    st.builds(lambda v: json.dumps({"text": v, "id": None}).encode(), st.none() | st.integers() | st.floats()),
    st.binary(max_size=20),
    st.sampled_from([b"", b"  ", b"\r", b"{}", b'{"text": "ok"}\r', b'{"text": "torn', b"\xef\xbb\xbf"]),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(JSON_LINE, max_size=8), st.booleans())
def test_every_line_is_read_counted_or_rejected(tmp_path_factory, lines, ended):
    content = b'{"text": "first"}\n' + b"\n".join(lines) + (b"\n" if ended else b"")
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.jsonl"
    path.write_bytes(content)
    summary = read_corpus([str(path)], skip_bad=True).summary()
    physical = content.count(b"\n") + (not content.endswith(b"\n"))
    assert summary["documents"] + summary["empty"] + summary["rejected"] == physical
    good = [value for value in map(_oracle, content.split(b"\n")) if value and not value.isspace()]
    assert texts(str(path), skip_bad=True) == good
    if summary["rejected"]:
        place = summary["first_rejected"][0].split(": ")[0]
        assert refusal(str(path)).startswith(f"{place}: ")


def _oracle(line: bytes) -> str | None:
    try:
        record = json.loads(line.decode(), strict=False)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return None
    text = record.get("text") if isinstance(record, dict) else None
    return text if isinstance(text, str) else None


def test_real_corpora_are_read_whole(shared_data):
    tiny = shared_data / "corpora" / "tinyshakespeare" / "input.txt"
    corpus = read_corpus([str(tiny)])
    content = tiny.read_text()
    for document in corpus:
        assert document.text in content
    assert sum(len("".join(d.text.split())) for d in corpus) == len("".join(content.split()))
    peps = read_corpus([str(shared_data / "corpora" / "dated-peps" / "peps.jsonl.gz")]).summary()
    assert (peps["documents"], peps["empty"]) == (703, 0)
