"""The null models of a membership run, by name, and what a score must show beside each: the control C2.

A null model saw neither side. One that tells the sides apart all the same, or as well as the model does, explains what
the model shows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memaudit.records import FloatArray

CONFOUNDED = 0.55
"""An AUC that text alone, or a model that saw nothing, may reach: its lower 95% limit must not lie above."""
NULL_NAME = "n-gram, cross-fitted"
SUSPECTS_NULL = "n-gram of the suspects, cross-fitted"
"""A null model that knows the suspects' kind of text and not the document: it fits them better wherever part of the
held-out side is of another author, as a model does that has read more by theirs."""
KIND_NULL = "characters of either side"
"""No model at all: see `memaudit.audits.comparison.kind`."""
OF_TEXT = (SUSPECTS_NULL, KIND_NULL)
ABOVE_SUSPECTS = 0.01
"""Level at which the model must be above the n-gram of the suspects: with any of several detectors, .05 let a tenth of
foreign text through in 6 to 8% of runs."""
TEXT_LEVEL, FAR_ABOVE = 0.1, 0.001
"""Where one of these separates the sides at the first, the model must be above it at the second."""


def passes_null(
    model: str, low: float | FloatArray, lift: float | FloatArray, own: float | FloatArray, alpha: float
) -> NDArray[np.bool_]:
    """Return whether a score passes the control C2 beside one null model; of numbers, or of arrays of them.

    Args:
        model: Name of the null model.
        low: Lower 95% limit of its AUC.
        lift: p-value of the model's AUC against it.
        own: p-value of its own test of the sides; looked at of those `OF_TEXT` alone.
        alpha: Level of the run.
    """
    level = min(alpha, ABOVE_SUSPECTS) if model == SUSPECTS_NULL else alpha
    passed = np.asarray(low) <= CONFOUNDED
    if model != KIND_NULL:
        passed = passed & (np.asarray(lift) <= level)
    if model in OF_TEXT:
        # Three tenths of foreign text make an AUC of .65 at most: an interval above .55 comes too late.
        passed = passed & ((np.asarray(own) > TEXT_LEVEL) | (np.asarray(lift) <= FAR_ABOVE))
    return passed
