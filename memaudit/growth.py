"""How memorization grows with copies, context or size: the slope of what was measured, beside published laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from memaudit.metrics.laws import REPLICATES, fit_line, percentile_interval, slopes
from memaudit.sections import Column, Table, Value

SIZE, COPIES, CONTEXT = "Model size", "Copies", "Context"
PUBLISHED = (
    (SIZE, "+19 points, R2 .998", "GPT-Neo 125M to 6B (Carlini et al. 2022)"),
    (SIZE, "+0.587 points, R2 .983", "Pythia 70M to 12B, line through the counts of Biderman et al. 2023"),
    (COPIES, "log-linear, no slope given", "GPT-Neo family (Carlini et al. 2022)"),
    (CONTEXT, "+34 points: 33% at 50 tokens, 65% at 450", "GPT-Neo family, 6B (Carlini et al. 2022)"),
)
"""Axis, growth per decade, and of which models."""
_UNITS = {SIZE: "parameters", COPIES: "copies in training", CONTEXT: "tokens of context"}
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
    """Bounds of the central 95% over resampled documents (Bayesian bootstrap, Rubin 1981), with half a hit and half a
    miss at every x (Jeffreys' prior): without them a share of 0 or 1 would count as known exactly."""
    high: float
    r2: float | None
    """None where the shares do not vary, or two points leave nothing to explain."""
    values: int
    """Distinct x that the line goes through."""


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
        The slope; None where there are fewer than two values of x.
    """
    if len(set(x)) < 2:
        return None
    names, numbers = np.unique(np.asarray(documents), return_inverse=True)
    asked, found = np.zeros((2, len(names), len(x)))
    np.add.at(asked, (numbers, np.asarray(places)), 1)
    np.add.at(found, (numbers, np.asarray(places)), np.asarray(hits, np.float64))
    logs = np.log10(np.asarray(x, np.float64))
    line = fit_line(logs, found.sum(axis=0) / asked.sum(axis=0))
    rng = np.random.default_rng(seed)
    drawn = []
    for first in range(0, REPLICATES, BLOCK):
        size = min(BLOCK, REPLICATES - first)
        weights = np.ceil(rng.standard_exponential((size, len(names))) * EXACT)
        hit, missed = np.ceil(rng.standard_gamma(0.5, (2, size, len(x))) * EXACT)
        drawn.append(slopes(logs, (weights @ found + hit) / (weights @ asked + hit + missed)))
    low, high = percentile_interval(np.concatenate(drawn))
    return Slope(of, line.slope, low, high, line.r2 if len(x) > 2 else None, len(x))


def growth_table(axis: str, measured: Sequence[Slope]) -> Table:
    """Return slopes as a table, the published ones of the same axis below them."""
    rows: list[list[Value]] = [
        [s.of, f"{points(s.slope)} points", f"[{points(s.low)}, {points(s.high)}]", s.r2, s.values] for s in measured
    ]
    rows += [[models, words, None, None, None] for name, words, models in PUBLISHED if name == axis]
    columns = [
        Column("Of"),
        Column("Growth"),
        Column("95% interval"),
        Column("R2", "number"),
        Column("Values", "number"),
    ]
    caption = f"Growth of the share recited with every tenfold of {_UNITS[axis]}, and what was published"
    return Table(f"{caption}; intervals are over documents", columns, rows)


def points(share: float) -> str:
    """Return a change of a share in percentage points, with its sign.

    >>> points(0.1904), points(-0.002)
    ('+19.0', '-0.2')
    """
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0
