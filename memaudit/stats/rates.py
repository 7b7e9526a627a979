"""Rates of hits among windows that are clustered in documents, and their limits.

Windows of one document are not independent of each other, documents are taken to be. So a rate is a mean over
documents, and how much it tells is counted in independent windows: no fewer than documents, no more than windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, stdtrit

from memaudit.records import FloatArray

MIN_HITS = 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a confidence interval, each in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """How often windows are hits, with a two-sided interval at the level asked for."""

    hits: int
    """Windows that are hits."""
    n: int
    """Windows."""
    documents: int
    rate: float | None
    """Mean over documents of the share of their windows that are hits: ``hits / n`` where all documents have
    equally many windows."""
    low: float | None
    high: float | None
    effective_n: float = 0.0
    """Independent windows that would carry as much information about the rate, in [documents, n]."""

    def lower(self, confidence: float = 0.95) -> float | None:
        """Return the one-sided lower limit of the rate, or None where there is no document."""
        return None if self.rate is None else _limits(self.rate, self.effective_n, self.documents, 1 - confidence).low

    def upper(self, confidence: float = 0.95) -> float | None:
        """Return the one-sided upper limit of the rate, or None where there is no document."""
        return None if self.rate is None else _limits(self.rate, self.effective_n, self.documents, 1 - confidence).high


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two rates with its interval, in [-1, 1]."""

    estimate: float
    low: float
    high: float


