"""What an accelerator gives: audit, screen, surface and membership beside transformers' own batched ``generate``.

Models are made here from their configurations, with random weights: GPT-2 124M and 1.5B in float32, a Llama of 7B in
bfloat16. Every token is one character, so that any ids are a text, and a tenth of the training documents ends in the
model's own greedy text. ``generate``, and a plain forward pass for what scores whole documents, run at the best of
several batch sizes. How much of the machine is used: two operations a parameter and token that has to be read once,
by the rate of a large product of matrices in the same type, measured here.

Every part has its share of the time, measures as many windows as fit in it, and is written to results/gpu.json when it
is done: a run that is cut short keeps what it has.

python benchmarks/gpu.py [--device cuda] [--seconds 440] [--quick] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import RESULTS, Report
from plain_generate import Verdicts, reproduced
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from memaudit import audit
from memaudit.audits.comparison.scores import score_texts
from memaudit.audits.document_scores import score_documents
from memaudit.metrics.surface import greedy_runs
from memaudit.models.transformer import CausalTransformer
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import Tokenizer, character_tokenizer

PREFIX = SUFFIX = 50
DOCUMENT = 512
"""Tokens of a document whose every prefix is judged, or which is scored as a whole."""
MEMORISED = 10
"""One window of so many is memorised."""
FIRST_CHARACTER = 0x20000
"""Of 42,720 ideographs of one plane, and of those before 0x9FFF, which stand for tokens."""
NAMED = ["<eos>", "<unk>"]
ENDS = {"bos_token_id": 0, "eos_token_id": 0}


@dataclass(frozen=True)
class Case:
    """A model to be made, and what is asked of it."""

    name: str
    config: Any
    dtype: torch.dtype
    share: float
    """Of the time, beside those of the other cases."""
    windows: int
    """Of each side, at most."""
    documents: int
    """Of `DOCUMENT` tokens, at most."""
    checked: int
    """Windows whose verdicts are taken on the CPU too."""
    batches: tuple[int, ...]
    exact: bool
    """Whether the verdicts on the CPU must be the same ones: rounding decides ties of random weights in bfloat16."""


def gpt2(width: int, layers: int, heads: int, vocabulary: int = 50_257) -> Any:
    return GPT2Config(vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=1024, **ENDS)


def llama(width: int, layers: int, heads: int, vocabulary: int = 32_000) -> Any:
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 43 // 16, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=2048, **ENDS,
    )  # fmt: skip


def cases(quick: bool) -> list[Case]:
    if quick:
        return [
            Case("GPT-2 tiny", gpt2(32, 2, 2, 600), torch.float32, 0.5, 20, 4, 8, (8, 32), True),
            Case("Llama tiny", llama(32, 2, 2, 500), torch.bfloat16, 0.5, 20, 4, 8, (8, 32), False),
        ]
    return [
        Case("GPT-2 124M", gpt2(768, 12, 12), torch.float32, 0.2, 1000, 256, 32, (128, 256, 500, 1000), True),
        Case("GPT-2 1.5B", gpt2(1600, 48, 25), torch.float32, 0.35, 1000, 64, 8, (128, 256, 500), True),
        Case("Llama 7B", llama(4096, 32, 32), torch.bfloat16, 0.45, 1000, 64, 4, (128, 256, 500), False),
    ]


class Clock:
    """Wall time on an accelerator, which works on its own; and how much of it is left."""

    def __init__(self, device: torch.device, seconds: float) -> None:
        self.device, self.end = device, time.perf_counter() + seconds

    def __call__(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Return the seconds that ``work`` takes, and what it returns."""
        self._wait()
        start = time.perf_counter()
        result = work()
        self._wait()
        return time.perf_counter() - start, result

    def left(self) -> float:
        """Return the seconds until the end."""
        return self.end - time.perf_counter()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def characters(size: int) -> Tokenizer:
    """Return a tokenizer of one character a token, so that any ids but the named ones are a text."""
    points = [*range(FIRST_CHARACTER, 0x2A6D0), *range(0x4E00, 0x9FFF)][: size - len(NAMED)]
    entries = [*NAMED, *map(chr, points)]
    return character_tokenizer({entry: index for index, entry in enumerate(entries)}, unknown="<unk>")


def made(case: Case, device: torch.device) -> CausalTransformer:
    torch.manual_seed(0)
    with torch.device(device):
        module = AutoModelForCausalLM.from_config(case.config, attn_implementation="sdpa", dtype=case.dtype)
    model = CausalTransformer(module, characters(case.config.vocab_size))
    model.device, model.dtype = str(device), str(case.dtype).removeprefix("torch.")
    return model


def peak(device: torch.device, dtype: torch.dtype, clock: Clock, quick: bool) -> float:
    """Return the operations a second of a product of two large matrices."""
    size = 256 if quick else 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    matrix @ matrix
    times = [clock(lambda: [matrix @ matrix for _ in range(4)])[0] for _ in range(3)]
    return 4 * 2 * size**3 / min(times)


