"""How much of a chapter a small transformer of 128 positions writes by itself, and how fast outputs are matched.

A GPT of two layers is trained on one page of Python's documentation until it knows it; it is then
asked for that page and for a page that it never saw, with and without new beginnings. The matching is timed beside
``difflib``, whose blocks are the same, and alone at the size of a long novel.

python benchmarks/reconstruct.py
"""

from __future__ import annotations

import json
import tempfile
import time
from difflib import SequenceMatcher
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from common import Report, cpu_seconds
from numpy.typing import NDArray

from memaudit.audits.reconstruction.matching import Run, matching_runs, passages_of
from memaudit.audits.reconstruction.run import reconstruct
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import load_model
from memaudit.training.train import CorpusOptions, train_neural

PLANTED, HELDOUT, WORDS = "strings", "comparisons", 700
"""Pages, and how many words of either are taken."""
COPIES, EPOCHS = 32, 12
"""Copies of the planted page in one document, whose rows of 128 tokens so begin anywhere in the page, and passes."""
LONG = 300_000


def page(name: str) -> str:
    """Return the beginning of a page of Python's documentation."""
    return " ".join(topics[name].split(" ")[:WORDS]) + "\n\n"


def trained(folder: Path) -> LanguageModel:
    """Return a model that has read the planted page again and again."""
    corpus = folder / "train.jsonl"
    corpus.write_text(json.dumps({"text": page(PLANTED) * COPIES}), encoding="utf-8")
    train_neural(
        "gpt",
        CorpusOptions([str(corpus)], unit="bpe", vocab_size=800),
        folder / "gpt",
        architecture={"width": 128, "layers": 2, "heads": 4},
        context=128,
        epochs=EPOCHS,
    )
    return load_model(str(folder / "gpt"))


def novel() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return a work of as many words as a long novel, and an output with an error every 200 words or so."""
    rng = np.random.default_rng(0)
    work = rng.zipf(1.3, LONG).clip(max=30_000).astype(np.int32)
    output = work.copy()
    output[rng.random(LONG) < 1 / 200] = 30_001
    return work, output


def difflib_runs(work: NDArray[np.int32], output: NDArray[np.int32]) -> list[Run]:
    """Return the blocks of ``difflib`` that are long enough."""
    blocks = SequenceMatcher(None, work.tolist(), output.tolist(), autojunk=False).get_matching_blocks()
    return [Run(block.a, block.b, block.size) for block in blocks if block.size >= 5]


def main() -> None:
    """Reconstruct, match, keep the figures."""
    report = Report("reconstruct")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.process_time()
        model = trained(folder)
        report.add("training", time.process_time() - started, unit="CPU s")
        for one in (PLANTED, HELDOUT):
            (folder / f"{one}.txt").write_text(page(one), encoding="utf-8")
        for reseeds in (0, 5):
            started = time.process_time()
            run = reconstruct(
                model, folder / f"{PLANTED}.txt", folder / f"{HELDOUT}.txt", out=folder / str(reseeds), reseeds=reseeds
            )
            seconds = time.process_time() - started
            planted, heldout = run.report["works"]
            note = f"{planted['help_tokens']:,} of {planted['tokens']:,} tokens given; verdict {run.verdict}"
            of = f", {reseeds} new beginnings" if reseeds else ""
            words = [100 * (work["recall"][0]["share"] or 0) for work in (planted, heldout)]
            goal = 95.0 if not reseeds else None
            report.add(f"planted page had back{of}", words[0], unit="%", goal=goal, note=note)
            report.add(f"held-out page had back{of}", words[1], unit="%", goal=0.0, at_most=True)
            tokens = planted["generated"] + heldout["generated"]
            report.add(f"tokens a CPU second{of}", tokens / seconds, unit="tokens/s", note=f"{tokens:,} tokens")
    work, output = novel()
    few = slice(0, 4000)
    assert matching_runs(work[few], output[few]) == difflib_runs(work[few], output[few])
    ours = cpu_seconds(lambda: matching_runs(work[few], output[few]))
    theirs = cpu_seconds(lambda: difflib_runs(work[few], output[few]), 1)
    report.add("matching 4,000 words, speed over difflib", theirs / ours, goal=10)
    whole = cpu_seconds(lambda: passages_of(matching_runs(work, output)))
    report.add("matching 300,000 words", whole, unit="CPU s", goal=5, at_most=True)
    report.finish()


if __name__ == "__main__":
    main()
