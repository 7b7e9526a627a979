"""A novel in a training text, some of its chapters 16, 32 and 64 times: what ``memaudit work`` says of it.

python benchmarks/work.py [--quick] [--keep FOLDER]

Alice's Adventures in Wonderland stands in the training text of a small GPT, cut at other places every time as in
documents that quote it; another novel around it, a third one as the control work. Without the shared novels (or with
--quick) texts are made up. What is asked: whether parts rank in the order of their exposures, whether p_z is that of
plain transformers, and whether the first line is that of all windows one by one.
"""

from __future__ import annotations

import gzip
import itertools
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from common import Report

import memaudit
from memaudit.audits.work.parts import parts_of
from memaudit.audits.work.run import WorkRun
from memaudit.metrics.probability import THRESHOLDS
from memaudit.models.base import LanguageModel
from memaudit.runs.directory import read_items
from memaudit.runs.work_report import WorkMeasured
from memaudit.text.corpus.objects import Texts
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.train import CorpusOptions, train_neural

QUICK = "--quick" in sys.argv
NOVELS = Path(__file__).parents[2] / "shared" / "data" / "corpora" / "gutenberg-editions"
ALICE, AROUND, CONTROL = (
    "alice-s-adventures-in-wonderland--11-0",
    "the-adventures-of-sherlock-holmes--1661",
    "frankenstein--84-0",
)
EPOCHS = 4
EXPOSURES = {1: 64, 7: 64, 3: 32, 9: 32, 5: 16, 11: 16}
"""Number of a chapter -> how often it is read; the others are read once an epoch."""
PIECE = 75
"""Words of a piece of a chapter: about as many tokens as a row of a batch has."""
SHAPE = {"width": 192, "layers": 4, "heads": 6}
VOCABULARY, CONTEXT = 2048, 128
AROUND_CHARACTERS, CONTROL_CHARACTERS = 250_000, 200_000
POSITIONS = 20


def novel(name: str, seed: int, chapters: int) -> str:
    """Return the body of a novel, without the header and the licence; made-up chapters where it is not there."""
    file = NOVELS / f"{name}.txt.gz"
    if not QUICK and file.is_file():
        text = gzip.decompress(file.read_bytes()).decode("utf-8").replace("\r\n", "\n").lstrip("\ufeff")
        body = text[text.index("\n", text.index("*** START OF")) : text.index("*** END OF")]
        return body.partition("End of Project Gutenberg")[0].strip() + "\n"
    drawn = random.Random(seed)
    words = ["".join(drawn.choices("abcdefghijklmnoprstu", k=drawn.randint(2, 7))) for _ in range(900)]
    return "".join(
        f"CHAPTER {number}\n\n" + "\n".join(" ".join(drawn.choices(words, k=12)) for _ in range(20)) + "\n\n"
        for number in range(1, chapters + 1)
    )


def chapters_of(text: str) -> list[str]:
    """Return the chapters of a text, by the headings that `parts_of` finds."""
    [encoding] = train_tokenizer("char", []).encode_batch([text])
    found = parts_of(text, encoding, None)
    starts = [heading.token for heading in found if heading.title.startswith("CHAPTER")]
    return [text[first:stop] for first, stop in zip(starts, [*starts[1:], len(text)], strict=True)]


