"""How often intervals over replicate trainings hold the truth: ours, and those of a meta-analysis, on simulated audits.

Windows of documents are hits by logit P = mu + a(training) + b(document), both normal; scores of an AUC are
mu(training) + b(document) + noise. The truth is the mean over all seeds and all documents. Every training is asked the
same documents, as in an audit; that is what a meta-analysis, and Student's t over trainings, do not know of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from common import Report
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri
from scipy.stats import t as student

from memaudit.metrics.roc import auc_covariance
from memaudit.metrics.trainings import auc_over_trainings, rate_over_trainings
from memaudit.stats import clopper_pearson

Array = NDArray[np.float64]
Limits = tuple[float, float]
REPLICATES = 2000
TRAININGS = (3, 5, 10)
RATES = [
    (documents, windows, rate, between)
    for documents, windows, rate, between in product((30, 100, 300), (1, 5), (0.02, 0.1, 0.4), (0.0, 0.3, 1.0))
    if documents * rate >= 2
]
AUCS = [
    (documents, auc, between) for documents, auc, between in product((30, 100, 300), (0.5, 0.65, 0.9), (0.0, 0.1, 0.4))
]
DOCUMENTS_VARY = 1.5
"""Standard deviation of documents on the scale of log odds: within-document correlation of hits about .3."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def normal_mean(function: Callable[[Array], Array], deviation: float) -> float:
    """Return the mean of a function of a normal variable."""
    return float((function(deviation * NODES) * WEIGHTS).sum() / WEIGHTS.sum())


def location(rate: float, deviation: float) -> float:
    """Return the mu at which the mean rate is as wanted."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if normal_mean(lambda x, m=middle: expit(m + x), deviation) < rate else (low, middle)
    return low


def meta(estimates: Array, within: Array, *, knapp: bool) -> Limits:
    """Return the interval of DerSimonian & Laird (1986), by the normal, or as Hartung & Knapp (2001) form it."""
    within = np.maximum(within, 1e-12)
    weights, k = 1 / within, len(estimates)
    fixed = (weights * estimates).sum() / weights.sum()
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    tau2 = max(0.0, ((weights * (estimates - fixed) ** 2).sum() - (k - 1)) / scale)
    weights = 1 / (within + tau2)
    mean = float((weights * estimates).sum() / weights.sum())
    if not knapp:
        reach = 1.96 / np.sqrt(weights.sum())
    else:
        spread = (weights * (estimates - mean) ** 2).sum() / (k - 1) / weights.sum()
        reach = student.ppf(0.975, k - 1) * np.sqrt(spread)
    return mean - float(reach), mean + float(reach)


def seeds_alone(estimates: Array) -> Limits:
    """Return Student's interval over trainings."""
    reach = float(student.ppf(0.975, len(estimates) - 1) * estimates.std(ddof=1) / np.sqrt(len(estimates)))
    return float(estimates.mean()) - reach, float(estimates.mean()) + reach


def hillis(estimates: Array, covariance: Array) -> Limits:
    """Return the interval of Hillis (2014) for one modality: one quantile for the whole variance."""
    k = len(estimates)
    square, own = estimates.var(ddof=1), np.trace(covariance) / k
    shared = max(0.0, float((covariance.sum() - own * k) / (k * (k - 1))))
    variance = square / k + shared
    freedom = (k - 1) * (1 + k * shared / max(square, 1e-12)) ** 2
    reach = float(student.ppf(0.975, freedom) * np.sqrt(variance))
    return float(estimates.mean()) - reach, float(estimates.mean()) + reach


def rate_limits(hits: Array, windows: int) -> Iterator[tuple[str, Limits]]:
    """Yield every interval of a rate; ``hits`` are document means, shape [trainings, documents]."""
    documents = hits.shape[1]
    estimates, within = hits.mean(axis=1), hits.var(axis=1, ddof=1) / documents
    found = rate_over_trainings(hits, documents * windows)
    assert found is not None
    yield "ours", (found.low, found.high)
    alone = clopper_pearson(float(hits.mean()) * documents, documents)
    assert alone is not None
    yield "documents alone", (alone.low, alone.high)
    yield "seeds alone, t", seeds_alone(estimates)
    yield "DerSimonian-Laird", meta(estimates, within, knapp=False)
    yield "Hartung-Knapp", meta(estimates, within, knapp=True)
    yield "Hillis", hillis(estimates, np.cov(hits) / documents)


