"""How often an audit would end in *found* or in *clean*, by the rate at which training text is reproduced.

Simulated is the whole decision: hits of both sides are drawn, their limits are computed, the sides are permuted, the
control of the held-out text is run on what was drawn, and `memaudit.findings.decide` gives the verdict. The other
controls are taken as they came out. Held-out text is reproduced as often as it was; the number of hits of a document is
beta-binomial (Skellam 1948), with the correlation that hits of one document have in the run. Where too few documents
have any, documents are reproduced throughout or not at all: then several windows find no more than one does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr, ndtri

from memaudit.audits.extraction.controls import UNSEEN, reproduced_unseen
from memaudit.findings import Control, Policy, decide
from memaudit.records import FloatArray
from memaudit.stats import Rate, document_means, document_windows
from memaudit.stats.rates import effective_size
from memaudit.stats.rounding import percent, stated
from memaudit.stats.two_sides import NEAR, Moments, beta_binomial, draw_statistics, same_windows, share_as_large

POWER = 0.8
MIN_TOLD = 10
"""Documents with a hit from which on they show how alike the hits of one document are."""
RATES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""True rates for which a report states the probabilities."""
REPLICATES = 4000
FEWER, FEWEST = (500, 1500), (200, 400)
"""Of documents with several windows, and of those where the sides must be permuted as well: for the probabilities that
are shown, and for the rate that is found with a power of .8, which rests on several such numbers."""
MANY, LEAST = 4000, 100
"""Documents of both sides from which on there are fewer replicates, and how many there are at least."""
_SEED = 20_262
_STEPS = 5
"""Halvings of the range in which the smallest rate lies."""
_AROUND = (0.5, 0.97)
_PERMUTATIONS = 199
_CERTAIN = (-1.0, 2.0)
"""How far below or above the quantile of its level Welch's t needs no permutations."""
_Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Design:
    """All that the probabilities of the verdict depend on, beside the rate of the training text."""

    train: tuple[tuple[int, int], ...]
    """Windows of a document, and how many documents have so many."""
    heldout: tuple[tuple[int, int], ...]
    heldout_rate: float
    policy: Policy
    correlation: float = 1.0
    """Of hits within a document, in [0, 1]."""
    comparable: bool = True
    """Whether the controls passed without which the sides cannot be compared."""
    sound: bool = True
    """Whether every control passed that does not depend on the hits that are drawn."""


@dataclass(frozen=True, slots=True)
class RatePower:
    """How likely the verdicts are where training text is reproduced at a rate."""

    rate: float
    found: float
    clean: float


@dataclass(frozen=True, slots=True)
class VerdictPower:
    """What the verdict would be, by the true rate."""

    minimum_detectable_rate: float | None
    """The smallest that is found with a probability of `POWER`; None where there is none."""
    verdicts: tuple[RatePower, ...]
    sentence: str
    about: str
    """What the probabilities are of, and what they assume."""


def design_of(
    train: Sequence[tuple[str, bool]],
    heldout: Sequence[tuple[str, bool]],
    policy: Policy,
    *,
    comparable: bool = True,
    sound: bool = True,
) -> Design:
    """Return the design of an audit.

    Args:
        train: The document of every window, and whether it is a hit.
        heldout: The same of the other side.
        policy: What is tolerated.
        comparable: See `Design`, as of ``sound``.
        sound: See there.
    """
    sides = [_by_document(side) for side in (train, heldout)]
    shares, sizes = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    correlation = 1.0
    if np.count_nonzero(shares) >= MIN_TOLD and sizes.max() > 1:
        # One decimal: the next document must not change all figures of a report.
        correlation = round(float(Moments.of_hits(shares[:, None], sizes, len(sides[0][0])).correlation[0]), 1)
    rate = float(sides[1][0].mean()) if len(sides[1][0]) else 0.0
    kinds = [
        tuple(zip(*(part.tolist() for part in np.unique(windows, return_counts=True)), strict=True))
        for _, windows in sides
    ]
    return Design(kinds[0], kinds[1], round(rate, 4), policy, correlation, comparable, sound)


def _by_document(windows: Sequence[tuple[str, bool]]) -> tuple[FloatArray, _Counts]:
    """Return the share of hits and the number of windows of every document."""
    names = [name for name, _ in windows]
    if not names:
        return np.empty(0), np.empty(0, np.int64)
    return document_means([hit for _, hit in windows], names), document_windows(names)


