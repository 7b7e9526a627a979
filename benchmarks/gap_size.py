"""How often the gap test finds a gap where there is none: old and new items of any number, easy or hard.

A model and two controls answer with one accuracy, their answers to an item hanging together (latent correlation
.5); new items may be easier or harder than old ones, for all alike. Every cell is simulated 500 times; those that
reject more than 4.5% are simulated 4,000 times more, and these count: no cell is judged by its own luck.

python benchmarks/gap_size.py [--quick]
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from common import Report
from numpy.typing import NDArray
from scipy.special import ndtri

from memaudit.metrics.gap import gap_test, item_differences

OLD, NEW = (20, 30, 100, 300), (20, 100, 300, 3000)
ACCURACY = (0.5, 0.7, 0.9, 0.98)
CONTROLS, TOGETHER = 2, 0.5
FIRST, SECOND, SUSPECT = 500, 4000, 0.045
PERMUTATIONS = 199
LEVEL, MOST = 0.05, 0.064


def differences(rng: np.random.Generator, items: int, accuracy: float) -> NDArray[np.float64]:
    """Return model less controls of items that all answer with the same accuracy."""
    item, own = rng.normal(size=items) * TOGETHER**0.5, rng.normal(size=(1 + CONTROLS, items)) * (1 - TOGETHER) ** 0.5
    right = (item + own < ndtri(accuracy)).astype(np.float64)
    return item_differences(right[0], right[1:])


def rejected(cell: tuple[int, int, float, float], count: int, stage: int) -> float:
    """Return the share of replicates that are rejected at 5%."""
    old, new, before, after = cell
    rng = np.random.default_rng([stage, old, new, round(100 * before), round(100 * after)])
    hits = 0
    for seed in range(count):
        sides = differences(rng, old, before), differences(rng, new, after)
        p = gap_test(*sides, seed=seed, permutations=PERMUTATIONS)
        assert p is not None
        hits += p <= LEVEL
    return hits / count


def main() -> None:
    """Fill the grid."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sides of 30 and 300 alone, 500 replicates; keeps nothing")
    quick = parser.parse_args().quick
    report, worst = Report("gap_size"), 0.0
    for old, new in [(30, 300), (300, 30)] if quick else product(OLD, NEW):
        cells = {(old, new, before, after): 0.0 for before, after in product(ACCURACY, ACCURACY)}
        for cell in cells:
            found = rejected(cell, FIRST, 0)
            cells[cell] = rejected(cell, SECOND, 1) if found > SUSPECT and not quick else found
        same = [rate for cell, rate in cells.items() if cell[2] == cell[3]]
        most = max(cells, key=lambda cell: cells[cell])
        shown = f"mean {np.mean(list(cells.values())):.3f}; equal accuracies at most {max(same):.3f}"
        note = f"{shown}; worst {most[2]:g} to {most[3]:g}"
        report.add(f"{old} old, {new} new", cells[most], unit="rejected", goal=MOST, at_most=True, note=note)
        worst = max(worst, cells[most])
    report.add("worst of all cells", worst, unit="rejected", goal=MOST, at_most=True)
    if not quick:
        report.finish()


if __name__ == "__main__":
    main()
