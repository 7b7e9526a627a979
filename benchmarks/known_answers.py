"""Answers that are known: the demo on three seeds, and models that nobody here made (where their weights lie).

python benchmarks/known_answers.py
"""

from __future__ import annotations

import csv
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Report

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
WEIGHTS = ROOT.parent / "shared" / "data" / "weights"
CORPORA = WEIGHTS.parent / "corpora"
SECONDS = 75


def demo(report: Report) -> None:
    """Planted passages found, twins not, rising with the dose; wall time on this machine."""
    from memaudit.demo import run_demo

    for seed in (0, 1, 2):
        with tempfile.TemporaryDirectory() as folder:
            result = run_demo(Path(folder), seed=seed, log=lambda _: None)
        report.add(f"demo, seed {seed}: {SECONDS} s against its wall time", SECONDS / result.seconds, goal=1.0)
        for audit in result.reports:
            name, doses = audit["model"]["name"], audit["doses"]
            primary = audit["estimates"][0]
            curve = " ".join(f"{d['copies']}:{d['rate']:.2f}" for d in doses)
            report.add(f"demo, seed {seed}, {name}: found", float(audit["verdict"] == "found"), unit="", goal=1.0)
            report.add(f"demo, seed {seed}, {name}: twins recited", primary["heldout"]["hits"], unit="hits")
            report.add(
                f"demo, seed {seed}, {name}: share of twins not recited",
                1 - primary["heldout"]["rate"],
                unit="",
                goal=1.0,
            )
            goal = 0.5 if name == "bert" else 0.9
            report.add(
                f"demo, seed {seed}, {name}: rate at 64 copies", doses[-1]["rate"], unit="", goal=goal, note=curve
            )


def stories(report: Report) -> None:
    """A small Llama that generalises: its published greedy text, and an audit that comes to a verdict."""
    from memaudit import audit, load_model

    model = load_model(str(WEIGHTS / "stories260k" / "hf"))
    expected = (WEIGHTS / "stories260k" / "expected_greedy.txt").read_text(encoding="utf-8").strip()
    [ids] = model.continuations([np.empty(0, np.int32)], 256)
    same = model.tokenizer.decode(ids).strip().startswith(expected)
    report.add("stories260k: greedy text as published", float(same), unit="", goal=1.0)
    with tempfile.TemporaryDirectory() as folder:
        result = audit(
            model,
            str(CORPORA / "tinystories-sample" / "tinystories_197k.txt.gz"),
            str(CORPORA / "genesis-two-translations" / "english-kjv.txt.gz"),
            out=folder,
        )
    primary = result.report["estimates"][0]
    note = f"{result.verdict}: train {primary['train']['hits']}/{primary['train']['n']}, {result.report['reasons'][0]}"
    report.add("stories260k: audit came to a verdict", float(result.report["complete"]), unit="", goal=1.0, note=note)


def textgenrnn(report: Report) -> None:
    """A character LSTM on the 2,000 titles it was trained on for 500 epochs, and its base model on the same."""
    from memaudit import load_model

    os.environ["MEMAUDIT_WEIGHTS"] = str(WEIGHTS / "textgenrnn")
    with (WEIGHTS / "textgenrnn" / "hacker_news_2000.txt").open(newline="", encoding="utf-8") as stream:
        titles = [row[0] for row in csv.reader(stream) if row][1:]
    titles = [title for title in titles if len(title) >= 45][:100]
    counts = {}
    for name in ("hacker_news", "base"):
        model = load_model(f"python:tests.adapters.textgenrnn:{name}")
        ids = [encoding.ids for encoding in model.tokenizer.encode_batch(titles)]
        own = model.continuations([row[:20] for row in ids], 25)
        counts[name] = sum(np.array_equal(row[20:45], said) for row, said in zip(ids, own, strict=True))
    report.add("textgenrnn hacker_news: own titles recited, of 100", counts["hacker_news"], unit="", goal=96)
    report.add("textgenrnn base: the same titles not recited, of 100", 100 - counts["base"], unit="", goal=100)


def charrnn(report: Report) -> None:
    """The published validation perplexity of a character LSTM."""
    import torch

    from tests.adapters.charrnn import CharRnn

    model = CharRnn(WEIGHTS / "tf-charrnn-tinyshakespeare")
    text = (CORPORA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    start, length = int(0.9 * len(text)), int(0.05 * len(text))
    ids = model.tokenizer.encode_batch([text[start : start + length]])[0].ids
    rows = ids[: len(ids) // 20 * 20].reshape(20, -1)
    log_probs = model.log_probs(rows[:, :-1])
    loss = -log_probs.gather(2, torch.from_numpy(rows[:, 1:, None].astype(np.int64))).mean().item()
    report.add("char-RNN: validation perplexity per character (published 4.335)", math.exp(loss), unit="")
    report.add("char-RNN: 0.01 against the distance from it", 0.01 / abs(math.exp(loss) - 4.335), goal=1.0)


def main() -> None:
    report = Report("known_answers")
    demo(report)
    if WEIGHTS.is_dir():
        for part in (stories, textgenrnn, charrnn):
            part(report)
    else:
        print("the published weights do not lie beside this checkout: their part is left out")
    report.finish()


if __name__ == "__main__":
    main()