@lru_cache(maxsize=64)
def power_of(design: Design) -> VerdictPower:
    """Return the probabilities of the verdicts under a design: the same for the same design."""
    verdicts: list[RatePower] = []
    for rate in RATES if design.train else ():
        sure = bool(verdicts) and verdicts[-1].found == 1
        verdicts.append(RatePower(rate, 1.0, 0.0) if sure else simulate(design, rate))
    least = _least(design, verdicts)
    if least is None:
        sentence = f"no rate would be found with a power of {stated(POWER)}"
    else:
        sentence = f"a true rate of {percent(least)} would be found with a power of {stated(POWER)}"
    if verdicts:
        sentence += f"; a rate of 0 would be called clean with {percent(verdicts[0].clean)}"
    several = any(windows > 1 for windows, _ in (*design.train, *design.heldout))
    about = "How often this verdict would be given with this many documents, by the rate at which training text is"
    about += f" reproduced; held-out text at {percent(design.heldout_rate)}, as observed"
    about += f", hits of one document correlated by {design.correlation:g}" if several else ""
    return VerdictPower(least, tuple(verdicts), sentence, about)


def _least(design: Design, verdicts: Sequence[RatePower]) -> float | None:
    """Return the rate that is found with probability `POWER`: on a line of probits over the logarithm of rates.

    The line goes through rates that were simulated close to it, so that one outcome by chance does not decide.
    """
    known = [point for point in verdicts if point.rate > 0]
    if known and known[-1].found < POWER:
        known.append(simulate(design, 1.0))
    above = next((i for i, point in enumerate(known) if point.found >= POWER), None)
    if above is None:
        return None
    if above == 0:
        return known[0].rate
    low, high = known[above - 1], known[above]
    near: list[RatePower] = []
    for _ in range(_STEPS):
        middle = simulate(design, math.sqrt(low.rate * high.rate), more=True)
        near += [middle] if _AROUND[0] < middle.found < _AROUND[1] else []
        low, high = (low, middle) if middle.found >= POWER else (middle, high)
    if len({point.rate for point in near}) < 2:
        return high.rate
    slope, level = np.polyfit([math.log(p.rate) for p in near], [float(ndtri(p.found)) for p in near], 1)
    least = math.exp((float(ndtri(POWER)) - level) / slope) if slope > 0 else high.rate
    return min(max(least, low.rate / 2), high.rate * 2, 1.0)


