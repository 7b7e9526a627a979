"""A benchmark in a text file: tables are read, other notations are refused by name, prose is text."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.contamination.run import contamination
from memaudit.errors import InputError

ROWS = [
    {"id": "1", "question": "What year did the Berlin Wall fall?", "answer": "1989"},
    {"id": "2", "question": "Which river flows through Budapest, and through Belgrade?", "answer": "The Danube"},
    {"id": "3", "question": "Who painted the ceiling of the Sistine Chapel in the Vatican?", "answer": "Michelangelo"},
]


def table(delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("name", ["b.txt", "b", "b.bak", "b.txt.gz"])
def test_a_table_is_one_whatever_it_is_called(tmp_path: Path, delimiter: str, name: str) -> None:
    data = table(delimiter).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    benchmark = read_benchmark([str(tmp_path / name)])
    assert [item.parts["question"] for item in benchmark.items] == [row["question"] for row in ROWS]
    assert [item.id for item in benchmark.items] == ["1", "2", "3"]


def test_it_is_searched_for_as_such(tmp_path: Path) -> None:
    (tmp_path / "b").write_text(table(","))
    (tmp_path / "c.txt").write_text("\n".join(f"Before. {row['question']} After." for row in ROWS))
    result = contamination(str(tmp_path / "b"), str(tmp_path / "c.txt"), out=tmp_path / "run", formats=())
    assert [item.verdict for item in result.items] == ["contaminated"] * 3


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("| question | answer |\n|---|:---:|\n| Why is it so? | So it is. |\n", "Markdown"),
        ("<?xml version='1.0'?>\n<items><q>Why is it so?</q></items>\n", "XML"),
        ("<table><tr><td>Why is it so?</td></tr></table>\n", "XML"),
        ("INSERT INTO items VALUES ('Why is it so?', 'So it is.');\n", "SQL"),
        ("DATA = [\n    {'question': 'Why is it so?'},\n]\n", "program"),
        ("[[items]]\nquestion = 'Why is it so?'\n", "TOML"),
        ("- question: Why is it so?\n  answer: So it is.\n- question: Why not?\n  answer: So.\n", "YAML"),
    ],
)
def test_another_notation_is_refused_by_name_unless_asked_for(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "b.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=named):
        read_benchmark([str(path)])
    assert read_benchmark([f"text:{path}"]).items


@pytest.mark.parametrize(
    "text",
    [
        "Question, or answer, who can tell?\nNobody, at least not here.\n",
        "question, answer\nThis line has no second cell\nnor has this\n",
        "- Why is it so?\n- Because: it was so before.\n",
        "We set x = [1, 2] here.\nThen 3 < 4 holds.\n",
        "1. Why is it so?\n2. Why not?\n",
    ],
)
def test_prose_stays_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.txt"
    path.write_text(text)
    assert [item.whole for item in read_benchmark([str(path)]).items] == text.strip().split("\n")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ("\u3053\u308c\u306f".encode("iso2022_jp"), "ISO-2022"),
        (b"From: a@example.org\nContent-Transfer-Encoding: base64\n\nV2h5IGlzIGl0IHNvPw==\n", "mail"),
    ],
)
def test_a_corpus_whose_letters_are_written_as_others_is_refused(tmp_path: Path, data: bytes, named: str) -> None:
    (tmp_path / "c.txt").write_bytes(data)
    (tmp_path / "b.csv").write_text(table(","))
    with pytest.raises(InputError, match=named):
        contamination(str(tmp_path / "b.csv"), str(tmp_path / "c.txt"), out=tmp_path / "run", formats=())


def test_columns_with_text_that_is_not_searched_for_are_named(tmp_path: Path) -> None:
    text = "A paragraph that the question is about."
    rows = [{"paragraph": text, "question": "Why is it so?", "answer": "So it is.", "topic": "doubt"}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = "columns with text that is not searched for: 'paragraph' (--field names what is)"
    assert read_benchmark([str(tmp_path / "b.jsonl")]).notice == said
    assert read_benchmark([str(tmp_path / "b.jsonl")], ["question"]).notice == ""
