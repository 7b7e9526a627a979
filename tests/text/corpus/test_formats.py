"""CSV, TSV, JSON arrays, Parquet, text and hub data sets keep every record as it is."""

from __future__ import annotations

import csv
import datetime
import io
import json
import sys
import types

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.corpus import containers, csv_format
from memaudit.text.corpus.read import read_corpus


def write(path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def refusal(spec: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        list(read_corpus([spec], **options))
    return str(caught.value)


def texts(spec: str, **options) -> list[str]:
    return [document.text for document in read_corpus([spec], **options)]


CELLS = ["NA", "null", "None", "nan", "N/A", "True", "true", "001", "2020-01-01", "1e5", " x ", "=1+1", "-"]


@pytest.mark.parametrize(("name", "delimiter"), [("train.csv", ","), ("train.tsv", "\t")])
def test_cells_stay_the_strings_they_are(tmp_path, name, delimiter):
    lines = [delimiter.join(["id", "text"])] + [delimiter.join([f"r{i}", c]) for i, c in enumerate(CELLS)]
    spec = write(tmp_path / name, "\n".join(lines) + "\n")
    assert texts(spec) == CELLS


def test_quoted_cells_keep_line_ends_quotes_and_unusual_characters(tmp_path):
    cells = ['a "b" c', "two\nlines", "two\r\nlines", "a,b", "nul\x00", "x\x0b\x85\u2028", "last"]
    rows = "".join(f'"{cell.replace(chr(34), chr(34) * 2)}",{i}\r\n' for i, cell in enumerate(cells))
    spec = write(tmp_path / "train.csv", "text,copies\r\n" + rows)
    documents = list(read_corpus([spec]))
    assert [document.text for document in documents] == cells
    assert [document.copies for document in documents] == list(range(len(cells)))
    assert [document.source.rpartition(":")[2] for document in documents] == [
        "2",
        "3",
        "5",
        "7",
        "8",
        "9",
        "10",
    ]


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        ("id,text\na,one\nb\nc,three\n", 3, "1 field, the header has 2"),
        ("id,text\na,one\nb,two,2\n", 3, "3 fields, the header has 2"),
        ("id,text\na,one,1\nb,two,2\n", 2, "3 fields, the header has 2"),
        ('id,text\na,one\nb,"two\nc,three\nd,four\n', 3, "quote opened here is never closed"),
        ('id,text\n"a\n",one\nb,"two\n\nc,three\n', 4, "quote opened here is never closed"),
        ('id,text\na,"one"x\n', 2, "not valid CSV"),
        ("id,text\na,one\rb,two\n", 2, "not valid CSV"),
        ("text,id,text\na,b,c\n", 1, 'column "text" appears twice in the header'),
        ("id;text\na;one;two\n", 2, "3 fields, the header has 2"),
        ("id,text\ra,one\rb,two\r", 1, "not valid CSV (new-line character seen in unquoted field"),
        ("id,txt\na,one\n", 2, "no field 'text'; fields: id, txt. Did you mean 'txt'?"),
        (b"id,text\na,caf\xe9\n", 2, "not UTF-8 at byte 6 "),
        (b"id,t\xe9xt\na,one\n", 1, "not UTF-8 at byte 5 "),
        ("text,copies\na,1.5\n", 2, '"copies" is 1.5, expected a whole number'),
    ],
)
def test_bad_csv_is_refused_with_its_line(tmp_path, content, place, problem):
    spec = write(tmp_path / "train.csv", content)
    assert refusal(spec).startswith(f"{spec}:{place}: {problem}")


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("id;text\n1;one, two\n2;three\n", [2, 3]),
        ("\nid|text\n1|one, two\n2|three\n", [3, 4]),
        ("id\ttext\n1\tone, two\n2\tthree\n", [2, 3]),
        ("sep=;\nid;text\n1;one, two\n2;three\n", [3, 4]),
        ('sep=,\r\nid,text\r\n1,"one, two"\r\n2,three\r\n', [3, 4]),
        ('"id;x",text\n1,"one, two"\n2,three\n', [2, 3]),
    ],
)
def test_the_first_line_says_what_stands_between_cells(tmp_path, content, lines):
    spec = write(tmp_path / "train.csv", content)
    documents = list(read_corpus([spec]))
    assert [document.text for document in documents] == ["one, two", "three"]
    assert [document.source for document in documents] == [f"{spec}:{line}" for line in lines]


@pytest.mark.parametrize("split", ["line", "paragraph"])
def test_lines_that_end_in_cr_alone_are_no_lines(tmp_path, split):
    spec = write(tmp_path / "a.txt", "one\rtwo\rthree\r")
    assert refusal(spec, split=split).startswith(f"{spec}: its lines end in CR alone (write CRLF or LF")
    assert texts(spec, split="file") == ["one\rtwo\rthree\r"]


def test_quote_closed_far_from_where_it_opened_names_both_lines(tmp_path):
    spec = write(tmp_path / "train.csv", 'text\n"one\ntwo\n"three" x\n')
    assert refusal(spec).startswith(f"{spec}:4: not valid CSV")
    assert "line 2" in refusal(spec)


