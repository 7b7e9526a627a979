"""How like a document each item is, counted: what the picture of a run is drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

from memaudit.audits.contamination.judgement import ItemVerdict, JudgedItem
from memaudit.runs.contamination_report import Bin, Likeness
from memaudit.text.scan.matching import MIN_SIMILARITY
from memaudit.text.scan.rules import RULES

BINS: Final = 20
"""Of similarities, from 0 to 1."""


def count_likeness(items: Sequence[JudgedItem]) -> Likeness:
    """Count items by the similarity of their most similar document, by our verdict, and by the rules that flag them.

    Args:
        items: Of a benchmark, judged.

    Returns:
        ``counts`` has one entry per bin and verdict that any item has: how many have it, and how many of these each
        of the published ``rules`` flags, in their order. ``bin`` is None where no document was similar to the item at
        all. ``lowest_found`` and ``highest_other`` are similarities in [0, 1] of items that were judged, or None.
    """
    totals: Counter[tuple[int, ItemVerdict]] = Counter()
    convicted: Counter[tuple[int, str, str]] = Counter()
    for item in items:
        place = (_bin(item), item.verdict)
        totals[place] += 1
        convicted.update((*place, name) for name, fired in item.rules.items() if fired)
    matched = [item for item in items if item.matches]
    found = [_similarity(item) for item in matched if item.verdict == "contaminated"]
    others = [_similarity(item) for item in matched if item.verdict in ("clean", "undecided")]
    return {
        "bins": BINS,
        "least": MIN_SIMILARITY,
        "lowest_found": min(found, default=None),
        "highest_other": max(others, default=None),
        "rules": list(RULES),
        "counts": [
            {
                "bin": cast("Bin", bin) if bin >= 0 else None,
                "verdict": verdict,
                "items": total,
                "convicted": [convicted[bin, verdict, name] for name in RULES],
            }
            for (bin, verdict), total in sorted(totals.items())
        ],
    }


def _bin(item: JudgedItem) -> int:
    """Return the bin of an item, from 0; -1 where no document is like it. The last holds its upper edge too."""
    return min(int(_similarity(item) * BINS), BINS - 1) if item.matches else -1


def _similarity(item: JudgedItem) -> float:
    return min(1.0, item.matches[0].similarity)
