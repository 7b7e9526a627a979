"""An index on disk: whole or refused, of one corpus and one plan, written by one process."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from memaudit.errors import InputError
from memaudit.text.index import manifest as manifests
from memaudit.text.index.corpus_index import CorpusIndex, build_index
from memaudit.text.index.statistics import index_statistics
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    lines = [{"text": f"document {i} says the same", "domain": "ab"[i % 2]} for i in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_same_corpus_same_bytes(tmp_path: Path, corpus: Path) -> None:
    one = build_index([str(corpus)], tmp_path / "one", shard_symbols=40)
    two = build_index([str(corpus)], tmp_path / "two", shard_symbols=40)
    assert one.sha256 == two.sha256 == CorpusIndex.open(tmp_path / "one").sha256
    one.verify()


def test_the_manifest_says_what_it_is_of(tmp_path: Path, corpus: Path) -> None:
    about = build_index([str(corpus)], tmp_path / "index", shard_symbols=40).manifest
    assert about["unit"] == "word"
    assert about["domains"] == ["a", "b"]
    assert about["corpus"]["documents"] == 20 == sum(shard["documents"] for shard in about["shards"])
    assert sum(shard["symbols"] for shard in about["shards"]) == 100
    assert [file["path"] for file in about["corpus"]["files"]] == [str(corpus)]
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == [
        "manifest.json",
        *(f"shard-{i:05}" for i in range(len(about["shards"]))),
    ]


def test_the_same_again_is_there_already(tmp_path: Path, corpus: Path) -> None:
    said: list[str] = []
    build_index([str(corpus)], tmp_path / "index")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*.npy")}
    assert build_index([str(corpus)], tmp_path / "index", log=said.append).documents == 20
    assert said == [f"{tmp_path / 'index'}: this index is there already"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "index").rglob("*.npy")} == before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"unit": "byte"}, "unit differs, rule differs"),
        ({"shard_symbols": 50}, "options differs"),
        ({"skip_bad": True}, "options differs"),
    ],
)
def test_another_plan_is_refused(tmp_path: Path, corpus: Path, options: dict[str, object], what: str) -> None:
    build_index([str(corpus)], tmp_path / "index")
    with pytest.raises(InputError, match=f"holds another index: {what}"):
        build_index([str(corpus)], tmp_path / "index", **options)  # type: ignore[arg-type]


def test_another_corpus_is_refused(tmp_path: Path, corpus: Path) -> None:
    build_index([str(corpus)], tmp_path / "index")
    other = tmp_path / "other.jsonl"
    other.write_bytes(corpus.read_bytes())
    with pytest.raises(InputError, match="corpus differs"):
        build_index([str(other)], tmp_path / "index")
    corpus.write_text(corpus.read_text(encoding="utf-8").replace("same", "sane"), encoding="utf-8")
    with pytest.raises(InputError, match=r"was built before .*corpus\.jsonl changed"):
        build_index([str(corpus)], tmp_path / "index")


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match=r"holds other files, as corpus\.jsonl"):
        build_index([str(corpus)], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]


def test_a_corpus_of_files_called_shards_is_left_alone(tmp_path: Path) -> None:
    for name in ("shard-00000", "shard-00001.jsonl"):
        (tmp_path / name).write_text('{"text": "mine"}\n', encoding="utf-8")
    (tmp_path / "tokenizer").mkdir()
    with pytest.raises(InputError, match="holds other files, as shard-00000"):
        build_index([f"{tmp_path}/shard-*1.jsonl"], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shard-00000", "shard-00001.jsonl", "tokenizer"]


def test_a_bad_record_leaves_no_index(tmp_path: Path, corpus: Path) -> None:
    with corpus.open("a", encoding="utf-8") as file:
        file.write("{not json}\n")
    with pytest.raises(InputError, match=r"corpus\.jsonl:21: not valid JSON"):
        build_index([str(corpus)], tmp_path / "index")
    with pytest.raises(InputError, match="the build of this index was interrupted"):
        CorpusIndex.open(tmp_path / "index")
    index = build_index([str(corpus)], tmp_path / "index", skip_bad=True)
    assert (index.documents, index.manifest["corpus"]["rejected"]) == (20, 1)


def test_a_killed_build_starts_anew(tmp_path: Path, corpus: Path) -> None:
    code = f"""
