"""Batches hold the documents of every format, with the texts, places, counts and errors of the strict reader."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from pyarrow import parquet

from memaudit.errors import InputError
from memaudit.text.corpus.specs import parse_spec
from memaudit.text.scan import batch as batch_module
from memaudit.text.scan.batch import BatchReader
from tests.text.strict_reading import strictly

TEXTS = ["one, two", "  ", "naïve “quotes”\nand lines", "", "漢字 and 😀", "x" * 3_000, "last"]


def in_batches(path: str, split: str, **options):
    reader = BatchReader(parse_spec(path).sources[0], split, **options)
    try:
        batches = list(reader)
    except InputError as error:
        return str(error)
    places = [str(place) for batch in batches for place in batch.places]
    documents = [batch.text(i) for batch in batches for i in range(len(batch))]
    sources = [f"{path}:{place}" if place else path for place in places]
    assert reader.documents == len(documents)
    assert all(len(batch.data) == batch.offsets[-1] for batch in batches)
    assert {(b.data.dtype.name, b.offsets.dtype.name, b.data.flags.writeable) for b in batches} <= {
        ("uint8", "int64", True)
    }
    return (
        list(zip(sources, documents, strict=True)),
        reader.empty,
        reader.rejected,
        reader.first_rejected,
        [reader.digest],
    )


def written(folder: Path, name: str) -> str:
    records = [{"text": text, "id": str(i), "n": i} for i, text in enumerate(TEXTS)]
    lines = "\n".join(json.dumps(record) for record in records)
    quoted = "\n".join(f'"{text}",{i}' for i, text in enumerate(TEXTS))
    contents = {
        "c.jsonl": lines.encode(),
        "c.ndjson.zst": zstandard.ZstdCompressor().compress(lines.encode()),
        "c.jsonl.gz": gzip.compress(lines.encode()),
        "c.json": json.dumps(records, indent=1).encode(),
        "lines.json": lines.encode(),
        "c.csv": f"text,id\n{quoted}\n".encode(),
        "c.tsv": b"text\tid\none\t1\ntwo\t2\n",
        "c.txt": "\n\n".join(TEXTS).encode(),
        "bad.csv": b"text,id\none,1\ntwo\nthree,3\n\xff,4\n",
        "bad.json": b'[{"text": "a"}, {"text": 1}, {"txt": "b"}, "c"]',
        "bad.txt": b"one\n\n\xfftwo\n\nthree\n",
        "bad.jsonl": b'{"text": "a"}\n{"text": 1}\n{"txt": "b"}\n"c"\n{"text": "\\ud800"}\n',
        "torn.jsonl.gz": gzip.compress(lines.encode() * 50)[:-20],
        "empty.jsonl": b"\n",
        "none.csv": b"other,id\n1,2\n",
    }
    path = folder / name
    if name == "c.parquet":
        parquet.write_table(pa.table({"text": TEXTS, "id": [*map(str, range(len(TEXTS)))]}), path)
    else:
        path.write_bytes(contents[name])
    return str(path)


@pytest.mark.parametrize(
    "name", ["c.jsonl", "c.ndjson.zst", "c.jsonl.gz", "c.json", "lines.json", "c.csv", "c.tsv", "c.parquet"]
)
@pytest.mark.parametrize("size", [1, 2_000, 1 << 20])
def test_records_of_every_format(tmp_path, monkeypatch, name, size):
    monkeypatch.setattr(batch_module, "BATCH", size)
    path = written(tmp_path, name)
    documents, *_ = in_batches(path, "block")
    assert in_batches(path, "block") == strictly(path, split="auto")
    assert len(documents) == (2 if name == "c.tsv" else 5)


@pytest.mark.parametrize("split", ["file", "paragraph", "block", "line"])
def test_text_is_cut_as_asked(tmp_path, split):
    path = written(tmp_path, "c.txt")
    assert in_batches(path, split) == strictly(path, split=split)


@pytest.mark.parametrize("name", ["bad.csv", "bad.json", "bad.txt", "bad.jsonl", "torn.jsonl.gz", "none.csv"])
def test_bad_records_are_refused_or_counted_alike(tmp_path, name):
    path = written(tmp_path, name)
    refused = in_batches(path, "paragraph")
    assert refused == strictly(path, split="paragraph")
    assert path in refused
    if name not in {"torn.jsonl.gz", "none.csv"}:
        assert in_batches(path, "paragraph", skip_bad=True) == strictly(path, split="paragraph", skip_bad=True)
        assert in_batches(path, "paragraph", skip_bad=True)[2] > 0


def test_a_source_without_documents_gives_no_batch(tmp_path):
    path = written(tmp_path, "empty.jsonl")
    reader = BatchReader(parse_spec(path).sources[0], "block")
    assert list(reader) == []
    assert (reader.documents, reader.empty, reader.digest["bytes"]) == (0, 1, 1)


def test_a_limit_on_expansion_is_kept(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "%s"}' % (b"x" * 100_000)))
    assert "expands over limit" in in_batches(str(path), "block", max_expand=50_000)


def test_batches_of_rows_have_about_the_size_that_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_module, "BATCH", 1_000)
    path = tmp_path / "c.csv"
    path.write_text("text\n" + "\n".join(f"{i} " * 30 for i in range(300)) + "\n", encoding="utf-8")
    sizes = [int(batch.offsets[-1]) for batch in BatchReader(parse_spec(str(path)).sources[0], "block")]
    assert all(1_000 <= size < 1_200 for size in sizes[:-1])
    assert len(sizes) > 10


def test_the_data_set_of_a_hub_is_read_by_rows(monkeypatch):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"text": ["a", "", "b"], "id": ["x", "y", "z"]})
    monkeypatch.setattr("memaudit.text.corpus.hub.HubStream._load", lambda self: table)
    assert in_batches("hf:some/thing::train", "block") == strictly("hf:some/thing::train", split="auto")
    reader = BatchReader(parse_spec("hf:some/thing::train").sources[0], "block")
    assert [batch.places for batch in reader] == [["1", "3"]]


def test_lines_of_json_lines_are_numbers(tmp_path):
    reader = BatchReader(parse_spec(written(tmp_path, "c.jsonl")).sources[0], "block")
    (batch,) = reader
    assert isinstance(batch.places, np.ndarray)
    assert batch.places.tolist() == [1, 3, 5, 6, 7]
