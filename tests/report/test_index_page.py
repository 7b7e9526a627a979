"""The page and the terminal of an index: complete, inert whatever a corpus holds, the same bytes every time."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from memaudit.report.index_page import render_index, write_index_page
from memaudit.report.index_terminal import print_statistics, print_trace

HOSTILE = "<script>alert(1)</script></title><img onerror=x> [b]\x1b]0;x\x07\u202e{{ 7 * 7 }}"
COPIES = [(2, 2), (3, 4), (5, None)]


def statistics(text: str = "all rights reserved", *, shards: int = 1, corpus: bool = True) -> dict[str, Any]:
    copies = [{"least": a, "most": b, "spans": 1_234, "places": 5_000} for a, b in COPIES]
    shown = {"text": text, "characters": len(text) + 5, "symbols": 9, "sources": [f"{text}:1", "f:2"]}
    files = [{"path": text, "sha256": "ab" * 32, "bytes": 5}] * 5
    about = {
        "specs": [text],
        "files": files,
        "documents": 3,
        "empty": 2,
        "rejected": 1,
        "first_rejected": [f"{text}: not valid JSON"],
        "units": "3 records of 5 files, each one document",
        "domains": {},
    }
    return {
        "schema_version": 1,
        "kind": "index",
        "memaudit": "0.1.0",
        "unit": "word",
        "rule": "words 1",
        "sha256": "cd" * 32,
        "corpus": about if corpus else None,
        "shards": shards,
        "documents": 3,
        "symbols": 1_234_567,
        "distinct_symbols": 89,
        "domains": [
            {"domain": text, "documents": 2, "symbols": 1_000_000, "share": 0.81},
            {"domain": None, "documents": 1, "symbols": 234_567, "share": 0.19},
        ],
        "duplicates": {
            "empty": 1,
            "documents": 2,
            "symbols": 18,
            "groups": 1,
            "largest": [shown | {"copies": 3}],
        },
        "repeated": [
            {"length": 8, "symbols": 123_456, "share": 0.1, "copies": copies},
            {"length": 16, "symbols": 0, "share": 0.0, "copies": copies},
        ],
        "spans": [shown | {"count": 77, "documents": 5, "occupied": 693}] * 7,
    }


def traced(text: str) -> dict[str, Any]:
    place = {"source": f"{text}:7", "document": text, "domain": text, "start": 0, "end": 1_234}
    span = {"start": 3, "end": 3 + len(text), "words": 9, "count": 1, "rarity": 33.333, "documents": 12}
    passage = {"start": 3, "end": 3 + len(text), "text": text, "spans": [span | {"sources": [place] * 10}] * 2}
    counts = {"min_words": 8, "words": 100, "covered_words": 61, "spans": 4}
    return {"schema_version": 1, "kind": "trace", "index": "", "unit": "word", "passages": [passage]} | counts


def terminal(width: int = 110) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page.split("</style>")[1]))


def test_everything_is_on_the_page() -> None:
    text = plain(render_index(statistics(shards=3)))
    for shown in (
        "1,234,567 words of 3 documents",
        "10.0% of the words lie in spans of at least 8 that occur more than once",
        "2 documents only repeat an earlier one",
        "2 empty, not indexed",
        "1 records rejected, first all rights reserved: not valid JSON",
        "sha256 abababababab and 2 more files",
        "1,000,000",
        "at least 16",
        "5 or more",
        "Spans are found within each of the 3 shards",
        "77 times in 5 documents",
        "9 words each · 693 words in all",
        "3 copies",
        "all rights reserved …",
        "all rights reserved:1, f:2 and 3 more",
        "1 document without a word",
    ):
        assert shown in text


def test_what_is_not_there_is_not_shown() -> None:
    made = statistics(corpus=False)
    made |= {"domains": [made["domains"][1]], "spans": []}
    made["duplicates"] |= {"documents": 0, "largest": [], "empty": 0}
    text = plain(render_index(made))
    assert "no document only repeats an earlier one" in text
    for absent in ("The mixture", "Equal documents", "The most repeated spans", "without a word", "Corpus"):
        assert absent not in text.replace("What is in this corpus?", "")


def test_the_page_is_inert(tmp_path: Path) -> None:
    page = render_index(statistics(HOSTILE))
    assert page == render_index(statistics(HOSTILE))
    tags = set(re.findall(r"<([a-z0-9]+)", page))
    ours = "html head meta title style body main header footer section article h1 h2 h3 p dl div dt dd small code span"
    assert tags <= {*ours.split(), "table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert not re.search(r"<[^>]*(\son\w+=|\ssrc=|\shref=|\sstyle=)", page)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert "default-src 'none'" in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in page


def test_files_beside_each_other(tmp_path: Path) -> None:
    files = write_index_page(statistics(HOSTILE), tmp_path / "new" / "folder")
    assert [file.name for file in files] == ["index.html", "statistics.json"]
    assert json.loads(files[1].read_bytes()) == statistics(HOSTILE)
    assert files[0].read_text(encoding="utf-8") == render_index(statistics(HOSTILE))


def test_statistics_on_a_terminal() -> None:
    console = terminal()
    print_statistics(statistics(shards=2), console)
    lines = printed(console).splitlines()
    assert lines[0] == "1,234,567 words, 89 distinct, of 3 documents in 2 shards"
    assert lines[1] == "2 documents (18 words) equal to an earlier one; 1 document without a word"
    text = "\n".join(lines)
    for shown in ("81.0%", "at least 8", "×3–4", "×5 or more", "repeats are found within each shard", "77 times in 5"):
        assert shown in text
    assert lines[-1] == "and 2 more repeated spans (--out shows them)"


def test_traces_on_a_terminal() -> None:
    console = terminal()
    print_trace(traced("the words of a passage"), console)
    text = printed(console)
    assert text.startswith("61 of 100 words (61.0%) occur in the corpus, in spans of at least 8 words\n")
    assert "1 time in 12 documents · 9 words · rarity 33.3" in text
    assert "the words of a passage:7 (the words of a passage), characters 0 to 1,234" in text
    assert "and 2 more documents" in text
    assert "and 2 less rare spans (--limit shows more)" in text


@pytest.mark.parametrize("width", [40, 110])
def test_nothing_acts_on_the_terminal(width: int) -> None:
    console = terminal(width)
    print_statistics(statistics(HOSTILE), console)
    print_trace(traced(HOSTILE), console)
    text = printed(console)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "[b]" in text
    assert r"\x1b]0;x\x07" in text
