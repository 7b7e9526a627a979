"""How likely a model finds documents one after the other: the totals that the order test compares."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.document_scores import readable, score_documents
from memaudit.metrics.order import order_totals
from memaudit.models.base import LanguageModel
from memaudit.records import FloatArray, TokenIds, Window
from memaudit.text.tokenize import Tokenizer
from memaudit.text.words.words import encode_texts, hash_words

SEPARATORS = ("\n", "\n\n")
"""What may stand between documents of a file; the one that makes an order more likely counts."""
FLOOR = -100.0
"""Least log-probability of a token: impossible ones leave a total finite."""
HEAD = 16
"""Tokens of a document that are asked for after every other one, at most."""
LONGEST_REACH = 64
"""A model that looks further back is asked in shards: a text of that length for every two documents costs more."""
SHARD = 4
"""Documents of which all orders are read."""
ALL_ORDERS = np.array(list(itertools.permutations(range(SHARD))))
"""Shape [24, 4], the canonical order first."""
NOTHING = np.empty(0, np.int32)


def separators(tokenizer: Tokenizer) -> list[TokenIds]:
    """Return the token ids of every different separator, as they are in the midst of a text; some may be empty."""
    found: dict[bytes, TokenIds] = {}
    for text in SEPARATORS:
        encoding = tokenizer.encode_batch([f"a{text}b"])[0]
        inside = (encoding.starts >= 1) & (encoding.ends <= 1 + len(text))
        ids = np.asarray(encoding.ids[inside], np.int32)
        found.setdefault(ids.tobytes(), ids)
    return list(found.values())


def has_boundaries(model: LanguageModel) -> bool:
    """Return whether a model looks back so few tokens that totals of any order are sums over neighbours."""
    return model.reach is not None and model.reach <= LONGEST_REACH


def boundaries(model: LanguageModel, texts: Sequence[TokenIds]) -> tuple[FloatArray, FloatArray]:
    """Return all that the log-probability of texts in any order is made of, for a model of limited reach.

    Tokens beyond the reach of what stands before their document have the same probability in every order and are
    left out. So the log-probability of the texts one after the other, less a constant, is a sum over neighbours:
    `memaudit.metrics.order.order_totals`. It is that of the concatenation where no document is shorter than the
    reach; a shorter one is read after the one before it alone. Of each document at most `HEAD` tokens are asked
    for after every other one.

    Args:
        model: A next-token model with a ``reach``.
        texts: Token ids, one array per document, none empty.

    Returns:
        Log-probability of each document's beginning at the start of a text, shape [documents], and of a separator
        and b's beginning after a, in row a and column b; of several separators the more probable one.
    """
    reach = model.reach
    if reach is None:
        raise ValueError("a model that may look back any number of tokens has no boundaries")
    first = _sums(model, [Window(NOTHING, text[:reach]) for text in texts])
    follows = [_follows(model, texts, separator, reach) for separator in separators(model.tokenizer)]
    return first, np.maximum.reduce(follows)


def _follows(model: LanguageModel, texts: Sequence[TokenIds], separator: TokenIds, reach: int) -> FloatArray:
    """Return log p of the separator and the beginning of b after a, in row a and column b."""
    across = max(reach - len(separator), 0)
    head = min(across, HEAD)
    ends = _sums(model, [Window(text[max(len(text) - reach, 0) :], separator) for text in texts])
    own = [Window(np.concatenate([separator, text[:head]]), text[head:reach]) for text in texts]
    rest = _sums(model, own)
    # Documents that end alike, or begin alike, are asked once.
    tails, tail_of = _distinct([text[max(len(text) - across, 0) :] for text in texts])
    heads, head_of = _distinct([text[:head] for text in texts])
    pairs = np.empty((len(tails), len(heads)))
    for row, tail in zip(pairs, tails, strict=True):
        prefix = np.concatenate([tail, separator])
        row[:] = _sums(model, [Window(prefix, beginning) for beginning in heads])
    follows: FloatArray = ends[:, None] + pairs[np.ix_(tail_of, head_of)] + rest
    return follows


def whole_totals(model: LanguageModel, texts: Sequence[TokenIds], orders: NDArray[np.int64]) -> FloatArray:
    """Return the total of every order of texts, shape [orders], from their `boundaries`."""
    return order_totals(*boundaries(model, texts), orders)


def shard_totals(model: LanguageModel, shards: Sequence[Sequence[TokenIds]]) -> FloatArray:
    """Return log p of every shard in all orders of its documents, shape [shards, orders], the canonical one first.

    Args:
        model: A next-token model.
        shards: `SHARD` documents each, cut to what it can read together (`room`).
    """
    totals = []
    for separator in separators(model.tokenizer):
        joined = [_joined([shard[i] for i in order], separator) for shard in shards for order in ALL_ORDERS]
        log_probs = [document.log_prob for document in score_documents(model, joined)]
        sums = [float(np.nansum(np.maximum(values, FLOOR))) for values in log_probs]
        totals.append(np.reshape(sums, (len(shards), len(ALL_ORDERS))))
    best: FloatArray = np.maximum.reduce(totals)
    return best


def room(model: LanguageModel, tokens: int) -> int:
    """Return how many tokens of a document are read in a shard: at most ``tokens``, and a shard is read at once."""
    limit = readable(model)
    if limit is None:
        return tokens
    longest = max(len(separator) for separator in separators(model.tokenizer))
    return min(tokens, (limit - (SHARD - 1) * longest) // SHARD)


def trimmed(text: TokenIds, tokens: int) -> TokenIds:
    """Return a text of at most ``tokens``: of a longer one its beginning and its end, which meet others."""
    if len(text) <= tokens:
        return text
    head = (tokens + 1) // 2
    return np.concatenate([text[:head], text[len(text) - (tokens - head) :]])


def likeness(texts: Sequence[str]) -> FloatArray:
    """Return how alike texts are by their words, in [0, 1], shape [texts, texts].

    The cosine of their sets of words, each weighted by the logarithm of how rare it is among the texts.
    """
    hashes, firsts = hash_words(*encode_texts(texts))
    words, places = np.unique(hashes, return_inverse=True)
    table = np.zeros((len(texts), len(words)))
    table[np.repeat(np.arange(len(texts)), np.diff(firsts)), places] = 1
    table *= np.log(len(texts) / np.maximum(table.sum(axis=0), 1))
    lengths = np.sqrt((table**2).sum(axis=1, keepdims=True))
    table /= np.where(lengths > 0, lengths, 1)
    cosines: FloatArray = table @ table.T
    return cosines


def _sums(model: LanguageModel, windows: Sequence[Window]) -> FloatArray:
    return np.array([np.maximum(scores.log_prob, FLOOR).sum() for scores in model.score(windows)])


def _distinct(parts: Sequence[TokenIds]) -> tuple[list[TokenIds], list[int]]:
    """Return the different parts, and which of them each part is."""
    found: dict[bytes, int] = {}
    place = [found.setdefault(np.asarray(part, np.int32).tobytes(), len(found)) for part in parts]
    return [np.frombuffer(part, np.int32) for part in found], place


def _joined(texts: Sequence[TokenIds], separator: TokenIds) -> TokenIds:
    parts = [part for text in texts for part in (separator, text)]
    return np.concatenate(parts[1:])
