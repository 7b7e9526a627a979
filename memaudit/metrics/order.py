"""Is a set of texts likelier in the order of its file than in others? (Oren et al. 2023): tests of totals alone.

A model that never saw a set has no order to prefer, where any order of it was as likely to be written to the file.
Then the canonical order is one of many equals, and its place among them has an exact distribution. Scores are higher
for what looks seen, and ties always count against that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from memaudit.records import FloatArray

TIE = 1e-3
"""Totals this near to each other are equal: sums of float32 scores differ by less for no reason."""


class StudentT(NamedTuple):
    """A one-sided t-test of a mean above 0."""

    t: float
    p_value: float


def random_orders(documents: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return uniform random orders of ``documents``, shape [count, documents]."""
    return rng.permuted(np.tile(np.arange(documents), (count, 1)), axis=1)


def order_totals(first: FloatArray, follows: FloatArray, orders: NDArray[np.int64]) -> FloatArray:
    """Return the total of every order, shape [orders].

    Args:
        first: What each document gives at the beginning, shape [documents].
        follows: What document b gives right after document a, in row a and column b.
        orders: Shape [orders, documents].
    """
    totals: FloatArray = first[orders[:, 0]] + follows[orders[:, :-1], orders[:, 1:]].sum(axis=1)
    return totals


def sampled_p(canonical: float, others: ArrayLike) -> float:
    """Return (1 + how many random orders reach the canonical total) / (1 + random orders), which is never 0."""
    totals = np.asarray(others, np.float64)
    return float((1 + (totals >= canonical - TIE).sum()) / (1 + len(totals)))


def canonical_rank(canonical: float, others: ArrayLike) -> int:
    """Return the place of the canonical total among itself and all other orders: 1 is the best, ties count against."""
    return 1 + int((np.asarray(others, np.float64) >= canonical - TIE).sum())


def rank_sum_p(ranks: Sequence[int], orders: int) -> float:
    """Return the probability that independent ranks, uniform on 1 to ``orders``, add up to as little; never 0.

    Exact by convolution: sums of positive terms only, so that small probabilities keep their digits. Those below
    the smallest normal float64 (2e-308) are given as that.

    Args:
        ranks: One a shard, at least one, each in [1, orders].
        orders: Orders of a shard.
    """
    if not ranks or min(ranks) < 1 or max(ranks) > orders:
        raise ValueError(f"ranks must lie in [1, {orders}], and there must be one")
    size = sum(ranks) - len(ranks) + 1
    power, total = np.full(orders, 1 / orders)[:size], np.ones(1)
    # By squaring: the distribution of 2^k ranks, multiplied in where the number of shards has that bit.
    for bit in range(len(ranks).bit_length()):
        power = np.convolve(power, power)[:size] if bit else power
        if len(ranks) >> bit & 1:
            total = np.convolve(total, power)[:size]
    return min(1.0, max(math.fsum(total), float(np.finfo(np.float64).tiny)))


def student_t(differences: ArrayLike) -> StudentT | None:
    """Return Student's one-sided test of a mean above 0; None for fewer than two differences, or all the same.

    Oren et al. use it over shards: canonical total less the mean of the others. The deviation has n - 1 degrees of
    freedom here; with n, as in their script, the test rejects too often.
    """
    values = np.asarray(differences, np.float64)
    if len(values) < 2 or not (deviation := float(values.std(ddof=1))):
        return None
    t = float(values.mean()) / deviation * math.sqrt(len(values))
    return StudentT(t, float(stdtr(len(values) - 1, -t)))
