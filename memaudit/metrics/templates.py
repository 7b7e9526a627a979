"""Text that anybody could continue: repetition, counting, and lines of one shape.

After the templating heuristics of Prashanth et al. 2024 (*Recite, Reconstruct, Recollect*), who call memorized
text *reconstructed* where it only repeats or counts on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Template = Literal["repeating", "counting", "one shape"]

AGREEING = 0.9
"""Share of the suffix that a rule must foresee."""
SHOWN = 2
"""Periods of a pattern that the prefix must hold: less is no pattern yet."""
SAME_LINES = 3
"""Lines of one shape in a row that make a pattern, the first of them in the prefix."""
_PIECE = re.compile(r"\d+|[^\W\d_]+|_|\S", re.UNICODE)
_WORD = re.compile(r"[^\W\d]\w*", re.UNICODE)


def template_of(prefix: str, suffix: str) -> Template | None:
    """Return the rule by which a suffix follows from its prefix alone, or None if none of these does.

    ``repeating``: from some p on, every piece is the one p pieces before, the period p shown at least twice in
    the prefix. ``counting``: the same, but numbers continue by the step they made before. ``one shape``: the lines
    of the suffix, words and numbers replaced by placeholders, repeat one line shape, or one group of them, that
    the prefix already showed twice (tables, imports, initialisers). A rule holds where it foresees 90% of the
    pieces (lines) of the suffix.

    Args:
        prefix: What the model was given.
        suffix: Its continuation.
    """
    found = list(_PIECE.finditer(prefix + suffix))
    pieces = [piece.group() for piece in found]
    # A piece that the seam cuts is the suffix's.
    first = sum(piece.end() <= len(prefix) for piece in found)
    if first == len(pieces):
        return None
    if any(_foreseen(pieces, first, period) for period in range(1, first // SHOWN + 1)):
        return "repeating"
    if _counting(pieces, first):
        return "counting"
    return "one shape" if _one_shape(prefix, suffix) else None


def _foreseen(pieces: Sequence[str], first: int, period: int) -> bool:
    """Whether the last period of the prefix and the whole suffix repeat what stands ``period`` before."""
    tail = all(pieces[at] == pieces[at - period] for at in range(first - period, first))
    hits = sum(pieces[at] == pieces[at - period] for at in range(first, len(pieces)))
    return tail and hits >= AGREEING * (len(pieces) - first)


def _counting(pieces: Sequence[str], first: int) -> bool:
    if not any(piece.isdecimal() for piece in pieces[first:]):
        return False
    return any(_counts_on(pieces, first, period) for period in range(1, first // (SHOWN + 1) + 1))


def _counts_on(pieces: Sequence[str], first: int, period: int) -> bool:
    hits = moved = 0
    for at in range(first - period, len(pieces)):
        now, last, earlier = pieces[at], pieces[at - period], pieces[at - 2 * period]
        if now.isdecimal() and last.isdecimal() and earlier.isdecimal():
            step = int(last[-18:]) - int(earlier[-18:])
            hit = int(now[-18:]) == int(last[-18:]) + step
            moved += hit and step != 0
        else:
            hit = now == last
        if at < first and not hit:
            return False
        hits += hit and at >= first
    return moved > 0 and hits >= AGREEING * (len(pieces) - first)


def _one_shape(prefix: str, suffix: str) -> bool:
    """Whether whole lines of the suffix repeat line shapes of the prefix in turn."""
    # The line that the seam cuts belongs to the suffix; the last one may be cut short.
    *lines, seam = prefix.split("\n")
    before = [shape for line in lines if (shape := _shape(line))]
    after = [shape for line in (seam + suffix).split("\n")[:-1] if (shape := _shape(line))]
    if len(after) < SAME_LINES - 1:
        return False
    return any(_foreseen([*before, *after], len(before), period) for period in range(1, len(before) // SHOWN + 1))


def _shape(line: str) -> str:
    return re.sub(r"\d+", "0", _WORD.sub("a", line.strip()))