def clopper_pearson(hits: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Return the two-sided exact interval of a binomial proportion (Clopper & Pearson 1934).

    Numbers that are not whole (an effective size, sums of shares) enter the beta quantiles as they are, as Korn &
    Graubard (1998) do for clustered samples.

    Args:
        hits: Number of hits, in [0, n].
        n: Number of trials; None is returned for 0.
        confidence: Coverage, in (0, 1).
    """
    if n == 0:
        return None
    tail = (1 - confidence) / 2
    return Interval(_lower(hits, n, tail), _upper(hits, n, tail))


def lower_bound(hits: float, n: float, confidence: float = 0.95) -> float | None:
    """Return the one-sided exact lower limit of a proportion, or None for n = 0 (arguments as above)."""
    return _lower(hits, n, 1 - confidence) if n else None


def upper_bound(hits: float, n: float, confidence: float = 0.95) -> float | None:
    """Return the one-sided exact upper limit of a proportion, or None for n = 0 (arguments as above)."""
    return _upper(hits, n, 1 - confidence) if n else None


def _lower(hits: float, n: float, tail: float) -> float:
    _check_hits(hits, n)
    # The quantile of far less than one hit is 0 for every purpose, and inaccurate where it is computed.
    return float(betaincinv(hits, n - hits + 1, tail)) if hits > MIN_HITS else 0.0


def _upper(hits: float, n: float, tail: float) -> float:
    _check_hits(hits, n)
    return float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0


def _check_hits(hits: float, n: float) -> None:
    if not 0 <= hits <= n:
        raise ValueError(f"hits must lie in [0, {n}], not {hits}")


def document_means(values: ArrayLike, documents: Sequence[str]) -> FloatArray:
    """Return the mean of every document's windows, documents in the order of their names.

    Args:
        values: Shape [windows] or [windows, metrics].
        documents: Name of the document of every window.

    Returns:
        Shape [documents] or [documents, metrics].
    """
    table = np.asarray(values, dtype=np.float64)
    if len(table) != len(documents):
        raise ValueError(f"{len(table)} values for {len(documents)} windows")
    names = np.asarray(documents, dtype=object)
    _, place, windows = np.unique(names, return_inverse=True, return_counts=True)
    sums = np.zeros((len(windows), *table.shape[1:]))
    np.add.at(sums, place, table)
    means: FloatArray = (sums.T / windows).T
    return means


def document_windows(documents: Sequence[str]) -> NDArray[np.int64]:
    """Return how many windows each document has, documents in the order of their names.

    Args:
        documents: Name of the document of every window.
    """
    _, windows = np.unique(np.asarray(documents, dtype=object), return_counts=True)
    return windows


def document_rate(
    values: Sequence[bool] | NDArray[np.bool_], documents: Sequence[str], confidence: float = 0.95
) -> Rate:
    """Return the rate of hits among windows that are clustered in documents.

    The rate is the mean of the documents' own rates, the statistic that `permutation_test` compares: a long document
    weighs no more than a short one. For one window a document the interval is Clopper-Pearson's. For several it joins
    two things that are not known (squared and added: MOVER, Zou & Donner 2008), and is never wider than Clopper-Pearson
    with documents as the sample:

    - what the documents that were drawn leave open: Clopper-Pearson with their effective size (Korn & Graubard 1998);
    - what those leave open that were not drawn: where none of n documents is recited throughout, up to
      1 - tail**(1 / n) of all may be, and no window of the others tells.

    Args:
        values: Whether each window is a hit.
        documents: Name of the document of every window.
        confidence: Coverage of the interval.
    """
    hits = np.asarray(values, dtype=np.bool_)
    shares, windows = document_means(hits, documents), document_windows(documents)
    if not len(shares):
        return Rate(0, 0, 0, None, None, None)
    rate, size = math.fsum(shares) / len(shares), effective_size(shares, int(windows.sum()))
    interval = _limits(rate, size, len(shares), (1 - confidence) / 2)
    return Rate(int(hits.sum()), len(hits), len(shares), rate, interval.low, interval.high, size)


def effective_size(shares: FloatArray, windows: int) -> float:
    """Return how many independent windows carry as much information about a rate: Korn & Graubard (1998).

    The size is p (1 - p) / (s^2 / n), s^2 being the variance of n documents' shares of hits, times the square of a
    ratio of quantiles of Student's t, at .975, with windows - 1 and n - 1 degrees of freedom: few documents do not tell
    s^2 well. It is kept in [documents, windows], and is that of documents where all windows are alike, which tells
    nothing of s^2.

    Args:
        shares: Of hits in each document, shape [documents].
        windows: Of all documents.
    """
    documents, mean = len(shares), float(shares.mean())
    spread = float(shares.var(ddof=1)) if documents > 1 else 0.0
    if windows == documents or not 0 < mean < 1 or documents < 2:
        return float(documents)
    if spread == 0:
        return float(windows)
    ratio = float(stdtrit(windows - 1, 0.975) / stdtrit(documents - 1, 0.975))
    return min(max(mean * (1 - mean) * documents / spread * ratio**2, float(documents)), float(windows))


def _limits(rate: float, size: float, documents: int, tail: float) -> Interval:
    """Return both limits of a rate, each of which errs with probability ``tail``: all others come from here."""
    hits, unseen = rate * documents, 1 - tail ** (1 / documents)
    below = rate - _lower(rate * size, size, tail)
    above = _upper(rate * size, size, tail) - rate
    return Interval(
        max(_lower(hits, documents, tail), rate - math.hypot(below, unseen * rate)),
        min(_upper(hits, documents, tail), rate + math.hypot(above, unseen * (1 - rate))),
    )


def difference_interval(train: Rate, heldout: Rate) -> Difference | None:
    """Return the difference train - heldout with its interval, or None where one rate is undefined.

    The limits of the two rates are combined by squaring and adding (Newcombe 1998; MOVER, Zou & Donner 2008):
    low = d - sqrt((p1 - l1)^2 + (u2 - p2)^2), high = d + sqrt((u1 - p1)^2 + (p2 - l2)^2).
    """
    return _combined(train, heldout, 0.0)


def paired_difference(ours: Rate, theirs: Rate, shares: FloatArray) -> Difference | None:
    """Return the difference ours - theirs of two rates of the same windows, or None where there is no document.

    As `difference_interval`, with the correlation r of both over documents (Newcombe 1998b, method 10: Stat. Med. 17,
    2635-2650): low = d - sqrt(a^2 + b^2 - 2 r a b) for the distances a, b to the limits that are combined. A positive
    covariance is made smaller by 1 / (2 documents), and no less than 0, as there.

    Args:
        ours: Rate of hits of one model.
        theirs: Of another, of the same windows.
        shares: Share of the windows of every document that are hits of each, shape [documents, 2].
    """
    if not len(shares):
        return None
    centred = shares - shares.mean(axis=0)
    covariance = float((centred[:, 0] * centred[:, 1]).mean())
    if covariance > 0:
        covariance = max(0.0, covariance - 0.5 / len(shares))
    spread = float(np.prod(centred.std(axis=0)))
    return _combined(ours, theirs, covariance / spread if spread else 0.0)


def _combined(ours: Rate, theirs: Rate, correlation: float) -> Difference | None:
    if ours.rate is None or ours.low is None or ours.high is None:
        return None
    if theirs.rate is None or theirs.low is None or theirs.high is None:
        return None
    estimate = ours.rate - theirs.rate
    below = _distance(ours.rate - ours.low, theirs.high - theirs.rate, correlation)
    above = _distance(ours.high - ours.rate, theirs.rate - theirs.low, correlation)
    return Difference(estimate, max(-1.0, estimate - below), min(1.0, estimate + above))


def _distance(one: float, other: float, correlation: float) -> float:
    if not correlation:
        return math.hypot(one, other)
    return math.sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))
