"""The items of a comparison: those on one side of the cutoff that every model has a result of."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.gap.results import Results
from memaudit.metrics.gap import item_differences
from memaudit.records import FloatArray
from memaudit.runs.options import GapOptions


@dataclass(frozen=True, slots=True)
class Compared:
    """The items that every model has a result of."""

    names: list[str]
    """The model, then its controls."""
    scores: FloatArray
    """Shape [1 + controls, items]."""
    old: NDArray[np.bool_]
    years: NDArray[np.int64]
    across: int
    """Items left out because their date may be on either side of the cutoff."""
    missing: int
    """Items left out because a model has no result of them."""

    def sides(self, model: int, against: Sequence[int] = ()) -> tuple[FloatArray, FloatArray]:
        """Return old and new scores of a model, less the mean of others."""
        values = item_differences(self.scores[model], self.scores[list(against)]) if against else self.scores[model]
        return values[self.old], values[~self.old]

    @property
    def others(self) -> range:
        """The places of the controls."""
        return range(1, len(self.names))


def compared(results: Results, options: GapOptions) -> Compared:
    """Return the items that are on one side of the cutoff and that every model has a result of."""
    names = [options["model"], *options["controls"]]
    cutoff = datetime.date.fromisoformat(options["cutoff"])
    kept, across, missing = [], 0, 0
    for item in results.items.values():
        side = item.period.side(cutoff)
        if side is None:
            across += 1
        elif any(name not in item.scores for name in names):
            missing += 1
        else:
            kept.append((side == "old", item.period.first.year, [item.scores[name] for name in names]))
    return Compared(
        names,
        np.array([scores for *_, scores in kept], np.float64).reshape(-1, len(names)).T,
        np.array([old for old, *_ in kept], np.bool_),
        np.array([year for _, year, _ in kept], np.int64),
        across,
        missing,
    )
