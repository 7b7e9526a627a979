"""The fixture generator keeps its promises: one copy where the truth says, none of the absent, the same every time."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from memaudit.text.words.words import words_of

GENERATOR = Path(__file__).resolve().parents[1] / "benchmarks" / "planted.py"
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from planted import Plan, generate
counts = {"verbatim": 8, "spacing": 8, "edited": 8, "short": 8, "unicode": 8, "absent": 10}
plan = Plan(megabytes=1.5, slice_megabytes=0.8, classes=counts, extra_each=2, extra_short_absent=2)
generate(Path(sys.argv[2]), plan, sys.argv[3:])
"""


def generate(folder: Path) -> Path:
    stdlib = sysconfig.get_paths()["stdlib"]
    globs = [f"{stdlib}/*.py", *(f"{stdlib}/{name}/*.py" for name in ("asyncio", "email", "idlelib", "logging"))]
    command = [sys.executable, "-c", SCRIPT, str(GENERATOR.parent), str(folder), *globs]
    subprocess.run(command, check=True)
    return folder


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("planted") / "one")


def grams(text: str, n: int = 8) -> set[tuple[str, ...]]:
    words = words_of(text).texts
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_an_equal_seed_gives_equal_bytes(fixture: Path, tmp_path: Path) -> None:
    again = generate(tmp_path)
    assert [file.name for file in sorted(again.iterdir())] == [file.name for file in sorted(fixture.iterdir())]
    for file in again.iterdir():
        assert file.read_bytes() == (fixture / file.name).read_bytes()


def test_the_slice_is_the_head_of_the_corpus(fixture: Path) -> None:
    head, corpus = (fixture / "slice.jsonl").read_bytes(), (fixture / "corpus.jsonl").read_bytes()
    assert corpus.startswith(head)
    assert 0.7e6 < len(head) <= 0.83e6 < 1.4e6 < len(corpus) <= 1.53e6


@pytest.mark.parametrize("prefix", ["", "extra-"])
def test_copies_stand_where_the_truth_says_and_only_there(fixture: Path, prefix: str) -> None:
    corpus = [row["text"] for row in rows(fixture / f"{prefix}corpus.jsonl")]
    held = [grams(text) for text in corpus]
    everywhere: set[tuple[str, ...]] = set()
    for item, truth in zip(
        rows(fixture / f"{prefix}benchmark.jsonl"), rows(fixture / f"{prefix}truth.jsonl"), strict=True
    ):
        own = grams(item["text"])
        assert not own & everywhere
        everywhere |= own
        holders = [number for number, found in enumerate(held, 1) if own & found]
        if truth["document"]:
            line = int(truth["document"].rsplit(":", 1)[1])
            assert holders in ([line], [] if truth["class"] in {"edited", "unpunctuated"} else [line])
        else:
            shared = set().union(*(own & held[number - 1] for number in holders))
            assert len(shared) < 0.5 * len(own)
        if truth["class"] in {"verbatim", "short"}:
            assert item["text"] in corpus[line - 1]
        elif truth["document"]:
            assert item["text"] not in corpus[line - 1] or truth["class"].startswith("diluted")


def test_boilerplate_stands_in_half_of_the_documents(fixture: Path) -> None:
    before = [row["text"] for row in rows(fixture / "slice.jsonl")]
    after = [row["text"] for row in rows(fixture / "boilerplate-corpus.jsonl")]
    changed = [a != b for a, b in zip(after, before, strict=True)]
    assert sum(changed) == len(before) // 2
    assert all(a.startswith(b) for a, b in zip(after, before, strict=True))
