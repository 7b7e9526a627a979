"""Control works that share text with a work in question: what is known of the one is known of the other."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.records import Document
from memaudit.text.tokenize import Tokenizer
from memaudit.text.windows.overlap import OVERLAP_SPAN, Overlap, OverlapGuard


def overlapping(works: Sequence[Document], controls: Sequence[Document], tokenizer: Tokenizer) -> list[Overlap]:
    """Return the control works that share 50 tokens in a row with a work, as they are or after normalisation.

    They are other editions, they quote the work or are quoted, or both hold the same licence; none of them is a control
    as it stands.

    Args:
        works: Those in question.
        controls: Each id once.
        tokenizer: Of the audited model.

    Returns:
        One for each such control work, in the order of ``controls``.
    """
    guard = OverlapGuard(controls, tokenizer, OVERLAP_SPAN)
    guard.check(works, [encoding.ids for encoding in tokenizer.encode_batch([work.text for work in works])])
    return [guard.overlaps[control.id] for control in controls if control.id in guard.overlaps]


def told(overlap: Overlap) -> str:
    """Say of a control work what it shares with which work, and what can be done."""
    view = "" if overlap.view == "exact" else f" {overlap.view}"
    return (
        f"{overlap.heldout} shares {OVERLAP_SPAN} tokens in a row{view} with {overlap.train}: cut what both hold, a"
        " licence or a quotation, or choose another control work"
    )
