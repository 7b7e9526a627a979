"""N-grams of every order at once: backoff to the longest end of the context that was seen (Liu et al. 2024).

No table of n-grams is made. The training text lies in a suffix array, where all places at which a context
stands are neighbours, sorted by what follows: the next token's counts are the borders of their sub-ranges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import orjson
from numba import njit
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from memaudit.errors import InputError, ModelError
from memaudit.models.ngram import NgramModel, Order, Smoothing
from memaudit.models.ngram_counts import Int32Array, Int64Array, check_ids
from memaudit.records import FloatArray, TokenIds, TokenScores
from memaudit.text.index.search import first_ranges
from memaudit.text.index.suffix import suffix_array
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer
from memaudit.text.words.blocks import ZERO

END = 0
"""Symbol behind every document, read as ``<eos>``; a token's symbol is its id + 1."""


class Places(NamedTuple):
    """The training text, its suffix array, and what the kernels ask of them again and again."""

    symbols: Int32Array
    """Shape [symbols]: the documents, each with `END` behind it."""
    suffixes: Int32Array
    """Shape [symbols]: where the suffixes of the text begin, in order."""
    buckets: Int64Array
    """Shape [vocabulary + 2]: suffixes that begin with symbol ``s`` are ``buckets[s]:buckets[s + 1]``."""
    end_id: int
    """Token that `END` is read as, or -1 where the end of a document is no token."""
    log_prob: FloatArray
    """Log-probability of every token after nothing, shape [vocabulary]: what an unknown word leaves to go by."""
    rank: Int32Array
    """Place of every token among them, shape [vocabulary]."""
    moments: FloatArray
    """Mean and standard deviation of log p after nothing, shape [2]."""


class Context(NamedTuple):
    """The end of a text that the model goes by: ``length`` tokens, continued at ``suffixes[low:high]``."""

    length: int
    low: int
    high: int


class InfinityModel(NgramModel):
    """An n-gram model without a highest order: infini-gram's backoff (Liu et al. 2024, section 2).

    The next token is predicted by relative frequency after the longest end of the context that the training
    text holds and continues; all other tokens have probability 0. So it equals the ``mle`` model of an order
    above the longest document, in time and memory that no order enters. No n-gram crosses the end of a
    document, which is learnt as ``<eos>``.
    """

    order = "infinity"

    def __init__(self, tokenizer: Tokenizer, symbols: Int32Array, suffixes: Int32Array) -> None:
        self.tokenizer = tokenizer
        self.smoothing = "mle"
        self.parameters = len(symbols)
        buckets = first_ranges(symbols, suffixes, tokenizer.vocab_size + 1)
        end = -1 if tokenizer.eos_id is None else tokenizer.eos_id
        self._places = Places(symbols, suffixes, buckets, end, *_after_nothing(buckets, end))

    @classmethod
    def train(cls, documents: Sequence[TokenIds], tokenizer: Tokenizer, **options: Any) -> Self:
        """Sort the suffixes of the documents.

        Args:
            documents: Token ids, one array per document, without any end token.
            tokenizer: Gives the vocabulary and the token that stands for the end of a document.
            **options: None; an order or a smoothing is refused.

        Raises:
            InputError: There is no token to learn from, or a document holds the end token.
        """
        if options:
            raise InputError(f"an n-gram model of every order takes no {', '.join(options)}")
        parts: list[TokenIds] = []
        for document in documents:
            parts += [check_ids(document, tokenizer.vocab_size) + 1, np.array([END], np.int32)]
        symbols = np.concatenate([np.empty(0, np.int32), *parts])
        if len(symbols) == len(documents):
            raise InputError("the training text holds no token", "give at least one document that is not empty")
        if tokenizer.eos_id is not None and (symbols == tokenizer.eos_id + 1).any():
            raise InputError("a document holds the token that stands for its end", "leave it out")
        return cls(tokenizer, symbols, suffix_array(symbols))

    def _fill_row(self, prefix: TokenIds, row: FloatArray) -> None:
        _next_row(self._places, prefix + 1, row)

    def _score_suffix(self, prefix: TokenIds, suffix: TokenIds, scores: TokenScores) -> None:
        text = np.concatenate([prefix, suffix]) + 1
        _score(self._places, text, len(prefix), scores.log_prob, scores.rank, scores.mean, scores.std)

    def _continue_greedily(self, prompt: TokenIds, continuation: TokenIds) -> None:
        _continue(self._places, prompt + 1, continuation)

    def save(self, folder: Path) -> None:
        """Write ``memaudit.json``, the tokenizer, and symbols and suffix array as ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        symbols, suffixes = self._places.symbols, self._places.suffixes
        documents = int(np.count_nonzero(symbols == END))
        description = {
            "format": 1,
            "family": self.family,
            "objective": self.objective,
            "config": {
                "order": self.order,
                "smoothing": self.smoothing,
                "vocab_size": self.tokenizer.vocab_size,
            },
            "training": {"tokens": len(symbols) - documents, "documents": documents},
        }
        self.tokenizer.save(folder)
        (folder / "memaudit.json").write_bytes(orjson.dumps(description, option=orjson.OPT_INDENT_2))
        save_file({"symbols": symbols, "suffixes": suffixes}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            ModelError: A file is missing or damaged, or the files do not belong together.
        """
        file = folder / "model.safetensors"
        try:
            arrays = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error
        if arrays.keys() != {"symbols", "suffixes"}:
            raise ModelError(f"{file}: does not hold symbols and suffixes, and nothing else")
        symbols, suffixes = arrays["symbols"], arrays["suffixes"]
        if not _is_suffix_array(suffixes, symbols):
            raise ModelError(f"{file}: the suffix array is damaged", "train or copy the model again")
        tokenizer = TrainedTokenizer.load(folder)
        if symbols.max() > tokenizer.vocab_size:
            raise ModelError(f"{file}: holds ids that tokenizer.json does not have", "copy the whole folder again")
        return cls(tokenizer, symbols, suffixes)


