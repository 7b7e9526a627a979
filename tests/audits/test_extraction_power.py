"""What is stated of the verdict by rate, against audits that are drawn window by window."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from memaudit.audits.extraction.power import (
    POWER,
    RATES,
    Design,
    _p_value,
    _side,
    design_of,
    power_of,
    simulate,
)
from memaudit.findings import Control, Policy, decide
from memaudit.stats import document_rate, document_windows, permutation_test

POLICY = Policy(0.01, 0.05)


def design(train: int, heldout: int, windows: int = 1, **changes: object) -> Design:
    told = Design(((windows, train),), ((windows, heldout),), 0.0, POLICY, correlation=0.5)
    return dataclasses.replace(told, **changes)  # type: ignore[arg-type]


def drawn_side(rng: np.random.Generator, documents: int, windows: int, rate: float) -> tuple[list[bool], list[str]]:
    spread = 1 / 0.5 - 1
    own = rng.beta(rate * spread, (1 - rate) * spread, documents) if windows > 1 else np.full(documents, rate)
    hits = rng.random((documents, windows)) < own[:, None]
    return hits.ravel().tolist(), [f"{i:03}" for i in range(documents) for _ in range(windows)]


@pytest.mark.parametrize(("documents", "windows"), [(30, 1), (60, 1), (40, 5)])
def test_the_stated_rate_is_found_as_often_as_stated(documents: int, windows: int) -> None:
    rate = power_of(design(documents, documents, windows)).minimum_detectable_rate
    assert rate is not None
    rng, found = np.random.default_rng(documents), 0
    for _ in range(300):
        hits, names = drawn_side(rng, documents, windows, rate)
        ours, theirs = np.reshape(hits, (documents, windows)).mean(axis=1), np.zeros(documents)
        sizes = document_windows(names)
        (p,) = permutation_test(ours, theirs, seed=0, permutations=499, windows=(sizes, sizes))
        found += decide(document_rate(hits, names), p, [], True, POLICY).verdict == "found"
    # Three standard errors of 300 replicates, beside the three points that are promised.
    assert abs(found / 300 - POWER) < 0.03 + 0.07


@pytest.mark.parametrize(("train", "heldout", "windows"), [(20, 20, 1), (40, 15, 1), (25, 25, 4)])
def test_the_sooner_p_is_that_of_the_permutation_test(train: int, heldout: int, windows: int) -> None:
    rng = np.random.default_rng(train)
    for rates in ((0.1, 0.0), (0.2, 0.0), (0.3, 0.1), (0.3, 0.3)):
        for _ in range(4):
            shares, counts = [], []
            for documents, rate in ((train, rates[0]), (heldout, rates[1])):
                hits = rng.binomial(windows, rate, documents)
                shares.append(hits / windows)
                counts.append(np.bincount(hits, minlength=windows + 1).astype(np.int64).tobytes())
            sides = [_side(((windows, n),), c) for n, c in zip((train, heldout), counts, strict=True)]
            sizes = tuple(np.full(n, windows) for n in (train, heldout))
            (slow,) = permutation_test(*shares, seed=1, windows=sizes)
            quick = _p_value(*sides, POLICY.alpha)
            assert slow is not None and quick is not None
            # 199 permutations, or a normal tail far from the level: what counts is the side of the level.
            assert abs(quick - slow) < 0.05 + 0.15 * (slow > 0.3)
            assert (quick <= 0.05) == (slow <= 0.05) or abs(slow - 0.05) < 0.03


def test_a_side_has_the_rate_of_its_windows() -> None:
    rng = np.random.default_rng(3)
    names = [f"{i:02}" for i in range(30) for _ in range(1 + i % 3)]
    hits = rng.random(len(names)) < 0.3
    by_document = {name: [bool(h) for n, h in zip(names, hits, strict=True) if n == name] for name in names}
    sizes = design_of(list(zip(names, hits, strict=True)), [], POLICY).train
    counts = [
        np.bincount([sum(own) for own in by_document.values() if len(own) == size], minlength=size + 1)
        for size, _ in sizes
    ]
    rate, expected = _side(sizes, np.concatenate(counts).tobytes()).rate, document_rate(hits, names)
    assert (rate.hits, rate.n, rate.documents) == (expected.hits, expected.n, expected.documents)
    for limit in ("lower", "upper"):
        assert getattr(rate, limit)() == pytest.approx(getattr(expected, limit)())


def test_one_window_a_document_is_a_binomial_matter() -> None:
    """With no held-out hit: hits from which on both the limit and the test reject, summed by hand."""
    from scipy.stats import binom, hypergeom

    enough = next(
        k
        for k in range(1, 61)
        if hypergeom.sf(k - 1, 120, k, 60) <= 0.05
        and (document_rate([True] * k + [False] * (60 - k), names60).lower() or 0) > 0.01
    )
    for rate in (0.05, 0.1, 0.2):
        assert simulate(design(60, 60), rate).found == pytest.approx(binom.sf(enough - 1, 60, rate), abs=0.025)


names60 = [str(i) for i in range(60)]


def test_clean_needs_the_documents_that_it_needs() -> None:
    assert [simulate(design(n, n), 0.0).clean for n in (298, 299)] == [0.0, 1.0]
    assert simulate(design(299, 299, sound=False), 0.0).clean == 0.0
    assert simulate(design(299, 299, heldout_rate=0.05), 0.0).clean < 0.1, "held-out text that is recited is a control"


def test_what_keeps_found_from_being_said_leaves_no_power() -> None:
    for nothing in (design(100, 100, comparable=False), dataclasses.replace(design(100, 1), heldout=()), design(2, 2)):
        power = power_of(nothing)
        assert power.minimum_detectable_rate is None
        assert all(point.found == 0 for point in power.verdicts if point.rate < 0.5)
        assert "no rate would be found" in power.sentence
    assert power_of(dataclasses.replace(design(1, 1), train=())).verdicts == ()


def test_probabilities_grow_with_the_rate_and_are_the_same_again() -> None:
    power = power_of(design(100, 100))
    assert [point.rate for point in power.verdicts] == list(RATES)
    found = [point.found for point in power.verdicts]
    assert all(b >= a - 0.02 for a, b in pairwise(found)) and found[0] == 0 and found[-1] == 1
    power_of.cache_clear()
    assert power_of(design(100, 100)) == power


def test_the_decision_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that never finds has no power: the simulation has none of its own."""
    real = decide

    def never(rate, p, controls, complete, policy):  # type: ignore[no-untyped-def]
        return real(rate, 1.0, [*controls, Control("no", False, "")], complete, policy)

    monkeypatch.setattr("memaudit.audits.extraction.power.decide", never)
    assert simulate(design(300, 300), 0.5).found == 0.0
    assert simulate(design(300, 300), 0.0).clean == 0.0


