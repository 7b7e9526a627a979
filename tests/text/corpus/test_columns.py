"""Parquet and Arrow: what is not asked for stops nothing, and what is asked for does not grow beyond reason."""

from __future__ import annotations

import decimal
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, ipc, parquet

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.contamination.clean_split import write_clean_split
from memaudit.errors import InputError
from memaudit.text.corpus.read import read_corpus
from tests.faults.isolation import isolated

FAR = [
    pa.array([10**18], pa.timestamp("us")),
    pa.array([10**18], pa.timestamp("us", "Nowhere/Land")),
    pa.array([-(10**14)], pa.timestamp("s")),
    pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    pa.array([2**62], pa.duration("s")),
    pa.array([2**62 - 2**62 % 86_400_000], pa.int64()).cast(pa.date64()),
]
STRANGE = [
    *FAR,
    pa.array([{"a": 10**18}], pa.struct([("a", pa.timestamp("us"))])),
    pa.array([[2**62]], pa.list_(pa.duration("s"))),
    pa.array([[("k", 10**18)]], pa.map_(pa.string(), pa.timestamp("us"))),
    pa.array([b"\xff"]),
    pa.array([b"1234"], pa.binary(4)),
    pa.array([decimal.Decimal(10) ** 37], pa.decimal128(38, 0)),
    pa.array([float("nan")]),
    pa.array([None], pa.null()),
    pa.array([65504.0], pa.float16()),
    pa.array([1], pa.time64("ns")),
]
ARROW_ALONE = [
    pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    pa.RunEndEncodedArray.from_arrays([1], ["x"]),
    pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
    pa.array(["view"], pa.string_view()),
]
NOT_UTF8 = pa.StringArray.from_buffers(1, pa.array([0, 1], pa.int32()).buffers()[1], pa.py_buffer(b"\xff"))


def write(path: Path, table: pa.Table) -> str:
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    return str(path)


@pytest.mark.parametrize("column", STRANGE + ARROW_ALONE, ids=lambda column: str(column.type))
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_column_that_is_not_asked_for_stops_nothing(tmp_path, column, ending):
    path, table = tmp_path / f"c.{ending}", pa.table({"question": ["Who?"], "other": column})
    if ending == "parquet" and any(column is alone for alone in ARROW_ALONE):
        return  # no file of that type can be written
    spec = write(path, table)
    assert [document.text for document in read_corpus([spec], text_field="question")] == ["Who?"]
    assert [item.whole for item in read_benchmark([spec]).items] == ["Who?"]


def test_a_text_that_is_not_asked_for_may_be_damaged(tmp_path):
    spec = write(tmp_path / "c.parquet", pa.table({"question": ["Who?"], "other": NOT_UTF8}))
    assert [item.whole for item in read_benchmark([spec]).items] == ["Who?"]
    with pytest.raises(InputError, match=r"c.parquet:1: not UTF-8 at byte 1"):
        read_benchmark([spec], ["other"])


@pytest.mark.parametrize("column", STRANGE + ARROW_ALONE[:3], ids=lambda column: str(column.type))
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_text_of_another_type_is_one_line(tmp_path, column, ending):
    if ending == "parquet" and any(column is alone for alone in ARROW_ALONE):
        return
    spec = write(tmp_path / f"c.{ending}", pa.table({"text": column, "id": ["a"]}))
    if column.type in {far.type for far in FAR} or pa.types.is_run_end_encoded(column.type):
        (document,) = read_corpus([spec])
        assert document.text
        return
    with pytest.raises(InputError, match=rf'c.{ending}:1: "text" is .*, expected string'):
        list(read_corpus([spec]))


@pytest.mark.parametrize("column", FAR, ids=lambda column: str(column.type))
def test_a_date_that_python_does_not_have_is_text(tmp_path, column):
    (document,) = read_corpus([write(tmp_path / "c.parquet", pa.table({"text": ["a"], "date": column}))])
    assert isinstance(document.date, str)
    assert document.date


scalars = st.sampled_from([pa.int64(), pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"),
                           pa.duration("s"), pa.duration("ns"), pa.time64("us")])  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(scalars, st.integers(-(2**63), 2**63 - 1), st.sampled_from(["date", "id", "other", "copies"]))
def test_any_number_of_any_type_is_read_or_one_line(tmp_path_factory, kind, number, name):
    table = pa.table({"text": ["a"], name: pa.array([number], pa.int64()).view(kind)})
    spec = write(tmp_path_factory.mktemp("any") / "c.arrow", table)
    try:
        assert [document.text for document in read_corpus([spec])] == ["a"]
    except InputError as error:
        assert str(error).startswith(f'{spec}:1: "{name}" is ')


BIG = "it was the best of times " * 40_000


def repeated(rows: int) -> pa.Table:
    return pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [BIG])})


