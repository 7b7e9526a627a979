"""A corpus is checked before its first document, and by a kernel as strictly as it is read."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memaudit
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.corpus import check
from memaudit.text.corpus.read import Corpus, Split, read_corpus
from memaudit.text.index import corpus_index
from memaudit.text.index.units import ByteUnit
from memaudit.text.planting import dose_kit
from memaudit.training import train

GOOD = [json.dumps({"id": n, "text": f"the text of record {n} is read by nobody"}).encode() for n in range(300)]
BAD = b'{"id": 1000, "text": "torn'


@pytest.fixture(params=["kernel", "strict"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(check, "LARGE", 0 if request.param == "kernel" else 1 << 40)
    return str(request.param)


def write(path: Path, *lines: bytes) -> str:
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    return write(tmp_path / "good.jsonl", *GOOD)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    return write(tmp_path / "bad.jsonl", *GOOD, BAD)


def outcome(corpus: Corpus, how: str) -> str:
    try:
        getattr(corpus, how)()
    except InputError as error:
        return str(error)
    return "read"


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", ["bad.jsonl", "bad.jsonl.gz"])
def test_a_bad_last_record_is_named_before_the_first_document(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, *GOOD, BAD)
    with pytest.raises(InputError, match=f"{name}:301: not valid JSON"):
        next(iter(read_corpus([path])))


@pytest.mark.usefixtures("reader")
def test_a_bad_last_file_is_named_before_the_first_document(good: str, bad: str) -> None:
    with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
        next(iter(read_corpus([good, bad])))


@pytest.mark.parametrize("kind", ["csv", "json", "txt"])
def test_files_of_every_kind_are_checked(kind: str, tmp_path: Path) -> None:
    bad = {"csv": b"id,text\n1,one\n2,tw\xffo\n", "json": b'[{"text": "one"}, {"text": 2}]', "txt": b"one\n\ntw\xffo\n"}
    path = tmp_path / f"c.{kind}"
    path.write_bytes(bad[kind])
    with pytest.raises(InputError, match=rf"c\.{kind}:"):
        next(iter(read_corpus([str(path)], split="paragraph")))


def test_a_corpus_is_checked_once(good: str, reader: str) -> None:
    corpus = read_corpus([good])
    with mock.patch.object(Corpus, "_document", autospec=True, side_effect=Corpus._document) as read:
        corpus.check()
        corpus.check()
        assert read.call_count == (0 if reader == "kernel" else 300)  # it reads plain records without help
        for _ in range(2):
            assert sum(1 for _ in corpus) == 300
        assert read.call_count == (600 if reader == "kernel" else 900)


def test_a_summary_is_a_check(good: str) -> None:
    corpus = read_corpus([good])
    corpus.summary()
    with mock.patch.object(Corpus, "_check_source", side_effect=AssertionError):
        assert sum(1 for _ in corpus) == 300


LABELS = [
    *("1", "-1", "0", "-0", "1.5", "1e3", "null", "true", "[]", "{}", '""', '"1"', '"\\u0031"', '"é"', '"a b"'),
    *("123456789", "1234567890", '"12"', '" 12"', '"c.jsonl:2"', "9" * 400, "1", "2", '"2"'),
]
"""Values of labels, of the right type and of others, some alike in other letters."""
TEXTS = [
    '"one"',
    '"\\ud83d\\ude00"',
    '"\\ud800"',
    '""',
    '" "',
    "7",
    "null",
    '"one", "text": "two"',
    b'"one\xff"',
]


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """A line: a record with labels, in any order, rarely blank or torn."""
    pairs = [
        (f'"{name}": {draw(st.sampled_from(LABELS))}').encode()
        for name in draw(
            st.lists(st.sampled_from(["id", "domain", "date", "copies", "other"]), unique=True, max_size=3)
        )
    ]
    text = draw(st.one_of(st.just('"one"'), st.sampled_from(TEXTS)))
    pairs.append(b'"text": ' + (text.encode() if isinstance(text, str) else text))
    line = b"{" + b", ".join(draw(st.permutations(pairs))) + b"}"
    return draw(st.sampled_from([line] * 8 + [b"", b"  ", line[:-1], b"[1]", b'{"id": 1}']))


@given(lines=st.lists(records(), min_size=1, max_size=6), files=st.integers(1, 2), skip=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_kernel_refuses_what_an_iteration_refuses(lines: list[bytes], files: int, skip: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(check, "LARGE", 0):
        names = [write(Path(folder) / f"{letter}.jsonl", *lines) for letter in "cd"[:files]]
        corpus = read_corpus(names, skip_bad=skip)
        if any(source.format != "jsonl" for part in corpus.parts for source in part.sources):  # type: ignore[union-attr]
            return
        assert outcome(corpus, "check") == outcome(read_corpus(names, skip_bad=skip), "summary")


PIECES = ["one", "two words", "", " ", "\u2028", "\x85", "é", "漢字" * 3, "\ufeff", "\r", "a\r"]


@given(lines=st.lists(st.sampled_from(PIECES), max_size=8), tail=st.sampled_from([b"", b"\xff", b"\xc3", b"\n", b"\r"]),
       split=st.sampled_from(["auto", "file", "paragraph", "block", "line"]), files=st.integers(1, 2))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_a_text_is_refused_as_an_iteration_refuses_it(lines: list[str], tail: bytes, split: Split, files: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder) / f"{letter}.txt") for letter in "cd"[:files]]
        for name in names:
            Path(name).write_bytes("\n".join(lines).encode() + tail)
        assert outcome(read_corpus(names, split=split), "check") == outcome(read_corpus(names, split=split), "summary")


def never(*_: object, **__: object) -> None:
    raise AssertionError("work was done before all text was read")


def forbid(monkeypatch: pytest.MonkeyPatch, *work: tuple[object, str]) -> None:
    for owner, name in work:
        monkeypatch.setattr(owner, name, never)


def test_no_model_is_loaded_before_the_text_of_an_audit_was_read(
    good: str, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from memaudit.models.loading import load

    forbid(monkeypatch, (load, "load_model"))
    references = MembershipOptions(references=("train",), reference_corpus=(bad,))
    for train_text, heldout, options in ((bad, good, None), (good, bad, None), (good, good, references)):
        with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
            memaudit.audit("model", train_text, heldout, membership=options)


def test_no_model_is_loaded_before_the_text_of_a_membership_test_was_read(good: str, bad: str) -> None:
    for benchmark, heldout, corpus in ((bad, good, good), (good, bad, good), (good, good, bad)):
        with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
            memaudit.membership(
                benchmark, "model", heldout=heldout, references=["train"], reference_corpus=[corpus], load=never
            )


def test_no_classifier_or_model_is_loaded_before_labelled_texts_were_read(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"text {n}", "label": "ab"[n % 2]}).encode() for n in range(20)]
    good, bad = write(tmp_path / "labelled.jsonl", *lines), write(tmp_path / "bad.jsonl", *lines, BAD)
    script = (
        "import sys, memaudit\n"
        "train, seen, unseen = ([path] for path in sys.argv[1:])\n"
        "try: memaudit.exploitation('model', train=train, seen=seen, unseen=unseen)\n"
        "except memaudit.MemauditError as error: print(error, 'torch' in sys.modules)"
    )
    for train_file, seen, unseen in ((bad, good, good), (good, bad, good), (good, good, bad)):
        told = subprocess.run(
            [sys.executable, "-c", script, train_file, seen, unseen], capture_output=True, text=True, check=True
        ).stdout
        assert "bad.jsonl:21: not valid JSON" in told
        assert told.endswith("False\n")


def test_no_vocabulary_is_learned_before_all_text_was_read(
    good: str, bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train_tokenizer", lambda _unit, texts, _size: never(next(texts)))
    with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
        train.train_ngram(train.CorpusOptions([bad]), tmp_path / "ngram")
    with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
        train.train_neural("gpt", train.CorpusOptions([good]), tmp_path / "gpt", heldout=[bad])


def test_nothing_is_indexed_or_planted_before_all_text_was_read(
    good: str, bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, (ByteUnit, "keys"), (dose_kit, "plant_doses"), (Document, "__init__"))
    monkeypatch.setattr(check, "LARGE", 0)
    with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
        corpus_index.build_index([bad], tmp_path / "index", unit="byte")
    with pytest.raises(InputError, match=r"bad\.jsonl:301: not valid JSON"):
        dose_kit.plant_corpus([good], tmp_path / "plant", passages=[bad])
