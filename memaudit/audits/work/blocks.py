"""Blocks of works against blocks of control works: how long they are, and the p that comes of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.work.power import smallest_share
from memaudit.findings import Policy
from memaudit.records import FloatArray
from memaudit.stats.blocks import (
    MOST_LEFT,
    PAGE,
    block_means,
    block_test,
    differ_test,
    left_between_blocks,
    page_means,
    reach_of_dependence,
    series_test,
)

SHORTEST = 4000
"""Tokens that a block has at least: so long a quotation or a licence may be in a work that a model has not seen."""
REACHES = 8
"""Length of a block, in the reach of dependence within control works."""
DIFFER = 0.1
"""Level of the test of control works against each other: it decides what is compared."""
_FEW = 199
"""Permutations of every simulated case."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkHits:
    """Which windows of a work reach the threshold."""

    name: str
    control: bool
    hits: NDArray[np.bool_]
    """Of every window, in the order of the text."""
    stride: int
    """Tokens between the starts of windows."""

    @property
    def tokens(self) -> int:
        """Return how many tokens the windows stand for."""
        return len(self.hits) * self.stride

    def blocks_of(self, length: float) -> int:
        """Return into how many blocks of so many tokens or more it can be cut; at least one."""
        # A length that is that of n blocks of this work makes n, however it was rounded.
        return max(1, min(len(self.hits), math.floor(self.tokens / length * (1 + 1e-12))))


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """Some works against the control works."""

    name: str
    share: float
    """Of all windows."""
    length: float
    """Tokens of a block."""
    ours: list[FloatArray]
    """Blocks of each work."""
    theirs: list[FloatArray]
    p: float | None
    """None where there are too few blocks."""

    @property
    def counts(self) -> list[int]:
        """Return the blocks of both sides."""
        return [sum(map(len, side)) for side in (self.ours, self.theirs)]


def differ(others: Sequence[WorkHits], seed: int) -> bool:
    """Whether control works differ from one another more than their blocks explain."""
    if len(others) < 2:
        return False
    length = _shortest(others)
    blocks = [block_means(work.hits, work.blocks_of(length)) for work in others]
    # In an order of their own: that in which they are given changes nothing.
    blocks.sort(key=lambda values: (len(values), float(values.mean())))
    p = differ_test(blocks, seed=seed)
    return p is not None and p <= DIFFER


def _shortest(others: Sequence[WorkHits]) -> float:
    """Return how many tokens a block has at least.

    Control works alone say how far hits by chance depend on each other: a work that is known in some of its chapters
    depends on its neighbours by being known.
    """
    reach = reach_of_dependence([page_means(work.hits, work.stride) for work in others])
    return float(max(SHORTEST, REACHES * reach * PAGE))


def against_controls(
    asked: Sequence[WorkHits], others: Sequence[WorkHits], policy: Policy, seed: int, *, apart: bool
) -> Tested:
    """Test works against the control works, whose blocks are as long as those of the works."""
    least = _shortest(others)
    length = max(work.tokens / work.blocks_of(least) for work in asked)
    ours, theirs = ([block_means(w.hits, w.blocks_of(length)) for w in side] for side in (asked, others))
    windows = sum(len(work.hits) for work in asked)
    share = sum(int(work.hits.sum()) for work in asked) / windows
    name = asked[0].name if len(asked) == 1 else f"all {len(asked)} works together"
    tested = Tested(name, share, length, ours, theirs, None)
    n, m = tested.counts
    if not m or math.comb(n + m, n) * policy.alpha < 1:
        return tested
    (p,) = _p_values(ours, theirs, seed, apart=apart)
    return dataclasses.replace(tested, p=max(p, float(np.finfo(np.float64).tiny)))


def _p_values(
    ours: Sequence[FloatArray],
    theirs: Sequence[FloatArray],
    seed: int,
    *,
    apart: bool,
    cases: FloatArray | None = None,
    permutations: int = 9999,
) -> list[float]:
    """Return p by blocks, and no less than by works where these differ; of every case, blocks in a column, or of ours.

    Only blocks that were measured say how much neighbours depend on each other.
    """
    correlation = left_between_blocks(ours if cases is None else [], theirs)
    correlation = correlation if cases is None else min(correlation, MOST_LEFT)  # of cases most is on our side
    columns = np.concatenate(ours)[:, None] if cases is None else cases
    fixed = np.repeat(np.concatenate(theirs)[:, None], columns.shape[1], axis=1)
    p = block_test(columns, fixed, correlation=correlation, seed=seed, permutations=permutations)
    if not apart:
        return p
    bounds = np.cumsum([len(blocks) for blocks in ours])[:-1]
    controls = [float(blocks.mean()) for blocks in theirs]
    of_works = [
        series_test([float(part.mean()) for part in np.split(column, bounds)], controls) or 0.0 for column in columns.T
    ]
    return [max(both) for both in zip(p, of_works, strict=True)]


def detectable(tested: Tested, policy: Policy, seed: int, *, apart: bool) -> float | None:
    """Return the smallest share that is found with a probability of .8, where whole blocks are learnt."""
    permutations = max(_FEW, math.ceil(2 / policy.alpha))

    def test(cases: FloatArray) -> list[float]:
        return _p_values(tested.ours, tested.theirs, seed, apart=apart, cases=cases, permutations=permutations)

    least = smallest_share(tested.counts[0], np.concatenate(tested.theirs), test, policy.alpha)
    return None if least is None else max(least, policy.max_rate)


def adjusted(tests: Sequence[Tested]) -> list[float | None]:
    """Return p-values adjusted for the number of tests that there are (Holm 1979)."""
    found = iter(stats.holm([tested.p for tested in tests if tested.p is not None]))
    return [None if tested.p is None else next(found) for tested in tests]
