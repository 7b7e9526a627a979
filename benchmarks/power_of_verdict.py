"""Whether a verdict is given as often as reports state: stated against achieved probabilities of *found*.

Extraction: hits of documents with 1, 5 or 25 windows are drawn one document after the other (each with a rate of its
own, by a beta distribution), and go through `document_rate`, `permutation_test` and `decide` as those of an audit do.
Stated is the rate that would be found with a power of 80%.

Membership: scores of documents and of a null model are drawn from a normal distribution and go through `compare` and
`decide`, which run every test and control on them; the primary detector has the AUC that is stated to be found with a
power of 80%, the others of the family tell nothing. Text alone is taken to tell nothing: `benchmarks/type_one.py` has
how often it seems to. Beside it stands the power of the primary test by itself, which is what reports stated before.

python benchmarks/power_of_verdict.py [--replicates 1500] [--parts rates,areas]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
from common import RESULTS, Report
from scipy.special import ndtr, ndtri

from memaudit.audits.comparison.detection import compare
from memaudit.audits.comparison.nulls import KIND_NULL, NULL_NAME, SUSPECTS_NULL
from memaudit.audits.comparison.power import Design, power_of_design
from memaudit.audits.comparison.verdict import Power, adjusted_by_holm, decide
from memaudit.audits.extraction.controls import reproduced_unseen
from memaudit.audits.extraction.power import Design as RateDesign
from memaudit.audits.extraction.power import power_of as power_by_rate
from memaudit.findings import Control, Policy
from memaudit.findings import decide as decide_rate
from memaudit.stats import Rate, document_rate, permutation_test

WITHIN = 0.03
SIZES = (30, 100, 300, 1000)
LIMIT, ALPHA, DETECTABLE = 0.01, 0.05, 0.6
POWER = 0.8
Nulls = tuple[tuple[str, float], ...]
NULLS: dict[str, Nulls] = {
    "a null model unlike it": ((NULL_NAME, 0.0),),
    "a null model like it": ((NULL_NAME, 0.8),),
    "sides not drawn by lot": ((NULL_NAME, 0.6), (SUSPECTS_NULL, 0.5), (KIND_NULL, 0.1)),
}
"""Null models and how their scores are correlated with those of the model."""
CORRELATIONS = {1: (1.0,), 5: (0.1, 0.5, 1.0), 25: (0.5,)}
"""Of hits within a document, by its windows."""
PERMUTATIONS = {30: 9999, 100: 1999, 300: 499, 1000: 199}
"""By documents a side, at most."""


def hits(rng: np.random.Generator, documents: int, windows: int, rate: float, correlation: float) -> Any:
    """Return whether each window is a hit, shape [documents, windows]."""
    if windows == 1 or correlation == 0:
        own = np.full(documents, rate)
    elif correlation == 1:
        own = (rng.random(documents) < rate).astype(np.float64)
    else:
        total = 1 / correlation - 1
        own = rng.beta(rate * total, (1 - rate) * total, documents)
    return rng.random((documents, windows)) < own[:, None]


def audit(rng: np.random.Generator, documents: int, windows: int, rate: float, correlation: float) -> str:
    """Return the verdict about drawn hits; nothing of the held-out text is recited."""
    names = names_of(documents, windows)
    train = hits(rng, documents, windows, rate, correlation)
    ours, theirs = document_rate(train.ravel(), names), unseen(documents, windows)
    policy = Policy(LIMIT, ALPHA)
    controls = [Control("held-out text was not learnt", not reproduced_unseen(theirs, LIMIT), "")]
    if decide_rate(ours, 0.0, controls, True, policy).verdict != "found":
        return decide_rate(ours, 1.0, controls, True, policy).verdict
    p = p_value(tuple(sorted(train.mean(axis=1).tolist())), windows)
    return decide_rate(ours, p, controls, True, policy).verdict


@lru_cache
def names_of(documents: int, windows: int) -> list[str]:
    return [f"{i:04}" for i in range(documents) for _ in range(windows)]


@lru_cache
def unseen(documents: int, windows: int) -> Rate:
    return document_rate([False] * (documents * windows), names_of(documents, windows))


@lru_cache(maxsize=10_000)
def p_value(shares: tuple[float, ...], windows: int) -> float | None:
    """Return p of training text against as much held-out text without a hit; the order of documents is none."""
    documents = len(shares)
    sizes = np.full(documents, windows)
    # As many as an audit has where p comes close to its level; with more documents the limit decides.
    permutations = next(count for most, count in PERMUTATIONS.items() if documents <= most)
    given = {"seed": 0, "permutations": permutations, "windows": (sizes, sizes)}
    return permutation_test(shares, np.zeros(documents), **given)[0]  # type: ignore[arg-type]


def of_rates(report: Report, replicates: int) -> None:
    """Stated against achieved probabilities where a rate is found with a power of 80%, and of *clean* near no rate."""
    policy = Policy(LIMIT, ALPHA)
    for windows, correlations in CORRELATIONS.items():
        for documents in SIZES:
            for correlation in correlations:
                side = ((windows, documents),)
                rate = power_by_rate(RateDesign(side, side, 0.0, policy, correlation)).minimum_detectable_rate
                assert rate is not None
                rng = np.random.default_rng([windows, documents, int(10 * correlation)])
                many = 4 * replicates if windows == 1 or documents == 100 else replicates
                verdicts = [audit(rng, documents, windows, rate, correlation) for _ in range(many)]
                found = float(np.mean([verdict == "found" for verdict in verdicts]))
                what = f"{documents:,} a side, {windows} windows, correlation {correlation:g}, rate {rate:.4f}"
                gap, note = abs(found - POWER), f"found {found:.3f}, {many:,} replicates"
                report.add(f"{what}: |found - {POWER}|", gap, unit="", goal=WITHIN, at_most=True, note=note)
    low = 0.002
    for documents in (300, 1000):
        side = ((1, documents),)
        points = {point.rate: point for point in power_by_rate(RateDesign(side, side, 0.0, policy)).verdicts}
        rng = np.random.default_rng(documents)
        clean = np.mean([audit(rng, documents, 1, low, 1.0) == "clean" for _ in range(4 * replicates)])
        what = f"{documents:,} documents a side, rate {low:g}: |clean - {points[low].clean:.3f}|"
        report.add(what, abs(clean - points[low].clean), unit="", goal=WITHIN, at_most=True)


def verdict_of_scores(
    rng: np.random.Generator, documents: int, area: float, nulls: Nulls, family: int, power: Power
) -> str:
    """Return the verdict about drawn scores: the first detector has the AUC, the others and the null models have .5."""
    options = {"paired": False, "randomised": True, "seed": 0, "alpha": ALPHA, "detectable": DETECTABLE}
    records = [{"member": i < documents, "document": str(i)} for i in range(2 * documents)]
    blind = {"confounded": False, "features": [{"name": "words", "auc": {"estimate": 0.5, "low": 0.4}}]}
    detections = []
    for number in range(family):
        scores = rng.standard_normal(2 * documents)
        values = {
            name: (r * scores + math.sqrt(1 - r**2) * rng.standard_normal(2 * documents)).tolist() for name, r in nulls
        }
        scores[:documents] += math.sqrt(2) * ndtri(area) if number == 0 else 0.0
        named = {"name": str(number), "label": "", "definition": "", "plan": {"membership": options, "blind": blind}}
        detections.append(compare(records, scores.tolist(), values, **named))
    first = detections[0]
    controls = [control for control in first.controls if not control.name.endswith("(C2)")]
    return decide(detections, adjusted_by_holm(detections), first, controls, power, blind, options)[0]


def of_areas(report: Report, replicates: int) -> None:
    """The same for AUCs, and *no evidence* where there is nothing."""
    for documents in SIZES:
        for name, nulls in NULLS.items():
            of_area(report, documents, name, nulls, replicates if documents < 1000 else replicates // 2)


def of_area(report: Report, documents: int, name: str, nulls: Nulls, replicates: int) -> None:
    """Stated against achieved, for so many documents a side and null models so much like the model."""
    family = 1 if documents < 50 else 3
    design = Design(documents, documents, family, ALPHA, DETECTABLE, nulls, None, 1, True, True)
    power = power_of_design(design)
    area = power.minimum_detectable_auc
    if area is None:
        report.add(f"{documents:,} a side, {name}: AUCs that are found with a power of {POWER}", 0, unit="")
        return
    rng = np.random.default_rng([documents, len(nulls)])

    def share(verdict: str, auc: float) -> float:
        drawn = (verdict_of_scores(rng, documents, auc, nulls, family, power) for _ in range(replicates))
        return Counter(drawn)[verdict] / replicates

    what = f"{documents:,} a side, {name}"
    error = math.sqrt((2 * documents + 1) / 12) / documents
    alone = ndtr((area - 0.5) / error + ndtri(ALPHA / family))
    found = share("found", area)
    note = f"found {found:.3f}; the primary test alone {alone:.3f}"
    report.add(
        f"{what}, AUC {area:.4f}: |found - {POWER}|", abs(found - POWER), unit="", goal=WITHIN, at_most=True, note=note
    )
    if documents >= 300:
        stated, achieved = power.verdicts[0].no_evidence, share("no-evidence", 0.5)
        gap = abs(achieved - stated)
        report.add(f"{what}, AUC 0.5: |no evidence - {stated:.3f}|", gap, unit="", goal=WITHIN, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1500)
    parser.add_argument("--parts", default="rates,areas", help="what to do again; the other figures are kept")
    given = parser.parse_args()
    report = Report("power_of_verdict")
    kept = RESULTS / "power_of_verdict.json"
    known = json.loads(kept.read_text(encoding="utf-8"))["figures"] if kept.exists() else []
    for name, part in (("rates", of_rates), ("areas", of_areas)):
        if name in given.parts.split(","):
            part(report, given.replicates)
        else:
            report.rows += [row for row in known if ("rate " in row["what"]) == (name == "rates")]
    report.finish()


if __name__ == "__main__":
    main()
