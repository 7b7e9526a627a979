"""What an item and a passage share, marked in both."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from memaudit.text.words import words_of

FEWEST_COPIED = 3
"""Words in a row below which agreement is not marked: any two texts share single words."""

Marked = list[tuple[str, bool]]
"""Pieces of a text, each with whether it was copied; joined, they give the text back."""


def mark_copied(ours: str, theirs: str) -> tuple[Marked, Marked, list[tuple[int, int]]]:
    """Mark what an item and a passage share, three or more normalised words in a row.

    Args:
        ours: Raw text of the item.
        theirs: Raw text of the passage.

    Returns:
        Both in pieces, and the shared runs as ``(first, last)`` words of the item, ``last`` exclusive.
    """
    one, other = words_of(ours), words_of(theirs)
    blocks = [
        (block.src_start, block.src_end, block.dest_start, block.dest_end)
        for block in Levenshtein.opcodes(one.hashes.tolist(), other.hashes.tolist())
        if block.tag == "equal" and block.src_end - block.src_start >= min(FEWEST_COPIED, len(one.texts))
    ]
    return (
        _pieces(ours, [(int(one.starts[a]), int(one.ends[b - 1])) for a, b, _, _ in blocks]),
        _pieces(theirs, [(int(other.starts[c]), int(other.ends[d - 1])) for _, _, c, d in blocks]),
        [(a, b) for a, b, _, _ in blocks],
    )


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> Marked:
    pieces, last = [], 0
    for start, end in spans:
        pieces += [(text[last:start], False), (text[start:end], True)]
        last = end
    return [(piece, copied) for piece, copied in [*pieces, (text[last:], False)] if piece]
