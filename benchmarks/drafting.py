"""Full greedy continuation with the true text as a draft, beside the best batched ``generate``, token for token.

``generate`` is timed as it comes and with our products for its matrices (oneDNN in place of MKL, which is most of the
gain on processors that are not Intel's); goals are set against the quicker of the two at its best batch size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import Report, interleaved
from transformers import AutoModelForCausalLM, GPT2Config

from memaudit.models.body_head import quiet_transformers
from memaudit.models.products import inference
from memaudit.models.transformer import CausalTransformer
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

PREFIX = SUFFIX = 50
SHARES = (0, 10, 50, 90)
SIZES: dict[str, tuple[GPT2Config, int, tuple[int, ...]]] = {
    "GPT-2 124M": (GPT2Config(), 64, (64,)),
    "GPT-2 256x4, V=4096": (
        GPT2Config(n_embd=256, n_layer=4, n_head=4, vocab_size=4096, bos_token_id=0, eos_token_id=0), 256, (64, 128),
    ),
}  # fmt: skip
"""Configuration, windows, and the batch sizes at which ``generate`` is timed."""


def new_model(config: GPT2Config) -> CausalTransformer:
    """Random weights; without a start token, so that both sides read the same ids."""
    tokenizer = train_tokenizer("byte", [])
    tokenizer.bos_id = None
    torch.manual_seed(0)
    with quiet_transformers():
        return CausalTransformer(AutoModelForCausalLM.from_config(config, attn_implementation="sdpa"), tokenizer)


def generate(module: Any, prompts: list[TokenIds], size: int) -> list[TokenIds]:
    rows: list[TokenIds] = []
    for first in range(0, len(prompts), size):
        ids = torch.tensor(np.stack(prompts[first : first + size]), dtype=torch.long)
        with torch.no_grad():
            text = module.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=SUFFIX, min_new_tokens=SUFFIX,
                do_sample=False, eos_token_id=None, pad_token_id=0,
            )  # fmt: skip
        rows += list(text[:, PREFIX:].numpy().astype(np.int32))
    return rows


def with_our_products(work: Callable[[], list[TokenIds]]) -> list[TokenIds]:
    with inference():
        return work()


def edited(own: TokenIds, random: np.random.Generator, vocabulary: int) -> TokenIds:
    """The model's own text with 4 of 50 tokens changed: memorised, but not verbatim."""
    suffix = own.copy()
    places = random.choice(SUFFIX, 4, replace=False)
    suffix[places] = (suffix[places] + random.integers(1, vocabulary, 4)) % vocabulary
    return suffix


def measure(report: Report, name: str, config: GPT2Config, count: int, sizes: tuple[int, ...], repeats: int) -> None:
    model = new_model(config)
    random = np.random.default_rng(0)
    prompts = [random.integers(0, config.vocab_size, PREFIX).astype(np.int32) for _ in range(count)]
    own = generate(model.module, prompts, sizes[0])
    noise = list(random.integers(0, config.vocab_size, (count, SUFFIX)).astype(np.int32))
    order = random.permutation(count)

    def windows(share: float, memorised: list[TokenIds]) -> list[Window]:
        known = set(order[: round(share * count)].tolist())
        return [Window(p, memorised[i] if i in known else noise[i]) for i, p in enumerate(prompts)]

    asked = {f"{share}% memorised": windows(share / 100, own) for share in SHARES}
    asked["50% memorised but for 4 tokens"] = windows(0.5, [edited(row, random, config.vocab_size) for row in own])
    works: dict[str, Callable[[], list[TokenIds]]] = {}
    for size in sizes:
        works[f"plain {size}"] = lambda size=size: generate(model.module, prompts, size)
        works[f"products {size}"] = lambda size=size: with_our_products(works[f"plain {size}"])
    for what, given in asked.items():
        works[what] = lambda given=given: model.greedy_continuations(given)
    works["continuations"] = lambda: model.continuations(prompts, SUFFIX)
    given_back: dict[str, list[TokenIds]] = {}

    def keeping(what: str) -> Callable[[], None]:
        return lambda: given_back.update({what: works[what]()})

    times = interleaved({what: keeping(what) for what in works}, repeats)
    for what, rows in given_back.items():
        equal = np.mean([np.array_equal(a, b) for a, b in zip(rows, own, strict=True)])
        report.add(f"{name}: rows equal to generate, {what}", float(equal), unit="of 1", goal=1.0)
    plain, products = (min(t for what, t in times.items() if what.startswith(kind)) for kind in ("plain", "products"))
    report.add(f"{name}: best batched generate, {count} windows", plain, unit="CPU s")
    report.add(f"{name}: the same with our products", products, unit="CPU s")
    for what in (*asked, "continuations"):
        row = f"{name}: full greedy continuation, {what}" if what in asked else f"{name}: continuations, no draft"
        report.add(f"{row}, over generate", plain / times[what])
        report.add(f"{row}, over the best", min(plain, products) / times[what], goal=1.0)


def main() -> None:
    torch.set_num_threads(1)
    quick = "--quick" in sys.argv
    report = Report("drafting")
    for name, (config, count, sizes) in SIZES.items():
        measure(report, name, config, count, sizes, 1 if quick else 2)
    report.finish()


if __name__ == "__main__":
    main()
