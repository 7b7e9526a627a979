"""Type-I error of the test of two sides whose windows are unequal: as simulated, and of whole audits of an n-gram.

Documents of both sides have the same rate of hits and nothing else in common: their number, their windows differ. Rates
of documents are beta distributed, with a given correlation of hits within documents. An audit asks an n-gram that knows
as many passages of one side as of the other.

python benchmarks/type_one_sides.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Report
from numpy.typing import NDArray

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.models.ngram import NgramModel
from memaudit.records import FloatArray
from memaudit.stats import permutation_test
from memaudit.text.tokenize import train_tokenizer

Windows = int | tuple[int, ...]
"""Of every document, or of documents in turn."""
MIXED = (1, 2, 5, 12, 25)
SIDES: tuple[tuple[tuple[int, Windows], tuple[int, Windows]], ...] = (
    ((20, 1), (20, 1)),
    ((20, 25), (20, 1)),
    ((20, 1), (20, 25)),
    ((20, 25), (400, 1)),
    ((400, 1), (20, 25)),
    ((20, 1), (400, 25)),
    ((400, 25), (20, 1)),
    ((400, 25), (40, 1)),
    ((100, 1), (400, 10)),
    ((300, 1), (50, MIXED)),
    ((100, MIXED), (60, 5)),
    ((100, 5), (100, 25)),
    ((100, 5), (100, 5)),
)
"""(documents, windows) of the training and of the held-out side."""
CORRELATIONS = (0.0, 0.2, 0.5)
RATES = (0.01, 0.05, 0.2, 0.5)
LOW, HIGH = 0.036, 0.064
BATCH, PERMUTATIONS = 50, 499
MIN_HITS = 5.0
"""Hits (or misses) of a side, in independent windows, below which the test must be conservative: p takes few values."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
LENGTH, KNOWN = 20, 2000
AUDITED: dict[str, tuple[tuple[int, Windows], tuple[int, Windows]]] = {
    "40 documents of 1 window against 40 of 5": ((40, 1), (40, 5)),
    "40 documents of 1 to 5 windows a side": ((40, (1, 2, 5)), (40, (1, 2, 5))),
}
AUDITED_RATE = 0.3


@dataclass(frozen=True)
class Cell:
    """A design in which nothing is to be found."""

    sides: tuple[tuple[int, Windows], tuple[int, Windows]]
    correlation: float
    rate: float

    @property
    def name(self) -> str:
        """Say the design: ``40 x 1 against 400 x 25, correlation .1, rate .05``."""
        told = [f"{n} x {'1 to 25' if isinstance(m, tuple) else m}" for n, m in self.sides]
        return f"{' against '.join(told)}, correlation {self.correlation:g}, rate {self.rate:g}"

    @property
    def expected(self) -> float:
        """Return the hits or misses, whichever are fewer, that are expected on a side, in independent windows."""
        effective = [len(m) / float(((1 + (m - 1) * self.correlation) / m).mean()) for m in map(windows_of, self.sides)]
        return min(effective) * min(self.rate, 1 - self.rate)


def cells() -> Iterator[Cell]:
    """Yield all designs; one window a document has no correlation."""
    for sides, correlation, rate in itertools.product(SIDES, CORRELATIONS, RATES):
        if not correlation or any(m != 1 for _, m in sides):
            yield Cell(sides, correlation, rate)


def windows_of(side: tuple[int, Windows]) -> NDArray[np.int64]:
    """Return how many windows each document has."""
    documents, windows = side
    return np.resize(np.array(windows), documents)


def shares(windows: NDArray[np.int64], cell: Cell, count: int, rng: np.random.Generator) -> FloatArray:
    """Return shares of hits, shape [documents, count]."""
    rates: FloatArray = np.full((len(windows), count), cell.rate)
    if cell.correlation:
        spread = 1 / cell.correlation - 1
        rates = rng.beta(cell.rate * spread, (1 - cell.rate) * spread, rates.shape)
    drawn: FloatArray = rng.binomial(windows[:, None], rates) / windows[:, None]
    return drawn


