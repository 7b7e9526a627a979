"""A spec stands for files, a data set of the hub, or a part of a mixture; what exists wins."""

from __future__ import annotations

import os

import pytest

from memaudit.errors import InputError
from memaudit.text.corpus.specs import CorpusFile, HubDataset, parse_spec


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ["a.jsonl", "b.py", "c.py", "sub/d.py", "web=x.txt", "hf:a:b:c", "json:e.txt", "odd[1].txt"]:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text\n")
    return tmp_path


def names(spec: str) -> list[str]:
    return [str(source) for source in parse_spec(spec).sources]


@pytest.mark.parametrize(
    ("spec", "domain", "found"),
    [
        ("a.jsonl", None, ["a.jsonl"]),
        ("*.py", None, ["b.py", "c.py"]),
        ("**/*.py", None, ["b.py", "c.py", "sub/d.py"]),
        ("web=a.jsonl", "web", ["a.jsonl"]),
        ("code=*.py", "code", ["b.py", "c.py"]),
        ("web=x.txt", None, ["web=x.txt"]),
        ("web=*.txt", None, ["web=x.txt"]),
        ("part=web=x.txt", "part", ["web=x.txt"]),
        ("hf:a:b:c", None, ["hf:a:b:c"]),
        ("json:e.txt", None, ["json:e.txt"]),
        ("json:a.jsonl", None, ["a.jsonl"]),
        ("odd[1].txt", None, ["odd[1].txt"]),
    ],
)
def test_what_a_spec_stands_for(folder, spec, domain, found):
    part = parse_spec(spec)
    assert (part.domain, names(spec)) == (domain, found)
    assert all(isinstance(source, CorpusFile) for source in part.sources)


@pytest.mark.parametrize(
    ("spec", "dataset"),
    [
        ("hf:imdb:plain_text:train", HubDataset("imdb", "plain_text", "train")),
        ("hf:owner/set::train[:1%]", HubDataset("owner/set", "", "train[:1%]")),
        ("hf:o/s:c:train[10:20]+test[:5]", HubDataset("o/s", "c", "train[10:20]+test[:5]")),
    ],
)
def test_hub_specs(spec, dataset):
    part = parse_spec(f"part={spec}")
    assert (part.domain, part.sources) == ("part", (dataset,))
    assert str(dataset) == spec


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.jsonl", "jsonl"),
        ("x.NDJSON.zst", "jsonl"),
        ("x.json.gz", "json"),
        ("x.csv.zstd", "csv"),
        ("x.tsv", "tsv"),
        ("x.parquet", "parquet"),
        ("x.md", "text"),
        ("x.txt.gz", "text"),
        ("x.gz", "text"),
        ("README", "text"),
        ("x.csv.bak", "csv"),
        ("x.tsv.gz.2", "tsv"),
        ("x.csv~", "csv"),
        ("x.feather", "arrow"),
        ("v1.2.rst", "text"),
    ],
)
def test_the_ending_tells_the_format(tmp_path, name, kind):
    (tmp_path / name).write_text("")
    assert parse_spec(f"{tmp_path}/{name}").sources == (CorpusFile(f"{tmp_path}/{name}", kind),)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("a.json", "a.json: no such file (Did you mean 'a.jsonl'?)"),
        ("web=a.json", "a.json: no such file (Did you mean 'a.jsonl'?)"),
        ("nowhere/a.txt", "nowhere/a.txt: no such file"),
        ("*.rs", "*.rs: no file matches"),
        ("sub", "sub: is a folder (name its files, for example 'sub/*.txt')"),
        ("hf:imdb:train", "hf:imdb:train: incomplete"),
        ("hf:imdb::", "hf:imdb::: incomplete"),
        ("json:gone.json", "gone.json: no such file"),
        ("x" * 5000, "x" * 5000 + ": File name too long"),
        ("", "an empty name is no file"),
        ("json:", "an empty name is no file"),
        ("a\0b", "a\0b: no such file"),
        ("fifo", "fifo: is no regular file"),
    ],
)
def test_what_is_not_there_is_named(folder, spec, problem):
    os.mkfifo("fifo")
    with pytest.raises(InputError) as caught:
        parse_spec(spec)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.zip", "a.txt.xz", "a.txt.bz2", "a.parquet.gz"])
def test_archives_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="not read"):
        parse_spec(str(tmp_path / name))