@pytest.mark.parametrize("content", ["", "\n\n", "id,text\n", "id,text\n\n\n", 'id,text\na,""\n'])
def test_csv_without_text_is_refused(tmp_path, content):
    assert refusal(write(tmp_path / "train.csv", content)).startswith(f"no records in {tmp_path}/train.csv")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.text(max_size=6), min_size=2, max_size=2), max_size=6),
    st.lists(st.sampled_from([b"", b"a", b"a,b,c", b"\xff,b", b"x,y", b"x, "]), max_size=4),
)
def test_every_row_is_read_counted_or_rejected(tmp_path_factory, rows, extra):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["meta", "text"], *rows])
    content = buffer.getvalue().encode("utf-8", "surrogatepass") + b"".join(line + b"\n" for line in extra)
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.csv"
    path.write_bytes(content + b"end,end\n")
    corpus = read_corpus([str(path)], skip_bad=True)
    found = [document.text for document in corpus]
    summary = corpus.summary()
    assert summary["documents"] + summary["empty"] + summary["rejected"] == len(rows) + len(extra) + 1
    encodable = [text for _, text in rows if text and not text.isspace()]
    assert found == [*encodable, *(["y"] * extra.count(b"x,y")), "end"]


ARRAY = '[\n  {"id": 1, "text": "one"},\n  {"id": 2,\n   "text": "two"}, {"text": "three"}\n]\n'


@pytest.mark.parametrize("spec", ["{}/train.json", "json:{}/train.json", "part=json:{}/train.json"])
def test_json_array_knows_where_each_record_stands(tmp_path, spec):
    name = write(tmp_path / "train.json", ARRAY)
    documents = list(read_corpus([spec.format(tmp_path)]))
    assert [(d.id, d.text) for d in documents] == [("1", "one"), ("2", "two"), (f"{name}:4", "three")]
    assert [d.source for d in documents] == [f"{name}:2", f"{name}:3", f"{name}:4"]


def test_minified_array_gives_every_record_its_own_source(tmp_path):
    content = json.dumps([{"text": str(i)} for i in range(50)], separators=(",", ":"))
    documents = list(read_corpus([write(tmp_path / "train.json", content)]))
    assert [document.text for document in documents] == [str(i) for i in range(50)]
    assert len({document.id for document in documents}) == 50
    for document in documents[1:]:
        column = int(document.source.rpartition(":")[2])
        assert content[column - 1 :].startswith(json.dumps({"text": document.text}, separators=(",", ":")))


def test_json_spec_reads_lines_too_and_files_of_any_name(tmp_path):
    path = tmp_path / "train.data"
    lines = '{"text": "a"}\n\n{"text": "b"}\n'
    assert texts(f"json:{write(path, lines)}") == ["a", "b"]
    assert texts(f"json:{write(path, ARRAY)}") == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        ('[{"text": "a"},\n {"text": 1}]', ":2", '"text" is a number'),
        ('[{"text": "a"},\n "b"]', ":2", "a string, expected an object"),
        ('[{"text": "a"},\n {"text": "\\ud800"}]', ":2", "lone surrogate"),
        ('[{"text": "a"},\n {"text": "b", "text": "c"}]', ":2", 'field "text" appears twice'),
        ('[{"text": "a"},\n {"text": NaN}]', ":2", "not valid JSON (NaN"),
        ('[{"text": "a"},\n {"text": "b"', ":2", "not valid JSON"),
        ('[{"text": "a"},\n {"text": "b"}', ":2", "not valid JSON (neither a comma nor ]"),
        ('[{"text": "a"}\n {"text": "b"}]', ":1", "not valid JSON (neither a comma nor ]"),
        ('[{"text": "a"},\n]', ":2", "not valid JSON"),
        ("[" * 100_000, ":1", "JSON nested too deeply"),
        ('[{"text": "a"}] x', "", "not valid JSON (text after the end"),
        (b'[{"text": "a"},\n {"text": "\xff"}]', ":2", "not UTF-8 at byte 12 "),
        ('{\n  "data": [{"text": "a"}]\n}', ":1", "no field 'text'; fields: data."),
        ('[{"text": "a"},\n', ":2", "not valid JSON (the array does not end)"),
        ('{\n "text": "a"\n}\n{\n "text": "b"\n} x', ":6", "not valid JSON (Expecting value"),
    ],
)
def test_bad_json_array_is_refused(tmp_path, content, place, problem):
    spec = write(tmp_path / "train.json", content)
    assert refusal(spec).startswith(f"{spec}{place}: {problem}")


def test_empty_json_array_holds_no_records(tmp_path):
    assert refusal(write(tmp_path / "a.json", " [ ]\n")).startswith("no records in")
    assert refusal(write(tmp_path / "b.json", "")).startswith("no records in")


