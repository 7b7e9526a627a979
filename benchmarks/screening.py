"""Which of 1,000 windows of 50 + 50 tokens are k-extractable: `screen` against transformers' ``generate``.

Two randomly initialised models (GPT-2 124M, a GPT-NeoX of the size of Pythia-70m) whose share of memorised windows
is exact, since those end in the model's own greedy text; and a small GPT trained here on text with duplicates.
One thread, CPU time, all ways in one process. ``generate`` runs on some of the windows and is extrapolated per
window; its time does not depend on what is memorised. torch sends its products to MKL and ours go to oneDNN, so it is
timed with oneDNN's too. On a GPU wall time counts.

python benchmarks/screening.py [--quick] [--device cuda]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
from audit_speed import PREFIX, SUFFIX, Numbers, make_windows
from common import Report
from plain_generate import Verdicts, reproduced

from memaudit.models.bfloat import fast_bf16
from memaudit.models.products import OneDnnProducts
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

BATCHES = {"cpu": (64, 128), "cuda": (256, 1000)}
WINDOWS = 1000
DOSES = {4: 50, 16: 80, 64: 80}
"""Copies of a passage in the training text of the small GPT -> passages."""


@dataclass(frozen=True)
class Case:
    """A model, its windows, and how many of them ``generate`` is asked for."""

    name: str
    model: CausalTransformer
    windows: dict[str, list[Window]]
    """Share of memorised windows -> windows; the last of them are those that ``generate`` is asked for."""
    batched: int
    one: int
    goals: dict[str, tuple[float | None, float | None, float | None]]
    """Share -> goals of `screen` against generate one by one and batched, and of bf16 against batched."""


@dataclass(frozen=True)
class Clock:
    """Times a way of coming to verdicts: CPU time on a processor, wall time on a GPU."""

    device: str

    def __call__(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Return the seconds that ``work`` takes, and what it returns."""
        if self.device == "cpu":
            start = time.process_time()
            result = work()
            return time.process_time() - start, result
        torch.cuda.synchronize()
        start = time.perf_counter()
        result = work()
        torch.cuda.synchronize()
        return time.perf_counter() - start, result


def pythia(device: str) -> CausalTransformer:
    """A model of the size and shape of Pythia-70m, at random."""
    from transformers import AutoModelForCausalLM, GPTNeoXConfig

    config = GPTNeoXConfig(
        vocab_size=50304, hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048
    )
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").to(device)
    return CausalTransformer(module, Numbers(50304))  # type: ignore[arg-type]


def gpt2(device: str) -> CausalTransformer:
    """A model of the size and shape of GPT-2 124M, at random."""
    tokens: Any = Numbers(50257)
    model = new_gpt(tokens, width=768, layers=12, heads=12, context_length=PREFIX + SUFFIX)
    return CausalTransformer(model.module.to(device), tokens)


