"""How memorization grows with copies, context or size: the slope of what was measured, beside published laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from memaudit.metrics.laws import REPLICATES, fit_line, percentile_interval, slopes
from memaudit.sections import Column, Table, Value
from memaudit.stats.rounding import points, points_between

SIZE, COPIES, CONTEXT = "Model size", "Copies", "Context"
PUBLISHED = (
    (SIZE, "+19 points, R2 .998", "GPT-Neo 125M to 6B (Carlini et al. 2022)"),
    (SIZE, "+0.587 points, R2 .983", "Pythia 70M to 12B, line through the counts of Biderman et al. 2023"),
    (COPIES, "log-linear, no slope given", "GPT-Neo family (Carlini et al. 2022)"),
    (CONTEXT, "+34 points: 33% at 50 tokens, 65% at 450", "GPT-Neo family, 6B (Carlini et al. 2022)"),
)
"""Axis, growth per decade, and of which models."""
_UNITS = {SIZE: "parameters", COPIES: "copies in training", CONTEXT: "tokens of context"}
FEWEST = 10
"""Documents below which a share says so little that a line must not bend for it; all x count alike."""
EXACT = 2**20
"""Weights are multiples of one part of this: their sums are exact, whatever adds them up in which order."""
BLOCK = 100
"""Replicates that are computed at a time."""


@dataclass(frozen=True, slots=True)
class Slope:
    """A least-squares line of a share against the logarithm of what it grows with."""

    of: str
    """What was measured: a model, a family, a side."""
    slope: float
    """Change of the share when x is ten times as large."""
    low: float
    """Bounds of the central 95% over resampled documents (Bayesian bootstrap, Rubin 1981), with one more outcome at
    every x: what flattens the line for the lower bound, what steepens it for the upper one, as in the interval of
    Clopper & Pearson (1934). Without it a share of 0 or 1 would count as known exactly."""
    high: float
    r2: float | None
    """None where the shares do not vary, or two points leave nothing to explain."""
    values: int
    """Distinct x that the line goes through: those at which `FEWEST` documents or more were asked."""


def fit_slope(
    of: str, x: Sequence[float], places: ArrayLike, documents: Sequence[str], hits: ArrayLike, seed: int
) -> Slope | None:
    """Fit the share of hits at each x, all x counting alike, against log10 x.

    Args:
        of: What it is the slope of.
        x: Positive values, each with an outcome.
        places: Index into ``x`` of every outcome, shape [outcomes].
        documents: The document of every outcome, which is what is resampled: its outcomes go together.
        hits: Outcomes, 0 or 1, shape [outcomes].
        seed: Fixes the resamples.

    Returns:
        The slope; None where there are fewer than two values of x with documents enough.
    """
    names, numbers = np.unique(np.asarray(documents, str), return_inverse=True)
    asked, found = np.zeros((2, len(names), len(x)))
    np.add.at(asked, (numbers, np.asarray(places, np.int64)), 1)
    np.add.at(found, (numbers, np.asarray(places, np.int64)), np.asarray(hits, np.float64))
    known = np.count_nonzero(asked, axis=0) >= FEWEST
    asked, found = asked[:, known], found[:, known]
    logs = np.log10(np.asarray(x, np.float64)[known])
    if len(set(logs.tolist())) < 2:
        return None
    line = fit_line(logs, found.sum(axis=0) / asked.sum(axis=0))
    rng = np.random.default_rng(seed)
    lows, highs, early = [], [], logs < logs.mean()
    for first in range(0, REPLICATES, BLOCK):
        size = min(BLOCK, REPLICATES - first)
        weights = np.ceil(rng.standard_exponential((size, len(names))) * EXACT)
        more = np.ceil(rng.standard_exponential((size, len(logs))) * EXACT)
        hits_drawn, all_drawn = weights @ found, weights @ asked + more
        lows.append(slopes(logs, (hits_drawn + more * early) / all_drawn))
        highs.append(slopes(logs, (hits_drawn + more * ~early) / all_drawn))
    low, high = percentile_interval(np.concatenate(lows))[0], percentile_interval(np.concatenate(highs))[1]
    return Slope(of, line.slope, low, high, line.r2 if len(logs) > 2 else None, len(logs))


def growth_table(axis: str, measured: Sequence[Slope]) -> Table:
    """Return slopes as a table, the published ones of the same axis below them."""
    rows: list[list[Value]] = [
        [s.of, f"{points(s.slope)} points", points_between(s.low, s.high), s.r2, s.values] for s in measured
    ]
    rows += [[models, words, None, None, None] for name, words, models in PUBLISHED if name == axis]
    columns = [
        Column("Of"),
        Column("Growth"),
        Column("95% interval"),
        Column("R2", "number"),
        Column("Values", "number"),
    ]
    caption = f"Growth of the share reproduced with every tenfold of {_UNITS[axis]}, and what was published"
    return Table(f"{caption}; intervals are over documents", columns, rows)
