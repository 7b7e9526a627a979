"""Where in a corpus a text occurs: its longest spans that the corpus holds, how often, how rare, and where.

The method is that of OLMoTrace (Liu et al. 2025): all maximal verbatim spans, the rarest by the product of their
unigram probabilities first, overlapping ones shown as one passage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError
from memaudit.text.index.corpus_index import CorpusIndex, Occurrence
from memaudit.text.index.shard import Int64Array
from memaudit.text.index.units import Keys, Spans
from memaudit.text.words.words import words_of

SOURCES = 10


def trace(
    index: CorpusIndex | Sequence[CorpusIndex], text: str, *, min_words: int = 8, limit: int = 50
) -> dict[str, Any]:
    """Return where a text occurs in a corpus, as strict JSON values.

    A span is maximal: none that occurs in the corpus holds it. Its rarity is the negative decimal logarithm of
    the product of its symbols' probabilities in the corpus. ``passages`` are spans that overlap, joined.

    Args:
        index: Of the corpus, or several that are its parts: of one kind of symbols, and no file in two of them.
        text: Any text.
        min_words: Least whole words of a span.
        limit: Most spans that are looked up, the rarest and then the longest first.

    Raises:
        InputError: If the text has fewer words, or the indices are of different symbols.
    """
    indices = [index] if isinstance(index, CorpusIndex) else list(index)
    _refuse_mixture(indices)
    words = words_of(text)
    if len(words.starts) < min_words:
        problem = f"the text has only {len(words.starts)} of the {min_words} words that a span must have"
        raise InputError(problem, "give a longer text, or a smaller --min-words")
    keys, (starts, ends) = indices[0].keys(text), indices[0].spans(text)
    lengths, counts = _longest_matches(indices, keys)
    firsts = _maximal(lengths)
    lasts = firsts + lengths[firsts]
    whole = _whole_words((words.starts, words.ends), starts[firsts], ends[lasts - 1])
    firsts, lasts, whole = (values[whole >= min_words] for values in (firsts, lasts, whole))
    rarities = _rarities(indices, keys, firsts, lasts)
    order = np.lexsort((firsts, firsts - lasts, -rarities))
    spans = [
        {
            "start": int(starts[firsts[i]]),
            "end": int(ends[lasts[i] - 1]),
            "words": int(whole[i]),
            "count": int(counts[firsts[i]]),
            "rarity": float(rarities[i]),
            **_sources(indices, keys[firsts[i] : lasts[i]]),
        }
        for i in order[:limit]
    ]
    return {
        "schema_version": 1,
        "kind": "trace",
        "index": indices[0].sha256 if len(indices) == 1 else [each.sha256 for each in indices],
        "unit": indices[0].unit,
        "min_words": min_words,
        "words": len(words.starts),
        "covered_words": _covered((words.starts, words.ends), starts[firsts], ends[lasts - 1]),
        "spans": len(order),
        "passages": _passages(text, spans),
    }


def _refuse_mixture(indices: Sequence[CorpusIndex]) -> None:
    if not indices:
        raise InputError("no index to look the text up in", "name one with --index")
    rules = [(index.manifest["rule"], index.tokenizer.sha256 if index.tokenizer else None) for index in indices]
    if len(set(rules)) > 1:
        units = ", ".join(f"{index.folder}: {index.unit}s" for index in indices)
        raise InputError("the indices are of different symbols", f"give such as were built alike ({units})")


def _longest_matches(indices: Sequence[CorpusIndex], keys: Keys) -> tuple[NDArray[np.int32], Int64Array]:
    """Return the longest match at every symbol in any index, and how often it occurs in all."""
    lengths, counts = indices[0].longest_matches_of_keys(keys)
    for index in indices[1:]:
        here, found = index.longest_matches_of_keys(keys)
        counts = np.where(here > lengths, found, counts + np.where(here == lengths, found, 0))
        lengths = np.maximum(lengths, here)
    return lengths, counts


def _maximal(lengths: NDArray[np.int32]) -> Int64Array:
    """Return where the matches begin that no other match holds, given the longest at every symbol."""
    ends = np.arange(len(lengths)) + lengths
    before = np.concatenate([[0], ends])[:-1]
    return np.flatnonzero((lengths > 0) & (ends > before))


def _whole_words(words: Spans, starts: Int64Array, ends: Int64Array) -> Int64Array:
    """Return how many words lie wholly in each span of characters."""
    first = np.searchsorted(words[0], starts)
    last = np.searchsorted(words[1], ends, side="right")
    return (last - first).clip(min=0)


def _covered(words: Spans, starts: Int64Array, ends: Int64Array) -> int:
    """Return how many words lie wholly in some span."""
    changes = np.zeros(len(words[0]) + 1, np.int64)
    first = np.searchsorted(words[0], starts)
    last = np.maximum(np.searchsorted(words[1], ends, side="right"), first)
    np.add.at(changes, first, 1)
    np.add.at(changes, last, -1)
    return int((np.cumsum(changes) > 0).sum())


def _rarities(indices: Sequence[CorpusIndex], keys: Keys, firsts: Int64Array, lasts: Int64Array) -> NDArray[np.float64]:
    """Return -log10 of the product of the probabilities of each span's symbols, all of which the corpus holds."""
    counts = np.zeros(len(keys), np.int64)
    for shard in (shard for index in indices for shard in index.shards):
        symbols = shard.symbols_of(keys)
        known = np.flatnonzero(symbols > 0)
        counts[known] += shard.buckets[symbols[known] + 1] - shard.buckets[symbols[known]]
    logs = np.log10(np.maximum(counts, 1)) - np.log10(max(sum(index.symbols for index in indices), 1))
    return np.array([0 - logs[first:last].sum() for first, last in zip(firsts, lasts, strict=True)], np.float64)


def _sources(indices: Sequence[CorpusIndex], keys: Keys) -> dict[str, Any]:
    places = [index.places(keys, SOURCES, one_per_document=True) for index in indices]
    found = [occurrence for each in places for occurrence in each.occurrences]
    return {"documents": sum(each.documents for each in places), "sources": [_source(p) for p in found[:SOURCES]]}


def _source(place: Occurrence) -> dict[str, Any]:
    return {
        "source": place.source,
        "document": place.document,
        "domain": place.domain,
        "start": place.start,
        "end": place.end,
    }


def _passages(text: str, spans: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join spans that overlap; the passage with the rarest span comes first."""
    passages: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda span: (span["start"], span["end"])):
        if passages and span["start"] < passages[-1]["end"]:
            passages[-1]["end"] = max(passages[-1]["end"], span["end"])
            passages[-1]["spans"].append(span)
        else:
            passages.append({"start": span["start"], "end": span["end"], "spans": [span]})
    rank = {id(span): i for i, span in enumerate(spans)}
    for passage in passages:
        passage["spans"].sort(key=lambda span: rank[id(span)])
        passage["text"] = text[passage["start"] : passage["end"]]
    return sorted(passages, key=lambda passage: rank[id(passage["spans"][0])])
