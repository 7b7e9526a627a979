"""What a corpus is made of, as its index tells: mixture, duplicates, repeated spans, boilerplate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from memaudit.runs.provenance import version
from memaudit.text.index.corpus_index import CorpusIndex, positions_in
from memaudit.text.index.repeats import (
    COPIES,
    Repeats,
    copies_histogram,
    covered_symbols,
    find_repeats,
    maximal_repeats,
    most_repeated,
)
from memaudit.text.index.shard import Int32Array, Int64Array, Shard
from memaudit.text.index.units import Keys

LENGTHS = {"word": (8, 16, 32, 64, 128), "token": (8, 16, 32, 64, 128), "byte": (64, 128, 256, 512, 1024)}
"""Least symbols of the repeated spans that are counted, by unit."""
SHOWN_SPANS = 20
SHOWN_GROUPS = 10
SHOWN_SOURCES = 3
EXCERPT = 600
"""Characters of a repeated text that are shown."""
_MOST = (*(least - 1 for least in COPIES[1:]), None)


def index_statistics(index: CorpusIndex) -> dict[str, Any]:
    """Return what is in an index, as strict JSON values.

    A span is *repeated* where it occurs at least twice in its shard; none crosses the end of a document, and
    occurrences may overlap. Documents are duplicates of each other if they have the same symbols.

    Raises:
        InputError: If a file is not what was written: all are read for this, so all are compared with their digests.
    """
    index.verify()
    lengths = LENGTHS[index.unit]
    covered = np.zeros(len(lengths), np.int64)
    copies = np.zeros((len(lengths), len(COPIES), 2), np.int64)
    spans: dict[bytes, Keys] = {}
    for shard in index.shards:
        repeats = find_repeats(shard)
        covered += covered_symbols(repeats, lengths)
        copies += np.array([np.transpose(copies_histogram(repeats, length)) for length in lengths])
        spans |= {keys.tobytes(): keys for keys in _boilerplate(shard, repeats, lengths[0])}
    return {
        "schema_version": 1,
        "kind": "index",
        "memaudit": version(),
        "unit": index.unit,
        "rule": index.manifest["rule"],
        "sha256": index.sha256,
        "corpus": index.manifest["corpus"],
        "shards": len(index.shards),
        "documents": index.documents,
        "symbols": index.symbols,
        "distinct_symbols": _distinct_symbols(index),
        "domains": _domains(index),
        "duplicates": _duplicates(index),
        "repeated": [
            {
                "length": length,
                "symbols": int(found),
                "share": int(found) / index.symbols if index.symbols else None,
                "copies": [
                    {"least": least, "most": most, "spans": int(distinct), "places": int(places)}
                    for least, most, (distinct, places) in zip(COPIES, _MOST, table, strict=True)
                ],
            }
            for length, found, table in zip(lengths, covered, copies, strict=True)
        ],
        "spans": _spans(index, list(spans.values())),
    }


def _boilerplate(shard: Shard, repeats: Repeats, least: int) -> list[Keys]:
    """Return the most repeated spans of a shard."""
    spans = maximal_repeats(shard, repeats, least)
    starts = shard.suffixes[spans.first]
    chosen = most_repeated(shard, spans, SHOWN_SPANS)
    return [shard.keys_of(shard.symbols[starts[i] : starts[i] + spans.length[i]]) for i in chosen]


def _spans(index: CorpusIndex, spans: Sequence[Keys]) -> list[dict[str, Any]]:
    """Return the spans that occupy the most symbols of the whole index, none of them a variant of one before it.

    A variant lies within one before it, or holds it for more than half of its own length.
    """
    occupied = [sum(_occupied(positions_in(shard, keys), len(keys)) for shard in index.shards) for keys in spans]
    chosen: list[int] = []
    for i in sorted(range(len(spans)), key=lambda i: (-occupied[i], spans[i].tobytes())):
        if not any(_within(spans[k], spans[i]) or 2 * _within(spans[i], spans[k]) > len(spans[i]) for k in chosen):
            chosen.append(i)
    return [_span(index, spans[i], occupied[i]) for i in chosen[:SHOWN_SPANS]]


def _span(index: CorpusIndex, keys: Keys, occupied: int) -> dict[str, Any]:
    places = index.places(keys, SHOWN_SOURCES, one_per_document=True)
    first = places.occurrences[0]
    text = index.text_at(first)
    return {
        "text": text[:EXCERPT],
        "characters": len(text),
        "symbols": len(keys),
        "count": places.count,
        "documents": places.documents,
        "occupied": occupied,
        "sources": [occurrence.source for occurrence in places.occurrences],
    }


def _occupied(positions: Int64Array, length: int) -> int:
    """Return how many symbols lie in spans of one length that begin at these positions, in order."""
    return int(np.minimum(np.diff(positions), length).sum()) + length if len(positions) else 0


def _within(keys: Keys, other: Keys) -> int:
    """Return how many symbols of ``keys`` lie in occurrences of ``other``."""
    if len(other) > len(keys):
        return 0
    windows = np.lib.stride_tricks.sliding_window_view(keys, len(other))
    starts = [i for i in np.flatnonzero(windows[:, 0] == other[0]) if np.array_equal(windows[i], other)]
    return _occupied(np.array(starts, np.int64), len(other))


def _distinct_symbols(index: CorpusIndex) -> int:
    used = [shard.keys_of((np.flatnonzero(np.diff(shard.buckets)[1:]) + 1).astype(np.int32)) for shard in index.shards]
    return len(np.unique(np.concatenate(used)))


def _domains(index: CorpusIndex) -> list[dict[str, Any]]:
    """Return documents and symbols of every domain, the largest first."""
    documents: Counter[int] = Counter()
    symbols: Counter[int] = Counter()
    for shard in index.shards:
        sizes = np.diff(shard.documents) - 1
        for domain in np.unique(shard.domains).tolist():
            documents[domain] += int((shard.domains == domain).sum())
            symbols[domain] += int(sizes[shard.domains == domain].sum())
    names = index.manifest["domains"]
    return [
        {
            "domain": None if domain < 0 else names[domain],
            "documents": documents[domain],
            "symbols": symbols[domain],
            "share": symbols[domain] / index.symbols if index.symbols else None,
        }
        for domain in sorted(documents, key=lambda domain: (-symbols[domain], domain))
    ]


def _duplicates(index: CorpusIndex) -> dict[str, Any]:
    """Return how many documents only repeat an earlier one, and the groups that waste the most."""
    digests = np.concatenate([_digests(shard.symbols, shard.documents, shard.vocabulary) for shard in index.shards])
    sizes = np.concatenate([np.diff(shard.documents) - 1 for shard in index.shards])
    filled = np.flatnonzero(sizes)
    order = filled[np.lexsort((filled, digests[filled, 1], digests[filled, 0]))]
    new = np.ones(len(order), np.bool_)
    new[1:] = (digests[order[1:]] != digests[order[:-1]]).any(axis=1)
    firsts = np.flatnonzero(new)
    copies = np.diff(np.append(firsts, len(order)))
    wasted = (copies - 1) * sizes[order[firsts]]
    repeated = np.flatnonzero(copies > 1)
    largest = repeated[np.lexsort((order[firsts[repeated]], -wasted[repeated]))][:SHOWN_GROUPS]
    groups = [order[firsts[i] : firsts[i] + copies[i]] for i in largest]
    return {
        "empty": int((sizes == 0).sum()),
        "documents": int((copies - 1).sum()),
        "symbols": int(wasted.sum()),
        "groups": len(repeated),
        "largest": [_group(index, documents, int(sizes[documents[0]])) for documents in groups],
    }


def _group(index: CorpusIndex, documents: Int64Array, size: int) -> dict[str, Any]:
    """Return one group of equal documents, given their numbers in the corpus, in order."""
    firsts = np.cumsum([0, *map(len, index.shards)])
    shards = np.searchsorted(firsts, documents[:SHOWN_SOURCES], side="right") - 1
    places = [(int(shard), int(i - firsts[shard])) for shard, i in zip(shards, documents, strict=False)]
    text = index.document_text(*places[0])
    return {
        "text": text[:EXCERPT],
        "characters": len(text),
        "symbols": size,
        "copies": len(documents),
        "sources": [index.source(*place) for place in places],
    }


@njit(cache=True, nogil=True)
def _digests(symbols: Int32Array, documents: Int64Array, vocabulary: Keys) -> NDArray[np.uint64]:
    """Return 128 bits of every document's symbols, equal in all shards, shape [documents, 2]."""
    digests = np.empty((len(documents) - 1, 2), np.uint64)
    for i in range(len(digests)):
        one, two = np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344)
        for position in range(documents[i], documents[i + 1] - 1):
            symbol = symbols[position]
            key = vocabulary[symbol - 1] if len(vocabulary) else np.uint64(symbol)
            one = (one ^ key) * np.uint64(0x9E3779B97F4A7C15)
            one ^= one >> np.uint64(32)
            two = (two + key) * np.uint64(0xC2B2AE3D27D4EB4F)
            two ^= two >> np.uint64(29)
        digests[i, 0], digests[i, 1] = one, two
    return digests
