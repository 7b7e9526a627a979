"""Rows that a program holds are read as those of a file are, whatever holds them; everything else is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import memaudit
from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.corpus.objects import ROWS, HeldRows, Texts, listed, plain, specs_of
from memaudit.text.corpus.read import read_corpus
from tests.strategies import ALPHABETS

ROW = st.fixed_dictionaries(
    {"text": st.text("".join(ALPHABETS.values()), max_size=20)},
    optional={
        "id": st.uuids().map(str),
        "domain": st.sampled_from(["web", "code"]),
        "date": st.just("2024-02-29"),
        "copies": st.integers(0, 9),
        "more": st.lists(st.integers(0, 3), max_size=2),
    },
)
ROWS_OF_ONE_SHAPE = st.lists(ROW, min_size=1, max_size=6)


def complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with every column, for tables that are made of the columns of their first row."""
    return [{name: row.get(name) for name in dict.fromkeys(name for row in rows for name in row)} for row in rows]


FORMS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "list": lambda rows: rows,
    "tuple": tuple,
    "DataFrame": pd.DataFrame,
    "Table": lambda rows: pa.Table.from_pylist(complete(rows)),
    "Dataset": lambda rows: datasets.Dataset.from_list(complete(rows)),
    "IterableDataset": lambda rows: datasets.Dataset.from_list(complete(rows)).to_iterable_dataset(num_shards=1),
    "as numpy": lambda rows: datasets.Dataset.from_list(complete(rows)).with_format("numpy"),
}


def outcome(given: Any, **options: Any) -> Any:
    """What a corpus gives but for where it says that it stands, or why it is refused."""
    corpus = read_corpus(given, **options)
    try:
        documents = [(d.text, d.domain, d.date, d.copies, d.id if "-" in d.id else None) for d in corpus]
    except InputError as error:
        return error.message.partition(": ")[2]
    found = corpus.summary()
    return documents, found["documents"], found["empty"], found.get("rejected"), found["domains"]


def refusal(given: Any, name: str = "") -> str:
    with pytest.raises(InputError) as caught:
        list(read_corpus(listed(given, name)))
    return str(caught.value)


@settings(deadline=None)
@given(ROWS_OF_ONE_SHAPE, st.sampled_from(sorted(FORMS)))
def test_rows_are_read_as_those_of_a_file(rows: list[dict[str, Any]], form: str) -> None:
    # A table has every column in every row: what a row lacks is null there, which says the same of a label.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        written = outcome(str(path))
    assert outcome(FORMS[form](rows)) == written


@settings(deadline=None)
@given(ROWS_OF_ONE_SHAPE)
def test_equal_rows_have_one_digest_whatever_holds_them(rows: list[dict[str, Any]]) -> None:
    digests = set()
    for form in FORMS.values():
        stream = listed(form(rows), "train")[0].open()  # type: ignore[union-attr]
        assert [place for place, _ in stream.rows({"text", "id"})] == [f"[{i}]" for i in range(len(rows))]
        digests.add((stream.sha256, stream.bytes))
    assert len(digests) == 1
    other = listed([*rows, {"text": "more"}])[0].open()  # type: ignore[union-attr]
    list(other.rows({"text", "id"}))
    assert other.sha256 not in {digest for digest, _ in digests}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_more_rows_than_are_unpacked_at_once(form: str) -> None:
    rows = [{"id": str(i), "text": f"text {i}"} for i in range(2 * ROWS + 3)]
    corpus = read_corpus(listed(FORMS[form](rows), "train"))
    found = list(corpus)
    assert [d.text for d in found] == [row["text"] for row in rows]
    assert found[-1].source == f"train[{2 * ROWS + 2}]"
    assert list(corpus) == found, "it is read again"


def test_shards_streams_and_what_was_selected() -> None:
    rows = [{"text": f"text {i}", "noise": i} for i in range(40)]
    whole = datasets.Dataset.from_list(rows)
    streamed = whole.to_iterable_dataset(num_shards=4).shuffle(seed=3, buffer_size=5)
    assert sorted(d.text for d in read_corpus(streamed)) == sorted(row["text"] for row in rows)
    chosen = whole.shuffle(seed=1).select(range(5)).rename_column("text", "body")
    assert len(list(read_corpus(chosen, text_field="body"))) == 5
    made = datasets.IterableDataset.from_generator(lambda: iter(rows))  # knows no columns
    assert [d.text for d in read_corpus(made)] == [row["text"] for row in rows]
    changed = whole.with_transform(lambda batch: {"text": [text.upper() for text in batch["text"]]})
    assert next(iter(read_corpus(changed))).text == "TEXT 0"


