"""From a trie of counts to distributions: kernels that read a text and give a row per position.

One function, `_fill_row`, makes every distribution there is: scores, greedy choices and samples all come
from its bits, so ranks and continuations can never disagree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.models.ngram_counts import SEPARATOR, Counts, Int32Array, Int64Array, Trie
from memaudit.records import FloatArray, TokenIds, TokenScores
from memaudit.text.words.blocks import ZERO

GONE = np.iinfo(np.int64).min
"""In place of a context: not in the training text."""

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""D1, D2, D3+ of an order whose counts of counts give none."""


class Smoothed(NamedTuple):
    """All that a distribution is made of: plain arrays, for the kernels."""

    trie: Trie
    discounts: FloatArray
    """What is taken off an n-gram's count of 1, 2, and 3 or more, shape [order, 4]; column 0 is unused."""
    base: FloatArray
    """The unigram distribution, shape [vocabulary]."""
    log_base: FloatArray
    moments: FloatArray
    """Sums over the vocabulary of p, p log p and p (log p)^2 of the unigram distribution, shape [3]."""


class Scratch(NamedTuple):
    """Working memory of one text that is being read."""

    contexts: Int64Array
    """The last 0, 1, ... tokens as contexts, shape [order]: a node of the trie, or ``~p`` for a context
    that was seen once and is followed by what stands at ``p`` of the text. Valid up to the longest seen."""
    mass: FloatArray
    """What the contexts (not the unigrams) give to each token, shape [vocabulary]."""
    touched: Int64Array
    """The tokens with such mass, shape [vocabulary]."""


def modified_discounts(counts_of_counts: Int64Array) -> FloatArray:
    """Return 0 and the discounts D1, D2, D3+ of every order (Chen & Goodman 1999, equation 17), [order, 4].

    With n_c n-grams of count c and Y = n1 / (n1 + 2 n2): D_c = c - (c + 1) Y n_{c+1} / n_c. Where one of
    n1 to n4 is 0 or a discount does not lie in (0, c), the order gets `FALLBACK_DISCOUNTS`: text without
    repetition says nothing about how far to trust counts.
    """
    discounts = np.array([[0.0, *FALLBACK_DISCOUNTS]] * len(counts_of_counts))
    for row, (n1, n2, n3, n4) in zip(discounts, counts_of_counts.astype(float), strict=True):
        if min(n1, n2, n3, n4) > 0:
            y = n1 / (n1 + 2 * n2)
            found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if min(found) > 0:
                row[1:] = found
    return discounts


def smooth(counts: Counts, discounts: FloatArray, vocab_size: int) -> Smoothed:
    """Return the model of these counts and discounts, its unigrams interpolated with a uniform distribution.

    Discounts of 0 make it a maximum-likelihood model: a context that was seen hands nothing down.
    """
    trie = counts.trie
    first, end = trie.first[0], trie.first[1]
    seen = np.where(trie.counts[first:end] < 0, 1, trie.counts[first:end]).astype(np.int64)
    taken = discounts[0, np.minimum(seen, 3)]
    base = np.full(vocab_size, taken.sum() / seen.sum() / vocab_size)
    base[trie.tokens[first:end]] += (seen - taken) / seen.sum()
    log_base = np.log(base, out=np.full(vocab_size, -np.inf), where=base > 0)
    finite = np.where(base > 0, log_base, 0.0)
    moments = np.array([base.sum(), (base * finite).sum(), (base * finite**2).sum()])
    return Smoothed(trie, discounts, base, log_base, moments)


@njit(cache=True, nogil=True)
def next_row(model: Smoothed, text: TokenIds, row: FloatArray) -> None:
    """Fill ``row`` [vocabulary] with log p(next token | text)."""
    scratch = _scratch(model)
    _fill_row(model, scratch, _read_all(model, scratch, text), row)


@njit(cache=True, nogil=True)
def continue_greedily(model: Smoothed, prompt: TokenIds, continuation: TokenIds) -> None:
    """Fill ``continuation`` with the most probable next token, the smallest id of equals, again and again."""
    scratch = _scratch(model)
    row = np.empty(len(model.base))
    seen = _read_all(model, scratch, prompt)
    for i in range(len(continuation)):
        count = _fill_row(model, scratch, seen, row)[1]
        scratch.mass[scratch.touched[:count]] = 0.0
        continuation[i] = np.argmax(row)
        seen = _read(model, scratch, seen, continuation[i])


