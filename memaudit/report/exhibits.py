"""Exhibits: prompt, continuation and true text side by side, with what was copied marked."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any, NamedTuple, cast

from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.report import wording
from memaudit.report.alignment import Piece, align, masked, shorten, squeeze, withheld
from memaudit.runs.measured_lines import FinishedLine, ProbabilityLine
from memaudit.stats import rounding

EXHIBITS = {"worst": 120, "sample": 50, "heldout": 30}
"""Most exhibits of each gallery of a page."""
MIN_NEAR = 5
"""Documents that are shown although none of them was reproduced: the nearest to a copy."""
LONGEST_PROMPT = 800
MOST_TURNS = 6
"""Turns before a reply that are shown beside the first."""
LONGEST_TEXT = 2400
"""Characters of a prompt and of a continuation that are shown."""


MAX_BYTES = 2_000_000
"""Of a page: it must still open in a browser, and fit into a mail. Exhibits are left out above it."""
FEWER = (1.0, 0.5, 0.25, 0.1, 0.0)
"""Shares of the exhibits that are tried, one after the other, until a page is small enough."""


class Said(NamedTuple):
    """A turn of a conversation as the page shows it."""

    role: str
    pieces: list[Piece]


class Standing(NamedTuple):
    """Where a window stands among all of its side."""

    rank: int
    """From 1; equals share the first of their places."""
    asked: int
    """Windows of its side."""
    tied: int = 0
    """Others that share its place."""
    what: str = "window"
    """Among which it is ranked."""
    order: str = "the most copied first"
    told: str = ""
    """What is said of it where its place is not known."""

    def __str__(self) -> str:
        """Return it in words."""
        if self.told or not self.tied:
            return self.told or f"{self.rank:,} of {wording.counted(self.asked, self.what)}"
        others = wording.counted(self.tied, "other")
        return f"shares place {self.rank:,} with {others}, of {wording.counted(self.asked, self.what)}"

    @property
    def in_full(self) -> str:
        """Return it in words, with the order."""
        return self.told or f"{self}, {self.order}"


ALONE = Standing(1, 1)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One window as the page shows it."""

    record: WindowRecord
    prompt: list[Piece]
    said: list[Piece] | None
    """The model's continuation; None if none was decoded."""
    truth: list[Piece]
    verbatim: int
    """Tokens that continuation and true text share in one run."""
    standing: Standing
    log_p: float | None = None
    """Natural log of the probability that one sample is the true text, where a measure logged it."""
    said_before: list[Said] | None = None
    """Of a reply: what was said before it, by whom."""
    side: str = "training text"
    """What the true text is from."""
    where: str = ""
    """Place in a work, in words; empty where the document and a token say it."""
    label: str = ""
    """By which a page and a court call it: the letter of its gallery, and its number there."""

    @property
    def copies(self) -> str | None:
        """How often the true text occurs in the training text, in words; None where that was not counted."""
        return wording.copies(self.record.copies_exact, self.record.copies_normalised)

    @property
    def places(self) -> list[tuple[str, list[str]]]:
        """Which other documents of the training text hold the true text, and which a continuation that is not it."""
        found = ("the true text in", self.record.copies_in), ("the continuation in", self.record.elsewhere_in)
        return [(what, documents) for what, documents in found if documents]

    @property
    def place(self) -> str:
        """Where it stands: file and line, and the token from which it was cut."""
        what = "prompt from" if self.said_before is None else "reply from"
        return " · ".join(filter(None, (self.record.source, self.where, f"{what} token {self.record.start:,}")))

    @property
    def indented(self) -> bool:
        """Whether the layout of the lines carries meaning, as in code."""
        return bool(re.search(r"\n(\t| {2})", self.record.prefix_text + self.record.suffix_text))

    @property
    def probability(self) -> str | None:
        """How likely a sample is the true text, and how many samples give it with even chances."""
        if self.log_p is None:
            return None
        p = min(1.0, math.exp(self.log_p))
        samples = 1.0 if p > 0.5 else math.log(0.5) / math.log1p(-p) if p else math.inf
        odds = f"{rounding.significant(p)} in one sample"
        if samples > rounding.MAX_SAMPLES:
            return odds
        return f"{odds}, {wording.counted(math.ceil(samples), 'sample')} for an even chance"


@dataclass(frozen=True, slots=True)
class Gallery:
    """Exhibits that were chosen by one rule."""

    title: str
    rule: str
    exhibits: list[Exhibit]


