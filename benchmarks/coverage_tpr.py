"""How often intervals of a true positive rate at a fixed false positive rate cover it: both sides are samples.

Held-out scores are standard normal, those of members are shifted; or all are rounded down to quarters (ties), members
vary more, or both have heavy tails (Student, 3 degrees of freedom). The truth is the share of all members above the
threshold that the stated share of all held-out documents exceeds (at most, where scores are tied). Beside the interval
of `memaudit.metrics.roc.tpr_at` stand the one of Clopper and Pearson of the members alone (what it was), a percentile
bootstrap of both sides, the normal interval of Linnet (1987) with kernel densities on the scale of log odds, and exact
limits of the threshold (order statistics) with exact limits of the members, either at 97.5%.

python benchmarks/coverage_tpr.py [--replicates 1000]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from common import Report
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import binom, gaussian_kde, t

from memaudit.metrics.roc import tpr_at
from memaudit.records import FloatArray
from memaudit.stats import clopper_pearson

LOW, HIGH = 0.93, 0.97
FEW_MEMBERS, FEW_HELDOUT = 10, 30
"""Where fewer members than this pass on average, or fewer held-out documents, intervals are wide: no goal at the upper
end."""
CELLS = [
    (heldout, members, fpr)
    for heldout, rates in ((1000, (0.01, 0.1)), (3000, (0.01, 0.1)), (10_000, (0.001, 0.01, 0.1)))
    for members in (100, 1000)
    for fpr in rates
]
SHIFTS = (0.5, 1.0, 2.0, 3.0)
RESAMPLES = 999
SIDE = 0.975
Limits = tuple[float, float]


def draw(kind: str, rng: np.random.Generator, size: int, shift: float) -> FloatArray:
    if kind == "heavy tails":
        return rng.standard_t(3, size) + shift
    scores = rng.standard_normal(size) * (1.5 if kind == "wider" and shift else 1) + shift
    return np.floor(scores * 4) / 4 if kind == "ties" else scores


def truth(kind: str, shift: float, fpr: float) -> float:
    if kind == "heavy tails":
        return float(t.sf(t.isf(fpr, 3) - shift, 3))
    if kind == "ties":
        ends = np.arange(-40, 40) / 4 + 0.25
        return float(ndtr(shift - ends[np.flatnonzero(ndtr(-ends) <= fpr)[0]]))
    return float(ndtr((shift + ndtri(fpr)) / (1.5 if kind == "wider" else 1)))


def ours(members: FloatArray, heldout: FloatArray, fpr: float) -> Limits:
    rate = tpr_at(members, heldout, fpr)
    assert rate is not None
    return rate.low, rate.high


def of_members(members: FloatArray, heldout: FloatArray, fpr: float) -> Limits:
    rate = tpr_at(members, heldout, fpr)
    assert rate is not None
    found = clopper_pearson(rate.hits, rate.members)
    assert found is not None
    return found.low, found.high


def passing(members: FloatArray, heldout: FloatArray) -> FloatArray:
    """Share of members above every held-out score, the highest first."""
    return 1 - np.searchsorted(np.sort(members), np.sort(heldout)[::-1], side="right") / len(members)


def bootstrap(members: FloatArray, heldout: FloatArray, fpr: float) -> Limits:
    """The order statistic of a resample is an order statistic of the sample, and members above it are binomial."""
    n, allowed = len(heldout), math.floor(len(heldout) * fpr * (1 + 1e-9))
    rng = np.random.default_rng(0)
    place = np.minimum((rng.beta(allowed + 1, n - allowed, RESAMPLES) * n).astype(int), n - 1)
    rates = rng.binomial(len(members), passing(members, heldout)[place]) / len(members)
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(low), float(high)


def linnet(members: FloatArray, heldout: FloatArray, fpr: float) -> Limits:
    m, n = len(members), len(heldout)
    threshold = np.sort(heldout)[::-1][math.floor(n * fpr * (1 + 1e-9))]
    hits = (members > threshold).sum()
    rate = (hits + 0.5) / (m + 1)
    steep = float(gaussian_kde(members)(threshold)[0] / gaussian_kde(heldout)(threshold)[0])
    variance = rate * (1 - rate) / m + steep**2 * fpr * (1 - fpr) / n
    reach = 1.96 * math.sqrt(variance) / (rate * (1 - rate))
    low, high = expit(logit(rate) - reach), expit(logit(rate) + reach)
    return float(low), float(high)


def exact(members: FloatArray, heldout: FloatArray, fpr: float) -> Limits:
    n, m = len(heldout), len(members)
    above = np.concatenate([[0.0], passing(members, heldout), [1.0]])
    first, last = binom.ppf((1 - SIDE) / 2, n, fpr), binom.ppf((1 + SIDE) / 2, n, fpr)
    low = clopper_pearson(round(above[int(first)] * m), m, SIDE)
    high = clopper_pearson(round(above[int(last) + 1] * m), m, SIDE)
    assert low is not None and high is not None
    return low.low, high.high


METHODS: dict[str, Callable[[FloatArray, FloatArray, float], Limits]] = {
    "ours": ours,
    "members alone": of_members,
    "bootstrap": bootstrap,
    "Linnet, kernels": linnet,
    "exact, both": exact,
}


def cell(
    kind: str, size: tuple[int, int, float], shift: float, replicates: int, names: list[str]
) -> dict[str, tuple[float, float]]:
    """Return coverage and mean width by method."""
    heldout, members, fpr = size
    rng, target = np.random.default_rng([heldout, members, int(shift * 10)]), truth(kind, shift, fpr)
    found = {name: np.empty((replicates, 2)) for name in names}
    for i in range(replicates):
        sides = draw(kind, rng, members, shift), draw(kind, rng, heldout, 0.0)
        for name in names:
            found[name][i] = METHODS[name](*sides, fpr)
    return {
        name: (
            float(((limits[:, 0] <= target) & (target <= limits[:, 1])).mean()),
            float(np.ptp(limits, axis=1).mean()),
        )
        for name, limits in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1000)
    given = parser.parse_args()
    report = Report("coverage_tpr")
    # Two standard errors: what chance alone does to one in forty cells.
    slack = 2 * math.sqrt(0.05 * 0.95 / given.replicates)
    for kind in ("normal", "ties", "wider", "heavy tails"):
        cells = CELLS if kind == "normal" else [c for c in CELLS if c[0] == 1000]
        for size in cells:
            for shift in SHIFTS:
                enough = size[1] * truth(kind, shift, size[2]) >= FEW_MEMBERS and size[0] * size[2] >= FEW_HELDOUT
                ((coverage, width),) = cell(kind, size, shift, given.replicates, ["ours"]).values()
                what = f"{kind}, {size[0]:,} held-out, {size[1]:,} members, FPR {size[2]:g}, shift {shift:g}: coverage"
                note = f"TPR {truth(kind, shift, size[2]):.3f}, mean width {width:.3f}"
                report.add(what, coverage, unit="", goal=LOW - slack, note=note)
                if enough:
                    report.add(f"{what}, at most", coverage, unit="", goal=HIGH + slack, at_most=True)
    for size in ((1000, 100, 0.01), (1000, 1000, 0.01), (1000, 1000, 0.1)):
        for kind in ("normal", "ties"):
            for shift in (1.0, 2.0):
                beside = cell(kind, size, shift, given.replicates // 4, list(METHODS))
                for name, (coverage, width) in beside.items():
                    what = f"{name}: {kind}, {size[0]:,}, {size[1]:,}, {size[2]:g}, shift {shift:g}"
                    report.add(
                        what, coverage, unit="", note=f"mean width {width:.3f}, {given.replicates // 4} replicates"
                    )
    report.finish()


if __name__ == "__main__":
    main()