import os, time
from memaudit.text.index.corpus_index import build_index
def log(line):
    print(line, flush=True)
    time.sleep(600)
build_index([{str(corpus)!r}], {str(tmp_path / "index")!r}, shard_symbols=40, log=log)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("shard 0:")
    with pytest.raises(InputError, match="interrupted"):
        CorpusIndex.open(tmp_path / "index")
    with pytest.raises(InputError, match="another process builds an index there"):
        build_index([str(corpus)], tmp_path / "index")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert build_index([str(corpus)], tmp_path / "index").count(["says the same"]) == [20]
    assert not (tmp_path / "index" / "shard-00001").exists()


def test_the_lock_outlives_no_builder(tmp_path: Path) -> None:
    with manifests.held(tmp_path / "index"):
        lock = os.open(tmp_path / "index" / manifests.LOCK, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)
    with manifests.held(tmp_path / "index"):
        assert (tmp_path / "index" / manifests.LOCK).exists()


def test_documents_too_long_for_a_shard(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.jsonl:1: a document of 5 words"):
        build_index([str(corpus)], tmp_path / "index", shard_symbols=5)
    with pytest.raises(InputError, match=r"a shard holds 1 to 2,147,483,647 symbols"):
        build_index([str(corpus)], tmp_path / "index", shard_symbols=2**31)


def test_units_and_tokenizers() -> None:
    tokenizer = train_tokenizer("byte", [])
    with pytest.raises(InputError, match="tokens of which tokenizer"):
        CorpusIndex.of_documents([], "token")
    with pytest.raises(InputError, match="an index of words takes no tokenizer"):
        CorpusIndex.of_documents([], "word", tokenizer)
    with pytest.raises(InputError, match="unknown unit 'letter'"):
        CorpusIndex.of_documents([], "letter")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


FILES = ["symbols.npy", "suffixes.npy", "vocabulary.npy", "domains.npy", "texts.zst", "sources.zst"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("damage", "what"), [(cut_off, "bytes, expected"), (Path.unlink, "No such file")])
def test_a_file_cut_off_or_missing(
    tmp_path: Path, corpus: Path, name: str, damage: Callable[[Path], None], what: str
) -> None:
    build_index([str(corpus)], tmp_path / "index")
    damage(tmp_path / "index" / "shard-00000" / name)
    with pytest.raises(InputError, match=f"{name}.*{what}"):
        CorpusIndex.open(tmp_path / "index")


@pytest.mark.parametrize("name", FILES)
def test_verify_finds_every_changed_byte(tmp_path: Path, corpus: Path, name: str) -> None:
    build_index([str(corpus)], tmp_path / "index")
    index = CorpusIndex.open(tmp_path / "index")
    flip(tmp_path / "index" / "shard-00000" / name)
    with pytest.raises(InputError, match=f"{name}: not the bytes that were written"):
        index_statistics(index)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m | {"format": 2}, "format 2, this version reads 1"),
        (lambda m: m | {"rule": "words 0, Unicode 1"}, "symbols made by 'words 0, Unicode 1'"),
        (lambda m: {key: m[key] for key in m if key != "rule"}, "damaged: not what was written"),
        (lambda m: m | {"shards": [{}]}, "damaged: not what was written"),
        (lambda m: m | {"domains": [float("nan")]}, "damaged: "),
        (lambda m: [m], "not the manifest of an index"),
        (lambda m: {}, "not the manifest of an index"),
    ],
)
def test_a_manifest_of_another_kind(
    tmp_path: Path, corpus: Path, change: Callable[[dict[str, object]], object], what: str
) -> None:
    build_index([str(corpus)], tmp_path / "index")
    path = tmp_path / "index" / "manifest.json"
    changed = change(json.loads(path.read_bytes()))
    if what.startswith("symbols"):
        manifests.write(path.parent, cast("dict[str, object]", changed))
    else:
        path.write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(InputError, match=what):
        CorpusIndex.open(tmp_path / "index")


