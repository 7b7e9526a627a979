"""The demo: four families trained on text with planted passages, audited side by side, from nothing.

The text is what every Python installation carries: its language reference and docstrings (prose) and
the sources of its standard library (code). Passages are planted 1 to 64 times each; as many twins, drawn
from the same text by the same lot, are never inserted. A model that only generalises treats both alike.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.engines.processes import in_workers
from memaudit.errors import InputError
from memaudit.families import BERT, GPT, NGRAM, RNN, counts
from memaudit.records import Document
from memaudit.report.extraction_page import write_page
from memaudit.runs.directory import read_finished
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.files import write_atomic
from memaudit.runs.invocation import Given, Invocation, command_line
from memaudit.runs.provenance import versions
from memaudit.stats.rounding import seconds
from memaudit.text.index.corpus_index import build_index
from memaudit.text.planting.canaries import Planting, plant
from memaudit.text.planting.passages import library_passages
from memaudit.training.loop import limited_threads
from memaudit.training.train import CorpusOptions, train_neural, train_ngram

Log = Callable[[str], None]

VOCABULARY = 1024
PASSAGE_TOKENS = 110
"""A window of 50+50 tokens and a little slack: the tokenizer of the models is trained after the cut."""
PER_DOSE = 20
BACKGROUND = 400


@dataclass(frozen=True, slots=True)
class Family:
    """One model of the demo: how it is trained, and how many windows a side it is asked for."""

    name: str
    options: dict[str, Any]
    limit: int = 1000


FAMILIES = (
    Family(NGRAM.name, {"order": 24}),
    Family(RNN.name, {"batch_size": 10, "architecture": {"cell": "lstm", "width": 192}}),
    Family(GPT.name, {"batch_size": 10, "architecture": {"width": 128, "layers": 2}}),
    # Hiding 15% of the tokens is BERT's own choice; 40% and one layer teach it more in the same seconds. It fills in
    # 50 masks one by one, which takes it 100 times as long as a pass takes the others: hence fewer windows.
    Family(
        BERT.name,
        {"batch_size": 10, "epochs": 2.0, "mask_rate": 0.4, "architecture": {"width": 128, "layers": 1}},
        limit=56,
    ),
)

_NAMES = [family.name for family in FAMILIES]
LONGEST_FIRST = [_NAMES.index(family.name) for family in (BERT, RNN, GPT, NGRAM)]
"""Places in `FAMILIES` in the order in which they are begun, so that no core idles at the end."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo leaves behind."""

    html: Path
    reports: list[ExtractionReport]
    seconds: float


def run_demo(out: Path, *, seed: int = 0, log: Log = print) -> Demo:
    """Build the corpus, train and audit the four families side by side, and write one report.

    Small models gain little by a second thread: as many families as there are cores are at work at once, each in a
    process of its own.

    Args:
        out: Folder for the corpus, the models, a run directory each, and ``report.html``.
        seed: Fixes the lot of the passages and every training run.
        log: Called with each line of progress.
    """
    started = time.monotonic()
    _claim(out, seed)
    planting = build_corpus(out / "corpus", seed)
    log(
        f"planted {len(planting.planted)} passages 1 to 64 times in {len(planting.training)} documents;"
        f" {len(planting.twins)} twins held out"
    )
    build_index([str(out / "corpus" / "training.jsonl")], out / "index")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = min(len(FAMILIES), cores)
    for place, headline in in_workers(_worker, (out, seed, cores // processes), LONGEST_FIRST, processes):
        log(f"{FAMILIES[place].name}: {headline}  [{seconds(time.monotonic() - started)}]")
    runs = [read_finished(out / "runs" / family.name) for family in FAMILIES]
    page = write_page(runs, out / "report.html", title="Four families, one corpus")
    return Demo(page, [run.report for run in runs], time.monotonic() - started)


def _worker(out: Path, seed: int, threads: int) -> Callable[[int], str]:
    """Return what trains and audits the family at a place of `FAMILIES`, and gives the headline."""

    def work(place: int) -> str:
        family = FAMILIES[place]
        folder = out / "models" / family.name
        with limited_threads(threads):
            _train(family, out / "corpus" / "training.jsonl", folder, seed)
            return _audited(family, out, folder, seed)

    return work


def _audited(family: Family, out: Path, folder: Path, seed: int) -> str:
    """Audit a trained model of the demo, and return the headline."""
    result = audit(
        folder,
        str(out / "corpus" / "planted.jsonl"),
        str(out / "corpus" / "twins.jsonl"),
        index=out / "index",
        out=out / "runs" / family.name,
        options=AuditOptions(limit=family.limit, seed=seed, allow_overlap=True),
        name=family.name,
        invocation=_invocation(out, family, seed),
    )
    return result.report["headline"]


def _claim(out: Path, seed: int) -> None:
    """Note whose folder this is, and refuse that of another demo before anything in it is overwritten."""
    about = json.dumps({"seed": seed, "versions": versions()}, sort_keys=True).encode() + b"\n"
    file = out / "demo.json"
    if file.exists() and file.read_bytes() != about:
        raise InputError(f"{out}: holds a demo of another seed or version", "choose another --out or delete it")
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(file, about)


def _train(family: Family, corpus: Path, folder: Path, seed: int) -> None:
    source = CorpusOptions([str(corpus)], "bpe", VOCABULARY)
    if counts(family.name):
        train_ngram(source, folder, **family.options)
    else:
        train_neural(family.name, source, folder, seed=seed, **family.options)


def _invocation(out: Path, family: Family, seed: int) -> Invocation:
    model, corpus = out / "models" / family.name, out / "corpus"
    flags = {"train": corpus / "planted.jsonl", "heldout": corpus / "twins.jsonl", "index": out / "index"}
    more = {"limit": family.limit, "seed": seed, "allow-overlap": True}
    given = [Given(name, value, f"--{name}") for name, value in (flags | more).items()]
    return Invocation(command_line(["memaudit", "audit"], [Given("model", model, positional=True), *given]))


def build_corpus(folder: Path, seed: int) -> Planting:
    """Write training.jsonl (background and copies), planted.jsonl (each passage once) and twins.jsonl."""
    passages = distinct_passages()
    planting = plant(passages[BACKGROUND:], passages[:BACKGROUND], per_dose=PER_DOSE, seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("training", "planted", "twins"):
        rows = [_row(d, i, name) for i, d in enumerate(getattr(planting, name))]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(folder / f"{name}.jsonl", lines.encode())
    return planting


def _row(document: Document, position: int, name: str) -> dict[str, Any]:
    row = {"id": document.id, "domain": document.domain, "text": document.text}
    if name == "training":  # copies are told apart by their place, as in any corpus with duplicates
        return row | {"id": f"{position}:{document.id}"}
    return row | {"copies": document.copies}


def distinct_passages() -> list[Document]:
    """Return passages of the standard library's prose and code that share no run of words, domains in turn."""
    return library_passages(PASSAGE_TOKENS, VOCABULARY)
