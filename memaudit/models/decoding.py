"""Our own decoding: the distribution a decoding samples from, the choice of a token, and the loop.

Nothing here reads a model's folder. numpy only; models that live on a device hand in log-probabilities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import ModelError
from memaudit.records import GREEDY, AnyIds, Decoding, FloatArray, TokenIds, TokenScores, Window

SUM_TOLERANCE = 1e-3

Step = Callable[[list[TokenIds], TokenIds | None], FloatArray]
"""(texts so far, newly chosen ids or None at first) -> log-probabilities [rows, vocabulary]."""
Settled = Callable[[AnyIds, AnyIds], bool]
"""(true suffix, what was written in its place so far) -> whether more of it would tell nothing. Asked where the last
token differs from the true one: until then nothing is settled."""


def decoded_log_probs(log_probs: FloatArray, decoding: Decoding) -> FloatArray:
    """Return the log-probabilities that ``decoding`` samples from, shape [rows, vocabulary].

    Temperature first, then top-k, then top-p on what is left, each renormalised (the order of the field's
    usual implementations). Ties at a cut go to the smaller id, so exactly k tokens stay. Greedy decoding
    keeps the model's own distribution: its point mass would say nothing that the rank does not.
    """
    scaled = _scaled(log_probs, decoding)
    if decoding.greedy or (decoding.top_k is None and decoding.top_p is None):
        return scaled
    order = np.argsort(-scaled, axis=-1, kind="stable")
    ranked = _cut(np.take_along_axis(scaled, order, axis=-1), decoding)
    kept = np.full_like(scaled, -np.inf)
    np.put_along_axis(kept, order[:, : ranked.shape[1]], ranked, axis=-1)
    return kept


def decoded_targets(log_probs: FloatArray, targets: TokenIds, decoding: Decoding) -> FloatArray:
    """Return what `decoded_log_probs` gives for one token a row, shape [rows], in a fraction of its time.

    Only the values are put in order, with top-k only the k largest; the token's place is counted.
    """
    scaled, rows = _scaled(log_probs, decoding), np.arange(len(log_probs))
    if decoding.greedy or (decoding.top_k is None and decoding.top_p is None):
        return scaled[rows, targets]
    rank = ranks(scaled, targets)
    most = min(decoding.top_k or scaled.shape[1], scaled.shape[1])
    largest = -np.sort(-np.partition(scaled, scaled.shape[1] - most, axis=1)[:, -most:], axis=1)
    kept = _cut(largest, decoding)
    return np.where(rank < most, kept[rows, np.minimum(rank, most - 1)], -np.inf)


def ranks(log_probs: FloatArray, targets: TokenIds) -> NDArray[np.int64]:
    """Return how many tokens are likelier than each row's target, or as likely with a smaller id, shape [rows]."""
    true = log_probs[np.arange(len(targets)), targets][:, None]
    ids = np.arange(log_probs.shape[1])
    better = (log_probs > true) | ((log_probs == true) & (ids < np.asarray(targets)[:, None]))
    counts: NDArray[np.int64] = better.sum(axis=1)
    return counts


def score_log_probs(
    log_probs: FloatArray, targets: TokenIds, decoding: Decoding, scores: TokenScores, rows: slice
) -> None:
    """Fill ``rows`` of ``scores`` from distributions [targets, vocabulary] and the true tokens [targets]."""
    log_probs = np.asarray(log_probs, dtype=np.float64)
    probs = np.exp(log_probs)
    finite = np.where(probs > 0, log_probs, 0.0)
    mean = (probs * finite).sum(axis=1)
    variance = (probs * (finite - mean[:, None]) ** 2).sum(axis=1)
    scores.log_prob[rows] = decoded_targets(log_probs, targets, decoding)
    scores.rank[rows] = ranks(log_probs, targets)
    scores.mean[rows] = mean
    scores.std[rows] = np.sqrt(variance)


def checked_log_probs(log_probs: FloatArray, rows: int, vocabulary: int) -> FloatArray:
    """Return a stranger's log-probabilities if they are distributions, shape [rows, vocabulary].

    Ids at the end of the vocabulary that the model has no column for (an unknown character, say) get -inf.

    Raises:
        ModelError: Another number of rows, more columns, NaN or +inf, or a row whose sum is off by 1 in 1,000.
    """
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.ndim == 2 and log_probs.shape[1] < vocabulary:
        log_probs = np.pad(log_probs, ((0, 0), (0, vocabulary - log_probs.shape[1])), constant_values=-np.inf)
    if log_probs.shape != (rows, vocabulary):
        raise ModelError(f"next_log_probs gave shape {log_probs.shape}, expected ({rows}, {vocabulary})")
    with np.errstate(over="ignore", invalid="ignore"):
        totals = np.exp(log_probs).sum(axis=1)
    if not np.all(np.abs(totals - 1) < SUM_TOLERANCE):
        worst = totals[np.argmax(np.abs(np.nan_to_num(totals, nan=np.inf) - 1))]
        raise ModelError(f"next_log_probs gave a row that sums to {worst:g} in probability, not to 1")
    return log_probs


def choose(log_probs: FloatArray, decoding: Decoding, generators: Sequence[np.random.Generator]) -> TokenIds:
    """Choose one token per row: the first maximum when greedy, else by inverse transform sampling."""
    if decoding.greedy:
        best: TokenIds = np.argmax(log_probs, axis=-1).astype(np.int32)
        return best
    cumulative = np.cumsum(np.exp(decoded_log_probs(np.asarray(log_probs, np.float64), decoding)), axis=-1)
    draws = np.array([generator.random() for generator in generators]) * cumulative[:, -1]
    return np.array(
        [np.searchsorted(row, draw, side="right") for row, draw in zip(cumulative, draws, strict=True)],
        dtype=np.int32,
    )


