"""The audit as people run it, against the script that they would write without it.

`memaudit.audit` with its defaults (every fuzzy metric, controls, tests, the page), end to end but for the loading of
the model and counting copies, on both sides of 50 + 50 tokens; beside it transformers' batched ``generate`` over the
same windows, which knows no metric and no null. One thread, process CPU time, one process; ``generate`` runs on some of
the windows, before and after, with the better of two batch sizes and of two matrix libraries, and is extrapolated per
window: its time does not depend on what is memorised. Whether a window is a hit of any metric is compared with the text
that ``generate`` gave.

GPT-2 124M is randomly initialised, and a share of its training windows ends in the model's own greedy text; the floor
is the time of the products alone that reading every prefix once takes. A small GPT is trained here until it reproduces
a fifth of its training windows. The LSTM and BERT have the plain loops of their kind beside them: a window at a time, a
token at a time.

python benchmarks/audit_speed.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import Report
from plain_generate import generated

from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.metrics import METRICS
from memaudit.metrics.base import Outcome
from memaudit.models.base import LanguageModel
from memaudit.models.bfloat import fast_bf16
from memaudit.models.product_choice import choose_products
from memaudit.models.products import OneDnnProducts, inference
from memaudit.models.rnn import new_rnn
from memaudit.models.screening import READ_TOKENS
from memaudit.models.transformer import CausalTransformer, new_bert, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import Encoding, TrainedTokenizer, train_tokenizer

PREFIX = SUFFIX = 50
BATCHES = 64, 128
Sides = tuple[list[Window], list[Window]]


class Numbers:
    """A tokenizer of nothing but ids: its text is their numbers."""

    bos_id = mask_id = unknown_id = eos_id = None
    sha256 = "numbers"

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def decode(self, ids: TokenIds | Sequence[int]) -> str:
        return " ".join(str(int(i)) for i in ids)

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        rows = [np.array(text.split(), np.int32) for text in texts]
        return [Encoding(row, np.zeros(len(row), np.int32), np.zeros(len(row), np.int32)) for row in rows]


def make_windows(model: LanguageModel, count: int, memorised: float = 0.1, seed: int = 0) -> list[Window]:
    """Return random windows, a share of which ends in the model's own greedy text."""
    rng = np.random.default_rng(seed)
    size = model.tokenizer.vocab_size
    prefixes = list(rng.integers(3, size, (count, PREFIX), dtype=np.int32))
    suffixes = list(rng.integers(3, size, (count, SUFFIX), dtype=np.int32))
    known = rng.permutation(count)[: round(memorised * count)]
    for place, own in zip(known, model.continuations([prefixes[i] for i in known], SUFFIX), strict=True):
        suffixes[place] = own
    return [Window(p, s) for p, s in zip(prefixes, suffixes, strict=True)]


