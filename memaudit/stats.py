"""Exact intervals, permutation tests, multiplicity and power, with the document as the unit.

Windows of one document are not independent of each other, documents are taken to be. So every rate is a
mean over documents, every interval has the number of documents as its sample size, and every test permutes
documents. Undefined values are None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr

from memaudit.records import FloatArray

_CHUNK = 4_000_000
"""Largest number of permuted entries in memory at a time."""


LEAST_HITS = 1e-9
FEWEST_NORMAL = 50
"""Documents a side from which on the rank sum is taken as normal."""
MOST_ENUMERATED = 13
"""Pairs up to which all 2**pairs signs are tried."""


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

    @property
    def effective_hits(self) -> float:
        """Hits when every document counts once: the rate times the documents."""
        return 0.0 if self.rate is None else self.rate * self.documents


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference of two rates with its interval, in [-1, 1]."""

    estimate: float
    low: float
    high: float


def clopper_pearson(hits: float, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the two-sided exact interval of a binomial proportion (Clopper & Pearson 1934).

    Hits that are no whole number (sums of shares) enter the beta quantiles as they are, as Korn & Graubard
    (1998) do for clustered samples.

    Args:
        hits: Number of hits, in [0, n].
        n: Number of trials; None is returned for 0.
        confidence: Coverage, in (0, 1).
    """
    if n == 0:
        return None
    tail = (1 - confidence) / 2
    return Interval(_lower(hits, n, tail), _upper(hits, n, tail))


def lower_bound(hits: float, n: int, confidence: float = 0.95) -> float | None:
    """Return the one-sided exact lower limit of a proportion, or None for n = 0 (arguments as above)."""
    return _lower(hits, n, 1 - confidence) if n else None


def upper_bound(hits: float, n: int, confidence: float = 0.95) -> float | None:
    """Return the one-sided exact upper limit of a proportion, or None for n = 0 (arguments as above)."""
    return _upper(hits, n, 1 - confidence) if n else None


def _lower(hits: float, n: int, tail: float) -> float:
    _check_hits(hits, n)
    # The quantile of far less than one hit is 0 for every purpose, and inaccurate where it is computed.
    return float(betaincinv(hits, n - hits + 1, tail)) if hits > LEAST_HITS else 0.0


def _upper(hits: float, n: int, tail: float) -> float:
    _check_hits(hits, n)
    return float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0


def _check_hits(hits: float, n: int) -> None:
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


def document_rate(
    values: Sequence[bool] | NDArray[np.bool_], documents: Sequence[str], confidence: float = 0.95
) -> Rate:
    """Return the rate of hits among windows that are clustered in documents.

    The rate is the mean of the documents' own rates, the statistic that `permutation_test` compares when it
    permutes document means: a long document weighs no more than a short one. The interval is Clopper-Pearson
    with the documents as the sample. It is exact for one window a document and conservative for several,
    because shares of hits vary less than whole hits do.

    Args:
        values: Whether each window is a hit.
        documents: Name of the document of every window.
        confidence: Coverage of the interval.
    """
    hits = np.asarray(values, dtype=np.bool_)
    shares = document_means(hits, documents)
    total = math.fsum(shares)
    interval = clopper_pearson(total, len(shares), confidence)
    if interval is None:
        return Rate(0, 0, 0, None, None, None)
    rate = total / len(shares)
    return Rate(int(hits.sum()), len(hits), len(shares), rate, interval.low, interval.high)


def difference_interval(train: Rate, heldout: Rate) -> Difference | None:
    """Return the difference train - heldout with its interval, or None where one rate is undefined.

    The limits of the two rates are combined by squaring and adding (Newcombe 1998; MOVER, Zou & Donner 2008):
    low = d - sqrt((p1 - l1)^2 + (u2 - p2)^2), high = d + sqrt((u1 - p1)^2 + (p2 - l2)^2).
    """
    if train.rate is None or train.low is None or train.high is None:
        return None
    if heldout.rate is None or heldout.low is None or heldout.high is None:
        return None
    estimate = train.rate - heldout.rate
    below = math.hypot(train.rate - train.low, heldout.high - heldout.rate)
    above = math.hypot(train.high - train.rate, heldout.rate - heldout.low)
    return Difference(estimate, max(-1.0, estimate - below), min(1.0, estimate + above))


def permutation_test(
    train_values: ArrayLike,
    heldout_values: ArrayLike,
    *,
    seed: int,
    permutations: int = 9999,
    alternative: Literal["greater", "two-sided"] = "greater",
) -> list[float | None]:
    """Test whether train documents have a larger mean than held-out documents.

    All metrics share the same permutations of the documents. p = (k + 1) / (B + 1) with k the permutations
    whose difference of means is at least the observed one; ties count (Phipson & Smyth 2010). Sums are
    formed of whole numbers, so that p depends neither on the order of summation nor on the machine.

    Args:
        train_values: Document means, shape [documents] or [documents, metrics].
        heldout_values: The same for held-out documents.
        seed: Fixes the permutations.
        permutations: B; the smallest possible p is 1 / (B + 1).
        alternative: ``greater``, or ``two-sided`` for a difference of either sign.

    Returns:
        One p-value per metric (a list of one for a single metric); None where one side has no document.
    """
    train, heldout = (_as_table(side) for side in (train_values, heldout_values))
    if not len(train) or not len(heldout):
        return [None] * max(train.shape[1], heldout.shape[1])
    pooled = np.concatenate([train, heldout])
    steps = _whole_numbers(pooled)
    observed = steps[: len(train)].sum(axis=0)
    sums = _permuted_sums(steps, len(train), permutations, np.random.default_rng(seed))
    # Each value was rounded by half a step at most, so truly equal sums differ by at most this much.
    slack = float(len(train))
    if alternative == "two-sided":
        expected = steps.sum(axis=0) * (len(train) / len(pooled))
        slack = 2 * slack + 1
        sums, observed = np.abs(sums - expected), np.abs(observed - expected)
    at_least = (sums >= observed - slack).sum(axis=0)
    return [float((count + 1) / (permutations + 1)) for count in at_least]


def rank_test(members: ArrayLike, heldout: ArrayLike, *, seed: int, permutations: int = 9999) -> float | None:
    """Test whether members score higher than held-out documents: Mann & Whitney (1947), one-sided.

    Where a side has fewer than `FEWEST_NORMAL` documents or scores are tied, documents are permuted and
    p = (k + 1) / (B + 1); else it is the normal approximation with its correction for continuity. Exact where a
    coin decided which documents are members.

    Args:
        members: One finite score a document, higher for what looks seen.
        heldout: The same for held-out documents.
        seed: Fixes the permutations.
        permutations: B.

    Returns:
        The p-value, never 0; None where one side has no document.
    """
    ours, theirs = np.asarray(members, dtype=np.float64), np.asarray(heldout, dtype=np.float64)
    if not len(ours) or not len(theirs):
        return None
    ranks, tied = midranks(np.concatenate([ours, theirs]))
    mine, m, n = ranks[: len(ours)], len(ours), len(theirs)
    if tied or min(m, n) < FEWEST_NORMAL:
        return permutation_test(mine, ranks[m:], seed=seed, permutations=permutations)[0]
    above = float(mine.sum()) - m * (m + 1) / 2 - m * n / 2
    p = float(ndtr(-(above - 0.5) / math.sqrt(m * n * (m + n + 1) / 12)))
    return max(p, float(np.finfo(np.float64).tiny))


def midranks(values: FloatArray) -> tuple[FloatArray, bool]:
    """Return the ranks of finite values from 1, tied ones sharing their mean, and whether any are tied."""
    _check_finite(values)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks, len(counts) < len(values)


def sign_flip_test(differences: ArrayLike, *, seed: int, permutations: int = 9999) -> float | None:
    """Test whether paired differences have a mean above 0, where either sign of each would be as likely.

    Up to `MOST_ENUMERATED` pairs all signs are tried and p is the share of sums that reach the observed one, itself
    among them; for more p = (k + 1) / (B + 1) of random signs. Ties count.

    Args:
        differences: One finite difference a pair.
        seed: Fixes the signs.
        permutations: B.

    Returns:
        The p-value, never 0; None without a pair.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        return None
    steps = _whole_numbers(values)
    # A sum with signs reaches the observed one where the differences whose sign is turned sum to nothing or less.
    # Each was rounded by half a step at most.
    slack = len(values) / 2
    if len(values) <= MOST_ENUMERATED:
        every = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((every @ steps <= slack).mean())
    rng, at_least = np.random.default_rng(seed), 0
    chunk = max(1, _CHUNK // len(values))
    for start in range(0, permutations, chunk):
        rows = min(chunk, permutations - start)
        bits = np.frombuffer(rng.bytes(rows * -(-len(values) // 8)), np.uint8).reshape(rows, -1)
        turned = np.unpackbits(bits, axis=1, count=len(values))
        at_least += int((turned @ steps <= slack).sum())
    return (at_least + 1) / (permutations + 1)


def _whole_numbers(values: FloatArray) -> FloatArray:
    """Return values as whole numbers so small that float64 holds any sum of them exactly, in whatever order added."""
    _check_finite(values)
    resolution = 2.0 ** (52 - len(values).bit_length())
    scale = np.abs(values).max(axis=0)
    steps: FloatArray = np.rint(values / np.where(scale > 0, scale, 1) * resolution)
    return steps


def _check_finite(values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("values must be finite: leave out documents without a value")


def _as_table(values: ArrayLike) -> FloatArray:
    table = np.asarray(values, dtype=np.float64)
    return table[:, None] if table.ndim == 1 else table


def _permuted_sums(values: FloatArray, first: int, permutations: int, rng: np.random.Generator) -> FloatArray:
    """Sum ``first`` rows of ``values`` drawn without replacement, for every permutation: [B, metrics]."""
    chunk = max(1, _CHUNK // len(values))
    sums = np.empty((permutations, values.shape[1]))
    for start in range(0, permutations, chunk):
        chosen = np.zeros((min(chunk, permutations - start), len(values)))
        chosen[:, :first] = 1
        rng.permuted(chosen, axis=1, out=chosen)
        sums[start : start + len(chosen)] = chosen @ values
    return sums


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number so that the family-wise error is kept (Holm 1979)."""
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return [float(p) for p in adjusted]


def documents_needed(limit: float, confidence: float = 0.95) -> int | None:
    """Return how many documents without a hit put the one-sided upper limit below ``limit``.

    299 for a limit of 1%; None for a limit of 0, which no number of documents can show.
    """
    if limit <= 0:
        return None
    if limit >= 1:
        return 1
    needed = max(1, math.floor(math.log1p(-confidence) / math.log1p(-limit)))
    while _upper(0, needed, 1 - confidence) >= limit:
        needed += 1
    return needed


def minimum_detectable_rate(documents: int, limit: float, confidence: float = 0.95, power: float = 0.8) -> float | None:
    """Return the smallest true rate that would be shown to exceed ``limit`` with probability ``power``.

    Shown to exceed means that the one-sided lower limit of the observed rate lies above ``limit``. None
    where even hits in all documents would not show it.
    """
    hits = np.arange(1, documents + 1)
    enough = hits[betaincinv(hits, documents - hits + 1, 1 - confidence) > limit]
    if not len(enough):
        return None
    return float(betaincinv(enough[0], documents - enough[0] + 1, power))


def power_sentence(hits: float, n: int, limit: float, confidence: float = 0.95) -> str:
    """Say in one sentence what this many hits among this many documents can show about a limit.

    >>> power_sentence(0, 100, 0.01)
    '0 of 100: the rate may be up to 3.0%; 299 documents needed for 1%'
    """
    upper = upper_bound(hits, n, confidence)
    needed = documents_needed(limit, confidence)
    stated = f"{limit * 100:.6g}%"
    remedy = f"{needed} documents needed for {stated}" if needed else "no number of documents shows a rate of 0"
    if upper is None:
        return f"0 of 0: nothing is known of the rate; {remedy}"
    sentence = f"{hits:.6g} of {n}: the rate may be up to {percent(upper)}"
    if upper < limit:
        return f"{sentence}, below {stated}"
    return f"{sentence}, above {stated}" if hits else f"{sentence}; {remedy}"


def percent(share: float) -> str:
    """Return a share as a percentage: one decimal, or three significant digits below 1%.

    >>> percent(0.139), percent(0.00994), percent(0.0)
    ('13.9%', '0.994%', '0%')
    """
    points = share * 100
    return f"{points:.1f}%" if points >= 1 else f"{points:.3g}%"