def dictionary(path: Path, rows: int = 5000) -> None:
    """As small as such a file gets: 5 GB of text."""
    parquet.write_table(repeated(rows), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 4000


def categories(path: Path) -> None:
    parquet.write_table(repeated(5000), path, compression="zstd")


def prefixes(path: Path) -> None:
    parquet.write_table(pa.table({"text": [BIG] * 100}), path, use_dictionary=False, compression="zstd",
                        column_encoding={"text": "DELTA_BYTE_ARRAY"})  # fmt: skip


def plain(path: Path) -> None:
    parquet.write_table(pa.table({"text": [BIG] * 100}), path, use_dictionary=False, compression="zstd")


def empty_rows(path: Path) -> None:
    indices = pa.Array.from_buffers(pa.int8(), 80_000_000, [None, pa.py_buffer(bytes(80_000_000))])
    parquet.write_table(pa.table({"text": pa.DictionaryArray.from_arrays(indices, [""])}), path)


def packed(path: Path) -> None:
    feather.write_feather(pa.table({"text": [BIG] * 100}), str(path), compression="zstd")


def stream_of_categories(path: Path) -> None:
    write(path, repeated(5000))


def run_ends(path: Path) -> None:
    write(path, pa.table({"text": pa.RunEndEncodedArray.from_arrays(pa.array([5000], pa.int32()), [BIG])}))


def nothing(path: Path) -> None:
    write(path, pa.table({"text": pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])}))


def messages(rows: int, turns: int) -> pa.Table:
    contents = pa.DictionaryArray.from_arrays(pa.array([0] * rows * turns, pa.int32()), [BIG])
    roles = pa.array(["user"] * rows * turns)
    struct = pa.StructArray.from_arrays([roles, contents], ["role", "content"])
    return pa.table({"messages": pa.ListArray.from_arrays(range(0, rows * turns + 1, turns), struct)})


def one_conversation(path: Path) -> None:
    """5 GB of text in one row of a few thousand bytes."""
    parquet.write_table(messages(1, 5000), path, compression="zstd", store_schema=False)


def conversations(path: Path) -> None:
    write(path, messages(1000, 5))


def empty_turns(path: Path) -> None:
    count = 80_000_000
    struct = pa.StructArray.from_arrays([pa.array(np.zeros(count, np.int8))], ["role"])
    offsets = pa.array([0, count], pa.int32())
    parquet.write_table(pa.table({"messages": pa.ListArray.from_arrays(offsets, struct)}), path)


@pytest.mark.parametrize(
    ("name", "make"),
    [("b.parquet", one_conversation), ("b", conversations), ("b.parquet", empty_turns), ("b.parquet", dictionary),
     ("b.parquet", categories), ("b.parquet", prefixes), ("b.parquet", plain),
     ("b.parquet", empty_rows), ("b.arrow", packed), ("b", stream_of_categories), ("b", run_ends), ("b", nothing)],
)  # fmt: skip
def test_what_expands_is_refused_before_it_is_held(tmp_path, name, make):
    path = tmp_path / name
    make(path)
    assert path.stat().st_size < 2 << 20
    outcome = isolated(lambda: sum(1 for _ in read_corpus([str(path)])), 60)
    assert (outcome.exit_code, outcome.message.partition(" (")[0]) == (2, f"{path}: expands over limit")
    assert outcome.seconds < 10
    assert outcome.mebibytes < 1024


def test_what_may_expand_does(tmp_path):
    dictionary(tmp_path / "b.parquet", 200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in read_corpus([f"{tmp_path}/b.parquet"], max_expand=1 << 30)) == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19


@pytest.mark.parametrize("compressed", ["uncompressed", "lz4", "zstd"])
def test_feather_is_read(tmp_path, compressed):
    table = pa.table({"text": [f"text {i}" for i in range(3000)], "id": range(3000)})
    feather.write_feather(table, str(tmp_path / "c.feather"), compression=compressed, chunksize=1000)
    documents = list(read_corpus([f"{tmp_path}/c.feather"]))
    assert [document.text for document in documents] == table["text"].to_pylist()
    assert (documents[2999].id, documents[2999].source) == ("2999", f"{tmp_path}/c.feather:3000")


def test_a_torn_arrow_file_is_refused(tmp_path):
    path = tmp_path / "c.arrow"
    whole = Path(write(path, pa.table({"text": ["one", "two"] * 100}))).read_bytes()
    for cut in (9, 100, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"c\.arrow: not a readable Arrow file"):
            list(read_corpus([str(path)]))
    path.write_bytes(b"prose")
    with pytest.raises(InputError, match=r"c\.arrow: not a readable Arrow file"):
        list(read_corpus([str(path)]))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_arrow_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "c.arrow"
    whole = bytearray(Path(write(path, pa.table({"text": ["one", "two"], "id": ["a", "b"]}))).read_bytes())
    for at in data.draw(st.lists(st.integers(8, len(whole) - 1), min_size=1, max_size=3)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        assert all(isinstance(document.text, str) for document in read_corpus([str(path)]))
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("new", [ipc.new_file, ipc.new_stream])
def test_a_benchmark_of_arrow_is_split_into_files_of_arrow(tmp_path, new):
    table = pa.table({"question": ["a b", "c d", "e f"]})
    with new(str(tmp_path / "b.arrow"), table.schema) as writer:
        writer.write_table(table)
    write_clean_split([f"{tmp_path}/b.arrow"], {2}, tmp_path / "s")
    halves = [read_benchmark([f"{tmp_path}/s/{half}.arrow"]) for half in ("clean", "contaminated")]
    assert [[item.whole for item in half.items] for half in halves] == [["a b", "e f"], ["c d"]]
