"""Verdicts on 1,000 windows of 50 + 50 tokens: one teacher-forced pass against transformers' ``generate``.

The model is a randomly initialised GPT-2, and a tenth of the windows end in the model's own greedy text, so
the share of memorised windows is exact. One thread, process CPU time, all ways in turns in one process; the
best batch size counts; ``generate`` one window at a time runs on a subset and is extrapolated per window. torch
sends ``generate``'s products to MKL and ours go to oneDNN; so ``generate`` is timed with oneDNN's too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import Report

from memaudit.models.products import OneDnnProducts
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import TokenIds, Window

PREFIX = SUFFIX = 50
BATCHES = 64, 128
SIZES = {
    # width, layers, heads, vocabulary, windows, windows of one at a time, repeats, goals (one, batched)
    "GPT-2 256x4": (256, 4, 4, 4096, 1000, 64, 3, (12.0, 1.4)),
    "GPT-2 124M": (768, 12, 12, 50257, 64, 2, 1, (None, 1.4)),
}
"""The second size has too few windows in a benchmark of three minutes to hold a goal of one at a time."""

WAYS = "memaudit", "generate, best batch", "generate, one at a time", "generate, best batch, with oneDNN's products"


class Numbers:
    """A tokenizer of nothing but ids: all that the model asks for."""

    bos_id = None
    eos_id = 0
    mask_id = None

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size


def make_windows(model: CausalTransformer, count: int, memorised: float = 0.1) -> list[Window]:
    rng = np.random.default_rng(0)
    size = model.tokenizer.vocab_size
    prefixes = list(rng.integers(0, size, (count, PREFIX), dtype=np.int32))
    suffixes = list(rng.integers(0, size, (count, SUFFIX), dtype=np.int32))
    known = rng.permutation(count)[: round(memorised * count)]
    for place, own in zip(known, model.continuations([prefixes[i] for i in known], SUFFIX), strict=True):
        suffixes[place] = own
    return [Window(p, s) for p, s in zip(prefixes, suffixes, strict=True)]


def ours(model: CausalTransformer, windows: list[Window]) -> list[bool]:
    return [not scores.rank.any() for scores in model.score(windows)]


@torch.inference_mode()
def generated(model: CausalTransformer, windows: list[Window], batch: int) -> list[bool]:
    verdicts = []
    for first in range(0, len(windows), batch):
        rows = windows[first : first + batch]
        ids = torch.as_tensor(np.stack([w.prefix for w in rows]), dtype=torch.long)
        text = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=SUFFIX, min_new_tokens=SUFFIX,
            do_sample=False, use_cache=True, pad_token_id=0,
        )  # fmt: skip
        suffixes: list[TokenIds] = [w.suffix for w in rows]
        verdicts += [bool((row == s).all()) for row, s in zip(text[:, PREFIX:].numpy(), suffixes, strict=True)]
    return verdicts


def timed(work: Callable[[], list[bool]]) -> tuple[float, list[bool]]:
    start = time.process_time()
    verdicts = work()
    return time.process_time() - start, verdicts


def measure(name: str) -> dict[str, Any]:
    width, layers, heads, vocabulary, count, subset, repeats, goals = SIZES[name]
    model = new_gpt(
        Numbers(vocabulary),  # type: ignore[arg-type]
        width=width,
        layers=layers,
        heads=heads,
        context_length=PREFIX + SUFFIX,
    )
    windows = make_windows(model, count)
    ours(model, windows[:16])
    rounds = []
    for _ in range(repeats):
        seconds, verdicts = timed(lambda: ours(model, windows))
        batched, theirs = min(timed(lambda size=size: generated(model, windows, size)) for size in BATCHES)  # type: ignore[misc]
        with OneDnnProducts():
            quicker, _ = min(timed(lambda size=size: generated(model, windows, size)) for size in BATCHES)  # type: ignore[misc]
        one, some = timed(lambda: generated(model, windows[:subset], 1))
        same = np.mean([a == b for a, b in zip(verdicts + verdicts[:subset], theirs + some, strict=True)])
        rounds.append((seconds / count, batched / count, one / subset, quicker / count, same))
    times = [median(r[i] for r in rounds) * 1e3 for i in range(4)]
    return {
        "windows": count,
        "memorised": sum(verdicts),
        "subset": subset,
        "goals": goals,
        "ms": dict(zip(WAYS, times, strict=True)),
        "of_batched": median(r[1] / r[0] for r in rounds),
        "of_one": median(r[2] / r[0] for r in rounds),
        "of_quicker": median(r[3] / r[0] for r in rounds),
        "same": float(min(r[4] for r in rounds)),
    }


def main() -> None:
    torch.set_num_threads(1)
    report = Report("audit_speed")
    for name in SIZES:
        r = measure(name)
        where = f"{name}, {r['windows']} windows, {r['memorised']} memorised"
        for way, ms in r["ms"].items():
            report.add(f"{where}: {way}", ms, unit="ms/window")
        note = f"extrapolated per window from {r['subset']} windows"
        report.add(f"{name}: against generate, one at a time", r["of_one"], goal=r["goals"][0], note=note)
        report.add(f"{name}: against generate, best batch", r["of_batched"], goal=r["goals"][1])
        report.add(f"{name}: against generate, best batch, with oneDNN's products", r["of_quicker"])
        report.add(f"{name}: windows with the same verdict", r["same"], unit="of all", goal=1.0)
    report.finish()


if __name__ == "__main__":
    main()