@dataclass(frozen=True, slots=True)
class Exhibited:
    """The exhibits of a run, and what all of them have in common."""

    galleries: Sequence[Gallery]
    question: str
    """That each of them answers."""
    texts: Mapping[str, str]
    """SHA-256 of the texts, by their files or names."""
    decoding: str


class Chosen(NamedTuple):
    """Records of one gallery, before anything of them is shown."""

    title: str
    rule: str
    records: list[WindowRecord]


def galleries(
    records: Sequence[WindowRecord],
    seed: int,
    *,
    shown: Shown = SHOWN,
    measured: Sequence[Mapping[str, Any]] = (),
    most: Mapping[str, int] = EXHIBITS,
) -> list[Gallery]:
    """Return the galleries of a run: the worst documents, a random sample, the best held-out windows.

    Args:
        records: All records of the run.
        seed: Draws the sample; the seed of the plan, so that the sample is not chosen.
        shown: What may be shown of their texts.
        measured: What further measures logged; ``probability`` among them gives the odds of a window, ``exhibits`` the
            whole continuation of one that was given up.
        most: Most exhibits of each gallery: ``worst``, ``sample``, ``heldout``.
    """
    standings = _standings(records)
    asked = [cast("ProbabilityLine", item) for item in measured if item["measure"] == "probability"]
    odds = {_place(line): _log_p(line) for line in asked}
    whole = [cast("FinishedLine", item) for item in measured if item["measure"] == "exhibits"]
    finished = {line["window"]: line for line in whole}

    def made(record: WindowRecord) -> Exhibit:
        if line := finished.get(record.index):
            text, ended = line["continuation_text"], line["ended"]
            record = replace(record, given_up=False, continuation_text=text, ended=ended)
        log_p = odds.get((record.member, record.document, record.start))
        return exhibit(record, standings[record.index], log_p, shown)

    return labelled(
        Gallery(title, rule, [made(record) for record in chosen])
        for title, rule, chosen in choose(records, seed, **most)
    )


def labelled(some: Iterable[Gallery]) -> list[Gallery]:
    """Return galleries whose exhibits are called A1, A2, ..., B1, ...: the same however few of them are shown.

    Args:
        some: One a rule, in the order of the rules: of one that holds nothing the letter is left out, so that a letter
            stands for the same rule in every run.
    """
    return [
        replace(gallery, exhibits=[replace(e, label=f"{letter}{i}") for i, e in enumerate(gallery.exhibits, 1)])
        for letter, gallery in zip(ascii_uppercase, some, strict=False)
        if gallery.exhibits
    ]


def with_fewer(some: Sequence[Gallery], share: float) -> tuple[list[Gallery], int]:
    """Return that share of the exhibits of every gallery, the first of each, and how many are left out."""
    kept = [replace(gallery, exhibits=gallery.exhibits[: int(share * len(gallery.exhibits))]) for gallery in some]
    left_out = sum(len(gallery.exhibits) for gallery in some) - sum(len(gallery.exhibits) for gallery in kept)
    return [gallery for gallery in kept if gallery.exhibits], left_out


def choose(records: Sequence[WindowRecord], seed: int, *, worst: int, sample: int, heldout: int) -> list[Chosen]:
    """Return which windows are shown and why; arguments as of `galleries`."""
    members = [record for record in records if record.member]
    others = [record for record in records if not record.member]
    documents: dict[str, list[WindowRecord]] = {}
    for record in members:
        documents.setdefault(record.document, []).append(record)
    found = [max(windows, key=severity) for windows in documents.values()]
    found.sort(key=lambda r: (-_hits(documents[r.document]), *_order(r)))
    near = [record for record in found if record.extractable or 2 * _longest(record) >= len(record.suffix_ids)]
    shown = found[: min(worst, max(len(near), MIN_NEAR))]
    any_hit = any(record.extractable for record in members)
    whole = [record for record in members if record.sampled]
    lot = random.Random(seed).sample(whole, min(sample, len(whole)))
    nearest = sorted(others, key=_order)[:heldout]
    return [
        Chosen(
            "The worst documents" if any_hit else "The nearest to a copy",
            f"The {len(shown)} of {len(documents):,} training documents with the most reproduced windows, "
            "each with its worst window.",
            shown,
        ),
        Chosen(
            "A random sample",
            f"{len(lot)} of {len(members):,} windows of the training text, drawn by seed {seed}: "
            "what is typical, good or bad.",
            sorted(lot, key=lambda r: r.index),
        ),
        Chosen(
            "The best of the held-out text",
            f"The {len(nearest)} of {len(others):,} windows of text the model never saw that it "
            "continued best: what similarity looks like without memorization.",
            nearest,
        ),
    ]


