"""Two texts aligned: what was copied, and what was edited in between. What of it is shown is decided here too."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from rapidfuzz.distance import Levenshtein

from memaudit.errors import InputError
from memaudit.report.masking import mask
from memaudit.report.wording import counted

# Words, runs of white space, single marks; one piece a character where a script sets no spaces (Thai
# and Lao, Myanmar and Khmer, Chinese, Japanese, Korean) so that a difference never swallows a whole line.
_PIECES = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
    r"|\s+|[^\w\s]"
)
MIN_COPIED = 3
"""Words in a row below which agreement is not marked: any two texts share single words."""
_EMPTY_LINES = re.compile(r"(?:[^\S\n]*\n){4,}")
MAX_LINES = 24
"""Of a text that is shown: a model that only says ``;`` and new lines would fill pages."""
MAX_EDITED = 12
"""Words between two copied spans above which they are no edit of one another but different text."""

Kind = Literal["plain", "copied", "edited", "left out"]
LONGEST_EDIT = 200
"""Characters likewise: a script without spaces has no words to count."""
Marked = Sequence[Any]
"""A stretch of a text and whether it is copied, as JSON holds the pair."""
_Step = tuple[tuple[str, str], tuple[str, str]]
"""What stands before a copied span in either text, and the span in either."""


class Piece(NamedTuple):
    """A stretch of a text."""

    text: str
    kind: Kind = "plain"
    edit: int = 0
    """Number of the edit, the same in both texts; 0 for everything else."""


def align(said: str, truth: str) -> tuple[list[Piece], list[Piece]]:
    """Return both texts in pieces: copied over at least three words in a row, edited between two copied spans, plain.

    Args:
        said: The model's continuation.
        truth: The text that really follows.

    Returns:
        The pieces of each, joined, give the text back. An edit that only adds or only leaves out words is an
        empty piece in the other text.
    """
    ours, theirs = _PIECES.findall(said), _PIECES.findall(truth)
    last = 0, 0
    steps: list[_Step] = []
    for one, other in _copied(ours, theirs, whole=said == truth):
        gaps = "".join(ours[last[0] : one.start]), "".join(theirs[last[1] : other.start])
        steps.append((gaps, ("".join(ours[one.start : one.stop]), "".join(theirs[other.start : other.stop]))))
        last = one.stop, other.stop
    return _numbered(steps, ("".join(ours[last[0] :]), "".join(theirs[last[1] :])))


def number_edits(ours: Sequence[Marked], theirs: Sequence[Marked]) -> tuple[list[Piece], list[Piece]]:
    """Return two texts, whose copied spans are known, in pieces as `align` does.

    Args:
        ours: Pieces of one text and whether each is copied.
        theirs: Pieces of the other, with as many copied ones in the same order.

    Raises:
        InputError: They have not as many.
    """
    (*before, last), (*other_before, other_last) = _spans(ours), _spans(theirs)
    if len(before) != len(other_before):
        raise InputError("two texts do not share the same copied spans", "the report was changed; run the check again")
    steps = [
        ((gap, other_gap), (span, other)) for (gap, span), (other_gap, other) in zip(before, other_before, strict=True)
    ]
    return _numbered(steps, (last[0], other_last[0]))


def _spans(pieces: Sequence[Marked]) -> list[tuple[str, str]]:
    """Return what stands before each copied span, and the span; last what stands behind them all, and nothing."""
    found, gap = [], ""
    for text, copied in pieces:
        if copied:
            found.append((gap, text))
        gap = "" if copied else gap + text
    return [*found, (gap, "")]


def _numbered(steps: Iterable[_Step], rest: tuple[str, str]) -> tuple[list[Piece], list[Piece]]:
    """Put both sides together; different words between two copied spans are an edit, unless they are many."""
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    edits = 0
    for gaps, spans in steps:
        words = [gap.split() for gap in gaps]
        short = max(map(len, words)) <= MAX_EDITED and max(map(len, gaps)) <= LONGEST_EDIT
        edited = any(sides) and words[0] != words[1] and short
        edits += edited
        for pieces, gap, span in zip(sides, gaps, spans, strict=True):
            pieces += _edited(gap, edits) if edited else [Piece(gap)] if gap else []
            pieces.append(Piece(span, "copied"))
    for pieces, text in zip(sides, rest, strict=True):
        if text:
            pieces.append(Piece(text))
    return sides


def _edited(gap: str, number: int) -> list[Piece]:
    """Return what stands between two copied spans, the white space around it apart."""
    core = gap.strip()
    start = len(gap) - len(gap.lstrip()) if core else len(gap)
    parts = Piece(gap[:start]), Piece(core, "edited", number), Piece(gap[start + len(core) :])
    return [piece for piece in parts if piece.text or piece.edit]


def _copied(ours: Sequence[str], theirs: Sequence[str], *, whole: bool) -> Iterator[tuple[range, range]]:
    """Yield the spans that agree, without the white space around them, as places in either list."""
    for block in Levenshtein.opcodes(ours, theirs):
        if block.tag == "equal":
            words = [i for i in range(block.src_start, block.src_end) if not ours[i].isspace()]
            if len(words) >= MIN_COPIED or (words and whole):
                shift = block.dest_start - block.src_start
                yield range(words[0], words[-1] + 1), range(words[0] + shift, words[-1] + 1 + shift)


def masked(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces of one text, masked as the whole of it is: an address may lie in several."""
    whole = mask("".join(piece.text for piece in pieces))
    ends = 0
    shown = []
    for piece in pieces:
        shown.append(piece._replace(text=whole[ends : ends + len(piece.text)]))
        ends += len(piece.text)
    return shown