def test_the_design_of_an_audit_takes_what_it_measured() -> None:
    def side(documents: int, hits: int, part: int) -> list[tuple[str, bool]]:
        return [(f"{i}", i < hits and j < part) for i in range(documents) for j in range(4)]

    throughout = design_of(side(50, 20, 4), side(40, 0, 0), POLICY)
    assert (throughout.train, throughout.heldout) == (((4, 50),), ((4, 40),))
    assert throughout.heldout_rate == 0.0 and throughout.correlation >= 0.9
    assert design_of(side(50, 50, 2), side(40, 40, 2), POLICY).correlation <= 0.1
    assert design_of(side(50, 3, 1), side(40, 0, 0), POLICY).correlation == 1.0, "three hits tell nothing"
    assert design_of(side(50, 0, 0), side(40, 10, 2), POLICY).heldout_rate == 0.125
    assert design_of([("a", True)], [], POLICY).heldout == ()


def test_windows_that_are_alike_find_no_more_than_one() -> None:
    one, many, apart = (
        power_of(dataclasses.replace(design(60, 60, windows), correlation=correlation)).minimum_detectable_rate or 1.0
        for windows, correlation in ((1, 1.0), (8, 1.0), (8, 0.1))
    )
    assert many == pytest.approx(one, rel=0.08) and apart < 0.7 * one
