"""Logistic regression with an L2 penalty: what a linear classifier makes of sparse features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from memaudit.records import FloatArray

MAX_STEPS = 200
"""Steps of L-BFGS: bags of words take 20 to 60."""
FLAT = 1e-5
"""Slope of the mean objective from which on its minimum is reached."""


@dataclass(frozen=True, slots=True, eq=False)
class Logistic:
    """A fitted classifier; its decision value is the log odds that a label is true."""

    weights: FloatArray
    """Shape [features]."""
    intercept: float

    def decide(self, features: Any) -> FloatArray:
        """Return the log odds of every row: sparse or dense [rows, features] -> [rows]."""
        odds: FloatArray = features @ self.weights + self.intercept
        return odds


def fit_logistic(features: Any, labels: NDArray[np.bool_], penalty: float = 1.0) -> Logistic:
    """Minimise sum(log(1 + exp(-y z))) + penalty / 2 |weights|^2 over z = features @ weights + intercept, y = +-1.

    The intercept is not penalised. L-BFGS from zero: the objective is convex, so the start does not matter.

    Args:
        features: Sparse array of scipy or dense one, shape [rows, features]; features may be none.
        labels: Shape [rows].
        penalty: Over 0; 1 is the ``C = 1`` of other libraries.

    Raises:
        ValueError: All labels are alike: the intercept would be infinite.
    """
    if labels.all() or not labels.any():
        raise ValueError("a classifier needs rows of both labels")
    signs, rows = np.where(labels, 1.0, -1.0), len(labels)
    turned = features.T

    def mean_loss(at: FloatArray) -> tuple[float, FloatArray]:
        weights = at[:-1]
        margins = signs * (features @ weights + at[-1])
        pulls = -signs * expit(-margins)
        loss = np.logaddexp(0, -margins).sum() + penalty / 2 * (weights @ weights)
        return float(loss) / rows, np.append(turned @ pulls + penalty * weights, pulls.sum()) / rows

    start = np.zeros(features.shape[1] + 1)
    options = {"maxiter": MAX_STEPS, "gtol": FLAT, "ftol": 0.0}
    found = minimize(mean_loss, start, jac=True, method="L-BFGS-B", options=options).x
    return Logistic(found[:-1], float(found[-1]))
