"""Exhibits: prompt, continuation and true text side by side, with what was copied marked."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from memaudit.records import WindowRecord
from memaudit.report import wording

# Words, runs of white space, single marks; one piece a character where a script sets no spaces (Thai
# and Lao, Myanmar and Khmer, Chinese, Japanese, Korean) so that a difference never swallows a whole line.
_PIECES = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]"
    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]+"
    r"|\s+|[^\w\s]"
)
FEWEST_COPIED = 3
"""Words in a row below which agreement is not marked: any two texts share single words."""

Marked = list[tuple[str, bool]]
"""Pieces of a text, each with whether it was copied."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One window as the page shows it."""

    record: WindowRecord
    said: Marked | None
    """The model's continuation; None if none was asked for."""
    truth: Marked
    verbatim: int
    """Tokens that continuation and true text share in one run."""

    @property
    def copies(self) -> str | None:
        """How often the true text stands in the training text, in words; None where nobody counted."""
        return wording.copies(self.record.copies_exact, self.record.copies_normalised)

    @property
    def indented(self) -> bool:
        """Whether the layout of the lines carries meaning, as in code."""
        return bool(re.search(r"\n(\t| {2})", self.record.prefix_text + self.record.suffix_text))


@dataclass(frozen=True, slots=True)
class Gallery:
    """Exhibits that were chosen by one rule."""

    title: str
    rule: str
    exhibits: list[Exhibit]


def choose(records: Sequence[WindowRecord], seed: int, *, worst: int, sample: int, heldout: int) -> list[Gallery]:
    """Return the galleries of a run: the worst documents, a random sample, the best held-out windows.

    Args:
        records: All records of the run.
        seed: Draws the sample; the seed of the plan, so that nobody chose it.
        worst: Most documents in the first gallery; at most five where none was extracted.
        sample: Windows in the sample of the training text.
        heldout: Windows in the control from held-out text.
    """
    members = [record for record in records if record.member]
    others = [record for record in records if not record.member]
    documents: dict[str, list[WindowRecord]] = {}
    for record in members:
        documents.setdefault(record.document, []).append(record)
    found = [max(windows, key=_severity) for windows in documents.values()]
    found.sort(key=lambda r: (-_hits(documents[r.document]), *(-s for s in _severity(r)), r.index))
    any_hit = any(record.extractable for record in members)
    shown = found[: worst if any_hit else min(5, worst)]
    lot = random.Random(seed).sample(members, min(sample, len(members)))
    nearest = sorted(others, key=lambda r: (*(-s for s in _severity(r)), r.index))[:heldout]
    return [
        gallery
        for gallery in (
            Gallery(
                "The worst documents" if any_hit else "The nearest to a copy",
                f"The {len(shown)} of {len(documents):,} training documents with the most recited windows, "
                "each with its worst window.",
                [exhibit(record) for record in shown],
            ),
            Gallery(
                "A random sample",
                f"{len(lot)} of {len(members):,} windows of the training text, drawn by seed {seed}: "
                "what is typical, good or bad.",
                [exhibit(record) for record in sorted(lot, key=lambda r: r.index)],
            ),
            Gallery(
                "The best of the held-out text",
                f"The {len(nearest)} of {len(others):,} windows of text the model never saw that it "
                "continued best: what likeness looks like without memory.",
                [exhibit(record) for record in nearest],
            ),
        )
        if gallery.exhibits
    ]


def exhibit(record: WindowRecord) -> Exhibit:
    """Return a window with its copied words marked."""
    said = record.continuation_text
    if said is None and record.extractable:
        said = record.suffix_text
    verbatim = max(record.matched, record.longest_common or 0)
    if said is None:
        return Exhibit(record, None, [(record.suffix_text, False)], verbatim)
    return Exhibit(record, *mark_copied(said, record.suffix_text), verbatim)


def mark_copied(said: str, truth: str) -> tuple[Marked, Marked]:
    """Return both texts in pieces, marked where they agree over at least three words in a row.

    Args:
        said: The model's continuation.
        truth: The text that really follows.

    Returns:
        Both as (piece, copied); the pieces of each, joined, give the text back.
    """
    ours, theirs = _PIECES.findall(said), _PIECES.findall(truth)
    marks = [False] * len(ours), [False] * len(theirs)
    for block in Levenshtein.opcodes(ours, theirs):
        if block.tag == "equal":
            words = [i for i in range(block.src_start, block.src_end) if not ours[i].isspace()]
            if len(words) >= FEWEST_COPIED or (words and said == truth):
                span, shift = range(words[0], words[-1] + 1), block.dest_start - block.src_start
                for i in span:
                    marks[0][i] = marks[1][i + shift] = True
    return _joined(ours, marks[0]), _joined(theirs, marks[1])


def _joined(pieces: Sequence[str], marks: Sequence[bool]) -> Marked:
    runs: list[tuple[list[str], bool]] = []
    for piece, mark in zip(pieces, marks, strict=True):
        if runs and runs[-1][1] == mark:
            runs[-1][0].append(piece)
        else:
            runs.append(([piece], mark))
    return [("".join(run), mark) for run, mark in runs]


def _hits(windows: Sequence[WindowRecord]) -> int:
    return sum(record.extractable for record in windows)


def _severity(record: WindowRecord) -> tuple[float, ...]:
    """Order windows by how much of them was copied, and by how few copies that took."""
    longest = max(record.matched, record.longest_common or 0)
    return record.extractable, longest, record.edit_similarity or 0.0, -(record.copies or 0)
