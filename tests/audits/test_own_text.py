"""What is searched and audited is what was named: all of it, and neither the benchmark itself nor our own outputs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memaudit
from memaudit.audits.contamination.conclude import Judgement
from memaudit.audits.contamination.run import merge
from memaudit.errors import InputError
from memaudit.text.corpus.fields import text_of
from memaudit.text.corpus.read import read_corpus
from memaudit.text.corpus.rows import RecordError
from memaudit.text.corpus.specs import CorpusFile
from memaudit.text.index.trace import trace
from memaudit.text.scan.batch import BatchReader

LEAK = "the seventeen lanterns above the harbour were lit by a deaf watchman every evening of that year"
OTHER = "nothing of the kind was ever seen on the northern side of the bay where no harbour had been built"


def lines(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines(Path("bench.jsonl"), [{"id": 1, "text": LEAK}])
    lines(Path("a.jsonl"), [{"text": f"once {LEAK} and again"}])
    lines(Path("b.jsonl"), [{"text": OTHER}])
    return tmp_path


def test_several_indices_are_searched_as_one(here: Path) -> None:
    for name in ("a", "b"):
        memaudit.build_index([f"{name}.jsonl"], f"{name}.index")
    found = memaudit.contamination("bench.jsonl", index=["b.index", "a.index"], out="both")
    assert (found.verdict, found.report["corpus"]["documents"]) == ("found", 2)
    assert found.report["corpus"]["index"] == "a.index, b.index"
    assert "occurs in a.index, b.index (2 documents)" in found.report["headline"]
    for number in (1, 2):
        memaudit.contamination("bench.jsonl", index=["b.index", "a.index"], out=f"share-{number}", shard=(number, 2))
    merge([Path("share-2"), Path("share-1")], Path("all"))
    assert Path("all/report.json").read_bytes() == Path("both/report.json").read_bytes()
    streamed = memaudit.contamination("bench.jsonl", ["a.jsonl", "b.jsonl"], out="streamed")
    assert streamed.report["findings"] == found.report["findings"]
    memaudit.build_index(["a.jsonl"], "again.index")
    with pytest.raises(InputError, match=r"again\.index: an index of a\.jsonl, as a\.index is"):
        memaudit.contamination("bench.jsonl", index=["a.index", "again.index"])


def test_a_text_is_traced_in_all_indices(here: Path) -> None:
    opened = [memaudit.build_index([f"{name}.jsonl"], f"{name}.index") for name in ("a", "b")]
    text = f"{LEAK}. {OTHER}"
    together = trace(memaudit.build_index(["a.jsonl", "b.jsonl"], "ab.index"), text)
    apart = trace(opened, text)
    assert apart["index"] == [index.sha256 for index in opened]
    assert {**apart, "index": None} == {**together, "index": None}
    with pytest.raises(InputError, match="the indices are of different symbols"):
        trace([opened[0], memaudit.build_index(["b.jsonl"], "bytes.index", unit="byte")], text)


@pytest.mark.parametrize("link", [shutil.copy, os.symlink, os.link])
def test_the_benchmark_is_not_searched_for_itself(here: Path, link: Any) -> None:
    link(Path("bench.jsonl").resolve(), "other.jsonl")
    pattern = "[ab]*.jsonl" if link is shutil.copy else "[abo]*r.jsonl"
    with pytest.raises(InputError, match="is the benchmark itself"):
        memaudit.contamination("bench.jsonl", pattern)
    if link is shutil.copy:  # a copy is another text of the corpus
        assert memaudit.contamination("bench.jsonl", "other.jsonl", out="run").verdict == "found"


def test_our_own_outputs_are_never_audited(here: Path) -> None:
    Path("all").mkdir()
    for name in ("a", "b"):
        shutil.move(f"{name}.jsonl", f"all/{name}.jsonl")
    first = memaudit.contamination("bench.jsonl", "all/**/*.jsonl", out="all/run", clean_split="all/split")
    assert first.verdict == "found"
    with pytest.raises(InputError, match=r"all/run/items\.jsonl: memaudit wrote it, as a part of the run in"):
        memaudit.contamination("bench.jsonl", "all/**/*.jsonl", out="all/run")
    Path("all/run/models").mkdir()
    lines(Path("all/run/models/x.jsonl"), [{"text": "x"}])
    for corpus in ("all/run/items.jsonl", "all/run/models/x.jsonl", "text=all/run/items.jsonl"):
        with pytest.raises(InputError, match=f"{corpus.rpartition('=')[2]}: memaudit wrote it.*name the text itself"):
            read_corpus([corpus])
    with pytest.raises(InputError, match=r"all/split/\w+\.jsonl: memaudit wrote it, as a part of the split in"):
        read_corpus(["all/split/*.jsonl"])
    assert [document.text for document in read_corpus(["all/split/contaminated.jsonl"])] == [LEAK]  # asked for by name
    assert len(list(read_corpus(["all/*.jsonl"]))) == 2


def test_two_splits_with_the_same_ids_are_judged_and_split(here: Path) -> None:
    lines(Path("c.jsonl"), [{"id": 1, "text": "an item of another split that stands nowhere else in any of the texts"}])
    lines(Path("scores.jsonl"), [{"id": "bench.jsonl#1", "correct": True}, {"id": "c.jsonl#1", "correct": False}])
    judged = Judgement(scores=("scores.jsonl",))
    run = memaudit.contamination(["bench.jsonl", "c.jsonl"], "[ab].jsonl", out="run", judgement=judged, clean_split="s")
    assert [record.item for record in run.items] == ["bench.jsonl#1", "c.jsonl#1"]
    assert "2 of 2 items share their id with another" in run.notice
    assert run.report["limits"][-1].endswith("named by file.")
    assert run.report["scores"][0]["contaminated"]["rate"] == 1.0
    assert json.loads(Path("s/clean-c.jsonl").read_text())["id"] == 1
    lines(Path("scores.jsonl"), [{"id": 1, "correct": True}])
    with pytest.raises(InputError, match='2 items of the benchmark have the id "1"'):
        memaudit.contamination(["bench.jsonl", "c.jsonl"], "[ab].jsonl", out="run", judgement=judged)


VALUES = st.sampled_from(["one text", "another", "", " ", None])


@settings(deadline=None, max_examples=60)
@given(records=st.lists(st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, min_size=1), min_size=1, max_size=5))
def test_the_text_of_a_record_is_that_of_all_fields_that_are_named(
    records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    def texts(record: dict[str, Any]) -> str | None:
        return "\n".join(record[n] for n in ("x", "y") if (record.get(n) or "").strip()) or None

    usable = [r for r in records if any(r.get(n) is not None for n in ("x", "y"))]
    path = lines(tmp_path_factory.mktemp("fields") / "c.jsonl", records)
    reader = BatchReader(CorpusFile(path, "jsonl"), "file", text_field=("x", "y"), skip_bad=True)
    read = [batch.text(i) for batch in reader for i in range(len(batch))]
    assert read == [text for text in map(texts, usable) if text]
    assert (reader.rejected, reader.empty) == (len(records) - len(usable), len(usable) - len(read))
    if read and len(usable) == len(records):
        assert [document.text for document in read_corpus([path], text_field=["x", "y"])] == read


def test_fields_inside_objects_and_fields_that_are_not_there() -> None:
    assert text_of({"a": {"b": "deep"}, "c": "top"}, ["a.b", "c"]) == "deep\ntop"
    assert text_of({"a.b": "as it is called"}, "a.b") == "as it is called"
    for row, said in (
        ({"d": "x"}, "no field 'a.b' or 'c'; fields: d."),
        ({"a": None, "d": "x"}, '"a.b" is null, expected string'),
        ({"a": {"b": 3}, "c": "x"}, '"a.b" is a number, expected string'),
    ):
        with pytest.raises(RecordError) as caught:
            text_of(row, ["a.b", "c"])
        assert said in caught.value.message


def test_both_fields_of_a_corpus_are_searched(here: Path) -> None:
    half = LEAK.split()
    lines(Path("sft.jsonl"), [{"instruction": "say it", "output": LEAK}, {"output": " ".join(half)}])
    for fields in (["instruction", "output"], ["output", "instruction"]):
        run = memaudit.contamination("bench.jsonl", "sft.jsonl", text_field=tuple(fields), out="-".join(fields))
        assert (run.verdict, run.report["corpus"]["documents"]) == ("found", 2)


def test_a_call_from_python_is_shown_as_one(here: Path) -> None:
    run = memaudit.contamination("bench.jsonl", "a.jsonl", out="run", judgement=Judgement(max_items=3), skip_bad=True)
    command = run.report["provenance"]["command"]
    assert command == (
        "memaudit.contamination('bench.jsonl', ['a.jsonl'],"
        " judgement=memaudit.audits.contamination.conclude.Judgement(max_items=3), skip_bad=True)"
    )
    again = eval(f"{command[:-1]}, out='again')", {"memaudit": memaudit})
    assert Path("again/report.json").read_bytes() == Path("run/report.json").read_bytes()
    assert again.verdict == run.verdict == "clean"
