"""What an item and a passage share, marked in both."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from memaudit.text.words.words import words_of

MIN_COPIED = 3
"""Words in a row below which agreement is not marked: any two texts share single words."""
LARGE = 1 << 24
"""Pairs of words beyond which the shared runs are found one after the other: alignment takes time for every pair."""
RUN = 8
"""Words of the runs that are then looked for."""

Marked = list[tuple[str, bool]]
"""Pieces of a text, each with whether it was copied; joined, they give the text back."""
Block = tuple[int, int, int, int]
"""First and last word, exclusive, of a run in one text and in the other."""


def mark_copied(ours: str, theirs: str) -> tuple[Marked, Marked, list[tuple[int, int]]]:
    """Mark what an item and a passage share, three or more normalised words in a row.

    Args:
        ours: Raw text of the item.
        theirs: Raw text of the passage.

    Returns:
        Both in pieces, and the shared runs as ``(first, last)`` words of the item, ``last`` exclusive.
    """
    one, other = words_of(ours), words_of(theirs)
    found = _aligned if len(one) * len(other) <= LARGE else _one_by_one
    fewest = min(MIN_COPIED, len(one))
    blocks = [block for block in found(one.hashes.tolist(), other.hashes.tolist()) if block[1] - block[0] >= fewest]
    return (
        _pieces(ours, [(int(one.starts[a]), int(one.ends[b - 1])) for a, b, _, _ in blocks]),
        _pieces(theirs, [(int(other.starts[c]), int(other.ends[d - 1])) for _, _, c, d in blocks]),
        [(a, b) for a, b, _, _ in blocks],
    )


def _aligned(one: Sequence[int], other: Sequence[int]) -> list[Block]:
    """Return the equal runs of the best alignment."""
    return [
        (block.src_start, block.src_end, block.dest_start, block.dest_end)
        for block in Levenshtein.opcodes(one, other)
        if block.tag == "equal"
    ]


def _one_by_one(one: Sequence[int], other: Sequence[int]) -> list[Block]:
    """Return runs that occur in both in one order: each begins at the next place of its first `RUN` words."""
    places: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place in range(len(other) - RUN + 1):
        places[tuple(other[place : place + RUN])].append(place)
    blocks: list[Block] = []
    at = behind = 0
    while at <= len(one) - RUN:
        found = places.get(tuple(one[at : at + RUN]), [])
        next_place = bisect_left(found, behind)
        if next_place == len(found):
            at += 1
            continue
        start = found[next_place]
        length = RUN
        while at + length < len(one) and start + length < len(other) and one[at + length] == other[start + length]:
            length += 1
        blocks.append((at, at + length, start, start + length))
        at, behind = at + length, start + length
    return blocks


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> Marked:
    pieces, last = [], 0
    for start, end in spans:
        pieces += [(text[last:start], False), (text[start:end], True)]
        last = end
    return [(piece, copied) for piece, copied in [*pieces, (text[last:], False)] if piece]
