"""From windows to what can be had back of a work: shares of all tokens, parts, passages and holes, and the cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.work.parts import Heading
from memaudit.audits.work.reading import BoolArray, Places, Reading
from memaudit.audits.work.texts import WholeWork
from memaudit.metrics.probability import THRESHOLDS, attempts_needed
from memaudit.metrics.surface import covered_by, runs_of
from memaudit.runs.work_report import Cost, Passage, Reached, WorkMeasured, WorkPart
from memaudit.stats import Interval
from memaudit.stats.blocks import share_interval

LISTED = 12
"""Passages and holes that are listed, of each."""
LONGEST_TEXT = 2000
"""Characters of a passage that are quoted; a work that is known by heart does not stand in its report."""
EVEN = 0.5
"""Chance of a suffix up to which it is asked for."""


def measured(work: WholeWork, reading: Reading, threshold: float, shared: BoolArray | None = None) -> WorkMeasured:
    """Return what is known of one work.

    Args:
        work: Its text.
        reading: Its windows.
        threshold: Of the verdict; passages and holes are those of it.
        shared: Which windows touch text that a work of the other side holds too.
    """
    levels = reading.levels
    reaching = [reading.greedy, *(levels > place for place in range(len(THRESHOLDS)))]
    covered = [coverage(work, hits) for hits in reaching]
    chosen = 1 + THRESHOLDS.index(threshold)
    found: WorkMeasured = {
        "name": work.name,
        "source": work.document.source,
        "control": work.control,
        "sha256": work.sha256,
        "tokens": len(work.ids),
        "words": work.words,
        "lines": work.lines,
        "windows": work.windows,
        "coverable": work.coverable,
        "read": int(reading.read.sum()),
        "checked": reading.checked,
        "check_hits": reading.hits,
        "levels": "".join(map(str, levels.tolist())),
        "greedy": _digits(reading.greedy),
        "parts": _parts(work, reaching, covered),
        "reached": _reached(reaching, covered, [share_interval(tokens, 1) for tokens in covered]),
        "costs": [_cost(work, reading, levels > place, place) for place in range(len(THRESHOLDS))],
        "longest": _longest(work, reading, reaching[chosen], covered[chosen], threshold),
        "holes": [
            {**work.place(first, stop), "threshold": threshold, "log_p": None, "text": None}
            for first, stop in _by_length(runs_of(~covered[chosen]))
        ],
    }
    if shared is not None and shared.any():
        found["shared"] = _digits(shared)
    return found


def _digits(flags: BoolArray) -> str:
    return "".join("01"[flag] for flag in flags.tolist())


def coverage(work: WholeWork, hits: BoolArray) -> BoolArray:
    """Return which tokens stand in the suffix of one of the windows ``hits``, shape [tokens]."""
    starts = work.options.prefix + work.options.stride * np.flatnonzero(hits)
    return covered_by(starts, work.options.suffix, len(work.ids))


def fewest_windows(work: WholeWork, hits: BoolArray) -> list[int]:
    """Return as few of the windows ``hits`` as cover what all of them cover, in order.

    The first uncovered token needs a window that holds it, and none does more than the last that begins at it or before
    (the greedy cover of intervals, which is a smallest one).
    """
    chosen: list[int] = []
    places = np.flatnonzero(hits)
    starts = places * work.options.stride
    at = 0
    while at < len(places):
        first = starts[at]
        if chosen:
            first = max(first, chosen[-1] * work.options.stride + work.options.suffix)
        last = int(np.searchsorted(starts, first, side="right")) - 1
        chosen.append(int(places[max(last, at)]))
        end = chosen[-1] * work.options.stride
        at = int(np.searchsorted(starts, end, side="right"))
    return chosen


def _reached(
    reaching: list[BoolArray], covered: list[BoolArray], intervals: Sequence[Interval | None] = ()
) -> list[Reached]:
    """Return the shares, greedy decoding first; a part has no interval, for it is no sample of parts."""
    thresholds: list[float | None] = [None, *THRESHOLDS]
    return [
        {
            "threshold": threshold,
            "windows": int(hits.sum()),
            "tokens": int(tokens.sum()),
            "share": float(tokens.mean()) if len(tokens) else None,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
        }
        for threshold, hits, tokens, interval in zip(
            thresholds, reaching, covered, intervals or [None] * len(covered), strict=True
        )
    ]


def _parts(work: WholeWork, reaching: list[BoolArray], covered: list[BoolArray]) -> list[WorkPart]:
    starts = work.options.prefix + work.options.stride * np.arange(work.windows)
    found: list[WorkPart] = []
    for heading, stop in _with_ends(work):
        first = heading.token
        inside = slice(int(np.searchsorted(starts, first)), int(np.searchsorted(starts, stop)))
        found.append(
            {
                "title": heading.title,
                "line": work.line_of(first) if stop > first else None,
                "token": first,
                "tokens": stop - first,
                "words": work.words_in(first, stop),
                "windows": inside.stop - inside.start,
                "reached": _reached([hits[inside] for hits in reaching], [tokens[first:stop] for tokens in covered]),
            }
        )
    return found


def _with_ends(work: WholeWork) -> Iterator[tuple[Heading, int]]:
    stops = [heading.token for heading in work.headings[1:]]
    return zip(work.headings, [*stops, len(work.ids)], strict=True)


def _cost(work: WholeWork, reading: Reading, hits: BoolArray, place: int) -> Cost:
    """Return what it takes to have everything back that reaches a threshold."""
    chosen = fewest_windows(work, hits)
    needed = [attempts_needed(min(0.0, float(reading.log_p[window])), EVEN) or 0 for window in chosen]
    samples = float(sum(needed))
    tokens = samples * work.options.suffix
    return {"threshold": THRESHOLDS[place], "windows": len(chosen), "samples": samples, "tokens": tokens}


def _by_length(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return sorted(found, key=lambda run: (run[0] - run[1], run[0]))[:LISTED]


def _longest(work: WholeWork, reading: Reading, hits: BoolArray, covered: BoolArray, threshold: float) -> list[Passage]:
    found: list[Passage] = []
    for first, stop in _by_length(runs_of(covered)):
        windows = windows_within(work, hits, first, stop)
        text = work.text(first, stop)
        found.append(
            {
                **work.place(first, stop),
                "threshold": threshold,
                "log_p": min(0.0, float(reading.log_p[windows].mean())),
                "text": text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} …",
            }
        )
    return found


def windows_within(work: WholeWork, hits: BoolArray, first: int, stop: int) -> Places:
    """Return the windows ``hits`` whose suffixes lie in tokens ``first:stop``."""
    options = work.options
    low = math.ceil((first - options.prefix) / options.stride)
    high = (stop - options.suffix - options.prefix) // options.stride
    places: NDArray[np.int64] = np.flatnonzero(hits)
    return places[(places >= low) & (places <= high)]
