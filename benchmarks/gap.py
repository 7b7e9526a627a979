"""Error rates and power of the performance gap, beside what a drop of the model alone would say.

``python benchmarks/gap.py`` needs no file. Every replicate is a file's worth of results: half of the items are newer
than the cutoff and harder for every model. A clean model may be flagged in 6.4% of the replicates at a level of 5%.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from common import Report

from memaudit.metrics.gap import gap_test, item_differences, log_odds_gap
from memaudit.records import FloatArray

REPLICATES = 2000
PERMUTATIONS = 999
LEVELS = {0.05: 0.064, 0.01: 0.017}
"""Level -> most rejections that 1,000 clean replicates may show."""


@dataclass(frozen=True)
class World:
    """How results come about: the share that is right of each model on old and on new items."""

    model: tuple[float, float]
    controls: tuple[tuple[float, float], ...]
    old: int = 400
    new: int = 400
    shared: float = 0.0
    """Share of items on which all models draw the same lot: an item that is hard for one is hard for all."""

    def draw(self, rng: np.random.Generator) -> list[FloatArray]:
        """Return the results of all models, the model first, of old and of new items."""
        results = []
        for side, items in enumerate((self.old, self.new)):
            lots = rng.random((1 + len(self.controls), items))
            same = rng.random(items) < self.shared
            lots[:, same] = rng.random(int(same.sum()))
            rates = np.array([self.model[side], *(control[side] for control in self.controls)])
            results.append((lots < rates[:, None]).astype(np.float64))
        return results


def harder(drop: float, knows: float = 0.0, controls: int = 1, **others: float) -> World:
    """Return a world whose new items are so much harder for all, and whose model knows a share of old ones."""
    return World((0.6 + knows, 0.6 - drop), ((0.6, 0.6 - drop),) * controls, **others)  # type: ignore[arg-type]


CLEAN = {
    "10 points harder": harder(0.1),
    "10 points harder, 3 controls": harder(0.1, controls=3),
    "10 points harder, difficulty shared by half of the items": harder(0.1, shared=0.5),
    "10 points harder, 100 old and 100 new items": harder(0.1, old=100, new=100),
    "10 points harder, 700 old and 60 new items": harder(0.1, old=700, new=60),
    "25 points harder": harder(0.25),
    "no harder": harder(0.0),
    "10 points harder, model 20 points above its control": World((0.8, 0.7), ((0.6, 0.5),)),
}
SEEN = {
    "knows 10 points of the old items": (harder(0.1, 0.1), 0.55),
    "knows 10 points, 3 controls": (harder(0.1, 0.1, controls=3), 0.7),
    "knows 10 points, difficulty shared by half": (harder(0.1, 0.1, shared=0.5), 0.7),
    "knows 20 points of the old items": (harder(0.1, 0.2), 0.95),
    "knows 20 points, 100 old and 100 new items": (harder(0.1, 0.2, old=100, new=100), None),
}


UNEVEN = {
    "half a unit of log odds harder, model at 50%, control at 90%": World((0.5, 0.378), ((0.9, 0.845),)),
    "one unit harder, model at 60%, control at 97%": World((0.6, 0.356), ((0.97, 0.922),)),
}
"""Clean models beside far better controls: what is as much harder for both costs the model more points."""


def rejections(world: World, seed: int, replicates: int, level: float) -> dict[str, float]:
    """Return how often a world is flagged: by the verdict, by the test of points only, by the model's drop alone."""
    rng = np.random.default_rng(seed)
    flagged = dict.fromkeys(("verdict", "points", "alone"), 0)
    for replicate in range(replicates):
        old, new = world.draw(rng)
        e = [item_differences(side[0], side[1:]) for side in (old, new)]
        p, alone = (gap_test(*sides, seed=replicate, permutations=PERMUTATIONS) for sides in (e, (old[0], new[0])))
        odds = log_odds_gap(old, new, 1 - 2 * level)
        assert p is not None and alone is not None and odds is not None and odds.low is not None
        flagged["points"] += p <= level
        flagged["verdict"] += p <= level and odds.low > 0
        flagged["alone"] += alone <= level
    return {name: count / replicates for name, count in flagged.items()}


def main() -> None:
    report = Report("gap")
    for seed, (name, world) in enumerate(CLEAN.items()):
        by_level = {level: rejections(world, seed, REPLICATES, level) for level in LEVELS}
        for level, most in LEVELS.items():
            rates = by_level[level]
            report.add(f"clean, {name}: test at {level}", rates["points"], unit="", goal=most, at_most=True)
            report.add(f"clean, {name}: found at {level}", rates["verdict"], unit="", goal=most, at_most=True)
        alone = by_level[0.05]["alone"]
        report.add(f"clean, {name}: drop alone at 0.05", alone, unit="", note="what a naive reader calls it")
    for seed, (name, world) in enumerate(UNEVEN.items()):
        rates = rejections(world, 50 + seed, REPLICATES, 0.05)
        report.add(f"clean, {name}: found at 0.05", rates["verdict"], unit="", goal=LEVELS[0.05], at_most=True)
        report.add(
            f"clean, {name}: in points only", rates["points"], unit="", note="held back by the check in log odds"
        )
    for seed, (name, (world, goal)) in enumerate(SEEN.items()):
        rates = rejections(world, 100 + seed, REPLICATES // 4, 0.05)
        report.add(f"10 points harder, {name}: found at 0.05", rates["verdict"], unit="", goal=goal)
    report.finish()


if __name__ == "__main__":
    main()
