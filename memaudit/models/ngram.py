"""N-gram models: maximum likelihood (Shannon 1948) and modified Kneser-Ney (Chen & Goodman 1999).

An n-gram model is the oracle of this package. With an order above the longest context it is asked about, it
reproduces exactly the text it was trained on, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import orjson
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from memaudit.errors import InputError, ModelError
from memaudit.models.base import NextTokenModel
from memaudit.models.decoding import choose, decoded_targets, generators_for
from memaudit.models.ngram_counts import Counts, Trie, check_ids, count_ngrams
from memaudit.models.ngram_rows import (
    FALLBACK_DISCOUNTS,
    continue_greedily,
    modified_discounts,
    next_row,
    score_suffix,
    smooth,
)
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds, TokenScores, Window
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer

Smoothing = Literal["mle", "kneser-ney"]
Order = int | Literal["infinity"]

CHUNK = 2**22
"""Probabilities held at once where whole distributions are needed (32 MiB)."""


class NgramModel(NextTokenModel):
    """A next-token model that counts n-grams of up to ``order`` tokens.

    No n-gram crosses the end of a document; ``<eos>`` is learnt as the token after it. A context at the
    start of a document, or of a text to score, is as long as it is: nothing is put before it.

    ``kneser-ney`` interpolates all orders down to a uniform distribution over the vocabulary, with three
    discounts per order; orders below the highest count in how many ways an n-gram is preceded, the start of
    a document being one way. ``mle`` gives relative frequencies after the longest end of the context that
    the training text continues: all other tokens have probability 0.
    """

    family = "ngram"
    context_length = None
    order: Order
    """Length of the longest n-gram; ``infinity`` for the model that `memaudit.models.infinity` holds."""

    def __init__(self, tokenizer: Tokenizer, smoothing: Smoothing, counts: Counts) -> None:
        self.tokenizer = tokenizer
        self.smoothing = smoothing
        self.order = len(counts.ngrams)
        self.reach = self.order - 1
        self.parameters = int(counts.ngrams.sum())
        self._counts = counts
        discounts = modified_discounts(counts.counts_of_counts)
        if smoothing == "mle":
            discounts = np.zeros_like(discounts)
        elif made_up := (np.flatnonzero((discounts[:, 1:] == FALLBACK_DISCOUNTS).all(axis=1)) + 1).tolist():
            self.notes = (_made_up(made_up, self.order),)
        self._model = smooth(counts, discounts, tokenizer.vocab_size)

    @classmethod
    def train(
        cls,
        documents: Sequence[TokenIds],
        tokenizer: Tokenizer,
        *,
        order: int,
        smoothing: Smoothing = "kneser-ney",
    ) -> Self:
        """Count the n-grams of the documents.

        Args:
            documents: Token ids, one array per document, without any end token.
            tokenizer: Gives the vocabulary and the token that stands for the end of a document.
            order: Longest n-gram, at least 1: every token is predicted from at most ``order - 1`` others.
            smoothing: ``kneser-ney`` or ``mle``.

        Raises:
            InputError: The order or smoothing does not exist, or there is no token to learn from.
        """
        if order < 1:
            raise InputError(f"an n-gram order of {order} does not exist", "the smallest is 1: single tokens")
        if smoothing not in ("mle", "kneser-ney"):
            raise InputError(f"unknown smoothing {smoothing!r}", "mle or kneser-ney")
        kneser_ney = smoothing == "kneser-ney"
        counts = count_ngrams(documents, order, tokenizer.vocab_size, tokenizer.eos_id, continuation=kneser_ney)
        return cls(tokenizer, smoothing, counts)

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix), shape [prefixes, vocabulary]."""
        rows = np.empty((len(prefixes), self.tokenizer.vocab_size))
        for prefix, row in zip(prefixes, rows, strict=True):
            self._fill_row(self._ids(prefix), row)
        return rows

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token given the prefix and the suffix tokens before it."""
        scores = TokenScores.of_lengths([len(window.suffix) for window in windows])
        for window, part in zip(windows, scores, strict=True):
            prefix, suffix = self._ids(window.prefix), self._ids(window.suffix)
            self._score_suffix(prefix, suffix, part)
            if not decoding.unchanged:
                part.log_prob[:] = self._decoded(prefix, suffix, decoding)
        return scores

    def _decoded(self, prefix: TokenIds, suffix: TokenIds, decoding: Decoding) -> FloatArray:
        """Return log p of every suffix token under ``decoding``, a bounded number of rows at a time."""
        text = np.concatenate([prefix, suffix])
        prefixes = [text[: len(prefix) + i] for i in range(len(suffix))]
        parts = [np.empty(0)]
        for chunk in self._chunks(len(suffix)):
            parts.append(decoded_targets(self.next_log_probs(prefixes[chunk]), suffix[chunk], decoding))
        return np.concatenate(parts)

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt by ``length`` tokens; behind an ``<eos>`` the context is empty again."""
        continued = [np.empty(length, np.int32) for _ in prompts]
        if decoding.greedy:
            for prompt, continuation in zip(prompts, continued, strict=True):
                self._continue_greedily(self._ids(prompt), continuation)
            return continued
        generators = generators_for(prompts, decoding.seed)
        for chunk in self._chunks(len(prompts)):
            texts = [np.asarray(prompt, np.int32) for prompt in prompts[chunk]]
            for i in range(length):
                chosen = choose(self.next_log_probs(texts), decoding, generators[chunk])
                texts = [np.append(text, token) for text, token in zip(texts, chosen, strict=True)]
                for continuation, token in zip(continued[chunk], chosen, strict=True):
                    continuation[i] = token
        return continued

    def _fill_row(self, prefix: TokenIds, row: FloatArray) -> None:
        next_row(self._model, prefix, row)

    def _score_suffix(self, prefix: TokenIds, suffix: TokenIds, scores: TokenScores) -> None:
        score_suffix(self._model, prefix, suffix, scores)

    def _continue_greedily(self, prompt: TokenIds, continuation: TokenIds) -> None:
        continue_greedily(self._model, prompt, continuation)

    def _chunks(self, rows: int) -> list[slice]:
        size = max(1, CHUNK // self.tokenizer.vocab_size)
        return [slice(first, first + size) for first in range(0, rows, size)]

    def _ids(self, ids: TokenIds) -> TokenIds:
        return check_ids(ids, self.tokenizer.vocab_size)

    def save(self, folder: Path) -> None:
        """Write ``memaudit.json``, the tokenizer, and the counts as ``model.safetensors``."""
        folder.mkdir(parents=True, exist_ok=True)
        description = {
            "format": 1,
            "family": self.family,
            "objective": self.objective,
            "config": {
                "order": self.order,
                "smoothing": self.smoothing,
                "vocab_size": self.tokenizer.vocab_size,
            },
            "training": {"ngrams": self._counts.ngrams.tolist(), "notes": list(self.notes)},
        }
        self.tokenizer.save(folder)
        (folder / "memaudit.json").write_bytes(orjson.dumps(description, option=orjson.OPT_INDENT_2))
        counts = {"ngrams": self._counts.ngrams, "counts_of_counts": self._counts.counts_of_counts}
        save_file({**self._counts.trie._asdict(), **counts}, folder / "model.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder that `save` wrote.

        Raises:
            ModelError: A file is missing or damaged, or the files do not belong together.
        """
        config = _read_config(folder / "memaudit.json")
        counts = _read_counts(folder / "model.safetensors")
        tokenizer = TrainedTokenizer.load(folder)
        if config.get("order") != len(counts.ngrams) or config.get("vocab_size") != tokenizer.vocab_size:
            raise ModelError(
                f"{folder}: memaudit.json, tokenizer.json and model.safetensors do not belong together",
                "copy the whole folder again",
            )
        if max(counts.trie.tokens.max(), counts.trie.text.max()) >= tokenizer.vocab_size:
            raise ModelError(f"{folder}: counts hold ids that tokenizer.json does not have")
        return cls(tokenizer, config["smoothing"], counts)


def _made_up(orders: list[int], order: int) -> str:
    which = "every order" if len(orders) == order else f"order {', '.join(map(str, orders))}"
    values = ", ".join(f"{value:g}" for value in FALLBACK_DISCOUNTS)
    return (
        f"Kneser-Ney discounts of {which} are made up ({values}): the text has too few repeated n-grams to estimate"
        " them from"
    )


def _read_config(file: Path) -> dict[str, Any]:
    try:
        description = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from error
    config: dict[str, Any] = description.get("config", {}) if isinstance(description, dict) else {}
    if not config or description.get("family") != "ngram" or description.get("format") != 1:
        raise ModelError(f"{file}: does not describe an n-gram model of format 1")
    if config.get("smoothing") not in ("mle", "kneser-ney"):
        raise ModelError(f"{file}: unknown smoothing {config.get('smoothing')!r}")
    return config


def _read_counts(file: Path) -> Counts:
    try:
        arrays = load_file(file)
        counts = Counts(
            Trie(*(arrays.pop(name) for name in Trie._fields)),
            arrays.pop("ngrams"),
            arrays.pop("counts_of_counts"),
        )
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from error
    except KeyError as error:
        raise ModelError(f"{file}: the array {error} is missing") from error
    if arrays:
        raise ModelError(f"{file}: unexpected array {min(arrays)!r}")
    _check_counts(counts, file)
    return counts


def _check_counts(counts: Counts, file: Path) -> None:
    """Refuse arrays that would lead a kernel, which checks no bounds, out of memory."""
    trie, order = counts.trie, len(counts.ngrams)
    types = [array.dtype.name for array in (*trie, counts.ngrams, counts.counts_of_counts)]
    sound = (
        types == ["int32", "int32", "int64", "int32", "int64", "int64"]
        and order > 0
        and counts.counts_of_counts.shape == (order, 4)
        and len(trie.tokens) == len(trie.counts) > 1
        and 2 <= len(trie.first) <= len(trie.tokens) + 1
        and trie.first[0] == 1
        and trie.first[-1] == len(trie.tokens)
        and bool((np.diff(trie.first) >= 0).all())
        and bool((trie.tokens[1:] >= 0).all())
        and len(trie.text) > 0
        and trie.text[-1] == -1
        and int(trie.text.min()) == -1
        and int(trie.counts.min()) >= -len(trie.text)
    )
    if not sound or _first_of_order(trie, order) != len(trie.first) - 1:
        raise ModelError(f"{file}: the counts are damaged", "train or copy the model again")


def _first_of_order(trie: Trie, order: int) -> int:
    """Return the first node of an order, or -1 where the trie is not so deep."""
    node = 0
    for _ in range(order):
        if node >= len(trie.first):
            return -1
        node = int(trie.first[node])
    return node
