"""How probable a model finds a text."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from memaudit.metrics.base import Metric
from memaudit.records import Capability, FloatArray, TokenIds

MAX_NATS = 709.0
"""Above this exp leaves the range of floats."""
FLOOR = -100.0
"""Least log-probability of a token in the scores of membership: impossible tokens leave a score finite."""
MIN_DEVIATION = 1e-6
"""Least standard deviation that a score of membership is divided by."""
LOWEST = 0.2
"""Share of the tokens, the least probable ones, that Min-K% looks at."""
MIN_LOSS = 1e-6
"""Least loss of a token, in nats, that a ratio of losses is divided by."""
MIN_REFERENCES = 32
"""References from which on the deviation of each document's own scores is estimated; with fewer it is mostly noise."""


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


def unigram_entropy(ids: TokenIds | NDArray[np.int64], fitted: TokenIds | NDArray[np.int64] | None = None) -> float:
    """Return the entropy of the tokens' own frequencies, in nats per token (at least one token).

    No model that looks at single tokens only can score these tokens better (Shannon 1948), so a model that
    does not beat it has learned nothing of their order.

    Args:
        ids: Tokens that are scored.
        fitted: Tokens whose frequencies score them, ``ids`` among them; the cross-entropy is returned.
    """
    if not len(ids):
        raise ValueError("the entropy of no tokens is undefined")
    fitted = ids if fitted is None else fitted
    values, counts = np.unique(fitted, return_counts=True)
    seen = counts[np.searchsorted(values, ids)]
    return math.log(len(fitted)) - float(np.log(seen).mean())


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
    return math.exp(value) if value < MAX_NATS else math.inf


def loss_score(log_probs: ArrayLike) -> float | None:
    """Return the mean log-probability of a document's tokens (Yeom et al. 2018), higher for what looks seen.

    As all scores below: log-probabilities under `FLOOR` count as `FLOOR`; None for a document without tokens.

    Args:
        log_probs: Natural log p of every token; of a masked model its pseudo-log-likelihood. Shape [tokens].
    """
    values = _floored(log_probs)
    return float(values.mean()) if len(values) else None


def zlib_score(log_probs: ArrayLike, text: str) -> float | None:
    """Return the mean of log p / bytes of the text as zlib compresses it, at its own level (Carlini et al. 2021, 6.1).

    The ratio of log-perplexity and zlib entropy, its sign turned.
    """
    mean = loss_score(log_probs)
    return None if mean is None else mean / len(zlib.compress(text.encode("utf-8", "surrogatepass")))


def min_k(log_probs: ArrayLike, share: float = LOWEST) -> float | None:
    """Return the mean of the lowest ``share`` of the log-probabilities (Min-K%, Shi et al. 2024, section 3).

    Their number is rounded down as in the released code, and 1 at least.
    """
    return _mean_of_lowest(_floored(log_probs), share)


def min_k_plus_plus(log_probs: ArrayLike, mean: ArrayLike, std: ArrayLike, share: float = LOWEST) -> float | None:
    """Return the mean of the lowest ``share`` of (log p - mean) / std (Min-K%++, Zhang et al. 2024, section 4).

    Args:
        log_probs: Natural log p of every token, shape [tokens].
        mean: Expectation of log p under the model's own distribution at every place, shape [tokens].
        std: Its standard deviation; less than `MIN_DEVIATION` counts as that.
        share: In (0, 1]; their number is rounded as by `min_k`.
    """
    deviation = np.maximum(np.asarray(std, np.float64), MIN_DEVIATION)
    return _mean_of_lowest((_floored(log_probs) - _floored(mean)) / deviation, share)


def reference_ratio(log_probs: ArrayLike, references: Sequence[ArrayLike]) -> float | None:
    """Return the mean of log p by references / log p(document) (Carlini et al. 2021, section 6.1).

    The ratio of log-perplexities, as the released code has it: that of the reference over that of the model. A model
    that loses less than `MIN_LOSS` a token counts as losing that. Arguments as of `calibrated_difference`.
    """
    ours, theirs = _beside_references(log_probs, references)
    return None if ours is None else float(theirs.mean()) / min(ours, -MIN_LOSS)


def calibrated_difference(log_probs: ArrayLike, references: Sequence[ArrayLike]) -> float | None:
    """Return (log p(document) - mean of log p by references) / tokens of the model.

    Difficulty calibration (Watson et al. 2022). It is also what offline LiRA ranks by with few references, where one
    deviation is shared by all documents (Carlini et al. 2022, figure 17). References may have tokenizers of their own:
    what is compared is the probability of the whole document.

    Args:
        log_probs: Of the model, shape [tokens].
        references: Of each model that never saw the document, shape [tokens of its tokenizer].

    Returns:
        None where the model or a reference has no token, or there is no reference.
    """
    ours, theirs = _beside_references(log_probs, references)
    return None if ours is None else ours - float(theirs.mean())


def offline_lira(log_probs: ArrayLike, references: Sequence[ArrayLike]) -> float | None:
    """Return how many deviations of the references the model lies above their mean.

    LiRA offline (Carlini et al. 2022, section IV-C), of log p per token in place of the logit of a class, and with the
    variance of the document's own references: None with fewer than `MIN_REFERENCES`, where
    `calibrated_difference` has the order that a shared variance gives. Arguments as there; a deviation counts as
    `MIN_DEVIATION` at least.
    """
    ours, theirs = _beside_references(log_probs, references)
    if ours is None or len(theirs) < MIN_REFERENCES:
        return None
    return (ours - float(theirs.mean())) / max(float(theirs.std()), MIN_DEVIATION)


def _beside_references(log_probs: ArrayLike, references: Sequence[ArrayLike]) -> tuple[float | None, FloatArray]:
    """Return log p by the model and by every reference, per token of the model; None where one has no token."""
    values, others = _floored(log_probs), [_floored(reference) for reference in references]
    if not others or not all(map(len, [values, *others])):
        return None, np.empty(0)
    return float(values.mean()), np.array([other.sum() for other in others]) / len(values)


def _mean_of_lowest(values: FloatArray, share: float) -> float | None:
    if not len(values):
        return None
    # Nine digits: .29 of 100 tokens are 29, whatever the product is in floats.
    count = max(1, math.floor(round(share * len(values), 9)))
    return float(np.sort(values)[:count].mean())


def _floored(log_probs: ArrayLike) -> FloatArray:
    values: FloatArray = np.maximum(np.asarray(log_probs, dtype=np.float64), FLOOR)
    return values


BITS_PER_BYTE = Metric(
    "bits_per_byte",
    "Bits per byte",
    "-log2 p(suffix | prefix) / bytes of the suffix in UTF-8: comparable between vocabularies.",
    lambda outcome: None if outcome.log_prob is None else bits_per_byte(outcome.log_prob, outcome.true_text),
    of="likelihood",
    unit="bits per byte",
    high=None,
    more_is_memorized=False,
    symmetric=None,
    needs=frozenset((Capability.LOG_PROBS,)),
)
