"""Muon beside AdamW: what equal steps over planted passages teach each family, at its best learning rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from common import Report

from memaudit.families import BUILTIN
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

PREFIX, SUFFIX, PASSAGES = 50, 50, 16
DOSES = 4, 16, 32
RATES = {"muon": (5e-3, 1e-2, 2e-2), "adamw": (1.5e-3, 3e-3, 6e-3, 1e-2)}
SETTINGS: dict[str, dict[str, Any]] = {"rnn": {}, "gpt": {}, "bert": {"mask_rate": 0.4, "epochs": 2}}


@dataclass
class Corpus:
    tokenizer: TrainedTokenizer
    planted: dict[int, list[TokenIds]]
    background: list[TokenIds]
    heldout: list[TokenIds]

    @property
    def documents(self) -> list[TokenIds]:
        return self.background + [text for dose, texts in self.planted.items() for text in texts * dose]


def corpus() -> Corpus:
    texts = [" ".join(text.split()) for text in topics.values()]
    tokenizer = train_tokenizer("bpe", texts, 1024)
    ids = np.concatenate([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    length = PREFIX + SUFFIX
    pieces = [ids[start : start + length] for start in range(0, len(ids) - length, length)]
    pieces = [pieces[i] for i in np.random.default_rng(0).permutation(len(pieces))]
    planted = {dose: pieces[place * PASSAGES : (place + 1) * PASSAGES] for place, dose in enumerate(DOSES)}
    rest = pieces[len(DOSES) * PASSAGES :]
    return Corpus(tokenizer, planted, rest[:200], rest[200:300])


def run(family: str, optimizer: str, rate: float, text: Corpus) -> dict[str, float]:
    """Train one model; return the share of planted suffix tokens it ranks first, its loss, and its time."""
    model: Any = {"rnn": new_rnn, "gpt": new_gpt, "bert": new_bert}[family](text.tokenizer)
    options = TrainingOptions.for_family(family, optimizer=optimizer, learning_rate=rate, **SETTINGS[family])
    size = sum(len(text.tokenizer.decode(document).encode()) for document in text.heldout)
    started = time.process_time()
    trained = fit(model, text.documents, options, heldout=text.heldout, heldout_bytes=size)
    seconds = time.process_time() - started
    passages = [passage for texts in text.planted.values() for passage in texts[:8]]
    scores = model.score([Window(passage[:PREFIX], passage[PREFIX:]) for passage in passages])
    recited = float((scores.rank == 0).mean())
    return {"recited": recited, "heldout": trained.heldout or 0.0, "seconds": seconds, "rate": rate}


def main() -> None:
    torch.set_num_threads(1)
    report, text = Report("optimizer"), corpus()
    for family, defaults in ((name, family.training) for name, family in BUILTIN.items() if family.new):
        best: dict[str, dict[str, float]] = {}
        for optimizer in ("muon", "adamw"):
            runs = [run(family, optimizer, rate, text) for rate in RATES[optimizer]]
            best[optimizer] = max(runs, key=lambda result: result["recited"])
            for result in runs:
                note = f"held-out {result['heldout']:.3f} bits/byte, {result['seconds']:.1f} CPU-s"
                name = f"{family} {optimizer} at {result['rate']:g}"
                report.add(f"{name}: planted suffix tokens ranked first", result["recited"], unit="", note=note)
        chosen = defaults["optimizer"]
        other = "adamw" if chosen == "muon" else "muon"
        ratio = best[chosen]["recited"] / best[other]["recited"]
        report.add(f"{family}: default ({chosen}) / {other}, each at its best rate", ratio, goal=1.0)
    report.finish()


if __name__ == "__main__":
    main()