def load_counts(folder: Path, about: Mapping[str, Any], device: str, dtype: str) -> NgramModel:  # noqa: ARG001
    """Load an n-gram model of any order from its folder; ``about`` is what its ``memaudit.json`` says."""
    config = about.get("config")
    infinite = isinstance(config, dict) and config.get("order") == InfinityModel.order
    return (InfinityModel if infinite else NgramModel).load(folder)


def train_counts(
    documents: Sequence[TokenIds], tokenizer: Tokenizer, *, order: Order = 5, smoothing: Smoothing | None = None
) -> NgramModel:
    """Count the n-grams of documents up to an order, or of every order.

    Raises:
        InputError: As `check_smoothing`, `NgramModel.train` and `InfinityModel.train`.
    """
    check_smoothing(order, smoothing)
    if order == "infinity":
        return InfinityModel.train(documents, tokenizer)
    return NgramModel.train(documents, tokenizer, order=order, smoothing=smoothing or "kneser-ney")


def check_smoothing(order: Order, smoothing: Smoothing | None) -> None:
    """Refuse a smoothing that an order does not have, before anything is read."""
    if order == "infinity" and smoothing == "kneser-ney":
        raise InputError("the order infinity has no Kneser-Ney smoothing", "leave out --smoothing")


def _after_nothing(buckets: Int64Array, end: int) -> tuple[FloatArray, Int32Array, FloatArray]:
    """Return log-probability and rank of every token after the empty context, and mean and deviation of the first."""
    counts = np.diff(buckets)[1:]
    if end >= 0:
        counts[end] = buckets[1]
    p = counts / counts.sum()
    log_prob = np.log(p, out=np.full(len(p), -np.inf), where=p > 0)
    rank = np.empty(len(p), np.int32)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(p), dtype=np.int32)
    finite = np.where(p > 0, log_prob, 0.0)
    mean = (p * finite).sum()
    return log_prob, rank, np.array([mean, np.sqrt((p * (finite - mean) ** 2).sum())])


