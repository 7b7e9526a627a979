"""The n-grams that two sequences share, and BLEU from their numbers."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLEU_ORDER = 4


def bleu_of(matches: NDArray[np.int64], reference: int, candidate: int) -> float:
    """Return sentence BLEU, as `memaudit.metrics.fuzzy.bleu` defines it.

    Args:
        matches: n-grams of the candidate that the reference has too, n = 1..`BLEU_ORDER`, shape [4].
        reference: Its length in tokens, at least 1.
        candidate: Its length in tokens, at least 1.
    """
    if not matches[0]:
        return 0.0
    order = min(BLEU_ORDER, candidate)
    smoothed = 1.0
    log_precision = 0.0
    for n in range(order):
        if not matches[n]:
            smoothed /= 2
        log_precision += math.log((matches[n] or smoothed) / (candidate - n))
    brevity = min(0.0, 1 - reference / candidate)
    return math.exp(brevity + log_precision / order)


@njit(cache=True, nogil=True)
def matching_ngrams(reference: NDArray[np.int64], candidate: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Count the n-grams that both sequences have, each as often as both have it, for n = 1..order."""
    # shared[j, i]: how many tokens from candidate[j] and from reference[i] on are the same.
    shared = np.zeros((len(candidate) + 1, len(reference) + 1), dtype=np.int32)
    for j in range(len(candidate) - 1, -1, -1):
        for i in range(len(reference) - 1, -1, -1):
            if reference[i] == candidate[j]:
                shared[j, i] = shared[j + 1, i + 1] + 1
    matches = np.zeros(order, dtype=np.int64)
    for n in range(order):
        taken = np.zeros(len(reference), dtype=np.bool_)
        for j in range(len(candidate)):
            for i in range(len(reference)):
                if shared[j, i] > n and not taken[i]:
                    taken[i] = True
                    matches[n] += 1
                    break
    return matches
