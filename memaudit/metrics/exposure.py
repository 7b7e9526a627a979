"""Exposure: how far ahead of its like a planted secret stands (Carlini et al. 2019, The Secret Sharer).

A secret is drawn from a space R of equally likely ones and planted. A model that learned nothing of it ranks it
anywhere among them; one that memorised it ranks it first. exposure = log2 |R| - log2 rank, in bits: 0 for the
last, log2 |R| for the first. Among a sample of R the rank says no more than log2 of the sample; beyond it the paper
fits a distribution to the log-perplexities of the sample and reads the exposure off its tail: `fitted_exposure`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kstest, skewnorm

NOT_SKEW_NORMAL = "the candidates are not skew-normal (Kolmogorov-Smirnov)"
WHOLE_SPACE = "the whole space was compared"
MIN_FITTED = 100
"""Candidates: three parameters of fewer leave the far tail to chance."""
LARGEST_DISTANCE = 0.85
"""Kolmogorov-Smirnov distance times the root of the candidates, above which the fit is rejected at about .05. The table
of a known distribution (1.36) would be far too kind to one that was fitted to the same values; this is from simulation
with three fitted parameters (2 to 6% of samples of 255 are rejected, by their shape)."""
STEEPEST = 5.0
"""Shape of a fit above which its tail towards low perplexity ends at once: all secrets below it would look alike."""


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


@dataclass(frozen=True, slots=True)
class FittedExposure:
    """Exposure by a skew-normal distribution of log-perplexity."""

    bits: float | None
    """In [0, log2 |R|]; None where the fit is not to be trusted."""
    reason: str
    """Why not; empty where bits is given."""
    distance: float | None
    """Kolmogorov-Smirnov distance of candidates and fit, in [0, 1]."""


def fitted_exposure(log_prob: float, others: ArrayLike, space: int) -> FittedExposure:
    """Return the exposure that the distribution of other candidates gives (Carlini et al. 2019, section 4.3).

    exposure = -log2 P(X <= x), x = -log2 p of the secret and X skew-normal (O'Hagan & Leonard 1976), fitted by maximum
    likelihood to -log2 p of the candidates. The rank that it estimates is 1 at least, so the exposure is log2 |R| at
    most. It is an extrapolation: that the fit holds where candidates lie is checked, by their Kolmogorov-Smirnov
    distance, and that it holds in the tail is not.

    Args:
        log_prob: Natural log-probability of the secret in its place.
        others: Those of other candidates in the same place, shape [m].
        space: |R|, all equally likely secrets.

    Raises:
        ValueError: A value is NaN.
    """
    values = -np.asarray(others, np.float64) / math.log(2)
    if math.isnan(log_prob) or np.isnan(values).any():
        raise ValueError("log-probabilities must be numbers")
    if len(values) + 1 >= space:
        return FittedExposure(None, WHOLE_SPACE, None)
    if len(values) < MIN_FITTED:
        return FittedExposure(None, f"fewer than {MIN_FITTED} candidates", None)
    if not np.isfinite(values).all() or not math.isfinite(log_prob):
        return FittedExposure(None, "a candidate has probability 0", None)
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        return FittedExposure(None, "all candidates are alike", None)
    shape, place, scale = skewnorm.fit(values)
    distance = float(kstest(values, skewnorm(shape, place, scale).cdf).statistic)
    if not distance * math.sqrt(len(values)) <= LARGEST_DISTANCE:
        return FittedExposure(None, NOT_SKEW_NORMAL, distance)
    if shape > STEEPEST:
        return FittedExposure(None, "the fitted distribution ends right below the candidates", distance)
    bits = -float(skewnorm.logcdf(-log_prob / math.log(2), shape, place, scale)) / math.log(2)
    return FittedExposure(min(max(bits, 0.0), math.log2(space)), "", distance)


def expected_exposure(compared: int) -> float:
    """Return the mean exposure of secrets never planted, ranked among so many: log2(e) = 1.44 bits for many."""
    return math.log2(compared) - _mean_log2(1, compared)


def _mean_log2(first: int, last: int) -> float:
    """Return the mean of log2 over whole numbers from ``first`` to ``last``."""
    if first == last:
        return math.log2(first)
    return (math.lgamma(last + 1) - math.lgamma(first)) / math.log(2) / (last - first + 1)
