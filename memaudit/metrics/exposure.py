"""Exposure: how far ahead of its like a planted secret stands (Carlini et al. 2019, The Secret Sharer).

A secret is drawn from a space R of equally likely ones and planted. A model that learned nothing of it ranks it
anywhere among them; one that memorised it ranks it first. exposure = log2 |R| - log2 rank, in bits: 0 for the
last, log2 |R| for the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Exposure:
    """Exposure of one secret, in bits."""

    bits: float
    limit: float
    """The largest that could have come out: log2 of the candidates compared. At the limit, bits is a lower bound."""
    exact: bool
    """Whether the whole space was compared, not a sample of it."""


def exposure(log_prob: float, others: ArrayLike, space: int) -> Exposure:
    """Return the exposure of a secret by its rank among other candidates of its space.

    Of a sample of m others the rank in the space is estimated by |R| (above + 1) / (m + 1), which leaves
    log2 (m + 1) - log2 (above + 1): the rank among the m + 1, never 0. For a secret that was never planted it is
    uniform, whether all are compared or some.

    Candidates as probable as the secret share their places, each with the mean of log2 over them. So the mean of
    secrets never planted is `expected_exposure` whatever ties there are, and a model that finds all alike exposes
    none beyond it.

    Args:
        log_prob: Log-probability of the secret in its place, of any base; -inf for 0.
        others: Log-probabilities of other candidates in the same place, each at most once, shape [m], m >= 1.
        space: |R|, all equally likely secrets, the true one included.

    Raises:
        ValueError: There are no other candidates, more than the space holds, or a value is NaN.
    """
    values = np.asarray(others, np.float64)
    if not 1 <= len(values) < space:
        raise ValueError(f"{len(values)} other candidates of a space of {space}")
    if math.isnan(log_prob) or np.isnan(values).any():
        raise ValueError("log-probabilities must be numbers")
    above, tied = int((values > log_prob).sum()), int((values == log_prob).sum())
    compared = len(values) + 1
    limit = math.log2(compared)
    return Exposure(limit - _mean_log2(above + 1, above + tied + 1), limit, compared == space)


def expected_exposure(compared: int) -> float:
    """Return the mean exposure of secrets never planted, ranked among so many: log2(e) = 1.44 bits for many."""
    return math.log2(compared) - _mean_log2(1, compared)


def _mean_log2(first: int, last: int) -> float:
    """Return the mean of log2 over whole numbers from ``first`` to ``last``."""
    if first == last:
        return math.log2(first)
    return (math.lgamma(last + 1) - math.lgamma(first)) / math.log(2) / (last - first + 1)
