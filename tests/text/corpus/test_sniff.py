"""What a file holds decides how it is read: the same records under any name, packed or not, are the same documents."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import subprocess
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.contamination.run import contamination
from memaudit.errors import InputError
from memaudit.text.corpus import specs
from memaudit.text.corpus.read import read_corpus
from memaudit.text.corpus.sniff import HEAD
from memaudit.text.corpus.specs import parse_spec
from tests.forked import call

NAMES = ["c.jsonl", "c.jl", "c.txt", "c.jsonl.1", "c.ndjson", "c.bak", "c", "c.json", "c.md", "c.csv", "c.parquet"]
gzipped = partial(gzip.compress, mtime=0)
PACKED = {"plain": bytes, "gzip": gzipped, "zstd": zstandard.compress,
          "padded": lambda data: gzipped(data) + bytes(700)}  # fmt: skip


def lines(records: list[dict], **options) -> bytes:
    return "".join(json.dumps(record, **options) + "\n" for record in records).encode()


def arrow(records: list[dict], new) -> bytes:
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(records)
    with new(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def parquet_bytes(records: list[dict]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(records), buffer)
    return buffer.getvalue()


WRITTEN = {
    "lines": lines,
    "lines as they are": lambda records: lines(records, ensure_ascii=False),
    "windows lines": lambda records: lines(records).replace(b"\n", b"\r\n"),
    "lines of a Macintosh": lambda records: lines(records).replace(b"\n", b"\r"),
    "lines with a mark": lambda records: b"\xef\xbb\xbf" + lines(records),
    "an array": lambda records: json.dumps(records).encode(),
    "an indented array": lambda records: json.dumps(records, indent=2).encode(),
    "indented objects": lambda records: lines(records, indent=1),
    "objects without line ends": lambda records: lines(records).replace(b"\n", b""),
    "RFC 7464": lambda records: b"".join(b"\x1e" + lines([record]) for record in records),
    "an Arrow file": lambda records: arrow(records, ipc.new_file),
    "an Arrow stream": lambda records: arrow(records, ipc.new_stream),
    "Parquet": parquet_bytes,
}
COLUMNAR = {"an Arrow file", "an Arrow stream", "Parquet"}

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60).filter(lambda text: bool(text.strip()))
records = st.lists(
    st.builds(lambda text, number, more: {"text": text, "n": number, "more": more}, texts, st.integers(0, 9), texts),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(records, st.sampled_from(sorted(WRITTEN)), st.sampled_from(NAMES), st.sampled_from(sorted(PACKED)))
def test_records_are_the_same_documents_however_written_and_called(tmp_path_factory, wanted, way, name, packed):
    path = tmp_path_factory.mktemp("sniff") / name
    path.write_bytes(PACKED[packed](WRITTEN[way](wanted)))
    if way in COLUMNAR and packed != "plain":
        with pytest.raises(InputError, match=r"an? (Arrow|Parquet|compressed)"):
            list(read_corpus([str(path)]))
        return
    assert [document.text for document in read_corpus([str(path)])] == [record["text"] for record in wanted]
    benchmark = read_benchmark([str(path)], ["text"])
    assert [item.parts["text"] for item in benchmark.items] == [record["text"] for record in wanted]


word = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8)
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    "'",
    ":",
    ",",
    "\\n",
    "{}",
    "[1]",
    '{"a": 1}',
    '["a"]',
    "{'a': 1}",
    "key: value",
    "- a",
]
prose_line = st.builds(
    lambda start, rest: " ".join([start, *rest]),
    st.sampled_from(["The", "And", "x =", "def f():", "#", "*", "\\section{a}", "2024-01-01 INFO", "<p>", "//", "éa"]),
    st.lists(word | st.sampled_from(PIECES), max_size=8),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(prose_line, min_size=3, max_size=30), st.lists(st.sampled_from(PIECES), max_size=1), st.data())
def test_prose_stays_prose(tmp_path_factory, wanted, strange, data):
    """Whatever braces it holds, and with a line of JSON in it."""
    at = data.draw(st.integers(1, len(wanted)))
    whole = "\n".join([*wanted[:at], *strange, *wanted[at:]]) + "\n"
    path = tmp_path_factory.mktemp("prose") / data.draw(st.sampled_from(["c.txt", "c.md", "c.py", "c.log", "c", "c.1"]))
    path.write_text(whole, encoding="utf-8", newline="")
    if whole.count("\r") > 1:
        return
    assert [document.text for document in read_corpus([str(path)], split="file")] == [whole]


PROSE = [
    '{\\rm d}x is TeX, and so is this line.\n',
    "[1] Knuth, The Art.\n[2] Shannon, A Mathematical Theory.\n",
    "[1]\n[2]\n",
    '"Yes!"\n"No!"\n',
    "{}\n",
    "---\ntitle: A post\ndate: 2020-01-01\n---\n\nIt was the best of times.\n",
    "---\n\nIt was the best of times.\n",
    "Q: Who was there?\nA: Nobody.\nQ: Who else?\nA: Ann.\n",
    "question: Who was there?\nanswer: Nobody.\nreason: It rained.\n",
    "From: Ann\nTo: Bob\nSubject: boats\n\n Dear Bob\n",
    "<html><body><p>It was the best of times.</p></body></html>\n",
    '<?xml version="1.0"?>\n<a>It was</a>\n',
    "WARC/1.0 is a format of web archives.\n",
    "PAR1 is a gene, and ARROW1 is none.\n",
    'See:\n\n```json\n{"text": "a"}\n{"text": "b"}\n```\n\nand so\non, as\nabove.\n',
    '["a", "b"].forEach(print);\n',
    'data = [\n    {"text": "a"},\n    {"text": "b"},\n    {"text": "c"},\n]\n',
]  # fmt: skip


@pytest.mark.parametrize("text", PROSE)
def test_what_looks_like_something_else_at_first_is_text(tmp_path, text):
    path = tmp_path / "c.txt"
    path.write_text(text)
    assert [document.text for document in read_corpus([str(path)], split="file")] == [text]


TASK = (
    'task: arc\ndataset_path: ai2_arc\ndoc_to_text: "Question: {{question}}\\nAnswer:"\nmetric_list:\n  - metric: acc\n'
)
REFUSED = [
    ("a.yaml", "text: a\n", ": YAML, no text (write its texts as JSON lines, or name it text:FILE"),
    ("a.yml", "- a\n", ": YAML, no text"),
    ("a.txt", TASK, ": YAML, no text"),
    ("a", "---\n" + TASK, ": YAML, no text"),
    ("a", "%YAML 1.2\n---\na: b\n", ": YAML, no text"),
    ("a.txt", "{'text': 'one\\ntwo'}\n{'text': 'b'}\n", ": Python literals, no text"),
    ("a.txt", "[{'text': 'one'}]", ": Python literals, no text"),
    ("a.txt", "ab\0" * 20, ": binary data (null bytes), no text"),
    ("a.jsonl", "\0" * 100, ": binary data (null bytes), no text"),
    ("a.txt", "%PDF-1.4\nabc\n", ": a PDF document"),
    ("a", "SQLite format 3\0", ": an SQLite database"),
    ("a", b"\x80\x04\x95abc.", ": a pickle"),
    ("a.txt", b"\x89PNG\r\n\x1a\n", ": an image"),
    ("a.txt", "{\\rtf1\\ansi text}", ": an RTF document"),
    ("a.txt", '{\n "data": [{"text": "a"}]\n}', ":1: no field 'text'; fields: data."),
    ("a.ipynb", '{\n "cells": []\n}', ":1: no field 'text'; fields: cells."),
    ("a.txt", '{"text": "a"}\nnot JSON\n{"text": "b"}\n', ":2: not valid JSON"),
    ("a.txt", 'header\n{"text": "a"}\n{"text": "b"}\n', ":1: not valid JSON"),
    ("a.txt", '{"text": "a",}\n', ":1: not valid JSON"),
    ("a.txt", '[\n{"text": "a"},\n{"text": "b"},\n]\n', ":4: not valid JSON"),
    ("a.txt", '"one\\ntwo"\n"three"\n', ":1: a string, expected an object"),
    ("a.txt", '["one", "two"]\n', ":1: a string, expected an object"),
    ("a.jsonl", "prose\n", ":1: not valid JSON"),
    ("a.json", "prose\n", ":1: not valid JSON"),
    ("a.jsonl.gz", b"plain", ": damaged gzip stream"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "said"), REFUSED)
def test_what_is_neither_records_nor_text_is_named(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        list(read_corpus([str(path)]))
    assert str(caught.value).startswith(f"{path}{said}")


def test_a_text_may_be_asked_for_as_it_is_written(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(TASK)
    assert [document.text for document in read_corpus([f"text:{path}"], split="file")] == [TASK]
    path.write_text('{"text": "a"}\n')
    assert [document.text for document in read_corpus([f"web=text:{path}"], split="file")] == ['{"text": "a"}\n']


@pytest.mark.parametrize("packed", sorted(PACKED))
def test_a_record_longer_than_what_is_looked_at(tmp_path, packed):
    long = "it was the best of times " * (HEAD // 20)
    path = tmp_path / "c.txt"
    for way in ("lines", "an array", "an indented array", "RFC 7464"):
        path.write_bytes(PACKED[packed](WRITTEN[way]([{"text": long}, {"text": "b"}])))
        assert [document.text for document in read_corpus([str(path)])] == [long, "b"], way
    path.write_bytes(PACKED[packed](WRITTEN["objects without line ends"]([{"text": long}, {"text": "b"}])))
    with pytest.raises(InputError, match=r"c.txt:1: not valid JSON \(Extra data"):
        list(read_corpus([str(path)]))


def test_only_what_is_looked_at_decides(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("It was the best of times.\n" * (HEAD // 20) + '{"text": "a"}\n' * 10_000)
    assert parse_spec(str(path)).sources[0].format == "text"


def test_it_is_said_once_what_a_file_is_read_as(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(specs, "_said", set())
    for name in ("a.txt", "b.txt", "c.jsonl", "d.json"):
        (tmp_path / name).write_bytes(lines([{"text": name}]))
    (tmp_path / "e.txt").write_text("prose\n")
    with caplog.at_level(logging.WARNING, "memaudit"):
        corpus = read_corpus([f"{tmp_path}/*"])
        read_corpus([f"{tmp_path}/*"])
    said = f"memaudit: {tmp_path}/a.txt and 1 more: read as JSON lines, which it holds, not as its name says"
    assert caplog.messages == [said]
    assert corpus.summary()["read_as"] == {f"{tmp_path}/a.txt": "jsonl", f"{tmp_path}/b.txt": "jsonl"}
    assert "read_as" not in read_corpus([f"{tmp_path}/c.jsonl"]).summary()


QUESTION = "Who counted the boats that came home\nto the harbour on the night “of the storm” in that year?"


def verdicts(tmp_path: Path, corpus: str, benchmark: str) -> tuple[str, int]:
    run = contamination(benchmark, corpus, out=tmp_path / f"run{len(list(tmp_path.iterdir()))}")
    return run.verdict, len(run.report["findings"])


def test_the_verdict_does_not_hang_on_a_name(tmp_path):
    corpus = [{"text": f"Number {i}. {QUESTION} Ann did. {i}"} for i in range(3)]
    items = [{"question": QUESTION}]
    for name in ("c.jsonl", "c.jl", "c.txt", "c.jsonl.1", "c"):
        (tmp_path / name).write_bytes(lines(corpus))
        (tmp_path / f"b{name}").write_bytes(lines(items))
        assert verdicts(tmp_path, f"{tmp_path}/{name}", f"{tmp_path}/b{name}") == ("found", 1), name
    (tmp_path / "packed").write_bytes(gzipped(lines(corpus)))
    assert verdicts(tmp_path, f"{tmp_path}/packed", f"{tmp_path}/bc") == ("found", 1)


def memaudit(folder: Path, *arguments: str, stdin: bytes) -> subprocess.CompletedProcess[str]:
    return call(arguments, folder, os.environ, stdin)


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_read_like_a_file(tmp_path, name):
    corpus = lines([{"text": f"Number {i}. {QUESTION} Ann did. {i}"} for i in range(3)])
    (tmp_path / "b.jsonl").write_bytes(lines([{"question": QUESTION}]))
    command = ["contamination", "b.jsonl", "--corpus", name, "--out", "run"]
    done = memaudit(tmp_path, *command, stdin=gzipped(corpus))
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    (file,) = report["corpus"]["files"]
    assert (file["path"], file["bytes"]) == (name, len(gzipped(corpus)))
    assert memaudit(tmp_path, *command, stdin=gzipped(corpus)).returncode == 1
    other = memaudit(tmp_path, *command, stdin=corpus)
    assert other.returncode == 2
    assert "run belongs to another plan" in other.stderr
    if name == "-":
        built = memaudit(tmp_path, "index", "build", name, "--out", "i", stdin=corpus)
        assert built.returncode == 0, built.stderr
        again = memaudit(tmp_path, "index", "build", name, "--out", "i", stdin=corpus.replace(b"Ann", b"Bob"))
        assert again.returncode == 2
        assert "was built before - changed" in again.stderr
        assert memaudit(tmp_path, *command, stdin=b"").returncode == 2
