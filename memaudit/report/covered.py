"""What of a work its windows cover, token by token: as a report tells it, by a digit a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.metrics.surface import covered_by, runs_of
from memaudit.runs.options import WorkOptions
from memaudit.runs.work_report import WorkMeasured

Mask = NDArray[np.bool_]
"""Shape [tokens of the work]."""


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens one after the other."""

    start: int
    """From 0."""
    tokens: int

    @property
    def order(self) -> tuple[int, int]:
        """The longest first, and of as long ones the first."""
        return -self.tokens, self.start


class Covered:
    """The tokens of a work, by the windows in whose suffixes they stand."""

    def __init__(self, work: WorkMeasured, options: WorkOptions) -> None:
        self._work = work
        self._suffix = options["suffix"]
        self._suffixes = options["prefix"] + options["stride"] * np.arange(work["windows"])

    def at_least(self, level: int) -> Mask:
        """Return which tokens stand in the suffix of a window whose p_z reaches so many thresholds; 0: of any."""
        return self._of(_digits(self._work["levels"]) >= level)

    @property
    def greedy(self) -> Mask:
        """Which tokens stand in a suffix that greedy decoding gives."""
        return self._of(_digits(self._work["greedy"]) > 0)

    def _of(self, hits: NDArray[np.bool_]) -> Mask:
        return covered_by(self._suffixes[hits], self._suffix, self._work["tokens"])


def _digits(levels: str) -> NDArray[np.int64]:
    return np.frombuffer(levels.encode("ascii"), np.uint8).astype(np.int64) - ord("0")


def level_of(thresholds: list[float], threshold: float) -> int:
    """Return how many thresholds a p_z reaches that is exactly one of them, or lies between two."""
    return sum(known <= threshold for known in thresholds)


def runs(mask: Mask) -> list[Run]:
    """Return the longest stretches of tokens for which a mask holds, the longest first."""
    found = [Run(first, stop - first) for first, stop in runs_of(mask)]
    return sorted(found, key=lambda run: run.order)


def longest(mask: Mask) -> int:
    """Return the tokens of the longest stretch for which a mask holds; 0 where there is none."""
    return max((stop - first for first, stop in runs_of(mask)), default=0)
