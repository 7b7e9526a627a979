"""Ranks and log-probabilities of whole documents, each token read once or twice whatever its prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.needs import check_needs
from memaudit.metrics.surface import NOT_ASKED
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, FloatArray, TokenIds, Window


class Slice(NamedTuple):
    """The model reads tokens ``start:stop`` and is asked for those from ``first`` on."""

    start: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class DocumentScores:
    """What a model knows of every token of a document, each array of shape [tokens]."""

    rank: NDArray[np.int32]
    """As in `memaudit.records.TokenScores`; `NOT_ASKED` for a first token with nothing before it."""
    log_prob: FloatArray
    """Natural log p(token | the tokens before it that were read); NaN where the token was not asked for."""
    context: NDArray[np.int32]
    """Tokens of the document that were read before each token: all before it, while one pass holds them."""


def readable(model: LanguageModel) -> int | None:
    """Return how many tokens of a document one pass can hold, or None where there is no limit.

    The last token is predicted and not read; a start token takes a place. A model that does not write from left to
    right reads all of a text and the two tokens that a tokenizer puts around it. A server counts what it reads and
    what it writes, to the last token.
    """
    gives = model.capabilities
    if model.context_length is None:
        return None
    if model.endpoint is not None:
        return model.context_length - len(model.frame[0])
    if Capability.LEFT_TO_RIGHT not in gives:
        return model.context_length - (0 if Capability.WRITING in gives else 2)
    return model.context_length + (1 if model.tokenizer.bos_id is None else 0)


def score_documents(model: LanguageModel, texts: Sequence[TokenIds]) -> list[DocumentScores]:
    """Score every token of every document given the text before it.

    A document that one pass holds is read once, with growing context: its token i is predicted from all i
    tokens before it. A longer one is read in windows that overlap by half, so that at least half the model's
    context stands before every token but those of the first window.

    Args:
        model: A next-token model.
        texts: Token ids, one array per document.

    Raises:
        InputError: The model has no pass from left to right.
    """
    check_needs("a text from left to right", frozenset((Capability.LEFT_TO_RIGHT,)), model)
    limit = readable(model)
    unasked = int(model.tokenizer.bos_id is None)
    cuts = [slices(len(text), limit, unasked) for text in texts]
    windows = [
        Window(text[c.start : c.first], text[c.first : c.stop])
        for text, cs in zip(texts, cuts, strict=True)
        for c in cs
    ]
    scores = iter(model.score(windows))
    documents = []
    for text, cs in zip(texts, cuts, strict=True):
        document = DocumentScores(
            np.full(len(text), NOT_ASKED, np.int32), np.full(len(text), np.nan), np.zeros(len(text), np.int32)
        )
        for cut, part in zip(cs, scores, strict=False):
            document.rank[cut.first : cut.stop] = part.rank
            document.log_prob[cut.first : cut.stop] = part.log_prob
            document.context[cut.first : cut.stop] = np.arange(cut.first - cut.start, cut.stop - cut.start)
        documents.append(document)
    return documents


def slices(tokens: int, limit: int | None, unasked: int) -> list[Slice]:
    """Cut a document into what is read at a time.

    Args:
        tokens: Length of the document.
        limit: Tokens that can be read at a time, at least 2, or None.
        unasked: 1 where the first token has nothing before it and is not asked for, else 0.
    """
    if tokens <= unasked:
        return []
    if limit is None or tokens <= limit:
        return [Slice(0, unasked, tokens)]
    step = limit - math.ceil(limit / 2)
    stops = [*range(limit, tokens, step), tokens]
    firsts = [unasked, *stops[:-1]]
    return [Slice(stop - limit, first, stop) for first, stop in zip(firsts, stops, strict=True)]