def random_ids(model: CausalTransformer, count: int, length: int, seed: int) -> list[TokenIds]:
    rng = np.random.default_rng(seed)
    return list(rng.integers(len(NAMED), model.tokenizer.vocab_size, (count, length), dtype=np.int32))


def make_windows(model: CausalTransformer, count: int) -> list[Window]:
    """Return windows at random, every tenth of which ends in the model's own text."""
    sides = random_ids(model, count, PREFIX, 0), random_ids(model, count, SUFFIX, 1)
    windows = [Window(prefix, suffix) for prefix, suffix in zip(*sides, strict=True)]
    known = windows[::MEMORISED]
    own = model.greedy_continuations(known)
    windows[::MEMORISED] = [Window(w.prefix, suffix) for w, suffix in zip(known, own, strict=True)]
    return windows


@torch.inference_mode()
def forwarded(model: CausalTransformer, texts: Sequence[TokenIds], batch: int) -> list[Verdicts]:
    """Return whether each token of the texts is the choice of a plain forward pass, with its log-probability taken."""
    chosen: list[Verdicts] = []
    for first in range(0, len(texts), batch):
        ids = torch.as_tensor(np.stack(texts[first : first + batch]), dtype=torch.long, device=model.module.device)
        logits = model.module(ids).logits[:, :-1]
        true = ids[:, 1:, None]
        (logits.gather(2, true).float() - logits.float().logsumexp(2, keepdim=True)).cpu()
        chosen += list((logits.argmax(2) == true[..., 0]).cpu().numpy())
    return chosen