def training_text(chapters: Sequence[str], around: str) -> list[str]:
    """Return the documents of an epoch: pieces of chapters, of each exposure cut at other places, and other text."""
    drawn = random.Random(0)
    documents = _pieces(around, 0)
    for number, chapter in enumerate(chapters, 1):
        for _ in range(max(1, EXPOSURES.get(number, 0) // EPOCHS)):
            documents += _pieces(chapter, drawn.randrange(PIECE))
    drawn.shuffle(documents)
    return documents


def _pieces(text: str, offset: int) -> list[str]:
    """Cut a text between words, ``offset`` words after its beginning first; nothing is lost."""
    ends = [place for place in range(1, len(text)) if text[place].isspace() and not text[place - 1].isspace()]
    cuts = sorted({0, *ends[offset::PIECE], len(text)})
    return [text[a:b] for a, b in itertools.pairwise(cuts) if text[a:b].strip()]


def train(documents: list[str], folder: Path) -> float:
    """Train a GPT of two million parameters that reads every document in every epoch; return the CPU seconds.

    A model that was kept is not trained again.
    """
    kept = folder.parent / "training-seconds"
    if kept.exists():
        return float(kept.read_text(encoding="utf-8"))
    began = time.process_time()
    source = CorpusOptions(Texts(documents), vocab_size=VOCABULARY)
    shape = {"width": 64, "layers": 2, "heads": 2} if QUICK else SHAPE
    options = {"epochs": EPOCHS, "batch_size": 8}
    train_neural("gpt", source, folder, architecture=shape, context=CONTEXT, **options)
    kept.write_text(str(time.process_time() - began), encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def ranked(report: Report, alice: WorkMeasured) -> None:
    """Whether parts rank in the order of their exposures, and how much of each dose can be had back."""
    by_dose: dict[int, list[tuple[int, int, int]]] = {}
    chapters = [part for part in alice["parts"] if part["title"].startswith("CHAPTER")]
    for number, part in enumerate(chapters, 1):
        low, high = (part["reached"][1 + THRESHOLDS.index(threshold)]["tokens"] for threshold in (0.001, 0.5))
        by_dose.setdefault(EXPOSURES.get(number, EPOCHS), []).append((part["tokens"], low, high))
    means = {}
    for dose in sorted(by_dose):
        tokens, low, high = (sum(values) for values in zip(*by_dose[dose], strict=True))
        means[dose] = low / tokens
        goals = {EPOCHS: (0.05, None)}.get(dose, (None, None))
        note = f"{len(by_dose[dose])} chapters, {tokens:,} tokens"
        report.add(
            f"share at p >= 0.1%, {dose} exposures", low / tokens, unit="", goal=goals[0], at_most=True, note=note
        )
        report.add(f"share at p >= 50%, {dose} exposures", high / tokens, unit="", goal=goals[1], note=note)
    shares = [
        (EXPOSURES.get(number, EPOCHS), sum(reached["share"] or 0.0 for reached in part["reached"][1:]))
        for number, part in enumerate(chapters, 1)
    ]
    wrong = sum(a < b and p >= q for a, p in shares for b, q in shares)
    note = "by their shares, mean over the thresholds; equal ones count"
    report.add("pairs of chapters out of order of exposures", wrong, unit="pairs", goal=0, at_most=True, note=note)


def beside_transformers(report: Report, run: WorkRun, model: LanguageModel, folder: Path, text: str) -> None:
    """p_z in the log of the run beside the plain module of transformers, at places all over the work."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    [encoding] = model.tokenizer.encode_batch([text])
    options = run.report["options"]
    logged = [
        (place, log_p)
        for line in read_items(run.folder).values()
        if line.get("measure") == "windows" and line["work"] == 0
        for place, log_p in zip(line["windows"], line["log_p"], strict=True)
        if log_p is not None
    ]
    if not logged:
        return
    worst = 0.0
    chosen = [logged[i] for i in np.linspace(0, len(logged) - 1, POSITIONS).astype(int)]
    for place, log_p in chosen:
        start = place * options["stride"]
        ids = [*model.frame[0], *encoding.ids[start : start + options["prefix"] + options["suffix"]].tolist()]
        with torch.no_grad():
            log_probs = torch.log_softmax(plain(torch.tensor([ids])).logits[0].double(), dim=-1)
        own = sum(float(log_probs[i - 1, ids[i]]) for i in range(len(ids) - options["suffix"], len(ids)))
        worst = max(worst, abs(own - log_p))
    note = f"of {len(chosen)} windows, sums over {options['suffix']} tokens"
    report.add("largest difference from plain transformers", worst, unit="nats", goal=1e-4, at_most=True, note=note)


def every_place(report: Report, chapters: Sequence[WorkMeasured]) -> None:
    """What can be had back of the chapters of most exposures, from a window at every place."""
    tokens = sum(chapter["tokens"] for chapter in chapters)
    for place, goal in ((1, None), (4, 0.9)):
        reached = [chapter["reached"][place] for chapter in chapters]
        share = sum(one["tokens"] for one in reached) / tokens
        what = f"share at p >= {100 * (reached[0]['threshold'] or 1):g}%, {max(EXPOSURES.values())} exposures, stride 1"
        report.add(what, share, unit="", goal=goal, note=f"{len(chapters)} chapters, {tokens:,} tokens")


def beside_brute_force(report: Report, run: WorkRun, model: LanguageModel, folder: Path, text: str) -> None:
    """The shares of the first line at stride 1, beside those of all windows one by one by plain transformers."""
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    [encoding] = model.tokenizer.encode_batch([text])
    ids = torch.tensor(encoding.ids.tolist())
    windows = ids.unfold(0, 100, 1)
    start = torch.tensor(model.frame[0])
    sums = []
    with torch.no_grad():
        for some in windows.split(32):
            rows = torch.cat([start.expand(len(some), -1), some], dim=1)
            logits = plain(rows).logits[:, -51:-1].double()
            chosen = torch.log_softmax(logits, dim=-1).gather(2, rows[:, -50:, None])
            sums += chosen.sum(dim=(1, 2)).tolist()
    for reached in run.report["works"][0]["reached"][1:]:
        threshold = reached["threshold"] or 1.0
        covered = np.zeros(len(ids), np.bool_)
        for place, log_p in enumerate(sums):
            if log_p >= math.log(threshold):
                covered[place + 50 : place + 100] = True
        off = abs((reached["share"] or 0.0) - float(covered.mean()))
        note = f"{covered.mean():.4f} of {len(ids):,} tokens, {len(sums):,} windows"
        report.add(
            f"share at p >= {100 * threshold:g}% off the brute force", off, unit="", goal=0, at_most=True, note=note
        )


def main() -> None:
    """Train, ask, compare."""
    report = Report("work")
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else tempfile.mkdtemp()
    folder = Path(keep)
    folder.mkdir(parents=True, exist_ok=True)
    alice = novel(ALICE, 1, 12)
    around, control = novel(AROUND, 2, 20)[:AROUND_CHARACTERS], novel(CONTROL, 3, 20)[:CONTROL_CHARACTERS]
    (folder / "alice.txt").write_text(alice, encoding="utf-8")
    (folder / "frankenstein.txt").write_text(control, encoding="utf-8")
    chapters = chapters_of(alice)
    seconds = train(training_text(chapters, around), folder / "model")
    model = memaudit.load_model(str(folder / "model"))
    report.add("training", seconds, unit="CPU s", note=f"{model.parameters:,} parameters")
    began = time.process_time()
    run = memaudit.work(
        model, folder / "alice.txt", folder / "frankenstein.txt", out=folder / "run", name="GPT that read Alice"
    )
    works = run.report["works"]
    windows = sum(work["windows"] for work in works)
    note = f"{windows:,} windows, {sum(work['read'] for work in works):,} of them read by themselves"
    report.add("memaudit work", time.process_time() - began, unit="CPU s", note=note)
    print(run.report["headline"])
    print(run.report["reasons"])
    report.add("verdict", run.exit_code, unit="exit code", goal=1, note=run.verdict)
    ranked(report, works[0])
    report.add("share of the control work at p >= 0.1%", works[1]["reached"][1]["share"] or 0.0, unit="", goal=0.01,
               at_most=True)  # fmt: skip
    beside_transformers(report, run, model, folder / "model", alice)
    most = [number for number, dose in EXPOSURES.items() if dose == max(EXPOSURES.values())]
    runs = [
        memaudit.work(model, [Texts([chapters[number - 1]])], out=folder / f"stride-1-{number}", stride=1, formats=())
        for number in most
    ]
    every_place(report, [run.report["works"][0] for run in runs])
    beside_brute_force(report, runs[0], model, folder / "model", chapters[most[0] - 1])
    if not QUICK:
        report.finish()


if __name__ == "__main__":
    main()
