"""The texts behind the names and numbers of the labelled pairs; they are read from the data and never kept here.

A pair names a benchmark and one of its items, a corpus and one of its documents. A number is a row of the file that
`SOURCES` gives for the name, counted from 1. Two benchmarks are cut from longer texts: an item of
`licence-paragraphs` is "ROW:N", the Nth paragraph of at least 13 words of the licence in that row, or its whole text
for N = 0; an item of `github-headers` is the first 120 words of the file in that row.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memaudit.audits.benchmark.layouts import OFFERED

PARAGRAPH_WORDS = 13
HEADER_WORDS = 120

Row = dict[str, Any]
Parts = dict[str, str]


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of at least 13 words, as blank lines part them."""
    return [part for part in re.split(r"\n[ \t]*\n", text) if len(part.split()) >= PARAGRAPH_WORDS]


def header(text: str) -> str:
    """Return the text from the first to the 120th word, words being what white space parts."""
    words = list(re.finditer(r"\S+", text))[:HEADER_WORDS]
    return text[words[0].start() : words[-1].end()] if words else ""


def _parts(question: str, answer: str, between: str = "\n", document: str | None = None) -> Parts:
    """Return the two parts of an item and its document: the parts joined, unless given."""
    return {"question": question, "answer": answer, "document": document or question + between + answer}


def _choices(row: Row) -> Parts:
    """Question, each choice on a line of its own, and a line with the right one."""
    stem, choices = row["question"]["stem"], row["question"]["choices"]
    answer = next(choice["text"] for choice in choices if choice["label"] == row["answerKey"])
    return _of_choices(stem, [choice["text"] for choice in choices], answer)


def _of_choices(question: str, choices: list[str], answer: str) -> Parts:
    offered = "\n".join([question, *choices])
    return _parts(question, answer, document=f"{offered}\nAnswer: {answer}") | {OFFERED: offered}


def _mmlu(row: Row) -> Parts:
    """As `_choices`, of rows that hold their choices in a list and the right one by its place."""
    return _of_choices(row["question"], row["choices"], row["choices"][row["answer"]])


def _text(row: Row) -> Parts:
    return {"text": row["text"], "document": row["text"]}


_BENCHMARKS, _CONTAMINATION, _CORPORA = "benchmarks", "contamination", "corpora"
SOURCES: dict[str, tuple[str, Callable[[Row], Parts]]] = {
    "arc-test": (f"{_BENCHMARKS}/arc-challenge/ARC-Challenge-Test.jsonl", _choices),
    "arc-dev": (f"{_BENCHMARKS}/arc-challenge/ARC-Challenge-Dev.jsonl", _choices),
    "openbookqa": (f"{_BENCHMARKS}/oren-injected/openbookqa.jsonl.gz", _choices),
    "gsm8k-test": (f"{_BENCHMARKS}/gsm8k/test.jsonl", lambda r: _parts(r["question"], r["answer"])),
    "gsm8k-train": (f"{_BENCHMARKS}/gsm8k/train.jsonl.gz", lambda r: _parts(r["question"], r["answer"])),
    "gsm8k-rewritten": (
        f"{_CONTAMINATION}/gsm8k-rewritten/rewritten_test_1_first659.jsonl.gz",
        lambda r: _parts(r["rewritten_question"], r["rewritten_answer"]),
    ),
    "gsm-plus": (
        f"{_CONTAMINATION}/gsm-plus-testmini/gsmplus_testmini.jsonl.gz",
        lambda r: _parts(r["question"], r["solution"]),
    ),
    "humaneval": (
        f"{_BENCHMARKS}/humaneval/HumanEval.jsonl.gz",
        lambda r: _parts(r["prompt"], r["canonical_solution"], between=""),
    ),
    "mbpp": (f"{_BENCHMARKS}/mbpp/mbpp.jsonl", lambda r: _parts(r["text"], r["code"])),
    "codealpaca": (
        f"{_CONTAMINATION}/llm-decontaminator/CodeAlpacaDB.jsonl.gz",
        lambda r: {"text": r["train"][0], "document": r["train"][0]},  # the nearest training text of HumanEval's row
    ),
    "aime": (
        f"{_BENCHMARKS}/aime-by-year/aime_1983_2022.jsonl.gz",
        lambda r: _parts(r["problem"], str(r["answer"])),
    ),
    "piqa": (
        f"{_BENCHMARKS}/oren-injected/piqa.jsonl.gz",
        lambda r: _parts(r["goal"], f"{r['sol1']}\n{r['sol2']}"),
    ),
    **{f"mmlu_{part}": (f"{_BENCHMARKS}/mmlu/mmlu_{part}.jsonl.gz", _mmlu) for part in ("test", "validation", "dev")},
    "licences": (f"{_CORPORA}/licence-boilerplate/licences.jsonl.gz", _text),
    "github": (f"{_CORPORA}/pile-domains-mimir/github.jsonl.gz", _text),
}
OFFERS_CHOICE = {"arc-test", "arc-dev", "openbookqa", "mmlu_test", "mmlu_validation", "mmlu_dev"}
"""Benchmarks whose answers are among several that stand beside the question."""


def read(name: str, data: Path) -> dict[int | str, Parts]:
    """Return the items, or documents, of a benchmark or corpus by the ids that the pairs use.

    Args:
        name: A name of `SOURCES`, or one of the two benchmarks that are cut.
        data: The folder with `benchmarks`, `contamination` and `corpora`.

    Returns:
        For each id the parts of the item (`question` and `answer`, or `text`) and its `document`.
    """
    if name == "github-headers":
        texts = {row: header(parts["text"]) for row, parts in read("github", data).items()}
        return {row: {"text": text, "document": text} for row, text in texts.items()}
    if name == "licence-paragraphs":
        cut = {}
        for row, parts in read("licences", data).items():
            for number, text in enumerate([parts["text"], *paragraphs(parts["text"])]):
                cut[f"{row}:{number}"] = {"text": text, "document": text}
        return cut
    path, parse = SOURCES[name]
    raw = (data / path).read_bytes()
    lines = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode("utf-8").split("\n")
    return {row: parse(json.loads(line)) for row, line in enumerate(lines, 1) if line.strip()}