def test_texts_are_wrapped_and_strings_name_files(tmp_path: Path) -> None:
    texts = Texts(f"text {i}" for i in range(3))
    assert [d.text for d in read_corpus(texts, text_field="body")] == ["text 0", "text 1", "text 2"]
    assert list(texts) == [texts[0], *texts[1:]] and len(texts) == 3
    file = tmp_path / "a file.txt"
    file.write_text("what stands in the file", encoding="utf-8")
    assert [d.text for d in read_corpus([str(file)])] == [d.text for d in read_corpus(file)]
    assert "memaudit.Texts([...])" in refusal(["Call me Ishmael. Some years ago\nnever mind how long"])
    assert "memaudit.Texts([...])" in refusal("what [happened] next?")
    assert "memaudit.Texts([...])" in refusal("word " * 2000)
    assert "memaudit.Texts" not in refusal("train.jsonl")
    assert "memaudit.Texts" not in refusal("My Documents/train 2.jsonl")
    with pytest.raises(InputError, match=r"Texts\(\[text\]\)"):
        Texts("one text")
    assert refusal(Texts(["a", 3]), "train").startswith("train[1]: a number, expected a text")  # type: ignore[list-item]


def test_specs_and_objects_together(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"id": 1, "text": "from a file"}\n', encoding="utf-8")
    frame = pd.DataFrame({"id": [1], "text": ["from a frame"]})
    given = listed([str(file), frame, Texts(["from a list"])], "train")
    assert specs_of(given) == [str(file), "train[1] (DataFrame)", "train[2] (Texts)"]
    corpus = read_corpus(given)
    assert [(d.id, d.source) for d in corpus] == [
        (f"{file}#1", f"{file}:1"), ("train[1]#1", "train[1][0]"), ("train[2][0]", "train[2][0]"),
    ]  # fmt: skip
    assert corpus.summary()["units"].endswith("; 2 rows of 2 data sets, each one document")
    assert refusal([frame, frame], "train").startswith("train[1]: named twice, first as train[0]")
    assert refusal([{"text": "a"}, str(file)], "train").startswith("train[0]: a row among other things")


def test_documents_and_corpora_are_rows_too() -> None:
    documents = [Document("a", "one", "x:1", "web", None, 3), Document("b", "two", "x:2")]
    assert [(d.id, d.text, d.domain, d.copies) for d in read_corpus(documents)] == [
        ("a", "one", "web", 3),
        ("b", "two", None, None),
    ]
    again = read_corpus(read_corpus(documents))
    assert [d.text for d in again] == ["one", "two"]


