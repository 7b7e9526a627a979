"""Scores of 4096 tokens at a vocabulary of 50257: ours beside all logits and their cross-entropy.

Ours also gives the rank of every token and the mean and deviation of log p over the vocabulary; the other way
gives the loss alone. Speed is compared in one process, memory in a process each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from common import Report, interleaved
from memory import peak_mib
from torch import Tensor

from memaudit.models.products import inference
from memaudit.models.torch_scores import score_hidden
from memaudit.records import GREEDY, TokenScores

TOKENS, WIDTH, VOCABULARY = 4096, 768, 50257


def inputs() -> tuple[torch.nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    head = torch.nn.Linear(WIDTH, VOCABULARY, bias=False)
    with torch.no_grad():
        head(torch.zeros(1, WIDTH))  # the library's own buffers are no part of either way
    return head, torch.randn(TOKENS, WIDTH), torch.randint(VOCABULARY, (TOKENS,))


def plain() -> Callable[[], Tensor]:
    head, hidden, targets = inputs()

    @torch.no_grad()
    def work() -> Tensor:
        return torch.nn.functional.cross_entropy(head(hidden).float(), targets, reduction="none")

    return work


def plain_on_our_products() -> Callable[[], Tensor]:
    return inference()(plain())


def ours() -> Callable[[], Tensor]:
    head, hidden, targets = inputs()

    @inference()
    def work() -> Tensor:
        scores = TokenScores.of_lengths([TOKENS])
        score_hidden(hidden, head, targets, GREEDY, scores, slice(0, TOKENS))
        return -torch.from_numpy(scores.log_prob)

    return work


def main() -> None:
    torch.set_num_threads(1)
    report = Report("scoring_memory")
    what = f"{TOKENS} tokens, d={WIDTH}, V={VOCABULARY}"
    ways = {"logits + cross-entropy": plain, "the same on our products": plain_on_our_products, "ours": ours}
    peaks = {name: peak_mib(make) for name, make in ways.items()}
    works = {name: make() for name, make in ways.items()}
    results = [work() for work in works.values()]
    difference = max(float((result - results[-1]).abs().max()) for result in results)
    times = interleaved(works, repeats=5)
    for name in ways:
        report.add(f"{name}: peak memory, {what}", peaks[name], unit="MiB")
        report.add(f"{name}: CPU time", times[name], unit="s")
    theirs, products = list(ways)[:2]
    report.add("memory: logits + cross-entropy / ours", peaks[theirs] / peaks["ours"], goal=10)
    report.add("speed: ours / logits + cross-entropy", times[theirs] / times["ours"], goal=1)
    report.add("speed: ours / the same on our products", times[products] / times["ours"])
    report.add("largest difference of a log-probability", difference, unit="nats", goal=1e-4, at_most=True)
    report.finish()


if __name__ == "__main__":
    main()
