"""Token scores of whole documents, by any family of model: what the scores of membership are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.comparison.options import MIN_MASKS
from memaudit.audits.document_scores import readable, slices
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, TokenIds, TokenScores, Window

MASKED_SHARE = 0.15
"""Of the tokens that a random masking hides."""
NOTHING = np.empty(0, np.int32)


def score_texts(
    model: LanguageModel, texts: Sequence[TokenIds], limit: int | None, masks: int | None = None, seed: int = 0
) -> list[TokenScores]:
    """Score the first tokens of every document; the batch that a document stands in changes nothing but rounding.

    A next-token model that reads no start token is not asked for a first one. Documents longer than its context are
    read in windows that overlap by half, as `memaudit.audits.document_scores` does. A masked model scores every
    token with that token alone masked (pseudo-log-likelihood, Salazar et al. 2020); longer ones are read in pieces.

    Args:
        model: Of any family.
        texts: Token ids, one array per document.
        limit: Tokens of a document that are scored, from its beginning; None for all.
        masks: Of a masked model, an approximation: so many random maskings of 15%, every token in one at least and
            its scores the means over those. Next-token models have no use for it.
        seed: Fixes them, together with the document's tokens.

    Returns:
        One row per scored token for every document; none for a document that is too short.

    Raises:
        InputError: Too few maskings, or maskings of a masked model that can hide one token at a time only.
    """
    beginnings = [text[:limit] for text in texts]
    if Capability.LEFT_TO_RIGHT in model.capabilities:
        return _from_left(model, beginnings)
    if masks is None:
        return _one_masked(model, beginnings)
    if masks < MIN_MASKS:
        raise InputError(
            f"{masks} random maskings are too few", f"{MIN_MASKS} at least: a single one is uninformative (AUC .50)"
        )
    return _some_masked(model, beginnings, masks, seed)


def _from_left(model: LanguageModel, texts: Sequence[TokenIds]) -> list[TokenScores]:
    unasked = int(model.tokenizer.bos_id is None)
    parts = [
        [Window(text[c.start : c.first], text[c.first : c.stop]) for c in slices(len(text), readable(model), unasked)]
        for text in texts
    ]
    return _joined(model.score([window for own in parts for window in own]), [len(own) for own in parts])


def _one_masked(model: LanguageModel, texts: Sequence[TokenIds]) -> list[TokenScores]:
    parts = [_pieces(model, text) for text in texts]
    scores = model.score([Window(NOTHING, piece) for own in parts for piece in own])
    return _joined(scores, [len(own) for own in parts])


def _some_masked(model: LanguageModel, texts: Sequence[TokenIds], masks: int, seed: int) -> list[TokenScores]:
    from memaudit.models.masked import MaskedTransformer

    if not isinstance(model, MaskedTransformer):
        raise InputError(
            f"a {model.family} model is scored one masked token at a time", "leave out the random maskings"
        )
    pieces = [[(piece, random_maskings(piece, masks, seed)) for piece in _pieces(model, text)] for text in texts]
    rows = [(piece, hidden) for own in pieces for piece, maskings in own for hidden in maskings]
    scores = iter(model.score_together([piece for piece, _ in rows], [hidden for _, hidden in rows]))
    means = [_means(len(piece), [(h, next(scores)) for h in maskings]) for own in pieces for piece, maskings in own]
    return _joined(means, [len(own) for own in pieces])


def random_maskings(text: TokenIds, masks: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the positions that each masking hides: random parts of equal size, about `MASKED_SHARE` of the text.

    The parts of one shuffle hide every token once; shuffles follow until there are as many parts as asked for.
    """
    parts = min(len(text), math.ceil(1 / MASKED_SHARE))
    if not parts:
        return []
    # Not of the place in the batch: the same text is masked in the same way by the model and its references.
    rng = np.random.default_rng([seed, *text.tolist()])
    shuffles = (np.array_split(rng.permutation(len(text)), parts) for _ in range(-(-masks // parts)))
    return [np.sort(part) for shuffle in shuffles for part in shuffle][:masks]


def _means(tokens: int, maskings: Sequence[tuple[NDArray[np.intp], TokenScores]]) -> TokenScores:
    """Return the mean scores of every token over the maskings that hid it; of ranks the largest."""
    means = TokenScores.of_lengths([tokens])
    times = np.zeros(tokens)
    for hidden, scores in maskings:
        times[hidden] += 1
        for name in ("log_prob", "mean", "std"):
            getattr(means, name)[hidden] += getattr(scores, name)
        means.rank[hidden] = np.maximum(means.rank[hidden], scores.rank)
    for column in (means.log_prob, means.mean, means.std):
        column /= times
    return means


def _pieces(model: LanguageModel, text: TokenIds) -> list[TokenIds]:
    """Cut a text into as few pieces as a masked model can read with its ends, none much shorter than the others."""
    if not len(text):
        return []
    # Two places for the tokens that a tokenizer puts around a text.
    room = len(text) if model.context_length is None else max(1, model.context_length - 2)
    return np.array_split(text, -(-len(text) // room))


def _joined(scores: TokenScores | Sequence[TokenScores], counts: Sequence[int]) -> list[TokenScores]:
    """Return the scores of documents from those of their parts, ``counts`` of them each."""
    parts = iter(scores)
    documents = []
    for count in counts:
        own = [next(parts) for _ in range(count)] or [TokenScores.of_lengths([0])]
        columns = zip(*((part.log_prob, part.rank, part.mean, part.std) for part in own), strict=True)
        log_prob, rank, mean, std = map(np.concatenate, columns)
        documents.append(TokenScores(np.array([0, len(rank)]), log_prob, rank, mean, std))
    return documents