def _is_suffix_array(suffixes: Int32Array, symbols: Int32Array) -> bool:
    """Whether the symbols are a text and these its suffixes in order: the kernels check no bounds."""
    count = len(symbols)
    if [a.dtype.name for a in (symbols, suffixes)] != ["int32"] * 2 or symbols.ndim != 1 or count < 2:
        return False
    if suffixes.shape != symbols.shape or symbols.min() != END or symbols[-1] != END or symbols.max() == END:
        return False
    if suffixes.min() < 0 or suffixes.max() >= count:
        return False
    rank = np.full(count + 1, -1, np.int32)
    rank[suffixes] = np.arange(count, dtype=np.int32)
    if (rank[:-1] < 0).any():
        return False
    first, rest = symbols[suffixes], rank[suffixes + 1]
    return bool(((first[:-1] < first[1:]) | ((first[:-1] == first[1:]) & (rest[:-1] < rest[1:]))).all())


@njit(cache=True, nogil=True)
def _next_row(places: Places, text: Int32Array, row: FloatArray) -> None:
    """Fill ``row`` [vocabulary] with log p(next token | text), the text in symbols."""
    context = _read_all(places, text)
    if context.length == 0:
        row[:] = places.log_prob
        return
    tokens, counts = np.empty(len(row), np.int32), np.empty(len(row), np.int64)
    distinct, total = _followers(places, context, tokens, counts)
    row[:] = -np.inf
    for i in range(distinct):
        row[tokens[i]] = np.log(counts[i] / total)


@njit(cache=True, nogil=True)
def _continue(places: Places, prompt: Int32Array, continuation: TokenIds) -> None:
    """Fill ``continuation`` with the most frequent next token, the smallest id of equals, again and again."""
    vocab_size = len(places.buckets) - 2
    tokens, counts = np.empty(vocab_size, np.int32), np.empty(vocab_size, np.int64)
    text = np.append(prompt, continuation)
    context = _read_all(places, prompt)
    for i in range(len(continuation)):
        distinct, _ = _followers(places, context, tokens, counts)
        best = 0
        for k in range(1, distinct):
            if counts[k] > counts[best] or (counts[k] == counts[best] and tokens[k] < tokens[best]):
                best = k
        continuation[i] = tokens[best]
        text[len(prompt) + i] = tokens[best] + 1
        context = _read(places, text, len(prompt) + i, context)


@njit(cache=True, nogil=True)
def _score(
    places: Places,
    text: Int32Array,
    first: int,
    log_prob: FloatArray,
    rank: Int32Array,
    mean: FloatArray,
    std: FloatArray,
) -> None:
    """Fill the scores of the tokens from ``first`` on, each given all before it."""
    vocab_size = len(places.buckets) - 2
    tokens, counts = np.empty(vocab_size, np.int32), np.empty(vocab_size, np.int64)
    context = _read_all(places, text[:first])
    for i in range(first, len(text)):
        at, target, times = i - first, text[i] - 1, 0
        if context.length == 0:
            log_prob[at], rank[at] = places.log_prob[target], places.rank[target]
            mean[at], std[at] = places.moments
            context = _read(places, text, i, context)
            continue
        distinct, total = _followers(places, context, tokens, counts)
        for k in range(distinct):
            if tokens[k] == target:
                times = counts[k]
        # Of the tokens that never follow here, those of smaller ids come first.
        better = 0 if times else target
        for k in range(distinct):
            better += (counts[k] > times and (times > 0 or tokens[k] > target)) or (
                counts[k] == times and tokens[k] < target
            )
        expected, deviation = _moments(counts[:distinct], total)
        log_prob[at] = np.log(times / total) if times else -np.inf
        rank[at], mean[at], std[at] = better, expected, deviation
        context = _read(places, text, i, context)