def score_suffix(model: Smoothed, prefix: TokenIds, suffix: TokenIds, scores: TokenScores) -> None:
    """Fill the scores of every suffix token given all tokens before it.

    A distribution is made once for all tokens that follow the same context: a long text has few beside its length.
    """
    contexts = _longest_contexts(model, prefix, suffix)
    order = np.argsort(contexts, kind="stable")
    one, other = order[:-1], order[1:]
    again = contexts[one] == contexts[other]
    following = np.full(len(suffix), -1, np.int64)
    following[one[again]] = other[again]
    first = np.ones(len(suffix), np.bool_)
    first[other[again]] = False
    _score_groups(model, prefix, suffix, (first, following), (scores.log_prob, scores.rank, scores.mean, scores.std))


@njit(cache=True, nogil=True)
def _longest_contexts(model: Smoothed, prefix: TokenIds, suffix: TokenIds) -> Int64Array:
    """Return a number for the longest context before every suffix token: all shorter ones are ends of it."""
    scratch = _scratch(model)
    numbers = np.empty(len(suffix), np.int64)
    seen = _read_all(model, scratch, prefix)
    for i in range(len(suffix)):
        numbers[i] = scratch.contexts[seen - 1] * len(scratch.contexts) + seen - 1
        seen = _read(model, scratch, seen, suffix[i])
    return numbers


@njit(cache=True, nogil=True)
def _score_groups(
    model: Smoothed,
    prefix: TokenIds,
    suffix: TokenIds,
    groups: tuple[NDArray[np.bool_], Int64Array],
    scores: tuple[FloatArray, Int32Array, FloatArray, FloatArray],
) -> None:
    """Fill the scores of tokens in groups: ``groups`` says which are the first of theirs, and which follows each."""
    first, following = groups
    log_prob, rank, mean, std = scores
    scratch = _scratch(model)
    row = np.empty(len(model.base))
    seen = _read_all(model, scratch, prefix)
    for i in range(len(suffix)):
        if first[i]:
            scale, count = _fill_row(model, scratch, seen, row)
            moments = _moments(model, scratch, scale, count, row)
            scratch.mass[scratch.touched[:count]] = 0.0
            at = i
            while at >= 0:
                log_prob[at] = row[suffix[at]]
                rank[at] = _rank(row, suffix[at])
                mean[at], std[at] = moments
                at = following[at]
        seen = _read(model, scratch, seen, suffix[i])


@njit(cache=True, nogil=True)
def _scratch(model: Smoothed) -> Scratch:
    vocab_size = len(model.base)
    contexts = np.zeros(len(model.discounts), np.int64)
    return Scratch(contexts, np.zeros(vocab_size), np.empty(vocab_size, np.int64))


@njit(cache=True, nogil=True)
def _read_all(model: Smoothed, scratch: Scratch, text: TokenIds) -> int:
    """Read the last tokens of ``text``; return the number of contexts seen, the empty one included."""
    seen: int = ZERO + 1
    for i in range(max(0, len(text) - len(scratch.contexts) + 1), len(text)):
        seen = _read(model, scratch, seen, text[i])
    return seen


@njit(cache=True, nogil=True)
def _read(model: Smoothed, scratch: Scratch, seen: int, token: int) -> int:
    """Make every context one token longer, up to the longest that the training text continues."""
    contexts = scratch.contexts
    shorter = contexts[0]
    longest = min(seen, len(contexts) - 1)
    for k in range(longest):
        extended = _extend(model.trie, shorter, token)
        if extended == GONE:
            return k + 1
        shorter = contexts[k + 1]
        contexts[k + 1] = extended
    return longest + 1