def write_parquet(path, **columns) -> str:
    parquet.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_rows(tmp_path, kind):
    spec = write_parquet(
        tmp_path / "train.parquet",
        text=pa.array(["NA", "", "001"], kind),
        id=[7, 8, 9],
        date=[datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
        other=[[1], [2], [3]],
    )
    corpus = read_corpus([spec])
    assert list(corpus) == [
        Document("7", "NA", f"{spec}:1", date="2020-01-01"),
        Document("9", "001", f"{spec}:3", date="2021-01-01"),
    ]
    assert corpus.summary()["empty"] == 1


def test_bad_parquet_is_refused_with_its_row(tmp_path):
    path = tmp_path / "train.parquet"
    spec = write_parquet(path, text=["a", None, "b"])
    assert refusal(spec).startswith(f'{spec}:2: "text" is null, expected string')
    assert read_corpus([spec], skip_bad=True).summary()["rejected"] == 1
    assert refusal(write_parquet(path, text=[1, 2])).startswith(f'{spec}:1: "text" is a number')
    message = refusal(write_parquet(path, body=["a"]))
    assert message.startswith(f"{spec}:1: no field 'text'; fields: body")
    broken = pa.StringArray.from_buffers(2, pa.array([0, 1, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffb"))
    assert refusal(write_parquet(path, text=broken)).startswith(f"{spec}:2: not UTF-8 at byte 1 ")
    path.write_bytes(path.read_bytes()[:-20])
    assert "not a readable Parquet file" in refusal(spec)
    assert "not a readable Parquet file" in refusal(write(path, "text\n"))


@pytest.mark.parametrize("split", ["block", "paragraph", "line", "file"])
def test_text_that_is_no_utf8_is_refused_with_its_line(tmp_path, split):
    spec = write(tmp_path / "a.txt", b"one\n\ntw\xffo\n\nthree\n")
    assert refusal(spec, split=split).startswith(f"{spec}:3: not UTF-8 at byte 3 ")


def test_bad_piece_of_a_text_is_rejected_alone(tmp_path):
    spec = write(tmp_path / "a.txt", b"one\nmore\n\ntwo\nand \xff\n\nthree\n")
    corpus = read_corpus([spec], split="paragraph", skip_bad=True)
    assert [document.text for document in corpus] == ["one\nmore", "three"]
    assert corpus.summary()["first_rejected"] == [f"{spec}:5: not UTF-8 at byte 5"]


def test_whole_file_is_kept_to_the_last_character(tmp_path):
    text = "\n a\r\nb\x0b\x85\u2028\r\x00 \n\n"
    spec = write(tmp_path / "a.txt", text)
    assert list(read_corpus([spec], split="file")) == [Document(spec, text, spec)]


def test_unlimited_growth_of_one_record_is_refused(tmp_path, monkeypatch):
    for module in (containers, csv_format):
        monkeypatch.setattr(module, "MAX_RECORD", 1000)
    spec = write(tmp_path / "a.txt", "word\n" * 300)
    assert f"{spec}: document over 1,000 bytes" in refusal(spec, split="file")
    spec = write(tmp_path / "a.json", "[" + " " * 2000 + "]")
    assert f"{spec}: document over 1,000 bytes" in refusal(spec)
    spec = write(tmp_path / "a.csv", 'text\n"' + "word\n" * 300)
    assert "field larger than field limit (1000)" in refusal(spec)


class HubTable(list):
    """The few parts of a data set of the hub that the reader uses."""

    column_names = ("id", "text", "label")

    def select_columns(self, names):
        assert set(names) == {"id", "text"}
        return [{name: row[name] for name in names} for row in self]


def test_hub_data_set_is_read_through_the_library(monkeypatch):
    asked = []

    def load_dataset(name, config, *, split):
        asked.append((name, config, split))
        return HubTable([{"id": 1, "text": "NA", "label": 0}, {"id": 2, "text": "two", "label": 1}])

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    corpus = read_corpus(["hub=hf:owner/set::train[:1%]+test[2:5]"])
    source = "hf:owner/set::train[:1%]+test[2:5]"
    assert list(corpus) == [
        Document("1", "NA", f"{source}:1", "hub"),
        Document("2", "two", f"{source}:2", "hub"),
    ]
    assert asked == [("owner/set", None, "train[:1%]+test[2:5]")] * 2  # once to see that all of it can be read
    summary = corpus.summary()
    assert summary["files"][0]["path"] == source
    assert len(summary["files"][0]["sha256"]) == 64
    assert summary["units"] == "2 rows of 1 data set, each one document"


def test_a_date_of_the_hub_that_python_does_not_have_is_one_sentence(monkeypatch):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset(pa.table({"text": ["a"], "date": pa.array([10**18], pa.timestamp("us"))}))
    monkeypatch.setattr("memaudit.text.corpus.hub.HubStream._load", lambda self: table)
    message = refusal("hf:some/thing::train")
    assert message.startswith("hf:some/thing::train: a row cannot be read: ")
    assert "\n" not in message


def test_hub_data_set_that_is_not_cached_is_one_sentence_with_a_way_on():
    message = refusal("hf:nobody/never-cached:default:train")
    assert message.startswith("hf:nobody/never-cached:default:train: not in the local cache and not to be had: ")
    assert "local .jsonl or .parquet file" in message
    assert "\n" not in message
