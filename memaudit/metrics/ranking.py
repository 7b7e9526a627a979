"""How good an order of guesses is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def recall_at_errors(losses: Sequence[float], correct: Sequence[bool], errors: Sequence[int]) -> list[float]:
    """Return the share of guesses that are right when the e-th error is made, for numbers of errors e.

    Guesses are taken from the smallest loss on, ties in the order given. With fewer errors in all, the share is
    that of all right guesses. The measure of the training data extraction benchmark (lm-extraction-benchmark,
    2023), with e = 100.

    Args:
        losses: Confidence of each guess: the smaller, the surer.
        correct: Whether each guess is right.
        errors: Numbers of errors, each at least 1.

    Returns:
        Shares of all guesses in [0, 1], one a number of errors; 0 where there is no guess.
    """
    right = np.asarray(correct, np.bool_)[np.argsort(np.asarray(losses, np.float64), kind="stable")]
    made = np.cumsum(~right)
    return [float(right[made < number].sum() / len(right)) if len(right) else 0.0 for number in errors]
