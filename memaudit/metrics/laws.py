"""Log-linear laws of memorization: lines through fractions, and what resampling documents and seeds makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memaudit.records import FloatArray

REPLICATES = 2000
ROUNDING = 1e-12
"""Means of equal fractions differ by rounding: a slope below this is none."""


@dataclass(frozen=True, slots=True)
class Line:
    """A least-squares line y = intercept + slope x."""

    slope: float
    intercept: float
    r2: float | None
    """1 - residual / total sum of squares; None where y does not vary."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was extracted from every planted passage in every training: units are (seed, passage)."""

    hits: FloatArray
    """Shape [units, sizes, contexts]: 1 where extracted, 0 where not."""
    documents: NDArray[np.int64]
    """Number of the passage of each unit, shape [units]: one passage may be planted under several seeds."""
    seeds: NDArray[np.int64]
    """Place of the seed of each unit, shape [units]."""
    doses: NDArray[np.int64]
    """Place of the dose of each unit, shape [units]."""


def fit_line(x: ArrayLike, y: ArrayLike) -> Line:
    """Return the least-squares line through points.

    Args:
        x: Shape [points], at least two different values.
        y: Shape [points].

    Raises:
        ValueError: Fewer than two values of x.
    """
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    slope = float(slopes(places, values[None])[0])
    intercept = float(values.mean() - slope * places.mean())
    return Line(slope, intercept, _r2(values, intercept + slope * places))


def slopes(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the slope of the least-squares line of every row: [points], [rows, points] -> [rows].

    Raises:
        ValueError: Fewer than two values of x.
    """
    centred = x - x.mean()
    spread = float(centred @ centred)
    if not spread:
        raise ValueError("a line needs two different values of x")
    found: FloatArray = y @ centred / spread
    found[np.abs(found) < ROUNDING] = 0
    return found


def joint_r2(axes: tuple[FloatArray, FloatArray, FloatArray], cells: FloatArray) -> float | None:
    """Return R2 of y = a + b1 x1 + b2 x2 + b3 x3 over all cells; None where y does not vary.

    In a full grid the b are the slopes of the three margins: its axes are orthogonal.

    Args:
        axes: Values of x along each axis of ``cells``.
        cells: Shape [x1, x2, x3].
    """
    columns = [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]
    design = np.stack([np.ones(cells.size), *columns], axis=1)
    weights, *_ = np.linalg.lstsq(design, cells.ravel(), rcond=None)
    return _r2(cells.ravel(), design @ weights)


def cell_rates(outcomes: Outcomes, weights: FloatArray | None = None) -> FloatArray:
    """Return the weighted fraction extracted in every cell.

    Args:
        outcomes: Of all trainings.
        weights: Shape [replicates, units]; by default one replicate in which all count alike.

    Returns:
        Shape [replicates, sizes, doses, contexts].
    """
    units, sizes, contexts = outcomes.hits.shape
    weights = np.ones((1, units)) if weights is None else weights
    doses = int(outcomes.doses.max()) + 1
    rates = np.empty((len(weights), sizes, doses, contexts))
    for dose in range(doses):
        chosen = outcomes.doses == dose
        own = weights[:, chosen]
        sums = own @ outcomes.hits[chosen].reshape(int(chosen.sum()), sizes * contexts)
        rates[:, :, dose] = (sums / own.sum(axis=1, keepdims=True)).reshape(-1, sizes, contexts)
    return rates


def bootstrap_weights(outcomes: Outcomes, seed: int, replicates: int = REPLICATES) -> FloatArray:
    """Return the weights of resampled passages and seeds, shape [replicates, units].

    A passage has the weight of an exponential variable wherever it was planted (Bayesian bootstrap, Rubin 1981), so
    that no dose is ever left without one. Of m seeds m - 1 are drawn with replacement (Rao & Wu 1988), which makes
    the variance unbiased where m is as small as 2 or 3; a single seed always counts. The weight of a unit is the
    product of both (Owen & Eckles 2012): never too narrow for it, and up to 1.7 times as wide as need be where seeds
    differ in nothing but their passages.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.standard_exponential((replicates, int(outcomes.documents.max()) + 1))
    count = int(outcomes.seeds.max()) + 1
    draws = np.ones((replicates, 1))
    if count > 1:
        draws = rng.multinomial(count - 1, np.full(count, 1 / count), replicates).astype(np.float64)
    weights: FloatArray = drawn[:, outcomes.documents] * draws[:, outcomes.seeds]
    return weights


def percentile_interval(values: FloatArray, confidence: float = 0.95) -> tuple[float, float]:
    """Return the central interval of bootstrap values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _r2(values: FloatArray, fitted: FloatArray) -> float | None:
    deviations = values - values.mean()
    total = float(deviations @ deviations)
    if total <= len(values) * ROUNDING**2:
        return None
    residuals = values - fitted
    return 1 - float(residuals @ residuals) / total