def auc_limits(members: Array, heldout: Array) -> Iterator[tuple[str, Limits]]:
    """Yield every interval of an AUC."""
    found = auc_over_trainings(members, heldout)
    assert found is not None
    estimates, covariance = auc_covariance(members, heldout)
    yield "ours", (found.low, found.high)
    yield "seeds alone, t", seeds_alone(estimates)
    yield "DerSimonian-Laird", meta(estimates, np.diag(covariance), knapp=False)
    yield "Hartung-Knapp", meta(estimates, np.diag(covariance), knapp=True)
    yield "Hillis", hillis(estimates, covariance)


def coverage(draws: Iterator[Iterator[tuple[str, Limits]]], truth: float) -> dict[str, tuple[float, float]]:
    """Return of each interval how often it held the truth, and its mean width."""
    held: dict[str, list[tuple[bool, float]]] = {}
    for draw in draws:
        for name, (low, high) in draw:
            held.setdefault(name, []).append((low - 1e-12 <= truth <= high + 1e-12, min(1, high) - max(0, low)))
    return {name: tuple(np.mean(values, axis=0)) for name, values in held.items()}  # type: ignore[misc]


def rates(
    trainings: int, documents: int, windows: int, rate: float, between: float, count: int
) -> dict[str, tuple[float, float]]:
    """Return the coverage in one cell of rates."""
    total = float(np.hypot(between, DOCUMENTS_VARY))
    mu, rng = (
        location(rate, total),
        np.random.default_rng([trainings, documents, windows, round(100 * rate), round(10 * between)]),
    )

    def draws() -> Iterator[Iterator[tuple[str, Limits]]]:
        for _ in range(count):
            chances = expit(mu + rng.normal(0, between, (trainings, 1)) + rng.normal(0, DOCUMENTS_VARY, documents))
            yield rate_limits(rng.binomial(windows, chances) / windows, windows)

    return coverage(draws(), rate)


def aucs(trainings: int, documents: int, auc: float, between: float, count: int) -> dict[str, tuple[float, float]]:
    """Return the coverage in one cell of AUCs: documents have a deviation of 1, the noise of a training .5."""
    scale = float(np.sqrt(2 * 1.25))
    shift = float(ndtri(auc) * np.sqrt(scale**2 + between**2))
    truth = normal_mean(lambda x: ndtr((shift + x) / scale), between)
    rng = np.random.default_rng([trainings, documents, round(100 * auc), round(10 * between)])

    def draws() -> Iterator[Iterator[tuple[str, Limits]]]:
        for _ in range(count):
            sides = [rng.normal(0, 1, documents) + rng.normal(0, 0.5, (trainings, documents)) for _ in range(2)]
            yield auc_limits(sides[0] + shift + rng.normal(0, between, (trainings, 1)), sides[1])

    return coverage(draws(), truth)


def simulate(report: Report, count: int = REPLICATES) -> None:
    """Add a row a number of trainings and interval: worst and mean coverage of all cells, and mean width."""
    for trainings in TRAININGS:
        cells = {
            "rate": [rates(trainings, *cell, count) for cell in RATES],
            "AUC": [aucs(trainings, *cell, count // 2) for cell in AUCS],
        }
        for kind, found in cells.items():
            for name in found[0]:
                held = [cell[name][0] for cell in found]
                width = np.mean([cell[name][1] for cell in found])
                place = (RATES if kind == "rate" else AUCS)[int(np.argmin(held))]
                note = f"mean {np.mean(held):.3f}, width {width:.3f}; {len(held)} cells, worst {place}"
                ours = name == "ours"
                report.add(
                    f"{kind}, {trainings} trainings, {name}: worst coverage",
                    min(held),
                    unit="covered",
                    goal=0.92 if ours else None,
                    note=note,
                )
