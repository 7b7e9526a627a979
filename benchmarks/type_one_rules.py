"""Rules that a detector may conclude by, ours beside those of published tools, where nothing is there to be found.

Every rule sees the same simulated scores. Rules of others are written from their description: they are what is
computed there, not their code. `type_one.py` runs this and keeps the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri
from scipy.stats import t as student
from scipy.stats import ttest_ind

from memaudit.metrics.gap import gap_test, item_differences
from memaudit.metrics.order import rank_sum_p, student_t
from memaudit.metrics.roc import tpr_at
from memaudit.records import FloatArray
from memaudit.stats import document_means, holm, rank_test, sign_flip_test

Replicate = Callable[[np.random.Generator], float | None]
"""One null replicate by its random numbers: the p-value that is concluded by; None where nothing is said."""
DETECTORS = 6
SHARDS = 10
ORDERS = 24


@dataclass(frozen=True)
class Rule:
    """How a conclusion is drawn."""

    name: str
    p_value: Replicate
    ours: bool = True
    exact: bool = True
    """Whether it must not find less often than its level says, either."""


def alike(rng: np.random.Generator, documents: int, scores: int, correlation: float) -> FloatArray:
    """Return several scores of each document that have something in common, shape [documents, scores]."""
    shared = rng.normal(0, np.sqrt(correlation), (documents, 1))
    return shared + rng.normal(0, np.sqrt(1 - correlation), (documents, scores))


def ranked(rng: np.random.Generator, members: FloatArray, heldout: FloatArray) -> float:
    """Return the p-value of our own test of two sides."""
    p = rank_test(members, heldout, seed=int(rng.integers(2**31)), permutations=999)
    assert p is not None
    return p


def chunks_as_samples(rng: np.random.Generator) -> float:
    members, heldout = (alike(rng, 20, 20, 0.2).ravel() for _ in range(2))
    return float(ttest_ind(members, heldout, alternative="greater").pvalue)


def documents_as_samples(rng: np.random.Generator) -> float:
    names = [f"{i:02}" for i in range(20) for _ in range(20)]
    members, heldout = (document_means(alike(rng, 20, 20, 0.2).ravel(), names) for _ in range(2))
    return ranked(rng, members, heldout)


def order_shards(rng: np.random.Generator) -> FloatArray:
    """Return log-probabilities of all orders of shards, the canonical one first, shape [shards, orders]."""
    return rng.normal(0, 1, (SHARDS, ORDERS))


def order_t_of_population(rng: np.random.Generator) -> float:
    """Student's t with the deviation of a population: n, not n - 1, in its denominator."""
    totals = order_shards(rng)
    lead = totals[:, 0] - totals[:, 1:].mean(axis=1)
    return float(student.sf(lead.mean() / lead.std() * np.sqrt(len(lead)), len(lead) - 1))


def order_t(rng: np.random.Generator) -> float | None:
    totals = order_shards(rng)
    test = student_t(totals[:, 0] - totals[:, 1:].mean(axis=1))
    return None if test is None else test.p_value


def order_ranks(rng: np.random.Generator) -> float:
    totals = order_shards(rng)
    return rank_sum_p([int(rank) for rank in 1 + (totals[:, 1:] >= totals[:, :1]).sum(axis=1)], ORDERS)


def instructed(rng: np.random.Generator, pairs: int = 40) -> tuple[FloatArray, FloatArray]:
    """Return overlaps under the guided and the general instruction, those of one item alike, in [0, 1]."""
    scores = expit(alike(rng, pairs, 2, 0.7))
    return scores[:, 0], scores[:, 1]


def unpaired_bootstrap(rng: np.random.Generator) -> float:
    """Means of both instructions drawn again on their own: how often the guided one is not above."""
    draws = [side[rng.integers(0, len(side), (1000, len(side)))].mean(axis=1) for side in instructed(rng)]
    return float((draws[0] <= draws[1]).mean())


def paired_flips(rng: np.random.Generator) -> float | None:
    guided, general = instructed(rng)
    return sign_flip_test(guided - general, seed=int(rng.integers(2**31)), permutations=999)


def any_size(rng: np.random.Generator) -> float:
    """Return the best of the p-values at sixteen sample sizes, as one who quotes one of them may."""
    members, heldout = rng.normal(size=(2, 1000))
    sizes = np.linspace(10, 1000, 16).astype(int)
    return min(float(ttest_ind(members[:n], heldout[:n], alternative="greater").pvalue) for n in sizes)


