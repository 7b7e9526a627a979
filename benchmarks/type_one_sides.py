"""Type-I error of the test of two sides: unequal windows, documents alike in rate alone, drawn from a beta-binomial.

Part of `type_one.py`; alone it prints its table: python benchmarks/type_one_sides.py [--replicates 2000]
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.records import FloatArray
from memaudit.stats import permutation_test

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
    ((40, 1), (400, 25)),
    ((400, 25), (40, 1)),
    ((100, 1), (400, 10)),
    ((400, 10), (100, 1)),
    ((50, MIXED), (300, 1)),
    ((300, 1), (50, MIXED)),
    ((100, MIXED), (60, 5)),
    ((60, 5), (100, MIXED)),
    ((100, 5), (100, 25)),
    ((100, 5), (100, 5)),
    ((400, MIXED), (400, MIXED)),
    ((400, 25), (400, 1)),
)
"""(documents, windows) of the training and of the held-out side."""
CORRELATIONS = (0.0, 0.1, 0.5)
RATES = (0.01, 0.05, 0.2, 0.5)
BATCH, PERMUTATIONS = 50, 399
FEWEST_HITS = 5.0
"""Hits (or misses) of a side, in independent windows, below which the test must be conservative: p takes few values."""


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=2000)
    given = parser.parse_args()
    for cell in cells():
        rejected = float((p_values(cell, given.replicates) <= 0.05).mean())
        print(f"{cell.name:<64} {rejected:.4f}  expected hits {cell.expected:.1f}", flush=True)


if __name__ == "__main__":
    main()
