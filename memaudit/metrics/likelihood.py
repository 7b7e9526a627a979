"""How probable a model finds a text."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memaudit.records import TokenIds


def bits_per_byte(log_prob: float | None, text: str) -> float | None:
    """Return -log2 p(text) / bytes of the text in UTF-8, comparable between vocabularies.

    Args:
        log_prob: Natural log-probability of the whole text; None for probability 0.
        text: The text that was scored.

    Returns:
        A value of at least 0; None for an empty text or one of probability 0.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if log_prob is None or not math.isfinite(log_prob) or not size:
        return None
    return -log_prob / math.log(2) / size


def mean_log_prob(log_probs: ArrayLike) -> float | None:
    """Return the mean natural log-probability of tokens; None for no token or one of probability 0."""
    values = np.asarray(log_probs, dtype=np.float64)
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None


def unigram_entropy(ids: TokenIds | NDArray[np.int64]) -> float:
    """Return the entropy of the tokens' own frequencies, in nats per token (at least one token).

    No model that looks at single tokens only can score these tokens better (Shannon 1948), so a model that
    does not beat it has learned nothing of their order.
    """
    if not len(ids):
        raise ValueError("the entropy of no tokens is undefined")
    counts = np.unique(ids, return_counts=True)[1]
    return math.log(len(ids)) - float((counts * np.log(counts)).sum()) / len(ids)