def p_values(cell: Cell, replicates: int, seed: int = 0) -> FloatArray:
    """Return p of replicates; those of a batch share their permutations."""
    rng = np.random.default_rng([seed, *map(ord, cell.name)])
    windows = [windows_of(side) for side in cell.sides]
    found: list[float] = []
    for batch in range(-(-replicates // BATCH)):
        sides = [shares(m, cell, BATCH, rng) for m in windows]
        tested = permutation_test(*sides, seed=batch, permutations=PERMUTATIONS, windows=(windows[0], windows[1]))
        found += [p for p in tested if p is not None]
    return np.array(found)


def of_cells(report: Report, replicates: int) -> None:
    """Add the rejections of every design; few hits make any test conservative, more must not."""
    for cell in cells():
        rejected = float((p_values(cell, replicates) <= 0.05).mean())
        enough = cell.expected >= MIN_HITS
        note = f"{replicates:,} replicates; {cell.expected:.1f} hits or misses expected on a side"
        report.add(cell.name, rejected, unit="rejected", goal=HIGH, at_most=True, note=note)
        report.add(f"{cell.name}: at least", rejected, unit="rejected", goal=LOW if enough else None)


def segments(count: int, rng: np.random.Generator) -> list[str]:
    """Return texts of as many characters as a window has, none of which stands twice."""
    return ["".join(row) for row in rng.choice(list(LETTERS), (count, LENGTH))]


def text_of(windows: int, rate: float, known: list[str], rng: np.random.Generator) -> str:
    """Return a document of windows that the model knows at the given rate; what it knows is used up."""
    return "".join(known.pop() if rng.random() < rate else segments(1, rng)[0] for _ in range(windows))


def of_audits(report: Report, replicates: int, folder: Path) -> None:
    """Add how often an audit of an n-gram rejects, and how often it finds, where there is nothing to be found."""
    rng = np.random.default_rng(1)
    known = segments(KNOWN, rng)
    tokenizer = train_tokenizer("char", [LETTERS])
    model = NgramModel.train([e.ids for e in tokenizer.encode_batch(known)], tokenizer, order=LENGTH, smoothing="mle")
    asked = AuditOptions(prefix=LENGTH // 2, suffix=LENGTH // 2, fuzzy=False, copies=False)
    for name, sides in AUDITED.items():
        rejected = found = 0
        for seed in range(replicates):
            left = [known[i] for i in rng.permutation(KNOWN)]
            specs = []
            for side, (documents, windows) in zip(("train", "heldout"), sides, strict=True):
                rates = rng.beta(AUDITED_RATE * 4, (1 - AUDITED_RATE) * 4, documents)  # a correlation of .2
                sizes = np.resize(np.array(windows), documents)
                lines = [json.dumps({"text": text_of(m, p, left, rng)}) for m, p in zip(sizes, rates, strict=True)]
                specs.append(str(folder / f"{side}.jsonl"))
                Path(specs[-1]).write_text("\n".join(lines) + "\n", encoding="utf-8")
            run = audit(model, *specs, out=folder / f"{len(name)}-{seed}", options=asked, formats=(), seed=seed)
            p = run.report["estimates"][0]["p_value"]
            rejected, found = rejected + (p <= 0.05), found + (run.verdict == "found")
        note = f"{replicates} audits; 95% of binomial counts at .05 lie in [.027, .077]"
        report.add(f"audits, {name}: p at most .05", rejected / replicates, unit="rejected", goal=0.077, at_most=True,
                   note=note)  # fmt: skip
        report.add(f"audits, {name}: found", found / replicates, unit="of audits", goal=0.077, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 replicates, 20 audits; keeps nothing")
    given = parser.parse_args()
    report = Report("type_one_sides")
    with tempfile.TemporaryDirectory() as folder:
        of_audits(report, 20 if given.quick else 300, Path(folder))
    of_cells(report, 200 if given.quick else 2000)
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