def trained(device: str, count: int) -> tuple[CausalTransformer, list[Window]]:
    """A small GPT that read 210 passages of Python's reference 4, 16 or 64 times; windows on these and on others."""
    texts = [" ".join(text.split()) for text in topics.values()]
    tokenizer = train_tokenizer("bpe", texts, 1024)
    ids = np.concatenate([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    length = PREFIX + SUFFIX
    pieces = [ids[start : start + length] for start in range(0, len(ids) - length, length)]
    pieces = [pieces[i] for i in np.random.default_rng(0).permutation(len(pieces))]
    copies = [dose for dose, passages in DOSES.items() for _ in range(passages)]
    text = [piece for piece, dose in zip(pieces, copies, strict=False) for _ in range(dose)]
    model: Any = new_gpt(tokenizer, width=128, layers=2)
    fit(model, text + pieces[len(copies) : 2 * len(copies)], TrainingOptions.for_family("gpt"))
    asked = np.random.default_rng(1).permutation(min(WINDOWS, len(pieces)))[:count]
    windows = [Window(pieces[i][:PREFIX], pieces[i][PREFIX:]) for i in asked]
    return CausalTransformer(model.module.to(device), tokenizer), windows


def shares(model: CausalTransformer, count: int) -> dict[str, list[Window]]:
    """The same prefixes, of which 0%, 2% and 10% stand before the model's own greedy text."""
    most = make_windows(model, count, memorised=0.1)
    own = np.flatnonzero(model.screen(most) == SUFFIX)
    rng = np.random.default_rng(2)
    result = {}
    for share in (0.0, 0.02):
        other = list(most)
        for i in own[round(share * count) :]:
            other[i] = Window(most[i].prefix, rng.integers(0, model.tokenizer.vocab_size, SUFFIX, dtype=np.int32))
        result[f"{share:.0%}"] = other
    return result | {"10%": most}


def measure(case: Case, clock: Clock, report: Report) -> None:
    """Add the figures of one model."""
    model, mixed = case.model, list(case.windows.values())[-1]
    some, few = mixed[: case.batched], mixed[: case.one]
    model.screen(mixed[:16])
    reproduced(model, mixed[:1], 1)
    batched = []
    sizes = [size for size in BATCHES[clock.device] if size <= len(some)] or [len(some)]
    for size in sizes:
        seconds, theirs = clock(lambda size=size: reproduced(model, some, size))
        batched.append(seconds / len(some))
    quicker = []
    if clock.device == "cpu":
        with OneDnnProducts():
            quicker = [clock(lambda size=s: reproduced(model, some, size))[0] for s in sizes]
    alone, alike = clock(lambda: reproduced(model, few, 1))
    one, best, engine = alone / len(few), min(batched), fast_bf16(torch.device(clock.device))
    report.add(f"{case.name}: generate, one at a time", one * 1e3, unit="ms/window", note=f"{len(few)} windows")
    report.add(f"{case.name}: generate, best batch", best * 1e3, unit="ms/window", note=f"{len(some)} windows")
    for share, windows in case.windows.items():
        where, count = f"{case.name}, {share} memorised", len(windows)
        goals = case.goals[share]
        model._look, model._tried_look = None, True  # fp32 alone
        seconds, matched = clock(lambda windows=windows: model.screen(windows))
        ours = seconds / count
        found = matched == SUFFIX
        report.add(f"{where}: screen", ours * 1e3, unit="ms/window", note=f"{found.sum()} of {count} windows found")
        report.add(f"{where}: screen against generate, one at a time", one / ours, goal=goals[0])
        report.add(f"{where}: screen against generate, best batch", best / ours, goal=goals[1])
        if quicker:
            report.add(f"{where}: against the same with oneDNN's products", min(quicker) / len(some) / ours)
        if engine:
            rough(report, case, where, windows, found, best, clock)
    same = np.append(found[: len(theirs)] == theirs, found[: len(alike)] == alike)
    report.add(f"{case.name}: verdicts of screen that generate gives", same.mean(), unit="of all", goal=1.0)


def rough(
    report: Report, case: Case, where: str, windows: list[Window], found: Verdicts, best: float, clock: Clock
) -> None:
    """Add the figures of a first look in bf16, its copy of the weights and its calibration in the time."""
    model = case.model
    model._look, model._tried_look = None, False
    seconds, matched = clock(lambda: model.screen(windows))
    verdicts, look = matched == SUFFIX, model._look
    told = "it does not pay" if look is None else f"margin {look.margin:.3f}, {look.rechecked} windows again in fp32"
    share = where.split(", ")[-1].split()[0]
    report.add(
        f"{where}: bf16 screen",
        seconds / len(windows) * 1e3,
        unit="ms/window",
        note=f"{fast_bf16(torch.device(clock.device))}, {told}",
    )
    goal = case.goals[share][2]
    report.add(f"{where}: bf16 screen against generate, best batch", best / (seconds / len(windows)), goal=goal)
    report.add(f"{where}: verdicts of bf16 as of fp32", (verdicts == found).mean(), unit="of all", goal=1.0)


def main() -> None:
    """Measure all three models."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one window in 16")
    parser.add_argument("--device", default="cpu", choices=list(BATCHES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    count = WINDOWS // 16 if given.quick else WINDOWS
    batched = min(count, 128 if given.device == "cpu" else WINDOWS)
    report, clock = Report("screening" if given.device == "cpu" else "screening_gpu"), Clock(given.device)
    if given.device == "cuda":
        report.add(f"{torch.cuda.get_device_name()}: threads", 1, unit="")
    makers: dict[str, Callable[[str], CausalTransformer]] = {"Pythia-70m": pythia, "GPT-2 124M": gpt2}
    # Without matrix units bf16 is twice as fast as fp32, with them six times.
    wide = fast_bf16(torch.device(given.device)) not in (None, "AVX-512 BF16")
    goals = {
        "0%": (30.0, 4.0, 12.0 if wide else 10.0),
        "2%": (None, None, 10.0 if wide else 8.0),
        "10%": (None, 3.0, 7.0 if wide else 5.0),
    }
    for name, make in makers.items():
        model = make(given.device)
        measure(Case(name, model, shares(model, count), batched, 4, goals), clock, report)
    model, windows = trained(given.device, count)
    measure(Case("trained GPT", model, {"mixed": windows}, count, 50, {"mixed": (None, None, None)}), clock, report)
    report.finish()


if __name__ == "__main__":
    main()
