"""How much of a work must have been learnt for the test to find it, with blocks like those of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from memaudit.records import FloatArray

POWER = 0.8
_SEED = 20_264
_DRAWS = 200
_STEPS = 7
"""Halvings of the range of shares: the answer is known to less than one point."""
Test = Callable[[FloatArray], Sequence[float]]
"""One p for every column of blocks of a work, shape [blocks, cases]."""


def smallest_share(blocks: int, others: FloatArray, test: Test, alpha: float) -> float | None:
    """Return the smallest share of a work that is found with a probability of `POWER`; None where none is.

    Blocks of the work are drawn from those of the control works; each is learnt as a whole with the probability that is
    looked for. Text that is learnt in many short passages is found sooner.

    Args:
        blocks: Of the work.
        others: Means of the blocks of the control works.
        test: The test against these.
        alpha: Its level.
    """
    rng = np.random.default_rng(_SEED)
    unseen = rng.choice(np.sort(others), size=(blocks, _DRAWS))
    lot = rng.random((blocks, _DRAWS))

    def power(share: float) -> float:
        return float(np.mean(np.array(test(np.where(lot < share, 1.0, unseen))) <= alpha))

    if power(1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