class Part:
    """One way to be timed: it doubles what it is given until that takes a good part of its time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, min(seconds, clock.left())

    def per_item(self, work: Callable[[int], Any], most: int) -> tuple[float, int]:
        """Return the seconds an item takes, and how many were timed; ``work`` is told how many."""
        count = min(most, 16)
        work(min(count, 4))
        taken, _ = self.clock(lambda: work(count))
        while count < most and 3 * taken < self.seconds:
            count = min(most, max(2 * count, int(count * self.seconds / 3 / max(taken, 1e-9))))
            spent, _ = self.clock(lambda count=count: work(count))
            self.seconds, taken = self.seconds - taken, spent
        return taken / count, count

    def best(self, work: Callable[[int, int], Any], most: int, batches: Sequence[int]) -> tuple[float, str]:
        """Return the seconds an item takes at the best batch size, and which that was; ``work(count, batch)``."""
        found: list[tuple[float, str]] = []
        for batch in batches:
            count = min(most, batch)
            try:
                work(count, count)
                taken, _ = self.clock(lambda count=count: work(count, count))
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                break
            found.append((taken / count, f"{count} at a time"))
            self.seconds -= 2 * taken
            if batch >= most or self.seconds < 4 * taken:
                break
        return min(found)


class Bench:
    """The parts of one model, in the order of what they tell."""

    def __init__(self, case: Case, report: Report, clock: Clock, rate: float, seconds: float) -> None:
        self.case, self.report, self.clock, self.rate, self.budget = case, report, clock, rate, seconds
        self.model = made(case, clock.device)
        self.windows = make_windows(self.model, case.windows)
        self.texts = random_ids(self.model, case.documents, DOCUMENT, 2)

    def run(self) -> None:
        """Measure all parts; the report is written after each."""
        parts = (self.generate, self.screen, self.audit, self.forward, self.surface, self.membership, self.on_cpu)
        for part in parts:
            if self.clock.left() < 5:
                self.add(f"{part.__name__}: left out for want of time", 0, unit="")
            else:
                part()
            self.report.save()

    def add(self, what: str, value: float, **more: Any) -> None:
        self.report.add(f"{self.case.name}: {what}", value, **more)

    def part(self, share: float) -> Part:
        return Part(self.clock, share * self.budget)

    def used(self, what: str, tokens: int, seconds: float) -> None:
        """Add the share of the machine: tokens and seconds are of one item."""
        share = 2 * self.model.parameters * tokens / seconds / self.rate
        self.add(f"{what}: share of the measured peak", share, unit="of 1")

    def generate(self) -> None:
        """The library's own way, at its best batch size."""
        work = lambda count, batch: reproduced(self.model, self.windows[:count], batch)  # noqa: E731
        self.generated, note = self.part(0.25).best(work, len(self.windows), self.case.batches)
        self.add("generate, best batch", self.generated * 1e3, unit="ms/window", note=note)
        self.used("generate", PREFIX + SUFFIX, self.generated)

    def screen(self) -> None:
        """Which windows are extractable."""
        seconds, count = self.part(0.1).per_item(lambda n: self.model.screen(self.windows[:n]), len(self.windows))
        self.against("screen", seconds, f"{count:,} windows")
        asked = self.windows[: min(count, self.case.batches[0])]
        ours, theirs = self.model.screen(asked) == SUFFIX, reproduced(self.model, asked, len(asked))
        self.add("screen: verdicts that generate gives", float((ours == theirs).mean()), unit="of all",
                 goal=1.0 if self.case.exact else None, note=f"{int(theirs.sum())} of {len(asked)} found")  # fmt: skip

    def audit(self) -> None:
        """A whole audit, as it is run: files, windows of both sides, continuations, copies, verdict, report."""
        with tempfile.TemporaryDirectory() as name:
            folder, results = Path(name), []
            work = lambda count: results.append(self.audited(folder, count))  # noqa: E731
            seconds, count = self.part(0.2).per_item(work, len(self.windows))
        found = results[-1].report["estimates"][0]["train"]["hits"]
        self.against("audit", seconds / 2, f"{count:,} windows of each side, {found} found")
        self.used("audit", PREFIX + SUFFIX, seconds / 2)

    def audited(self, folder: Path, count: int) -> Any:
        """Audit windows, and as many of held-out text."""
        unseen = random_ids(self.model, count, PREFIX + SUFFIX, 3)
        sides = {"train": [np.concatenate([w.prefix, w.suffix]) for w in self.windows[:count]], "heldout": unseen}
        files = {side: str(write_texts(folder / f"{side}.jsonl", self.model, ids)) for side, ids in sides.items()}
        out = tempfile.mkdtemp(dir=folder)
        return audit(self.model, files["train"], files["heldout"], out=f"{out}/run", name=self.case.name, limit=count)

    def forward(self) -> None:
        """The library's own forward pass over whole documents."""
        work = lambda count, batch: forwarded(self.model, self.texts[:count], batch)  # noqa: E731
        batches = [max(1, batch // 16) for batch in self.case.batches]
        self.forwarded, note = self.part(0.1).best(work, len(self.texts), batches)
        self.add("forward, best batch", self.forwarded * 1e3, unit="ms/document", note=note)
        self.used("forward", DOCUMENT, self.forwarded)

    def surface(self) -> None:
        """Verdicts for every prefix length of a document."""

        def work(count: int) -> list[Any]:
            return [greedy_runs(scores.rank) for scores in score_documents(self.model, self.texts[:count])]

        self.beside_forward("surface", *self.part(0.1).per_item(work, len(self.texts)))

    def membership(self) -> None:
        """All scores of whole documents."""

        def work(count: int) -> list[Any]:
            return score_texts(self.model, self.texts[:count], None)

        self.beside_forward("membership", *self.part(0.1).per_item(work, len(self.texts)))

    def on_cpu(self) -> None:
        """Whether the same weights give the same verdicts on the CPU."""
        asked = self.windows[: self.case.checked]
        here = self.model.screen(asked) == SUFFIX
        there = CausalTransformer(self.model.module.to("cpu"), self.model.tokenizer)
        end, same, found = self.clock.left() - 0.15 * self.budget, [], 0
        for window, verdict in zip(asked, here, strict=True):
            known = bool(there.screen([window])[0] == SUFFIX)
            same.append(known == verdict)
            found += known
            if self.clock.left() < max(end, 5):
                break
        self.add("verdicts as on the CPU", float(np.mean(same)), unit="of all", goal=1.0 if self.case.exact else None,
                 note=f"{len(same)} windows, {found} found")  # fmt: skip

    def against(self, what: str, seconds: float, note: str) -> None:
        self.add(what, seconds * 1e3, unit="ms/window", note=note)
        self.add(f"{what} against generate, best batch", self.generated / seconds)

    def beside_forward(self, what: str, seconds: float, count: int) -> None:
        self.add(what, seconds * 1e3, unit="ms/document", note=f"{count:,} documents of {DOCUMENT} tokens")
        self.add(f"{what} against forward, best batch", self.forwarded / seconds)
        self.used(what, DOCUMENT, seconds)


def write_texts(path: Path, model: CausalTransformer, texts: Sequence[TokenIds]) -> Path:
    lines = (json.dumps({"text": model.tokenizer.decode(ids)}) + "\n" for ids in texts)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seconds", type=float, default=440.0)
    parser.add_argument("--quick", action="store_true", help="tiny models, to see that the script runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args(arguments)
    device, report = torch.device(asked.device), Report("gpu", folder=asked.out)
    clock = Clock(device, asked.seconds)
    rates: dict[torch.dtype, float] = {}
    asked_for = cases(asked.quick)
    for number, case in enumerate(asked_for):
        if case.dtype not in rates:
            rates[case.dtype] = peak(device, case.dtype, clock, asked.quick)
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            report.add(f"product of matrices, {case.dtype}", rates[case.dtype] / 1e12, unit="TFLOP/s", note=name)
        seconds = clock.left() * case.share / sum(other.share for other in asked_for[number:])
        bench = Bench(case, report, clock, rates[case.dtype], seconds)
        bench.run()
        del bench
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    report.finish()


if __name__ == "__main__":
    main()