@njit(cache=True, nogil=True)
def _followers(places: Places, context: Context, tokens: Int32Array, counts: Int64Array) -> tuple[int, int]:
    """Fill in the tokens that follow a context and how often; return how many they are, and all counts' sum."""
    symbols, suffixes, length = places.symbols, places.suffixes, context.length
    distinct, low = 0, context.low
    symbol = symbols[suffixes[low] + length]
    while low < context.high:
        tokens[distinct] = symbol - 1 if symbol != END else places.end_id
        high = low + 1
        following = symbols[suffixes[high] + length] if high < context.high else -1
        if following == symbol:
            high = _end_of(places, high, context.high, length, ZERO + symbol)
            following = symbols[suffixes[high] + length] if high < context.high else -1
        counts[distinct] = high - low
        distinct += 1
        low, symbol = high, following
    return distinct, context.high - context.low


@njit(cache=True, nogil=True)
def _moments(counts: Int64Array, total: int) -> tuple[float, float]:
    """Return mean and standard deviation of log p under p; most counts are 1 and share a logarithm."""
    once = np.log(1 / total)
    singles, mean = 0, 0.0
    for count in counts:
        if count == 1:
            singles += 1
        else:
            mean += count / total * np.log(count / total)
    mean += singles / total * once
    variance = singles / total * (once - mean) ** 2
    for count in counts:
        if count > 1:
            variance += count / total * (np.log(count / total) - mean) ** 2
    return mean, np.sqrt(variance)


@njit(cache=True, nogil=True)
def _read_all(places: Places, text: Int32Array) -> Context:
    """Return the longest end of ``text`` that the training text continues."""
    return _longest(places, text, len(text), len(text))


@njit(cache=True, nogil=True)
def _read(places: Places, text: Int32Array, at: int, context: Context) -> Context:
    """Return the longest continued end of ``text[:at + 1]``, given that of ``text[:at]``."""
    longer = _extended(places, context, text[at])
    if longer.low < longer.high:
        return longer
    return _longest(places, text, at + 1, context.length)


@njit(cache=True, nogil=True)
def _longest(places: Places, text: Int32Array, end: int, most: int) -> Context:
    """Return the longest end of ``text[:end]``, of ``most`` tokens at the most, that is continued.

    All ends of a continued context are continued, so doubling and halving finds it.
    """
    best = Context(0, _continued_from(places, ZERO, len(places.suffixes), ZERO), len(places.suffixes))
    good, step = 0, 1
    bad = most + 1
    while good + 1 < bad:
        length = good + step if good + step < bad else (good + bad) // 2
        found = Context(0, 0, len(places.suffixes))
        for i in range(end - length, end):
            found = _extended(places, found, text[i])
            if found.low == found.high:
                break
        if found.low < found.high:
            best, good, step = found, length, 2 * step
        else:
            bad, step = length, most + 1
    return best


@njit(cache=True, nogil=True)
def _extended(places: Places, context: Context, symbol: int) -> Context:
    """Return the context with one more symbol behind it; an empty range where nothing follows."""
    length, low, high = context.length, context.low, context.high
    if length == 0:
        low, high = places.buckets[symbol], places.buckets[symbol + 1]
    else:
        low = _end_of(places, low, high, length, symbol - 1)
        high = _end_of(places, low, high, length, ZERO + symbol)
    return Context(length + 1, _continued_from(places, low, high, length + 1), high)


@njit(cache=True, nogil=True)
def _continued_from(places: Places, low: int, high: int, length: int) -> int:
    """Return where the places begin that a token follows; the end of a document is one if it has an id."""
    return low if places.end_id >= 0 else _end_of(places, low, high, length, ZERO + END)


@njit(cache=True, nogil=True)
def _end_of(places: Places, low: int, high: int, length: int, symbol: int) -> int:
    """Return the first of ``suffixes[low:high]`` with a symbol over ``symbol`` behind ``length`` others.

    Doubling from ``low`` first: most ranges asked for are short.
    """
    step = 1
    while low + step < high and places.symbols[places.suffixes[low + step - 1] + length] <= symbol:
        low += step
        step *= 2
    high = min(high, low + step)
    while low < high:
        middle = (low + high) // 2
        if places.symbols[places.suffixes[middle] + length] <= symbol:
            low = middle + 1
        else:
            high = middle
    return low