def declared_size(rng: np.random.Generator) -> float:
    return ranked(rng, *rng.normal(size=(2, 1000)))


def of_each(rng: np.random.Generator, documents: int, scores: int, correlation: float) -> list[float]:
    """Return the p-value of each of several scores of the same documents."""
    members, heldout = (alike(rng, documents, scores, correlation) for _ in range(2))
    return [ranked(rng, ours, theirs) for ours, theirs in zip(members.T, heldout.T, strict=True)]


def any_detector(rng: np.random.Generator) -> float:
    return min(of_each(rng, 100, DETECTORS, 0.7))


def declared_family(rng: np.random.Generator) -> float:
    return min(holm(of_each(rng, 100, DETECTORS, 0.7)))


def best_setting(rng: np.random.Generator) -> float:
    return min(of_each(rng, 200, 70, 0.81))


def declared_setting(rng: np.random.Generator) -> float:
    return of_each(rng, 200, 70, 0.81)[0]


def rate_of_one_document(rng: np.random.Generator) -> float:
    """True positives at a false positive rate of 0.1% of 200 held-out documents: found where above five times that."""
    members, heldout = rng.normal(size=(2, 200))
    return float((members > np.quantile(heldout, 0.999)).mean() <= 0.005)


def rate_of_enough(rng: np.random.Generator) -> float | None:
    members, heldout = rng.normal(size=(2, 200))
    rate = tpr_at(members, heldout, 0.001)
    return None if rate is None else float(rate.low <= 0.005)


def answered(rng: np.random.Generator, items: int, hard: float) -> tuple[FloatArray, FloatArray]:
    """Return whether a model and a control answer each item: one that is hard for both is seldom answered by either."""
    return tuple((alike(rng, items, 2, 0.5) < hard).astype(np.float64).T)  # type: ignore[return-value]


def harder_items(rng: np.random.Generator) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Return answers to old and to new items: of the new ones both models answer 60%, not 70%."""
    return answered(rng, 400, float(ndtri(0.7))), answered(rng, 400, float(ndtri(0.6)))


def naive_drop(rng: np.random.Generator) -> float:
    (old, _), (new, _) = harder_items(rng)
    return float(ttest_ind(old, new, alternative="greater").pvalue)


def drop_beyond_control(rng: np.random.Generator) -> float | None:
    old, new = (item_differences(model, control[None]) for model, control in harder_items(rng))
    return gap_test(old, new, seed=int(rng.integers(2**31)), permutations=999)


DESIGNS: dict[str, list[Rule]] = {
    "20 documents a side, 20 chunks each, alike by .2": [
        Rule("t-test of chunks", chunks_as_samples, ours=False),
        Rule("rank test of documents", documents_as_samples),
    ],
    "order of 10 shards": [
        Rule("t with ddof = 0", order_t_of_population, ours=False),
        Rule("t with ddof = 1", order_t, exact=False),
        Rule("sum of ranks", order_ranks),
    ],
    "guided and general instruction, pairs alike by .7": [
        Rule("bootstrap as if unpaired", unpaired_bootstrap, ours=False),
        Rule("sign flips of pairs", paired_flips),
    ],
    "up to 1,000 documents a side": [
        Rule("best p of 16 sizes", any_size, ours=False),
        Rule("p of the declared size", declared_size),
    ],
    "6 detectors alike by .7": [
        Rule("any of them", any_detector, ours=False),
        Rule("Holm over the declared", declared_family, exact=False),
    ],
    "70 settings of a score alike by .81": [
        Rule("the best of them", best_setting, ours=False),
        Rule("the declared one", declared_setting),
    ],
    "true positives at 0.1%, 200 held out, above 0.5%": [
        Rule("read off one document", rate_of_one_document, ours=False),
        Rule("not told below 10,000", rate_of_enough, exact=False),
    ],
    "400 old items, 400 new ones that are 10 points harder": [
        Rule("drop of the model", naive_drop, ours=False),
        Rule("drop beyond a control's", drop_beyond_control, exact=False),
    ],
}


def p_values(rule: Rule, replicates: int) -> FloatArray:
    """Return the p-value of each null replicate, 1 where nothing is said; rules of a design see the same data."""
    drawn = (rule.p_value(np.random.default_rng((7, seed))) for seed in range(replicates))
    return np.array([1.0 if p is None else p for p in drawn])
