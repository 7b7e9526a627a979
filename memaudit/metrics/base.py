"""What a metric is: its name, its meaning, its threshold, and how it is computed of one window.

Another package declares one as an entry point of the group ``memaudit.metric``, under its name::

    # theirs.py; in pyproject.toml: [project.entry-points."memaudit.metric"] same_length = "theirs:SAME_LENGTH"
    from memaudit.metrics.base import Metric, Outcome

    def same_length(outcome: Outcome) -> float:
        return float(len(outcome.text or "") == len(outcome.true_text))

    SAME_LENGTH = Metric("same_length", "Same length", "1 where both texts have as many characters.", same_length)

It is then computed of every window that a model continues, logged, averaged or compared by its threshold, and shown in
tables, pages and JSON beside the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memaudit.records import AnyIds, Capabilities, Capability, TokenIds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model made of one window."""

    true: TokenIds
    """Token ids of the suffix."""
    true_text: str
    matched: int
    """Suffix tokens that greedy decoding gives before its first difference."""
    ranks: NDArray[np.int32] | None = None
    """Of the suffix tokens, shape [n]; 0 means that greedy decoding gives the token once those before it are given.
    None where not every token was scored."""
    log_prob: float | None = None
    """Natural log-probability of the suffix; None if it is zero probability, or if the model gives none."""
    written: TokenIds | None = None
    """What the model wrote, at most as long as the suffix; None where it was not asked to write."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as a report explains it."""

    name: str
    label: str
    definition: str
    """Formula and source."""
    compute: Callable[[Outcome], float | None]
    """The value of one window; None where it is undefined. Of a metric of writing, asked only where there is some."""
    of: Literal["match", "ranks", "writing", "likelihood"] = "writing"
    """What it looks at. How far a window is matched is known of every one; the others are known of a random sample,
    and of every window where a metric of them has a threshold and no ceiling."""
    unit: str = "share"
    low: float | None = 0.0
    """Smallest possible value, or None where there is no such limit."""
    high: float | None = 1.0
    """Largest possible value, or None where there is no such limit."""
    more_is_memorized: bool = True
    """Direction: whether larger values mean more memorization."""
    symmetric: bool | None = True
    """Whether reference and continuation may change places; None for metrics of one sequence."""
    threshold: float | None = None
    """A window is a hit at this value, or None for metrics that are only averaged."""
    threshold_included: bool = True
    averaged: bool = True
    """Whether reports show its mean of either side."""
    ceiling: Callable[[AnyIds, AnyIds], float] | None = None
    """``(true, begun)`` -> the largest value that any continuation can have which begins so and is no longer than the
    suffix. Where it lies below the threshold, nobody has to write on. None: only the whole continuation tells."""
    needs: Capabilities = frozenset((Capability.CONTINUATIONS,))
    """What a model must give for it."""

    def may_hit(self, true: AnyIds, begun: AnyIds) -> bool:
        """Return whether a continuation that begins so can still reach the threshold."""
        return self.ceiling is None or self.hit(self.ceiling(true, begun)) is not False

    def hit(self, value: float | None) -> bool | None:
        """Return whether ``value`` reaches the threshold; None where either is undefined."""
        if value is None or self.threshold is None:
            return None
        return value >= self.threshold if self.threshold_included else value > self.threshold


def written(outcome: Outcome) -> TokenIds:
    """Return what the model wrote, for metrics of writing, which are asked only where it wrote."""
    if outcome.written is None:
        raise ValueError("the model was not asked to write")
    return outcome.written