def withheld(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces without their text: what each is and how long, and the digest of the whole."""
    whole = "".join(piece.text for piece in pieces)
    places = [piece._replace(text=counted(len(piece.text), "character")) for piece in pieces if piece.text]
    return [*places, Piece(f"sha256 {digest(whole)}", "left out")] if whole else []


def shorten(pieces: Sequence[Piece], most: int, *, keep_end: bool = False) -> list[Piece]:
    """Return pieces of which at most so many characters, on at most 24 lines, are shown; what is left out is said.

    Args:
        pieces: Of one text.
        most: Characters.
        keep_end: Whether the end is shown, and not the start.
    """
    whole = "".join(piece.text for piece in pieces)
    lines = whole.split("\n")
    kept = lines[-MAX_LINES:] if keep_end else lines[:MAX_LINES]
    most = min(most, len("\n".join(kept)))
    if len(whole) <= most:
        return list(pieces)
    gap = Piece(f"… {counted(len(whole) - most, 'character')} …", "left out")
    if keep_end:
        return [gap, *reversed(_first(list(reversed(pieces)), most, from_end=True))]
    return [*_first(pieces, most, from_end=False), gap]


def squeeze(pieces: Sequence[Piece]) -> list[Piece]:
    """Return pieces in which many empty lines in a row are counted instead of shown."""
    shown: list[Piece] = []
    for piece in pieces:
        last = 0
        for match in _EMPTY_LINES.finditer(piece.text) if piece.kind == "plain" else ():
            note = Piece(f"… {counted(match[0].count(chr(10)), 'line break')} …", "left out")
            shown += [Piece(piece.text[last : match.start()] + "\n"), note]
            last = match.end()
        if last < len(piece.text) or not last:
            shown.append(piece._replace(text=piece.text[last:]))
    return shown


def digest(text: str) -> str:
    """Return the first 16 digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _first(pieces: Sequence[Piece], most: int, *, from_end: bool) -> list[Piece]:
    kept = []
    for piece in pieces:
        if most <= 0:
            break
        kept.append(piece._replace(text=piece.text[-most:] if from_end else piece.text[:most]))
        most -= len(piece.text)
    return kept