def exhibit(
    record: WindowRecord, standing: Standing = ALONE, log_p: float | None = None, shown: Shown = SHOWN
) -> Exhibit:
    """Return a window with its copied words marked, of its texts only what may be shown.

    Args:
        record: The window.
        standing: Its place among the windows of its side.
        log_p: Natural log of the probability of the true text in one sample.
        shown: Masking and withholding come after the comparison, which needs the texts as they are.
    """
    text, prompt = continuation(record), record.prefix_text
    said, truth = (None, [Piece(record.suffix_text)]) if text is None else align(text, record.suffix_text)
    return Exhibit(
        record,
        discreet([Piece(prompt)], shown, LONGEST_PROMPT, keep_end=True, behind=record.suffix_text),
        None if said is None else discreet(said, shown, before=prompt),
        discreet(truth, shown, before=prompt),
        _longest(record),
        standing,
        log_p,
        _said_before(record, shown),
        "training text" if record.member else "held-out text",
    )


def _said_before(record: WindowRecord, shown: Shown) -> list[Said] | None:
    """Return the last turns before a reply, and the first, which may be instructions; each as it may be shown."""
    if record.turns is None:
        return None
    first, last = record.turns[:1], record.turns[1:]
    hidden = len(last) - MOST_TURNS
    turns = [Said(role, discreet([Piece(content)], shown, LONGEST_PROMPT)) for role, content in first]
    if hidden > 0:
        turns.append(Said("", [Piece(f"{wording.counted(hidden, 'turn')} left out", "left out")]))
        last = last[hidden:]
    return turns + [Said(role, discreet([Piece(content)], shown, LONGEST_PROMPT)) for role, content in last]


def continuation(record: WindowRecord) -> str | None:
    """Return the model's continuation; None if none was decoded."""
    return record.suffix_text if record.continuation_text is None and record.extractable else record.continuation_text


def discreet(
    pieces: Sequence[Piece],
    shown: Shown,
    most: int = LONGEST_TEXT,
    *,
    keep_end: bool = False,
    before: str = "",
    behind: str = "",
) -> list[Piece]:
    """Return pieces of a text as they may be shown: masked and not too long, or only their lengths.

    Args:
        pieces: Of one text.
        shown: What may be shown.
        most: Characters that are shown at most.
        keep_end: Whether the end is shown, and not the start.
        before: What stands before the text: an address or a key may lie across the seam.
        behind: What stands behind it.
    """
    if not shown.text:
        return withheld(pieces)
    if not shown.personal:
        pieces = masked([Piece(before), *pieces, Piece(behind)])[1:-1]
    return shorten(squeeze(pieces), most, keep_end=keep_end)


def severity(record: WindowRecord) -> tuple[float, ...]:
    """Order windows by how much of them was copied, and by how few copies that took."""
    return record.extractable, _longest(record), record.edit_similarity or 0.0, -(record.copies or 0)


def _longest(record: WindowRecord) -> int:
    return max(record.matched, record.longest_common or 0)


def _order(record: WindowRecord) -> tuple[float, ...]:
    return (*(-value for value in severity(record)), record.index)


def _standings(records: Sequence[WindowRecord]) -> dict[int, Standing]:
    """Return the place of every window on its side, by its index in the plan."""
    found: dict[int, Standing] = {}
    for member in (True, False):
        side = sorted((record for record in records if record.member == member), key=_order)
        rank = 1
        for _, group in itertools.groupby(side, severity):
            equals = list(group)
            standing = Standing(rank, len(side), len(equals) - 1)
            found |= {record.index: standing for record in equals}
            rank += len(equals)
    return found


def _place(item: ProbabilityLine) -> tuple[bool, str, int]:
    return item["member"], item["document"], item["start"]


def _log_p(item: ProbabilityLine) -> float:
    return -math.inf if item["log_p"] is None else float(item["log_p"])


def _hits(windows: Sequence[WindowRecord]) -> int:
    return sum(record.extractable for record in windows)
