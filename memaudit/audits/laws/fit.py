"""What a grid of trainings says about the three laws: lines, intervals, and verdicts in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

import memaudit.stats as stats
from memaudit.metrics.growth import CONTEXT, COPIES, SIZE
from memaudit.metrics.laws import Outcomes, bootstrap_weights, cell_rates, fit_line, percentile_interval, slopes
from memaudit.records import FloatArray
from memaudit.runs.log_lines import LawsLine
from memaudit.runs.options import PlannedLaws
from memaudit.stats import rounding

MIN_R2 = 0.9
"""Below it the points lie on no line, whatever its slope."""
AXES = (SIZE, COPIES, CONTEXT)
UNITS = ("parameters", "copies in training", "tokens of context")


@dataclass(frozen=True, slots=True)
class Law:
    """One fitted law."""

    name: str
    unit: str
    x: list[float]
    rates: list[float]
    """Fraction extracted at each x, averaged over the other axes."""
    slope: float | None = None
    """Change of the fraction when x is ten times as large; None where there is one x only."""
    low: float | None = None
    high: float | None = None
    r2: float | None = None
    r2_linear: float | None = None
    """Of a line against x itself instead of its logarithm."""
    by_seed: list[float] = field(default_factory=list)
    """The slope in each seed alone."""
    holds: bool | None = None
    words: str = "not decided: there is only one value"


@dataclass(frozen=True, slots=True)
class Suite:
    """All that was asked: planted passages as arrays, and every answer as a row."""

    planted: Outcomes
    axes: tuple[FloatArray, FloatArray, FloatArray]
    """Parameters, copies, tokens of context."""
    answers: FloatArray
    """Shape [units, sizes, contexts]; all passages and twins of all seeds."""
    names: list[str]
    """Passage of every unit."""
    copies: FloatArray
    """Of every unit; 0 for twins."""
    too_short: int

    def rate(self, size: int | None, copies: float | None, context: int | None) -> stats.Rate:
        """Return the rate in a part of the grid, None standing for all but twins; passages are the unit."""
        units = np.flatnonzero(self.copies > 0 if copies is None else self.copies == copies)
        part = self.answers[units]
        part = part if size is None else part[:, [size]]
        part = part if context is None else part[:, :, [context]]
        names = np.repeat([self.names[i] for i in units], part.shape[1] * part.shape[2])
        return stats.document_rate(part.ravel() > 0, names.tolist())


def make_suite(options: PlannedLaws, records: Sequence[LawsLine]) -> Suite:
    """Return the records of all trainings as arrays; every size is asked for the same passages."""
    sizes, seeds = options["sizes"], sorted({r["seed"] for r in records})
    cells = {(r["size"], r["seed"]): r for r in records}
    firsts = [cells[sizes[0], seed] for seed in seeds]
    answers = np.concatenate(
        [
            np.stack([np.array(cells[size, seed]["matched"]) == options["suffix"] for size in sizes], axis=1)
            for seed in seeds
        ]
    ).astype(np.float64)
    names = [name for record in firsts for name in record["documents"]]
    copies = np.array([count for record in firsts for count in record["copies"]], np.float64)
    seed_of = np.repeat(np.arange(len(seeds)), [len(record["documents"]) for record in firsts])
    kept = copies > 0
    doses = np.array(sorted(options["doses"]), np.float64)
    _, documents = np.unique(np.array(names)[kept], return_inverse=True)
    planted = Outcomes(answers[kept], documents, seed_of[kept], np.searchsorted(doses, copies[kept]))
    parameters = [np.mean([np.log10(cells[size, seed]["parameters"]) for seed in seeds]) for size in sizes]
    axes = 10 ** np.array(parameters), doses, np.array(options["contexts"], np.float64)
    return Suite(planted, axes, answers, names, copies, sum(r["too_short"] for r in firsts))


def fit_laws(suite: Suite, seed: int) -> list[Law]:
    """Return the laws of size, copies and context; ``seed`` fixes the resamples."""
    rates = cell_rates(suite.planted)
    resampled = cell_rates(suite.planted, bootstrap_weights(suite.planted, seed))
    places = np.arange(suite.planted.seeds.max() + 1)
    by_seed = cell_rates(suite.planted, (suite.planted.seeds == places[:, None]).astype(np.float64))
    laws = []
    for axis, x in enumerate(suite.axes):
        others = tuple(i for i in (1, 2, 3) if i != axis + 1)
        means = rates.mean(axis=others)[0]
        if len(x) < 2:
            laws.append(Law(AXES[axis], UNITS[axis], x.tolist(), means.tolist()))
            continue
        line = fit_line(np.log10(x), means)
        low, high = percentile_interval(slopes(np.log10(x), resampled.mean(axis=others)))
        holds, words = verdict(len(x), low, high, line.r2)
        laws.append(
            Law(
                name=AXES[axis],
                unit=UNITS[axis],
                x=x.tolist(),
                rates=means.tolist(),
                slope=line.slope,
                low=low,
                high=high,
                r2=line.r2,
                r2_linear=fit_line(x, means).r2,
                by_seed=slopes(np.log10(x), by_seed.mean(axis=others)).tolist(),
                holds=holds,
                words=words,
            )
        )
    return laws


def verdict(points: int, low: float, high: float, r2: float | None) -> tuple[bool | None, str]:
    """Say whether a law holds, and why not."""
    if high < 0:
        return False, "failed: the fraction falls"
    if low <= 0:
        return False, "failed: the interval of its slope contains 0"
    if points < 3 or r2 is None:
        return None, "not decided: two points always lie on a line"
    if r2 < MIN_R2:
        return False, f"failed as a line: the fraction grows, but R2 is {rounding.r2(r2)}"
    return True, "holds"
