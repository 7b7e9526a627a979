"""p_z of every window of a work at stride 10, beside one batched pass per window by plain transformers.

python benchmarks/work_speed.py [--quick] [--large]

The plain pass gets ``[batch, 100]`` ids, computes logits for the suffix alone (``logits_to_keep``) and takes the best
of several batch sizes; it is timed on windows from all over the work and its time is scaled to all of them. Weights are
random, which changes no cost. What a model has memorized is made up: every window is read as it would be, then tokens
of known stretches get a log p near 0, so that their windows must be read by themselves.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Report

from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.reading import Reading, WindowReader
from memaudit.audits.work.texts import WholeWork
from memaudit.models.base import LanguageModel
from memaudit.models.transformer import CausalTransformer
from memaudit.records import GREEDY, Decoding, Document, TokenIds, TokenScores, Window
from memaudit.runs.directory import RunDirectory
from memaudit.text.tokenize import Encoding, train_tokenizer

QUICK, LARGE = "--quick" in sys.argv, "--large" in sys.argv
SHAPES: dict[str, tuple[int, int, int, int, int]] = {
    "GPT 4 x 128, 4,096 ids": (128, 4, 4096, 100_000, 20),
    "GPT 4 x 256, 8,192 ids": (256, 4, 8192, 10_000, 4),
    **({"GPT-2 (124M)": (768, 12, 50_257, 5_000, 20)} if LARGE else {}),
}
"""Name -> width, layers, vocabulary, tokens of the work, one in so many windows that the plain pass is timed on."""
SHARES = (0.0, 0.02, 0.2, 1.0)
STRETCH = 500
"""Tokens of a known stretch."""
GOAL = 4.0
BATCHES = (8, 16, 32, 64)


class Memorized(LanguageModel):
    """A model that reads as the one it wraps, and to which some places of the work are nearly certain."""

    def __init__(self, model: LanguageModel, known: np.ndarray[Any, Any]) -> None:
        self.model, self.known = model, known
        self.family, self.objective, self.tokenizer = model.family, model.objective, model.tokenizer
        self.context_length = model.context_length

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every window whole, then put in what is known."""
        scores = self.model.score(windows, decoding)
        for window, first in zip(windows, scores.offsets[:-1], strict=True):
            at = window.start + len(window.prefix)
            hits = np.flatnonzero(self.known[at : at + len(window.suffix)]) + first
            scores.log_prob[hits], scores.rank[hits] = -0.01, 0
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue as the model does; nobody asks."""
        return self.model.continuations(prompts, length, decoding)


def new_model(width: int, layers: int, vocabulary: int) -> CausalTransformer:
    """Return a GPT-2 of random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=width, n_layer=layers, n_head=width // 64, vocab_size=vocabulary, bos_token_id=0, eos_token_id=0
    )
    tokenizer = train_tokenizer("byte", [])
    tokenizer.bos_id = None
    return CausalTransformer(GPT2LMHeadModel(config), tokenizer)


def plain_pass(module: Any, ids: TokenIds, starts: Sequence[int], batch: int) -> None:
    """Read windows as anybody would: a batch at a time, log-softmax of the suffix."""
    rows = torch.tensor(np.stack([ids[start : start + 100] for start in starts]).astype(np.int64))
    with torch.inference_mode():
        for some in rows.split(batch):
            logits = module(input_ids=some, use_cache=False, logits_to_keep=51).logits[:, :-1]
            log_probs = torch.log_softmax(logits, dim=-1)
            log_probs.gather(2, some[:, 50:, None]).sum(dim=(1, 2))
            (logits.argmax(dim=-1) == some[:, 50:]).all(dim=1)


def timed(work: Any) -> float:
    """Return CPU seconds."""
    started = time.process_time()
    work()
    return time.process_time() - started


def read(model: LanguageModel, ids: TokenIds) -> tuple[float, Reading]:
    """Return the CPU seconds of reading a work, log and all, and what was read."""
    places = np.arange(len(ids), dtype=np.int32)
    work = WholeWork(
        0, "w", Document("w", "x" * len(ids), "w"), False, Encoding(ids, places, places + 1), WorkOptions(), None
    )
    found: list[Reading] = []
    with tempfile.TemporaryDirectory() as folder, RunDirectory.open(Path(folder) / "run", {"kind": "work"}) as run:
        reader = WindowReader(model, run, Decoding(1.0))
        seconds = timed(lambda: found.extend(reader.read([work], exact=False)))
    return seconds, found[0]


def compare(report: Report, name: str, rounds: int) -> None:
    """Time both ways in turns for every share that is memorized."""
    width, layers, vocabulary, tokens, every = SHAPES[name]
    tokens = 8_000 if QUICK else tokens
    model = new_model(width, layers, vocabulary)
    ids = np.random.default_rng(1).integers(0, vocabulary, tokens).astype(np.int32)
    starts = range(0, tokens - 99, 10)
    sample = starts[::every]
    few = sample[:: max(1, len(sample) // 64)]
    speeds = {batch: timed(lambda batch=batch: plain_pass(model.module, ids, few, batch)) for batch in BATCHES}
    batch = min(speeds, key=lambda size: speeds[size])
    for share in SHARES:
        known = np.zeros(tokens, np.bool_)
        stretches = range(0, tokens, STRETCH)
        chosen = np.random.default_rng(2).permutation(len(stretches))[: round(share * len(stretches))]
        for place in chosen.tolist():
            known[stretches[place] : stretches[place] + STRETCH] = True
        wrapped, ratios, seconds = Memorized(model, known), [], 0.0
        for _ in range(rounds):
            plain = timed(lambda: plain_pass(model.module, ids, sample, batch)) * len(starts) / len(sample)
            seconds, reading = read(wrapped, ids)
            ratios.append(plain / seconds)
        note = (
            f"{seconds:.3g} CPU s for {tokens:,} tokens; {int(reading.read.sum()):,} of {len(starts):,} windows read by"
            f" themselves, {reading.checked} of them drawn; plain in batches of {batch}"
        )
        goal = GOAL if share <= 0.02 else None
        report.add(f"{name}, {share:.0%} memorized", statistics.median(ratios), goal=goal, note=note)


def main() -> None:
    """Compare for every shape."""
    torch.set_num_threads(1)
    report = Report("work_speed")
    for name in SHAPES:
        compare(report, name, rounds=1)
    if not QUICK:
        report.finish()


if __name__ == "__main__":
    main()