@njit(cache=True, nogil=True)
def _extend(trie: Trie, context: int, token: int) -> int:
    """Return the context one token longer, or `GONE` where nothing follows it in the training text."""
    if context < 0:
        extended = context - 1 if trie.text[~context] == token else GONE
    else:
        low, end = trie.first[context], trie.first[context + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if trie.tokens[middle] < token:
                low = middle + 1
            else:
                high = middle
        if low == end or trie.tokens[low] != token:
            return GONE
        if trie.counts[low] >= 0:
            return low if trie.first[low] < trie.first[low + 1] else GONE
        extended = int(trie.counts[low])
    return extended if extended != GONE and trie.text[~extended] != SEPARATOR else GONE


@njit(cache=True, nogil=True)
def _fill_row(model: Smoothed, scratch: Scratch, seen: int, row: FloatArray) -> tuple[float, int]:
    """Fill ``row`` with log p of every token given the ``seen`` contexts, from the longest to the shortest.

    Each context gives (count - discount) / total to its tokens and hands the discounted rest down:
    p(w | h) = (c(h w) - D) / c(h) + rest(h) p(w | h without its first token). Returns the rest that is left
    for the unigram distribution and the number of tokens touched.
    """
    scale, count = 1.0, ZERO
    for k in range(seen - 1, 0, -1):
        scale, count = _blend(model.trie, model.discounts[k], scratch, scratch.contexts[k], scale, count)
        if scale == 0.0:
            break
    log_scale = np.log(scale) if scale > 0.0 else -np.inf
    for token in range(len(row)):
        row[token] = log_scale + model.log_base[token]
    for i in range(count):
        token = scratch.touched[i]
        row[token] = np.log(min(1.0, scratch.mass[token] + scale * model.base[token]))
    return scale, count


@njit(cache=True, nogil=True)
def _blend(
    trie: Trie, discounts: FloatArray, scratch: Scratch, context: int, scale: float, count: int
) -> tuple[float, int]:
    """Give a context's tokens their share of ``scale``; return what is left of it, and the tokens touched."""
    if context < 0:
        count = _give(scratch, trie.text[~context], scale * (1.0 - discounts[1]), count)
        return scale * discounts[1], count
    first, end = trie.first[context], trie.first[context + 1]
    total, rest = 0, 0.0
    for child in range(first, end):
        times = trie.counts[child] if trie.counts[child] >= 0 else 1
        total += times
        rest += discounts[min(times, 3)]
    for child in range(first, end):
        times = trie.counts[child] if trie.counts[child] >= 0 else 1
        share = scale * ((times - discounts[min(times, 3)]) / total)
        count = _give(scratch, trie.tokens[child], share, count)
    return scale * (rest / total), count


@njit(cache=True, nogil=True)
def _give(scratch: Scratch, token: int, share: float, count: int) -> int:
    if share > 0.0:
        if scratch.mass[token] == 0.0:
            scratch.touched[count] = token
            count += 1
        scratch.mass[token] += share
    return count


@njit(cache=True, nogil=True)
def _rank(row: FloatArray, token: int) -> int:
    better = 0
    for other in range(token):
        better += row[other] >= row[token]
    for other in range(token + 1, len(row)):
        better += row[other] > row[token]
    return better


@njit(cache=True, nogil=True)
def _moments(model: Smoothed, scratch: Scratch, scale: float, count: int, row: FloatArray) -> tuple[float, float]:
    """Return mean and standard deviation of log p under p, in time of the tokens touched.

    All other tokens have ``scale`` times their unigram probability: the sums over them are the sums over
    the vocabulary less those over the touched tokens, whose mass is their p afterwards.
    """
    log_scale = np.log(scale) if scale > 0.0 else 0.0
    rest, rest_log, rest_square = model.moments
    mean = 0.0
    for i in range(count):
        token = scratch.touched[i]
        scratch.mass[token] = np.exp(row[token])
        mean += scratch.mass[token] * row[token]
        if scale > 0.0:
            rest -= model.base[token]
            rest_log -= model.base[token] * model.log_base[token]
            rest_square -= model.base[token] * model.log_base[token] ** 2
    mean += scale * (rest * log_scale + rest_log)
    shift = log_scale - mean
    variance = scale * (rest * shift**2 + 2 * shift * rest_log + rest_square)
    for i in range(count):
        token = scratch.touched[i]
        variance += scratch.mass[token] * (row[token] - mean) ** 2
    return mean, np.sqrt(max(0.0, variance))
