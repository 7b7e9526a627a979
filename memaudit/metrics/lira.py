"""The online likelihood-ratio attack: is a model's score of a document that of models that saw it, or of others?

Carlini et al. 2022 ("Membership inference attacks from first principles"), algorithm 1: of every document the scores by
models that were trained on it, and by models that were not, are taken as normal, and

    Lambda = p(score | N(mu_in, sigma_in^2)) / p(score | N(mu_out, sigma_out^2)).

With few models the paper estimates one variance for all documents in place of one of each. Its score is the logit of a
class; that of a text here is log p per token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.records import FloatArray

MIN_MODELS = 3
"""On either side of a document: one is attacked, and the spread of the others must be known."""
OWN_VARIANCE = 64
"""Models from which on every document has variances of its own, as in the paper."""
MIN_DEVIATION = 1e-6
"""Of scores: models that agree to rounding are not infinitely sure."""
MIN_ABOVE = 10
"""A rate at a false positive rate is reported only where so many pairs of a model and a document may pass."""
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class Attack:
    """How well scores show, over all pairs of a model and a document, whether the model saw the document."""

    auc: float
    low: float
    """95% interval by resampled texts."""
    high: float
    tpr: dict[float, tuple[float, float, float] | None]
    """False positive rate -> true positive rate with its interval; None where too few pairs may pass."""


def online_lira(scores: FloatArray, member: NDArray[np.bool_]) -> FloatArray:
    """Return log Lambda of every document for every model, the other models being the shadow models.

    Args:
        scores: Log p per token, shape [models, documents].
        member: Whether the model was trained on the document, same shape.

    Returns:
        Same shape; higher for what looks seen.

    Raises:
        ValueError: A document was seen by fewer than `MIN_MODELS` models, or by all but fewer.
    """
    seen = member.sum(axis=0)
    if min(seen.min(), len(member) - seen.max()) < MIN_MODELS:
        raise ValueError(f"every document needs {MIN_MODELS} models that saw it, and as many others")
    ratios = np.empty_like(scores)
    for model in range(len(scores)):
        others = np.arange(len(scores)) != model
        inside, outside = (_normal(scores[others], chosen[others]) for chosen in (member, ~member))
        ratios[model] = _log_density(scores[model], *inside) - _log_density(scores[model], *outside)
    return ratios


def attack(
    scores: FloatArray,
    member: NDArray[np.bool_],
    texts: NDArray[np.int64],
    seed: int,
    *,
    rates: tuple[float, ...] = (0.01, 0.001),
    replicates: int = 1000,
) -> Attack:
    """Return AUC and true positive rates over all pairs of a model and a document.

    Intervals are those of the Bayesian bootstrap (Rubin 1981) of texts: all pairs of a text have one weight, those that
    set the threshold too.

    Args:
        scores: Higher for what looks seen, shape [models, documents].
        member: Whether the model was trained on the document, same shape.
        texts: Number of the text of each document: copies go together.
        seed: Fixes the weights.
        rates: False positive rates at which the true positive rate is reported.
        replicates: Resamples.
    """
    order = np.argsort(-scores, axis=None, kind="stable")
    values, inside = scores.ravel()[order], member.ravel()[order]
    _, numbers = np.unique(texts, return_inverse=True)
    places = np.broadcast_to(numbers, scores.shape).ravel()[order]
    ends = np.flatnonzero(np.r_[values[1:] != values[:-1], True])  # equal scores pass together
    told = [rate for rate in rates if rate * (~member).sum() >= MIN_ABOVE * (1 - 1e-9)]
    whole = _curve(np.ones((1, numbers.max() + 1)), places, inside, ends, told)[0]
    rng, rows = np.random.default_rng(seed), []
    step = max(1, _CHUNK // len(values))
    for first in range(0, replicates, step):
        weights = rng.standard_exponential((min(step, replicates - first), numbers.max() + 1))
        rows.append(_curve(weights, places, inside, ends, told))
    low, high = np.quantile(np.concatenate(rows), [0.025, 0.975], axis=0)
    found = {rate: (float(whole[i]), float(low[i]), float(high[i])) for i, rate in enumerate(told, 1)}
    return Attack(float(whole[0]), float(low[0]), float(high[0]), {rate: found.get(rate) for rate in rates})


def _normal(scores: FloatArray, chosen: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return mean and deviation of the chosen scores of every document: one deviation for all below `OWN_VARIANCE`."""
    count = chosen.sum(axis=0)
    means = np.where(chosen, scores, 0).sum(axis=0) / count
    squares = np.where(chosen, (scores - means) ** 2, 0).sum(axis=0)
    if len(scores) < OWN_VARIANCE:
        variance = np.full(len(count), squares.sum() / (count - 1).sum())
    else:
        variance = squares / (count - 1)
    return means, np.maximum(np.sqrt(variance), MIN_DEVIATION)


def _log_density(values: FloatArray, means: FloatArray, deviations: FloatArray) -> FloatArray:
    """Return the log density of a normal distribution, without its constant."""
    density: FloatArray = -0.5 * ((values - means) / deviations) ** 2 - np.log(deviations)
    return density


def _curve(
    weights: FloatArray,
    places: NDArray[np.int64],
    inside: NDArray[np.bool_],
    ends: NDArray[np.int64],
    rates: list[float],
) -> FloatArray:
    """Return AUC and true positive rates of weighted pairs in the order of their scores, shape [weights, 1 + rates]."""
    drawn = weights[:, places]
    passed = [np.cumsum(np.where(kind, drawn, 0), axis=1)[:, ends] for kind in (inside, ~inside)]
    tpr, fpr = (part / part[:, -1:] for part in passed)
    corners = [np.concatenate([np.zeros((len(weights), 1)), part], axis=1) for part in (tpr, fpr)]
    area = (np.diff(corners[1], axis=1) * (corners[0][:, 1:] + corners[0][:, :-1]) / 2).sum(axis=1)
    columns = [area]
    for rate in rates:
        allowed = (corners[1] <= rate * (1 + 1e-9)).sum(axis=1) - 1
        columns.append(np.take_along_axis(corners[0], allowed[:, None], axis=1)[:, 0])
    curve: FloatArray = np.column_stack(columns)
    return curve