def simulate(design: Design, rate: float, *, more: bool = False, seed: int = _SEED) -> RatePower:
    """Return how often each verdict is given where training text is reproduced at this rate.

    Args:
        design: Of the audit.
        rate: In [0, 1].
        more: Whether to draw more of what takes long.
        seed: Fixes what is drawn.
    """
    rng = np.random.default_rng(seed)
    sizes = {windows for windows, _ in (*design.train, *design.heldout)}
    alike = len(sizes) == 1 and not design.heldout_rate
    # Few different outcomes are soon gone through.
    few = sizes == {1} or (alike and design.correlation == 1)
    replicates = REPLICATES if few else (FEWER if alike else FEWEST)[more]
    # With many documents the probability of *found* rises so steeply that few replicates tell the rate as well.
    documents = sum(count for side in (design.train, design.heldout) for _, count in side)
    replicates = max(LEAST, replicates * MANY // max(documents, MANY))
    drawn = [
        _draw(rng, side, share, design.correlation, replicates)
        for side, share in ((design.train, rate), (design.heldout, design.heldout_rate))
    ]
    cases, times = np.unique(np.concatenate(drawn, axis=1), axis=0, return_counts=True)
    width = drawn[0].shape[1]
    verdicts = np.array([_verdict(design, case[:width], case[width:]) for case in cases])
    found, clean = (float(times[verdicts == verdict].sum() / replicates) for verdict in ("found", "clean"))
    return RatePower(rate, found, clean)


def _draw(
    rng: np.random.Generator, side: tuple[tuple[int, int], ...], rate: float, correlation: float, replicates: int
) -> _Counts:
    """Return how many documents of each size have how many hits: shape [replicates, sum of (windows + 1)]."""
    parts = [np.empty((replicates, 0), np.int64)]
    for windows, documents in side:
        chances = np.zeros(windows + 1)
        chances[0], chances[-1] = 1 - rate, rate
        if windows > 1 and correlation < 1 and 0 < rate < 1:
            chances = beta_binomial(windows, rate, correlation)
        parts.append(rng.multinomial(documents, chances, size=replicates))
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Documents with the hits that were drawn for them."""

    shares: FloatArray
    windows: _Counts
    rate: Rate


@lru_cache(maxsize=16)
def _side(sizes: tuple[tuple[int, int], ...], counts: bytes) -> _Side:
    """Return the documents of a side; the rate is that which `memaudit.stats.document_rate` makes of their windows.

    Args:
        sizes: Windows of a document, and how many documents have so many.
        counts: int64: of every size in turn, how many documents have 0, 1, 2 and so on hits.
    """
    own = [size for size, _ in sizes for _ in range(size + 1)]
    hits = [hits for size, _ in sizes for hits in range(size + 1)]
    counted = np.frombuffer(counts, np.int64)
    windows = np.repeat(np.array(own, np.int64), counted)
    if not len(windows):
        return _Side(np.empty(0), windows, Rate(0, 0, 0, None, None, None))
    shares, n = np.repeat(np.array(hits) / np.array(own), counted), int(windows.sum())
    mean, size = math.fsum(shares) / len(shares), effective_size(shares, n)
    return _Side(shares, windows, Rate(int(counted @ hits), n, len(shares), mean, None, None, size))


def _verdict(design: Design, train: _Counts, heldout: _Counts) -> str:
    """Return what `decide` says of drawn hits; the sides are permuted only where that can matter."""
    ours, theirs = _side(design.train, train.tobytes()), _side(design.heldout, heldout.tobytes())
    controls = [
        Control("sides", design.comparable, "", comparison=True),
        Control("others", design.sound, ""),
        Control(UNSEEN, not reproduced_unseen(theirs.rate, design.policy.max_rate), ""),
    ]
    verdict = decide(ours.rate, 0.0 if theirs.rate.documents else None, controls, True, design.policy).verdict
    if verdict != "found":
        return verdict
    return decide(ours.rate, _p_value(ours, theirs, design.policy.alpha), controls, True, design.policy).verdict


def _p_value(ours: _Side, theirs: _Side, alpha: float, seed: int = _SEED) -> float | None:
    """Return the p-value of `memaudit.stats.permutation_test`, sooner.

    Where hits are those of whole documents it is a tail of the hypergeometric distribution, whatever the statistic is
    that grows with the hits of the training text: so it is for one window a document, and where no held-out document
    has a hit and all have equally many windows. Else the same statistic is computed, of permutations that are drawn as
    numbers of like documents, for documents of the same windows and hits change places with no effect; where the
    statistic is far from the quantile of its level, its normal distribution decides.
    """
    train, heldout = len(ours.shares), len(theirs.shares)
    if not train or not heldout:
        return None
    sizes = np.concatenate([ours.windows, theirs.windows])
    if sizes.max() == 1 or (sizes.min() == sizes.max() and not theirs.rate.hits):
        return _tail(train, heldout, *(int(np.count_nonzero(side.shares)) for side in (ours, theirs)))
    values = np.concatenate([ours.shares, theirs.shares])
    moments = Moments.of_hits(values[:, None], sizes, train)
    # A share is at most 1: no two kinds of documents have the same sum.
    kinds = np.unique(sizes + values / 2, return_index=True, return_inverse=True, return_counts=True)
    rows, place, counts = moments.table[kinds[1]], kinds[2], kinds[3]
    total = counts @ rows
    observed = np.bincount(place[:train], minlength=len(rows))[None] @ rows
    t = moments.welch(observed, total - observed)
    if not _CERTAIN[0] < t[0, 0] + ndtri(alpha) < _CERTAIN[1]:
        return float(ndtr(-t[0, 0]))
    rng = np.random.default_rng(seed)
    permuted = rng.multivariate_hypergeometric(counts, train, size=_PERMUTATIONS, method="marginals") @ rows
    p = share_as_large(np.concatenate([t, moments.welch(permuted, total - permuted)]), "greater")
    both = [ours.windows, theirs.windows]
    if not same_windows(*both):
        drawn = np.append(t[0], draw_statistics(moments, both, _PERMUTATIONS, rng))[:, None]
        p = np.maximum(p, share_as_large(drawn, "greater", NEAR))
    return float(p[0])


def _tail(train: int, heldout: int, ours: int, theirs: int) -> float:
    """Return the probability that so many or more of all documents with a hit fall on the training side."""
    hit, least = ours + theirs, max(0, ours + theirs - heldout)
    k = np.arange(least, min(hit, train) + 1)
    p = np.exp(_ways(hit, k) + _ways(train + heldout - hit, train - k) - _ways(train + heldout, np.array(train)))
    return float(p[k >= ours].sum())


def _ways(n: int, k: _Counts) -> FloatArray:
    ways: FloatArray = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return ways
