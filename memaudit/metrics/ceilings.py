"""What a continuation can still reach, from the tokens it begins with: where that is too little, nobody writes on.

All take a true suffix of n tokens and the first j of a continuation that ends with at most n (a model may end the text
before). They never rise as tokens are added, and with all n of them they are the value itself.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.metrics.ngrams import BLEU_ORDER, bleu_of, matching_ngrams
from memaudit.metrics.sequences import as_codes
from memaudit.records import AnyIds


def edit_similarity_ceiling(true: AnyIds, begun: AnyIds) -> float:
    """Return the largest edit similarity of a continuation.

    Some alignment of the whole continuation pairs what was begun with ``true[:i]``, at no less than their distance,
    and the rest, at most n - j tokens, with the n - i others, at no less than j - i. So the distance is at least
    min over i of D[j, i] + max(0, j - i), and the longer length is n.
    """
    if not len(true):
        return 0.0
    return 1 - _fewest_edits(as_codes(true), as_codes(begun)) / len(true)


def rouge_l_ceiling(true: AnyIds, begun: AnyIds) -> float:
    """Return the largest ROUGE-L of a continuation.

    A longest common subsequence takes LCS(j, i) tokens from what was begun and ``true[:i]`` and b from the rest of
    both, b <= min(n - j, n - i). The continuation then has at least j + b tokens, and 2 (LCS + b) / (n + j + b) grows
    with b.
    """
    if not len(true):
        return 0.0
    return float(_most_in_common(as_codes(true), as_codes(begun)))


def bleu_ceiling(true: AnyIds, begun: AnyIds) -> float:
    """Return the largest sentence BLEU of a continuation.

    A continuation of m tokens has, of every order, at most the matches of what was begun and one for every n-gram that
    ends in the rest: the reference grants no n-gram more matches than without the rest. An order without any match
    counts as less than one. From `BLEU_ORDER` tokens on all orders count, and another token that matches lowers neither
    a precision, (a + 1) / (b + 1) >= a / b, nor the penalty: of those lengths the longest has the largest BLEU.
    """
    if not len(true):
        return 0.0
    reference, candidate = as_codes(true), as_codes(begun)
    matches = matching_ngrams(reference, candidate, BLEU_ORDER)
    orders = np.arange(1, BLEU_ORDER + 1)
    seen = np.maximum(0, len(begun) - orders + 1)
    lengths = {*range(max(1, len(begun)), min(BLEU_ORDER, len(true))), len(true)}
    return max(bleu_of(matches + np.maximum(0, m - orders + 1) - seen, len(true), m) for m in lengths)


@njit(cache=True, nogil=True)
def _fewest_edits(true: NDArray[np.int64], begun: NDArray[np.int64]) -> int:
    n, j = len(true), len(begun)
    row = np.arange(n + 1)
    for token in begun:
        diagonal, row[0] = row[0], row[0] + 1
        for i in range(n):
            changed = diagonal + (true[i] != token)
            diagonal = row[i + 1]
            row[i + 1] = min(changed, row[i + 1] + 1, row[i] + 1)
    fewest = n + j
    for i in range(n + 1):
        fewest = min(fewest, row[i] + max(0, j - i))
    return fewest


@njit(cache=True, nogil=True)
def _most_in_common(true: NDArray[np.int64], begun: NDArray[np.int64]) -> float:
    n, j = len(true), len(begun)
    row = np.zeros(n + 1, np.int64)
    for token in begun:
        diagonal = 0
        for i in range(n):
            found = diagonal + 1 if true[i] == token else max(row[i], row[i + 1])
            diagonal = row[i + 1]
            row[i + 1] = found
    most = 0.0
    for i in range(n + 1):
        rest = min(n - j, n - i)
        if j + rest > 0:
            most = max(most, 2 * (row[i] + rest) / (n + j + rest))
    return most