def test_conversations_are_rows_of_messages() -> None:
    talk = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}]
    ((place, row),) = listed([talk], "train")[0].open().rows(None)  # type: ignore[union-attr]
    assert (place, row) == ("[0]", {"messages": talk})
    (held,) = listed([talk, tuple(talk)], "train")
    assert isinstance(held, HeldRows)
    assert listed([[{"text": "a"}], [{"text": "b"}]], "train")[1].name == "train[1]"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            (row for row in [{"text": "a"}]),
            "train: a generator can be read once (text is read again: make a list of it)",
        ),
        (map(dict, []), "train: a map can be read once"),
        (
            datasets.DatasetDict(train=datasets.Dataset.from_list([{"text": "a"}]), test=None),
            "train: a DatasetDict of several splits (give one of them: ['train'], ['test'])",
        ),
        ({"text": "a"}, "train: one dict is one row (give a list of rows)"),
        (5, "train: of type int, which is not read as text (text comes as names of files, memaudit.Texts"),
        (b"text", "train: of type bytes"),
        (None, "train: of type NoneType"),
        ([None], "train[0]: of type NoneType"),
        (pd.Series(["a"]), "train: a Series of a string (for texts themselves: memaudit.Texts(...))"),
        (np.array(["a"]), "train: a ndarray of a str_"),
        ({1, 2}, "train: a set of a number"),
        ([{"text": "a"}, {"body": "b"}], "train[1]: no field 'text'; fields: body"),
        ([{"text": 3}], 'train[0]: "text" is a number, expected string'),
        ([{"text": float("nan")}], 'train[0]: "text" is null, expected string'),
        ([{"text": "a\ud800"}], "train[0]: lone surrogate"),
        (pd.DataFrame([["a", "b"]], columns=["text", "text"]), 'train: column "text" appears twice'),
        (pd.DataFrame({"text": ["a", None]}), 'train[1]: "text" is null, expected string'),
        (pd.DataFrame({"body": ["a"]}), "train[0]: no field 'text'; fields: body."),
        (pa.table({"body": ["a"]}), "train[0]: no field 'text'; fields: body."),
        (datasets.Dataset.from_dict({"body": ["a"]}), "train[0]: no field 'text'; fields: body."),
        (pd.DataFrame({"text": []}), "no records in train"),
        (pa.table({"text": pa.array([b"\xff"], pa.binary())}), 'train[0]: "text" is a bytes, expected string'),
        ([{"text": "a", "id": 1}, {"text": "b", "id": 1}], 'train[1]: id "1" also appears at train[0]'),
        ([{"text": "a", "id": 1.5}], 'train[0]: "id" is a number, expected string or whole number'),
        ([], "no corpus given"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # an address differs in each process
)
def test_what_cannot_be_read_is_refused_in_one_line(given: Any, told: str) -> None:
    assert refusal(given, "train").startswith(told)


def test_bad_rows_are_skipped_on_request_and_counted() -> None:
    frame = pd.DataFrame({"text": ["one", None, " ", "two"]})
    corpus = read_corpus(listed(frame, "train"), skip_bad=True)
    assert [d.text for d in corpus] == ["one", "two"]
    found = corpus.summary()
    assert (found["documents"], found["empty"], found.get("rejected")) == (2, 1, 1)
    assert found.get("first_rejected") == ['train[1]: "text" is null, expected string']


def test_values_of_libraries_are_plain() -> None:
    given = {
        "a": np.float64("nan"), "b": pd.NA, "c": pd.NaT, "d": np.int64(3),
        "e": np.array([{"f": np.bool_(True)}], object),
        "g": (1, None), 5: np.array(2), "h": date(2024, 1, 2),
    }  # fmt: skip
    assert plain(given) == {
        "a": None, "b": None, "c": None, "d": 3, "e": [{"f": True}], "g": [1, None], "5": 2, "h": date(2024, 1, 2),
    }  # fmt: skip


def test_pandas_has_no_whole_numbers_beside_missing_ones() -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "copies": [3, None], "id": [7.0, 8.0]})
    assert frame.copies.dtype == float
    assert refusal(frame).startswith('DataFrame[0]: "id" is a number')
    assert [d.copies for d in read_corpus(frame.drop(columns="id"))] == [3, None]
    days = pd.DataFrame({"text": ["a"], "date": [pd.Timestamp("2024-01-02")]})
    assert next(iter(read_corpus(days))).date == "2024-01-02T00:00:00"


@pytest.mark.parametrize("changes", ["a cell", "a row"])
def test_rows_that_change_while_they_are_read_are_refused(changes: str) -> None:
    frame = pd.DataFrame({"text": ["one", "two"]})
    corpus = read_corpus(listed(frame, "train"))
    list(corpus)
    if changes == "a cell":
        frame.loc[1, "text"] = "three"
    else:
        frame.loc[2] = ["three"]
    with pytest.raises(InputError, match="train: changed since it was last read"):
        list(corpus)


def test_a_data_set_that_breaks_is_named_and_not_cut_off() -> None:
    class Broken:
        def __iter__(self) -> Iterator[dict[str, str]]:
            yield {"text": "one"}
            raise OSError("connection\nlost")

    assert refusal(Broken(), "train").startswith("train: cannot be read after 1 rows: OSError: connection\\x0alost")
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    assert refusal([{"text": cyclic}], "train").startswith("train[0]: nested too deeply")


def test_no_library_is_imported_to_tell_an_object_apart() -> None:
    script = (
        "import sys; from memaudit.text.corpus.objects import listed; listed([{'text': 'a'}], 'train');"
        "print([name for name in ('pandas', 'datasets', 'pyarrow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_it_is_public() -> None:
    assert memaudit.Texts is Texts
