"""A benchmark in three: every record goes to exactly one part, byte for byte and in order."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.contamination.clean_split import split_targets, write_clean_split
from memaudit.errors import InputError, RunError


def halves(path, contaminated, folder) -> tuple[bytes, bytes]:
    split = write_clean_split([str(path)], contaminated, folder)
    return split.clean[0].read_bytes(), split.contaminated[0].read_bytes()


LINES = [b'{"text":  "one", "n": 1.0}\n', b'{"n": 1e2, "text":"t\\u0077o"}\r\n', b'{"text": "three\xc3\xa9"}\n']


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_json_lines_keep_their_bytes(tmp_path, ending):
    data = b"\n".join([LINES[0] + b"  ", LINES[1] + LINES[2]])
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}[ending](data)
    (tmp_path / f"b.jsonl{ending}").write_bytes(packed)
    split = write_clean_split([str(tmp_path / f"b.jsonl{ending}")], {2}, tmp_path / "out")
    assert split.clean == [tmp_path / "out" / "clean.jsonl"]
    assert split.files == [tmp_path / "out" / f"{kind}.jsonl" for kind in ("clean", "contaminated", "undecided")]
    assert split.clean[0].read_bytes() == LINES[0] + LINES[2]
    assert split.contaminated[0].read_bytes() == LINES[1]
    assert (split.clean_records, split.contaminated_records, split.undecided_records) == (2, 1, 0)


def test_a_last_line_without_an_end_gets_one(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "one"}\n{"text": "two"}')
    assert halves(tmp_path / "b.jsonl", {2}, tmp_path) == (b'{"text": "one"}\n', b'{"text": "two"}\n')


def test_records_that_were_not_decided_are_never_clean(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "one"}\nnot json\n{"text": ""}\n{"text": "four"}\n')
    split = write_clean_split([str(tmp_path / "b.jsonl")], {4}, tmp_path / "out", clean={1})
    assert split.clean[0].read_bytes() == b'{"text": "one"}\n'
    assert split.undecided[0].read_bytes() == b'not json\n{"text": ""}\n'
    assert (split.clean_records, split.contaminated_records, split.undecided_records) == (1, 1, 2)


def test_csv_keeps_its_header_and_records_of_several_lines(tmp_path):
    head, one, two, three = b'"question", answer\r\n', b'"Why\nso?",x\r\n', b'"a ""b""\n\n",y\r\n', b"c,z\n"
    (tmp_path / "b.csv").write_bytes(b"\n" + head + one + b"\n" + two + three.strip())
    assert halves(tmp_path / "b.csv", {2}, tmp_path / "out") == (head + one + three, head + two)


def test_csv_without_a_header_gets_none(tmp_path):
    rows = [b'"3","Two words","A whole sentence"\n', b'"4","More words","And more"\n']
    (tmp_path / "b.csv").write_bytes(b"".join(rows))
    assert halves(tmp_path / "b.csv", {1}, tmp_path / "out") == (rows[1], rows[0])


def test_a_json_array_stays_one(tmp_path):
    elements = b'{"text": "a, ]", "n": 1.50}', b'{"n":1e3,"text":"\xc3\xa9\\"["}', b'{"text": "c"}'
    (tmp_path / "b.json").write_bytes(b" [%b ,\n%b\n, %b]\n" % elements)
    clean, dirty = halves(tmp_path / "b.json", {2}, tmp_path / "out")
    assert clean == b"[\n%b,\n%b\n]\n" % elements[::2]
    assert dirty == b"[\n%b\n]\n" % elements[1:2]
    _, none = halves(tmp_path / "b.json", set(), tmp_path / "none")
    assert json.loads(none) == []


def test_a_json_file_of_lines_stays_lines(tmp_path):
    (tmp_path / "b.json").write_bytes(LINES[0] + LINES[2])
    assert halves(tmp_path / "b.json", {1}, tmp_path / "out") == (LINES[2], LINES[0])


def test_parquet_keeps_its_schema(tmp_path):
    schema = pa.schema(
        [
            pa.field("text", pa.large_string(), nullable=False),
            pa.field("tags", pa.list_(pa.string())),
            pa.field("kind", pa.dictionary(pa.int8(), pa.string())),
        ],
        metadata={"origin": "a test"},
    )
    table = pa.table({"text": ["one", "two", "three"], "tags": [["a"], None, []], "kind": ["x", "y", "x"]}, schema)
    parquet.write_table(table, tmp_path / "b.parquet")
    split = write_clean_split([str(tmp_path / "b.parquet")], {1, 3}, tmp_path / "out")
    clean, dirty = (parquet.ParquetFile(path).read() for path in (split.clean[0], split.contaminated[0]))
    stored = parquet.ParquetFile(tmp_path / "b.parquet").read()
    assert clean.schema.equals(stored.schema, check_metadata=True)
    assert dirty.schema.equals(stored.schema, check_metadata=True)
    assert clean.to_pylist() == stored.to_pylist()[1:2]
    assert dirty.to_pylist() == stored.to_pylist()[::2]


def test_several_files_are_split_by_their_names_and_numbered_through(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "test.jsonl").write_bytes(LINES[0] + b"\n" + LINES[2])
    (tmp_path / "a" / "test.jsonl").write_bytes(LINES[1])
    (tmp_path / "dev.txt").write_bytes(b"five\n\nsix\n")
    paths = [str(tmp_path / name) for name in ("test.jsonl", "a/test.jsonl", "dev.txt")]
    split = write_clean_split(paths, {1, 3, 5}, tmp_path / "out")
    assert [path.name for path in split.files] == [
        "clean-test.jsonl",
        "contaminated-test.jsonl",
        "undecided-test.jsonl",
        "clean-test-again.jsonl",
        "contaminated-test-again.jsonl",
        "undecided-test-again.jsonl",
        "clean-dev.txt",
        "contaminated-dev.txt",
        "undecided-dev.txt",
    ]
    assert [path.read_bytes() for path in split.clean] == [LINES[2], b"", b"five\n"]
    assert [path.read_bytes() for path in split.contaminated] == [LINES[0], LINES[1], b"six\n"]


def test_inputs_are_never_overwritten(tmp_path):
    for name in ("clean.jsonl", "contaminated.jsonl"):
        (tmp_path / name).write_bytes(LINES[0])
        with pytest.raises(InputError, match="the split would overwrite it"):
            write_clean_split([str(tmp_path / name)], {1}, tmp_path)
        assert (tmp_path / name).read_bytes() == LINES[0]
    (tmp_path / "out").mkdir()
    os.link(tmp_path / "clean.jsonl", tmp_path / "out" / "contaminated.jsonl")
    with pytest.raises(InputError, match="the split would overwrite it"):
        split_targets([str(tmp_path / "clean.jsonl")], tmp_path / "out")


def test_a_file_that_changed_since_it_was_checked_is_refused(tmp_path):
    path = tmp_path / "b.jsonl"
    path.write_bytes(LINES[0])
    benchmark = read_benchmark([str(path)])
    assert write_clean_split([str(path)], {1}, tmp_path / "out", files=benchmark.files).contaminated_records == 1
    path.write_bytes(LINES[2] + LINES[0])
    with pytest.raises(InputError, match="changed since it was checked"):
        write_clean_split([str(path)], {1}, tmp_path / "new", files=benchmark.files)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_split_is_said_at_once(tmp_path):
    with pytest.raises(InputError, match="only files of records can be split"):
        split_targets(["hf:gsm8k:main:test"], tmp_path)
    (tmp_path / "b.jsonl").write_bytes(LINES[0])
    with pytest.raises(ValueError, match="of 1 records, none has the number 2"):
        write_clean_split([str(tmp_path / "b.jsonl")], {2}, tmp_path / "out")
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(RunError, match="cannot create"):
        write_clean_split([str(tmp_path / "b.jsonl")], {1}, tmp_path / "out")


KINDS = ["csv", "tsv", "jsonl", "json"]
cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=8)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=8),
    st.data(),
    st.sampled_from(KINDS),
)
def test_the_halves_are_the_benchmark(tmp_path_factory, pairs, data, kind):
    folder = tmp_path_factory.mktemp("split")
    path = folder / f"b.{kind}"
    chosen = data.draw(st.sets(st.integers(1, len(pairs))))
    path.write_bytes(encoded(pairs, kind))
    clean, dirty = (decoded(half, kind) for half in halves(path, chosen, folder / "out"))
    assert clean == [pair for number, pair in enumerate(pairs, 1) if number not in chosen]
    assert dirty == [pair for number, pair in enumerate(pairs, 1) if number in chosen]


def encoded(pairs, kind) -> bytes:
    rows = [{"question": q, "answer": a} for q, a in pairs]
    if kind == "json":
        return json.dumps(rows, indent=1).encode()
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    buffer = io.StringIO(newline="")
    delimiter = "," if kind == "csv" else "\t"
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("question", "answer"), *pairs])
    return buffer.getvalue().encode()


def decoded(half: bytes, kind) -> list[tuple[str, str]]:
    text = half.decode()
    if kind in ("json", "jsonl"):
        rows = json.loads(text) if kind == "json" else [json.loads(line) for line in text.split("\n")[:-1]]
        return [(row["question"], row["answer"]) for row in rows]
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter="," if kind == "csv" else "\t")
    assert header == ["question", "answer"]
    return [tuple(row) for row in rows]


def test_a_real_benchmark(shared_data, tmp_path):
    path = shared_data / "benchmarks" / "truthfulqa" / "TruthfulQA.csv"
    items = read_benchmark([str(path)]).items
    chosen = {item.number for item in items if "Canada" in item.parts["question"]}
    split = write_clean_split([str(path)], chosen, tmp_path)
    clean, dirty = (read_benchmark([str(half[0])]).items for half in (split.clean, split.contaminated))
    assert len(chosen) == len(dirty) > 5
    assert [item.parts for item in clean] == [item.parts for item in items if item.number not in chosen]
    assert [item.parts for item in dirty] == [item.parts for item in items if item.number in chosen]
    assert sum(half.stat().st_size for half in split.files) >= path.stat().st_size