def attempts_of(prompts: Sequence[TokenIds]) -> list[int]:
    """Return how often each prompt stood before in a call: equal prompts are attempts of their own."""
    seen: dict[bytes, int] = {}
    attempts = []
    for prompt in prompts:
        key = np.asarray(prompt, dtype=np.int32).tobytes()
        attempts.append(seen.get(key, 0))
        seen[key] = attempts[-1] + 1
    return attempts


def generators_for(prompts: Sequence[TokenIds], seed: int) -> list[np.random.Generator]:
    """Return one random stream per prompt, fixed by the seed and the prompt's ids, whatever its batch.

    Equal prompts in one call get different streams: the second occurrence is a second attempt.
    """
    streams = []
    for prompt, attempt in zip(prompts, attempts_of(prompts), strict=True):
        key = np.asarray(prompt, dtype=np.int32).tobytes()
        digest = hashlib.sha256(f"{seed}:{attempt}:".encode() + key).digest()
        streams.append(np.random.default_rng(int.from_bytes(digest[:16], "little")))
    return streams


def continue_prompts(
    step: Step,
    prompts: Sequence[TokenIds],
    length: int,
    decoding: Decoding,
    generators: Sequence[np.random.Generator] | None = None,
) -> list[TokenIds]:
    """Continue all prompts by ``length`` tokens, asking ``step`` once per token for the whole batch.

    A caller that cuts its prompts into batches hands in their streams (`generators_for` all of them), so
    that equal prompts in different batches stay different attempts.
    """
    if not prompts or not length:
        return [np.empty(0, np.int32) for _ in prompts]
    if generators is None:
        generators = [] if decoding.greedy else generators_for(prompts, decoding.seed)
    texts = [np.asarray(prompt, dtype=np.int32) for prompt in prompts]
    chosen: TokenIds | None = None
    columns: list[TokenIds] = []
    for _ in range(length):
        chosen = choose(step(texts, chosen), decoding, generators)
        columns.append(chosen)
        texts = [np.append(text, token) for text, token in zip(texts, chosen, strict=True)]
    return list(np.stack(columns, axis=1))


def continue_until_settled(
    next_log_probs: Callable[[list[TokenIds]], FloatArray], windows: Sequence[Window], settled: Settled
) -> list[TokenIds]:
    """Continue the prefixes of windows greedily, each until it is settled or as long as its suffix.

    Args:
        next_log_probs: Texts of any lengths -> log-probabilities [texts, vocabulary]; it reads them whole.
        windows: Prefixes and true suffixes.
        settled: Which of them need not be continued; those that are leave the batch.
    """
    texts = [np.asarray(window.prefix, np.int32) for window in windows]
    going = [i for i, window in enumerate(windows) if len(window.suffix)]
    while going:
        for i, token in zip(going, choose(next_log_probs([texts[i] for i in going]), GREEDY, []), strict=True):
            texts[i] = np.append(texts[i], token)
        going = [i for i in going if not is_whole(windows[i].suffix, texts[i][len(windows[i].prefix) :], settled)]
    return [text[len(window.prefix) :] for text, window in zip(texts, windows, strict=True)]


def is_whole(suffix: AnyIds, begun: AnyIds, settled: Settled) -> bool:
    """Return whether a continuation is as long as the suffix, or settled."""
    at = len(begun) - 1
    return len(begun) == len(suffix) or bool(begun[at] != suffix[at] and settled(suffix, begun))


def before_end(continuation: TokenIds, ends: Collection[int], suffix: TokenIds | None = None) -> TokenIds:
    """Return what a model wrote before it ended the text; all of it where it did not.

    Args:
        continuation: What it was made to write.
        ends: Its end tokens.
        suffix: The true tokens in these places. One that is an end token itself is text of a row of several
            documents: a model that gives it there ends nothing.
    """
    ended = np.isin(continuation, list(ends))
    if suffix is not None:
        ended &= continuation != suffix[: len(continuation)]
    return continuation[: int(np.argmax(ended))] if ended.any() else continuation


def _scaled(log_probs: FloatArray, decoding: Decoding) -> FloatArray:
    """Return log-probabilities at the temperature of a decoding; those that nothing changes as they are."""
    if decoding.unchanged:
        return log_probs
    # The peak first: at a temperature near 0 the other quotients leave the range of floats.
    with np.errstate(over="ignore"):
        return _normalise((log_probs - log_probs.max(axis=-1, keepdims=True)) / decoding.temperature)


def _cut(ranked: FloatArray, decoding: Decoding) -> FloatArray:
    """Cut distributions in falling order to the largest ``top_k``, then to ``top_p`` of what is left."""
    if decoding.top_k is not None:
        ranked = _normalise(ranked[:, : decoding.top_k])
    if decoding.top_p is not None:
        before = np.cumsum(np.exp(ranked), axis=-1) - np.exp(ranked)
        ranked = _normalise(np.where(before < decoding.top_p, ranked, -np.inf))
    return ranked


def _normalise(log_probs: FloatArray) -> FloatArray:
    peak = log_probs.max(axis=-1, keepdims=True)
    shifted = log_probs - peak
    normalised: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normalised
