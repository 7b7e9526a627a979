"""Runs of every kind over small made-up inputs, and what is kept of them: outputs that must not move unnoticed.

``python -m tests.golden.cases`` freezes them anew; what it changes is then read in the diff, line by line. A run of
labels (exploitation) was frozen by hand, for networks come out otherwise on another machine: it is only opened.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.runs import provenance

FROZEN = Path(__file__).parent / "frozen"
KEPT = ("plan.json", "items.log", "report.json", "junit.xml", "results.sarif", "report.md", "items.jsonl")
JUDGED = ("--format", "html,json,junit,sarif,md")

_DRAWN = random.Random(17)
WORDS = ["".join(_DRAWN.choices("abcdefghijklmnop", k=_DRAWN.randint(2, 7))) for _ in range(300)]

SIDES = ("--train", "train.jsonl", "--heldout", "new.jsonl", "--prefix", "6", "--suffix", "6", "--limit", "24")
CASES: dict[str, tuple[str, ...]] = {
    "extraction": ("audit", "model", *SIDES, *JUDGED),
    "extraction-redacted": ("audit", "model", *SIDES, "--redact", "--no-fuzzy", "--format", "junit,sarif,md"),
    "extraction-measures": (
        *("audit", "model", *SIDES, "--membership", "--reference", "train", "--reference-corpus", "background.jsonl"),
        *(
            "--measure",
            "surface,coverage,probability,near-verbatim,use,taxonomy,protocol",
            "--format",
            "junit,sarif,md",
        ),
    ),
    "extraction-dose": (
        *("audit", "dosed", "--train", "dose/planted.jsonl", "--heldout", "dose/twins.jsonl", "--measure", "dose"),
        *("--prefix", "6", "--suffix", "6", "--limit", "40", "--format", "junit,md"),
    ),
    "contamination": (
        *("contamination", "test.jsonl", "--corpus", "corpus.jsonl", "--scores", "scores.csv"),
        *("--baseline", "accepted.json", *JUDGED),
    ),
    "contamination-clean": ("contamination", "late.jsonl", "--corpus", "corpus.jsonl", "--redact", *JUDGED),
    "membership": (
        *("contamination", "test.jsonl", "--model", "model", "--heldout", "fresh.jsonl", "--reference", "train"),
        *("--reference-corpus", "background.jsonl", "--order-permutations", "19", *JUDGED),
    ),
    "membership-confounded": ("contamination", "new.jsonl", "--model", "model", "--heldout", "late.jsonl", *JUDGED),
    "gap": (
        *("gap", "results.csv", "--model", "suspect", "--control", "open", "--cutoff", "2023-06-30"),
        *("--permutations", "499", *JUDGED),
    ),
    "reconstruction": (
        *("reconstruct", "reader", "--text", "book.txt", "--heldout", "unread.txt", "--seed-tokens", "8"),
        *("--reseeds", "1", "--patience", "64", *JUDGED),
    ),
    "laws": (
        *("laws", "--family", "ngram", "--corpus", "background.jsonl", "--sizes", "2,4", "--doses", "1,4"),
        *("--contexts", "4,8", "--suffix", "4", "--seeds", "2", "--per-dose", "4", "--background", "4"),
        *("--format", "html,json"),
    ),
    "work": (
        *("work", "model", "--text", "work.txt", "--heldout", "other.txt", "--prefix", "6", "--suffix", "6"),
        *("--stride", "2", "--parts", "400", *JUDGED),
    ),
    "counterfactual": (
        *("counterfactual", "--corpus", "background.jsonl", "--models", "6", "--size", "3"),
        *("--format", "html,json"),
    ),
}
"""Name of a run -> the command line that makes it; ``--out`` is its name."""
SCREENS: dict[str, tuple[str, ...]] = {
    "merge": ("merge", "share-1", "share-2", "--out", "merged"),
    "compare": ("compare", "extraction", "extraction-redacted", "--out", "page.html"),
    "index": ("index", "build", "corpus.jsonl", "--out", "words"),
    "trace": ("trace", "quoted.txt", "--index", "words"),
    "sample": ("sample", "model", "--prompt", WORDS[0], "--length", "12"),
    "report": ("report", "contamination", "--format", "md"),
}
"""Commands whose screen alone is kept."""


def texts(count: int, seed: int, words: int = 14) -> list[str]:
    """Made-up sentences."""
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)).capitalize() + "." for _ in range(count)]


def write(name: str, rows: list[str]) -> None:
    lines = [json.dumps({"id": f"{name[:2]}{i}", "text": row}) for i, row in enumerate(rows)]
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def edited(text: str) -> str:
    words = text.split()
    words[5] = "otherwise"
    return " ".join(words)


def write_inputs() -> None:
    """Write all inputs into the working directory, and train the models."""
    background, items = texts(60, 1, 40), texts(40, 2, 30)
    write("background.jsonl", background)
    write("train.jsonl", texts(40, 3))
    write("new.jsonl", texts(40, 4))
    write("fresh.jsonl", texts(40, 7, 30))
    write("late.jsonl", [f"In 2024 {text}" for text in texts(40, 5)])
    write("test.jsonl", items)
    page = "Write to jane.doe@example.org. " + items[3]
    write("corpus.jsonl", [*background[:30], *items[:3], page, *map(edited, items[6:9]), *background[30:]])
    write("seen.jsonl", [*background, *texts(40, 3)[:20] * 2, *items])
    Path("quoted.txt").write_text(f"{background[2][:90]} and {texts(1, 99)[0]}", encoding="utf-8")
    for name, chapters in (("work", background), ("other", texts(60, 8, 40))):
        Path(f"{name}.txt").write_text(" ".join(chapters[:30]), encoding="utf-8")
    drawn = random.Random(6)
    rows = [f"te{i},{int(drawn.random() < (0.9 if i < 9 else 0.5))}" for i in range(40)]
    Path("scores.csv").write_text("\n".join(["id,correct", *rows]) + "\n", encoding="utf-8")
    rows = []
    for i in range(240):
        suspect, control = (int(drawn.random() < share) for share in (0.95 if i % 12 < 6 else 0.4, 0.6))
        rows.append(f"q{i},2023-{1 + i % 12:02d}-10,{suspect},{control}")
    Path("results.csv").write_text("\n".join(["id,date,suspect,open", *rows]) + "\n", encoding="utf-8")
    train = ("train", "ngram", "--order", "6", "--unit", "word", "--vocab-size", "400")
    call("plant", "background.jsonl", "--out", "dose", "--doses", "1,4", "--per-dose", "4", "--canaries", "4",
         "--words", "20", "--changed", "0")  # fmt: skip
    call(*train, "--corpus", "seen.jsonl", "--out", "model")
    call(*train, "--corpus", "dose/training.jsonl", "--out", "dosed")
    book = texts(16, 8, 30)
    Path("book.txt").write_text("\n".join(book), encoding="utf-8")
    Path("unread.txt").write_text("\n".join(texts(6, 9, 30)), encoding="utf-8")
    write("known.jsonl", ["\n".join(book[:10]), *texts(4, 10)])
    call(*train, "--corpus", "known.jsonl", "--out", "reader")
    write("earlier.jsonl", [*background, *items[:3]])
    call("contamination", "test.jsonl", "--corpus", "earlier.jsonl", "--out", "earlier")
    call("baseline", "earlier", "--out", "accepted.json")
    for share in ("1", "2"):
        call("contamination", "test.jsonl", "--corpus", "corpus.jsonl", "--corpus", "background.jsonl",
             "--shard", f"{share}/2", "--out", f"share-{share}")  # fmt: skip


def call(*arguments: str) -> str:
    """Return what a command prints, its exit code behind it."""
    done = CliRunner().invoke(app, arguments)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    code = getattr(done.exception, "exit_code", done.exit_code)
    assert code in (0, 1, 3), (arguments, done.output)
    return f"{done.stdout}exit code {code}\n"


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Let runs be of no version, so that their identities stay."""
    with (
        mock.patch.object(provenance, "LIBRARIES", ()),
        mock.patch.object(provenance, "version", lambda: "0"),
        mock.patch.object(provenance, "code", lambda: "0"),
        mock.patch.object(provenance.platform, "python_version", lambda: "3"),
        mock.patch.dict(os.environ, {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}),
    ):
        yield


def produce(into: Path) -> None:
    """Run everything in the working directory, and put what is kept of it into a folder of its own a run."""
    with pinned():
        write_inputs()
        for name, arguments in CASES.items():
            screen = call(*arguments, "--out", name)
            folder = into / name
            folder.mkdir(parents=True)
            (folder / "screen.txt").write_text(screen, encoding="utf-8")
            for file in KEPT:
                if (Path(name) / file).exists():
                    shutil.copy(Path(name) / file, folder / file)
        for name, arguments in SCREENS.items():
            (into / f"{name}.txt").write_text(call(*arguments), encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        for name in (*CASES, *(f"{name}.txt" for name in SCREENS)):
            stale = FROZEN / name
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)
        produce(FROZEN)
