"""How probable a hit becomes when a model is asked again and again.

A suffix z that one attempt gives with probability p_z is found at least once in n attempts with probability
1 - (1 - p_z)^n; it is (n, p)-discoverably extractable where that reaches p (Hayes et al. 2024). p_z comes as
its natural logarithm: for fifty tokens it is easily e^-300, and beyond e^-745 it is no float64 any more.
Everything is computed by the log of the hazard, log(-log(1 - p_z)), to which n attempts add log n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, Context, Decimal

import numpy as np
from numpy.typing import ArrayLike

from memaudit.records import FloatArray

THRESHOLDS = (0.001, 0.01, 0.1, 0.5, 0.75)
"""Of p_z, from which a passage counts as extractable (Cooper et al. 2025); the smallest is theirs for any claim."""
SMALL = -40.0
"""Below this log p, p and its hazard are the same float64."""
ROUNDING = 1e-12
"""Relative error of a quotient of logarithms: one so little above a whole number is that number."""
_DIGITS = Context(prec=28)


def hit_probability(log_p: ArrayLike, attempts: Sequence[int]) -> FloatArray:
    """Return the probability of at least one hit, 1 - (1 - p)^n.

    Args:
        log_p: Natural log of the probability p of a hit in one attempt, shape [windows]; -inf for 0.
        attempts: Numbers of independent attempts n, whole numbers of any size, at least 0.

    Returns:
        Shape [windows, attempts], in [0, 1]; not decreasing in p nor in n.
    """
    log_attempts = np.array([math.log(n) if n else -math.inf for n in attempts])
    hazard = np.array([_log_hazard(float(value)) for value in np.asarray(log_p, np.float64).ravel()])
    # A certain hit (+inf) in no attempt (-inf) is no hit; a hazard of e^700 is as certain as any.
    total = np.minimum(hazard, 700.0)[:, None] + log_attempts
    probability: FloatArray = -np.expm1(-np.exp(np.minimum(total, 700.0)))
    return probability


def attempts_needed(log_p: float, probability: float) -> int | None:
    """Return the smallest n with 1 - (1 - p)^n >= probability: ceil(log(1 - probability) / log(1 - p)).

    A quotient within `ROUNDING` above a whole number counts as that number, so that a p of 0.1, which no
    float64 is, needs two attempts for 0.19. Of an n over 10^12 the first 12 digits count.

    Args:
        log_p: Natural log of p, at most 0.
        probability: Wanted probability of a hit, in (0, 1).

    Returns:
        At least 1; None where p is 0 and no number suffices.
    """
    _check_probability(probability)
    if log_p == -math.inf:
        return None
    if log_p >= 0:
        return 1
    log_quotient = math.log(-math.log1p(-probability)) - _log_hazard(log_p)
    quotient = _DIGITS.exp(Decimal(log_quotient + math.log1p(-ROUNDING)))
    return max(1, int(quotient.to_integral_value(ROUND_CEILING)))


def least_log_p(attempts: int, probability: float) -> float:
    """Return the smallest log p that reaches ``probability`` in ``attempts``: log(1 - (1 - probability)^(1/n)).

    A window is (n, p)-discoverable where its log p is at least this, less `ROUNDING`, which is taken off here.
    """
    _check_probability(probability)
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    log_hazard = math.log(-math.log1p(-probability)) - math.log(attempts) + math.log1p(-ROUNDING)
    return log_hazard if log_hazard < SMALL else math.log(-math.expm1(-math.exp(log_hazard)))


def _log_hazard(log_p: float) -> float:
    """Return log(-log(1 - p)), from -inf for p = 0 to inf for p = 1."""
    if not log_p <= 0:
        if math.isnan(log_p) or log_p > 1e-3:
            raise ValueError(f"{log_p} is not the logarithm of a probability")
        return math.inf  # sums of rounded log-probabilities may exceed 0 by a little
    if log_p < SMALL:
        return log_p
    if log_p == 0:
        return math.inf
    # Two forms of log(1 - p), each exact where the other cancels (Maechler 2012).
    log_miss = math.log(-math.expm1(log_p)) if log_p > -math.log(2) else math.log1p(-math.exp(log_p))
    return math.log(-log_miss)


def _check_probability(probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError(f"probability must lie in (0, 1), not {probability}")
