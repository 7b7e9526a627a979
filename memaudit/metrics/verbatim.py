"""How much of a true continuation is reproduced word for word."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.metrics.base import Metric, written
from memaudit.metrics.sequences import Tokens, as_codes
from memaudit.records import Capability


class CommonSpan(NamedTuple):
    """A run of equal tokens: ``a[start_a:start_a + length] == b[start_b:start_b + length]``."""

    length: int
    start_a: int
    start_b: int


def matched_tokens(ranks: NDArray[np.int32]) -> int:
    """Return how many suffix tokens greedy decoding gives before its first difference.

    Args:
        ranks: Rank of every suffix token, shape [n]; 0 means greedy decoding gives it.
    """
    wrong = np.flatnonzero(ranks)
    return int(wrong[0]) if len(wrong) else len(ranks)


def is_extractable(ranks: NDArray[np.int32]) -> bool:
    """Return whether greedy decoding gives the whole suffix; False for an empty one (ranks as above).

    Source: Carlini et al. 2022, definition 3.1, with k the length of the prefix.
    """
    return len(ranks) > 0 and not np.any(ranks)


def extraction_strength(ranks: NDArray[np.int32]) -> float | None:
    """Return 1 - k / n for the smallest k from which on every token follows greedily (ranks as above).

    Returns:
        A share in [0, 1]; 0 where not even the last token follows, None for an empty suffix.

    Source: after Carlini et al. 2021.
    """
    if not len(ranks):
        return None
    wrong = np.flatnonzero(ranks)
    return 1 - (int(wrong[-1]) + 1) / len(ranks) if len(wrong) else 1.0


def longest_common_run(a: Tokens, b: Tokens) -> CommonSpan:
    """Return the longest run of tokens (or characters) that stands in both sequences.

    Of several equally long runs, the first in ``a``, then the first in ``b``; ``CommonSpan(0, 0, 0)`` if there is
    none. Exact, O(len(a) len(b)) time.
    """
    return CommonSpan(*_longest_common_run(as_codes(a), as_codes(b)))


@njit(cache=True, nogil=True)
def _longest_common_run(a: NDArray[np.int64], b: NDArray[np.int64]) -> tuple[int, int, int]:
    # lengths[j + 1]: length of the run that ends at the current row of a and at b[j].
    lengths = np.zeros(len(b) + 1, dtype=np.int64)
    best, end_a, end_b = 0, 0, 0
    for i in range(len(a)):
        for j in range(len(b) - 1, -1, -1):
            lengths[j + 1] = lengths[j] + 1 if a[i] == b[j] else 0
        for j in range(1, len(b) + 1):
            if lengths[j] > best:
                best, end_a, end_b = lengths[j], i + 1, j
    return best, end_a - best, end_b - best


EXTRACTABLE = Metric(
    "extractable",
    "Verbatim (k-extractable)",
    "Greedy decoding of a prefix of k training tokens gives the whole true suffix, token for token"
    " (Carlini et al. 2022, definition 3.1).",
    lambda outcome: outcome.matched == len(outcome.true) > 0,
    of="match",
    symmetric=None,
    threshold=1.0,
    averaged=False,
)
MATCHED = Metric(
    "matched",
    "Tokens matched before the first difference",
    "Number of suffix tokens that greedy decoding gives before its first wrong one.",
    lambda outcome: outcome.matched,
    of="match",
    unit="tokens",
    high=None,
    symmetric=None,
)
EXTRACTION_STRENGTH = Metric(
    "extraction_strength",
    "Extraction strength",
    "1 - k / n for the smallest k such that the last n - k of n suffix tokens follow greedily once the"
    " first k are given; 0 where not even the last one does (after Carlini et al. 2021).",
    lambda outcome: None if outcome.ranks is None else extraction_strength(outcome.ranks),
    of="ranks",
    symmetric=None,
    needs=frozenset((Capability.LEFT_TO_RIGHT,)),
)
LONGEST_COMMON = Metric(
    "longest_common",
    "Longest common run",
    "Length of the longest run of tokens that occurs in both the continuation and the true suffix."
    " No threshold: how long a telling run is depends on whether tokens are characters or words.",
    lambda outcome: longest_common_run(outcome.true, written(outcome)).length,
    unit="tokens",
    high=None,
)