def audited(model: LanguageModel, sides: Sides, **options: Any) -> tuple[float, Audit]:
    """Return the CPU seconds of an audit, and the audit."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, side in enumerate(sides):
            pair = Path(folder, f"{number}-prefix.npy"), Path(folder, f"{number}-suffix.npy")
            np.save(pair[0], np.stack([window.prefix for window in side]))
            np.save(pair[1], np.stack([window.suffix for window in side]))
            files.append(pair)
        start = time.process_time()
        made = audit(
            model, windows=files[0], heldout_windows=files[1], copies=False, out=Path(folder, "run"), **options
        )
        return time.process_time() - start, made


def best_generate(model: CausalTransformer, windows: Sequence[Window]) -> tuple[float, list[TokenIds]]:
    """Return the CPU seconds a window of ``generate`` at its best, and what it wrote."""
    times, rows = [], []
    for size in BATCHES:
        for work in (generated, with_onednn):
            start = time.process_time()
            rows = work(model, windows, size)
            times.append((time.process_time() - start) / len(windows))
    return min(times), rows


def with_onednn(model: CausalTransformer, windows: Sequence[Window], batch: int) -> list[TokenIds]:
    with OneDnnProducts():
        return generated(model, windows, batch)


@inference()
def floor(model: CausalTransformer, tokens: int) -> float:
    """Return the CPU seconds of the products alone of a body that reads so many tokens, at the best batch."""
    count, seconds = READ_TOKENS["cpu"], 0.0
    for layer in model._body.modules():
        weight = getattr(layer, "weight", None)
        if type(layer).__name__ not in ("Conv1D", "Linear") or weight is None:
            continue
        rows = torch.randn(count, weight.shape[0] if type(layer).__name__ == "Conv1D" else weight.shape[1])
        layer(rows)
        start = time.process_time()
        layer(rows)
        seconds += time.process_time() - start
    return seconds * tokens / count


def hits_of(window: Window, written: TokenIds) -> dict[str, bool]:
    """Return which metrics make a whole continuation a hit."""
    same = np.append(written == window.suffix, False)
    outcome = Outcome(window.suffix, "", int(np.argmin(same)), written=written, text="")
    return {m.name: bool(m.hit(m.compute(outcome))) for m in METRICS.values() if m.threshold is not None}


def same_hits(made: Audit, windows: Sequence[Window], written: Sequence[TokenIds]) -> float:
    """Return the share of windows whose hits, of all metrics, are those of what another loop wrote."""
    found = [{m.name: bool(m.hit(r.value(m.name))) for m in METRICS.values() if m.threshold} for r in made.records]
    return float(np.mean([a == hits_of(w, text) for a, w, text in zip(found, windows, written, strict=False)]))


WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "--no-fuzzy in fp32": {"fuzzy": False},
    "--no-fuzzy": {"fuzzy": False},
    "--exhaustive": {"exhaustive": True},
}


def against_generate(
    report: Report,
    name: str,
    model: CausalTransformer,
    cases: dict[str, tuple[Sides, list[str]]],
    some: int,
    goals: dict[str, float],
) -> None:
    """Add the figures of a causal transformer: of each share its windows, and the ways in which they are audited."""
    choose_products(model.module)
    audited(model, tuple(side[:10] for side in cases[next(iter(cases))][0]))  # type: ignore[arg-type]  # warm
    for share, (sides, ways) in cases.items():
        count = sum(map(len, sides))
        first, texts = best_generate(model, sides[0][:some])
        where = f"{name}, {share} memorised"
        took = {}
        for way in ways:
            options = WAYS[way]
            model._look, model._tried_look = None, way == "--no-fuzzy in fp32"
            took[way], made = audited(model, sides, **options)
            if options.get("fuzzy", True):
                report.add(f"{where}: {way}: same hits as generate", same_hits(made, sides[0], texts), goal=1.0)
            else:
                whole = [
                    (r.extractable, bool((t == w.suffix).all()))
                    for r, w, t in zip(made.records, sides[0], texts, strict=False)
                ]
                report.add(f"{where}: {way}: same verdicts", float(np.mean([a == b for a, b in whole])), goal=1.0)
        seconds = min(first, best_generate(model, sides[0][:some])[0])
        report.add(f"{where}: generate, its best", seconds * 1e3, unit="ms/window", note=f"on {some} windows")
        for way, spent in took.items():
            report.add(f"{where}: {way}", spent / count * 1e3, unit="ms/window", note=f"{count} windows")
            report.add(f"{where}: {way} against generate", seconds * count / spent, goal=goals.get(f"{way}, {share}"))
        if "--no-fuzzy in fp32" in took:
            least = floor(model, PREFIX * count)
            report.add(f"{where}: products of all prefixes", least / count * 1e3, unit="ms/window", note="the floor")
            at = took["--no-fuzzy in fp32"] / least
            report.add(f"{where}: --no-fuzzy in fp32 over the floor", at, goal=1.5, at_most=True)


def trained_gpt(windows: int) -> tuple[CausalTransformer, Sides]:
    """Return a small GPT that reproduces about a fifth of its training windows, and windows of both sides."""
    from screening import trained

    model, known = trained("cpu", 10_000)
    own = model.screen(known)
    hits = [w for w, n in zip(known, own, strict=True) if n == SUFFIX]
    others = [w for w, n in zip(known, own, strict=True) if n < SUFFIX]
    share = max(1, min(len(hits), windows // 5))
    train = hits[:share] + others[: 4 * share]
    heldout = make_windows(model, len(train), 0.0, seed=9)
    order = np.random.default_rng(0).permutation(len(train))
    return model, ([train[i] for i in order], heldout)


@torch.no_grad()
def lstm_by_hand(model: Any, windows: Sequence[Window]) -> list[TokenIds]:
    """Read a prefix, then write a token at a time: as people write it."""
    rows = []
    for window in windows:
        ids = torch.from_numpy(np.concatenate([[model.tokenizer.bos_id], window.prefix]).astype(np.int64))[None]
        hidden, state = model.module(ids)
        row = []
        for _ in range(SUFFIX):
            token = model.module.head(hidden[:, -1]).argmax(dim=-1)
            row.append(int(token))
            hidden, state = model.module(token[None], state)
        rows.append(np.array(row, np.int32))
    return rows


@torch.no_grad()
def bert_by_hand(model: Any, windows: Sequence[Window]) -> list[TokenIds]:
    """Fill masks from left to right, the whole text read again for each."""
    rows = []
    for window in windows:
        before, behind = (np.array(part, np.int64) for part in model.frame)
        masks = np.full(SUFFIX, model.tokenizer.mask_id)
        ids = torch.from_numpy(np.concatenate([before, window.prefix, masks, behind]).astype(np.int64))[None]
        start = len(before) + PREFIX
        for place in range(start, start + SUFFIX):
            ids[0, place] = model.module(input_ids=ids).logits[0, place].argmax()
        rows.append(ids[0, start : start + SUFFIX].numpy().astype(np.int32))
    return rows


def against_a_loop(
    report: Report, name: str, model: LanguageModel, by_hand: Callable[..., list[TokenIds]], count: int, some: int
) -> None:
    """Add the figures of a model that has no ``generate``."""
    sides = make_windows(model, count, 0.02), make_windows(model, count, 0.0, seed=1)
    audited(model, (sides[0][:10], sides[1][:10]))
    start = time.process_time()
    texts = by_hand(model, sides[0][:some])
    each = (time.process_time() - start) / some
    spent, made = audited(model, sides)
    report.add(f"{name}: a loop by hand", each * 1e3, unit="ms/window", note=f"on {some} windows")
    report.add(f"{name}: defaults", spent / (2 * count) * 1e3, unit="ms/window", note=f"{2 * count} windows")
    report.add(f"{name}: defaults against the loop", each * 2 * count / spent, goal=2.0)
    report.add(f"{name}: same hits as the loop", same_hits(made, sides[0], texts), goal=1.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one window in ten")
    few = 10 if parser.parse_args().quick else 1
    torch.set_num_threads(1)
    report = Report("audit_speed")
    tokens: Any = Numbers(50257)
    gpt2 = new_gpt(tokens, width=768, layers=12, heads=12, context_length=PREFIX + SUFFIX)
    heldout = make_windows(gpt2, 500 // few, 0.0, seed=1)
    verbatim = ["--no-fuzzy in fp32", *(["--no-fuzzy"] if fast_bf16(torch.device("cpu")) else [])]
    cases = {
        "2%": ((make_windows(gpt2, 500 // few, 0.02), heldout), ["defaults", *verbatim]),
        "10%": ((make_windows(gpt2, 200 // few, 0.1), heldout[: 200 // few]), verbatim),
    }
    goals = {"defaults, 2%": 3.0, "--no-fuzzy in fp32, 2%": 4.0, "--no-fuzzy, 2%": 8.0, "--no-fuzzy, 10%": 5.0}
    against_generate(report, "GPT-2 124M", gpt2, cases, 64, goals)
    gpt, sides = trained_gpt(500 // few)
    every = {"20%": (sides, ["defaults", *verbatim[:1], "--exhaustive"])}
    against_generate(report, "trained GPT", gpt, every, len(sides[0]), {"defaults, 20%": 1.8})
    chars: TrainedTokenizer = train_tokenizer("char", ["".join(map(chr, range(32, 127)))])
    against_a_loop(report, "LSTM 512", new_rnn(chars, width=512), lstm_by_hand, 500 // few, 100 // few)
    bert = new_bert(chars, width=256, layers=4, heads=4, context_length=128)
    against_a_loop(report, "BERT 256x4", bert, bert_by_hand, 200 // few, 40 // few)
    report.finish()


if __name__ == "__main__":
    main()
