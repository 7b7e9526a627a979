"""Three kinds of work that may be cut off at any moment: an audit, a search of a corpus, a training.

Each is the command a user would type, run in a fork of this process: imports are paid for once.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import memaudit
import memaudit.audits.contamination.run
import memaudit.audits.extraction.run
import memaudit.report.contamination_page
import memaudit.report.contamination_terminal
import memaudit.report.extraction_page
import memaudit.report.formats.html
import memaudit.report.formats.junit
import memaudit.report.formats.sarif
import memaudit.report.kinds.contamination
import memaudit.report.kinds.extraction
import memaudit.training.loop
import memaudit.training.train
from memaudit.__main__ import main
from memaudit.cli.signals import STOPPING
from memaudit.families import RNN
from memaudit.models.ngram import NgramModel
from memaudit.runs.files import compact_json
from memaudit.text.tokenize import train_tokenizer

LONGEST = 300
"""Seconds after which a work that hangs is ended."""
DOCUMENTS = 150
FILES = 10


@dataclass(frozen=True)
class Work:
    """A command, the folder it writes, and those files of it that must come out with the same bytes."""

    name: str
    arguments: tuple[str, ...]
    out: str
    results: tuple[str, ...]

    def started(self, folder: Path, before: Callable[[], None] = lambda: None) -> int:
        """Start it in a child whose output goes to ``stdout.txt`` and ``stderr.txt``; return the child's id."""
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork
        child = os.fork()
        if not child:
            _run(self.arguments, folder, before)
        return child

    def run(self, folder: Path, before: Callable[[], None] = lambda: None) -> int:
        """Run it to its end; return its exit code, -14 if it has not come to one in good time."""

        def limited() -> None:
            signal.alarm(LONGEST)
            before()

        return os.waitstatus_to_exitcode(os.waitpid(self.started(folder, limited), 0)[1])

    def bytes_of(self, folder: Path) -> dict[str, bytes]:
        """Return what its results hold."""
        return {name: (folder / self.out / name).read_bytes() for name in self.results}


RUN = ("plan.json", "items.log", "report.json", "report.html")
AUDIT = Work(
    "audit",
    ("audit", "model", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "8", "--suffix", "8",
     "--limit", "160", "--out", "run-audit"),
    "run-audit",
    (*RUN, "records.parquet"),
)  # fmt: skip
SEARCH = Work(
    "contamination",
    ("contamination", "bench.jsonl", "--corpus", "corpus/*.jsonl", "--format", "html,junit,sarif",
     "--out", "run-search"),
    "run-search",
    (*RUN, "items.jsonl", "junit.xml", "results.sarif"),
)  # fmt: skip
TRAINING = Work(
    "training",
    ("train", "rnn", "--corpus", "small.jsonl", "--width", "8", "--unit", "char", "--epochs", "0.3",
     "--batch-size", "2", "--context", "16", "--threads", "1", "--out", "model-rnn"),
    "model-rnn",
    ("memaudit.json", "model.safetensors", "tokenizer.json"),
)  # fmt: skip
WORKS = (AUDIT, SEARCH, TRAINING)


def prepare(folder: Path) -> None:
    """Write the corpora and the model that the works need."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: _texts(DOCUMENTS, seed) for seed, name in enumerate(("train", "heldout"))}
    for name, some in (*texts.items(), ("small", texts["train"][:12])):
        (folder / f"{name}.jsonl").write_bytes(_lines({"text": text} for text in some))
    tokenizer = train_tokenizer("char", texts["train"])
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts["train"][:40])]
    NgramModel.train(ids, tokenizer, order=12, smoothing="kneser-ney").save(folder / "model")
    items = [{"id": f"q{i}", "question": text, "answer": "none"} for i, text in enumerate(texts["heldout"][:20])]
    (folder / "bench.jsonl").write_bytes(_lines(items))
    (folder / "corpus").mkdir()
    for number in range(FILES):
        some = [*texts["train"][number * 9 : number * 9 + 9], texts["heldout"][number]]
        (folder / "corpus" / f"{number}.jsonl").write_bytes(_lines({"text": text} for text in some))


def warm_up(folder: Path) -> dict[str, dict[str, bytes]]:
    """Do all works once, undisturbed, and return their results; what is loaded on first use is loaded by then."""
    _load_kernels(folder)
    results = {}
    for work in WORKS:
        code = work.run(folder)
        if code not in (0, 1, 3):
            raise RuntimeError(f"{work.name}: exit {code}: {(folder / 'stderr.txt').read_text()}")
        results[work.name] = work.bytes_of(folder)
    return results


def _load_kernels(folder: Path) -> None:
    """Audit and search in this process, whose forks then find the kernels in their memory; no thread is left by it."""
    scratch = folder / "scratch"
    sides = (str(folder / f"{name}.jsonl") for name in ("train", "heldout"))
    memaudit.audit(folder / "model", *sides, out=scratch / "audit", prefix=8, suffix=8, limit=4)
    corpus, formats = str(folder / "corpus" / "*.jsonl"), ("html", "junit", "sarif")
    memaudit.contamination(str(folder / "bench.jsonl"), corpus, out=scratch / "search", formats=formats)
    shutil.rmtree(scratch)


def _run(arguments: tuple[str, ...], folder: Path, before: Callable[[], None]) -> None:
    """Be the command; never return to what the parent was doing."""
    try:
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(folder)
        for name, descriptor in (("stdout.txt", 1), ("stderr.txt", 2)):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        sys.argv = ["memaudit", *arguments]
        RNN.training["checkpoint_seconds"] = 0.0
        before()
        atexit._clear()  # what the parent does at its end is not the child's to do
        main()
    finally:
        os._exit(99)


def _texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"{random.integers(10**6):x}" for _ in range(12)) for _ in range(count)]


def _lines(rows: Iterable[Mapping[str, str]]) -> bytes:
    return b"".join(compact_json(row) + b"\n" for row in rows)