def change(index: Path, name: str, place: int | tuple[int, int], value: int) -> None:
    path = index / "shard-00000" / f"{name}.npy"
    values = np.load(path)
    values[place] = value
    np.save(path, values)


@pytest.mark.parametrize(
    ("name", "place", "value", "what"),
    [
        ("buckets", 2, 2**40, "do not belong together"),
        ("buckets", 0, 1, "do not belong together"),
        ("documents", 3, -1, "do not belong together"),
        ("documents", 3, 24, "do not belong together"),
        ("texts", (-1, 0), 5, "do not belong together"),
        ("sources", (-1, 1), 5, "do not belong together"),
        ("domains", 0, 2, "domains that the manifest does not name"),
        ("domains", 0, -2, "domains that the manifest does not name"),
    ],
)
def test_damage_that_no_kernel_would_survive(
    tmp_path: Path, corpus: Path, name: str, place: int, value: int, what: str
) -> None:
    build_index([str(corpus)], tmp_path / "index")
    change(tmp_path / "index", name, place, value)
    with pytest.raises(InputError, match=what):
        CorpusIndex.open(tmp_path / "index")


@pytest.mark.parametrize("value", [-5, -(2**31), 2**30])
def test_a_suffix_array_of_nowhere(tmp_path: Path, corpus: Path, value: int) -> None:
    build_index([str(corpus)], tmp_path / "index")
    for place in range(120):
        change(tmp_path / "index", "suffixes", place, value)
    index = CorpusIndex.open(tmp_path / "index")
    keys = index.keys("says the same")
    for query in (index.locate, index.longest_matches, lambda _: index.next_counts(keys), lambda t: index.count([t])):
        with pytest.raises(InputError, match="places that do not exist"):
            query("says the same")
    with pytest.raises(InputError, match="places that do not exist"):
        index.locate("same")  # a single word needs no search


def test_symbols_that_are_not_those_of_the_text(tmp_path: Path, corpus: Path) -> None:
    build_index([str(corpus)], tmp_path / "index")
    same = CorpusIndex.open(tmp_path / "index").encode("same")[0][0]
    change(tmp_path / "index", "symbols", 4, same + 1)
    with pytest.raises(InputError, match="document 0 does not hold what the index says"):
        CorpusIndex.open(tmp_path / "index").locate("same")
    change(tmp_path / "index", "symbols", 5, 1)
    with pytest.raises(InputError, match="other words than the index"):
        list(CorpusIndex.open(tmp_path / "index").word_hashes())
    change(tmp_path / "index", "symbols", 4, 2**30)
    with pytest.raises(InputError, match="no words for"):
        list(CorpusIndex.open(tmp_path / "index").word_hashes())


@pytest.mark.parametrize("header", [b"(" * 40, b"{'descr': '<i4', 'fortran_order': False, 'shape': (-1,)}"])
def test_a_header_that_is_none(tmp_path: Path, corpus: Path, header: bytes) -> None:
    build_index([str(corpus)], tmp_path / "index")
    path = tmp_path / "index" / "shard-00000" / "symbols.npy"
    data = path.read_bytes()
    path.write_bytes(data[:10] + header + data[10 + len(header) :])
    with pytest.raises(InputError, match=r"symbols\.npy: cannot be read"):
        CorpusIndex.open(tmp_path / "index")


def test_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        CorpusIndex.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"not an index: no manifest\.json"):
        CorpusIndex.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        CorpusIndex.open(tmp_path)


def test_a_full_disk_is_one_line(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memaudit.text.index.shard.os.fsync", full)
    with pytest.raises(InputError, match="index: No space left on device"):
        build_index([str(corpus)], tmp_path / "index")
    monkeypatch.undo()
    assert build_index([str(corpus)], tmp_path / "index").documents == 20


def test_a_tokenizer_that_cannot_be_written(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr(TrainedTokenizer, "save", full)
    with pytest.raises(InputError, match="tokenizer: cannot be written: No space left"):
        build_index([str(corpus)], tmp_path / "index", unit="token", tokenizer=train_tokenizer("byte", []))
