"""How probable a model finds a text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from memaudit.records import TokenIds

MOST_NATS = 709.0
"""Above this exp leaves the range of floats."""


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


@dataclass(frozen=True, slots=True)
class PerplexityRatio:
    """Perplexity of held-out text over that of training text, with its interval; above 1: training text is known."""

    estimate: float
    low: float
    high: float


def perplexity(mean_log_probs: ArrayLike) -> float | None:
    """Return exp(-mean) of natural log-probabilities per token, one a document; None for no document.

    With pseudo-log-likelihoods the pseudo-perplexity of Salazar et al. 2020. At least 1; inf where a mean is too low.
    """
    mean = mean_log_prob(mean_log_probs)
    return None if mean is None else _exp(-mean)


def perplexity_ratio(train: ArrayLike, heldout: ArrayLike, confidence: float = 0.95) -> PerplexityRatio | None:
    """Return perplexity of ``heldout`` / perplexity of ``train``, with a Welch interval of its logarithm.

    Args:
        train: Mean natural log-probability per token of every training document, shape [documents].
        heldout: The same of held-out documents.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        None where a side has fewer than two documents, or a document has probability 0.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (train, heldout)]
    if any(len(side) < 2 or not np.isfinite(side).all() for side in sides):
        return None
    errors = [float(side.var(ddof=1)) / len(side) for side in sides]
    difference = float(sides[0].mean() - sides[1].mean())
    margin = 0.0
    if variance := sum(errors):
        # Degrees of freedom after Welch 1947 and Satterthwaite 1946.
        freedom = 1 / sum((e / variance) ** 2 / (len(side) - 1) for e, side in zip(errors, sides, strict=True))
        margin = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return PerplexityRatio(_exp(difference), _exp(difference - margin), _exp(difference + margin))


def _exp(value: float) -> float:
    return math.exp(value) if value < MOST_NATS else math.inf
