"""p_z and the greedy verdict of every window of a work, without reading every window.

A window is ``prefix`` tokens and the ``suffix`` tokens behind them; p_z is the probability that one sample is the
suffix. Every window is read by itself where that is asked for, or costs little. Otherwise one pass reads the work with
as much context as fits (`memaudit.audits.work.passing`): windows that come near no threshold there are passed over,
all others are read by themselves, and so is a random sample of those passed over. Where one of the sample reaches a
threshold, the pass was blind (as one of learned positions may be), and all that are left are read. So a value is always
that of a window's own prefix.

An n-gram model that looks back no farther than the prefix gives the same in a pass as window by window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from memaudit.audits.work.passing import likely_windows, pass_pays
from memaudit.audits.work.texts import WholeWork
from memaudit.metrics.probability import THRESHOLDS
from memaudit.models.base import LanguageModel
from memaudit.models.memory import in_halves
from memaudit.records import Decoding, FloatArray, TokenScores, Window
from memaudit.runs.directory import RunDirectory

BoolArray = NDArray[np.bool_]
Places = NDArray[np.int64]
Values = tuple[FloatArray, BoolArray]
"""Log p_z and the greedy verdict of some windows."""
Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""

BLOCK = 256
"""Windows read and logged together."""
STRETCH = 1 << 15
"""Tokens that a model which looks back a few tokens alone reads together: contexts come again in a long text."""
CHECK, LEAST_CHECKED = 20, 30
"""One in so many windows that were passed over is read by itself, and at least so many."""
HEAD = 8
"""Suffix tokens that settle most windows of unknown text: below the smallest threshold, and not greedy."""
ROUNDING = 1e-9
"""Nats by which a sum of log-probabilities may fall short of a threshold."""
LIMITS = np.log(THRESHOLDS) - ROUNDING
"""Log p_z from which a window reaches each threshold."""


@dataclass(slots=True, eq=False)
class Reading:
    """What is known of the windows of one work, arrays of shape [windows]."""

    log_p: FloatArray
    """Natural log of p_z; -inf where no more is known than that it is below every threshold and greedy decoding
    differs."""
    greedy: BoolArray
    """Whether greedy decoding gives the suffix."""
    read: BoolArray
    """Whether it was settled by itself, and not passed over."""
    guess: FloatArray
    """Log p in the pass, with another context; -inf where there was none."""
    passed: bool = False
    """Whether there was a pass that windows were left to."""
    checked: int = 0
    """Windows drawn from those that the pass left out."""
    hits: int = 0
    """How many of them reach a threshold, or are greedy."""

    @property
    def levels(self) -> Places:
        """How many thresholds every window reaches."""
        return np.searchsorted(LIMITS, self.log_p, side="right").astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """Tokens ``first:stop`` of a work, scored with all that stands before them."""

    work: WholeWork
    first: int
    stop: int
    scores: TokenScores

    def holds(self, work: WholeWork, first: int, stop: int) -> bool:
        """Whether tokens of a work are among these."""
        return self.work is work and self.first <= first and stop <= self.stop


class WindowReader:
    """Reads works one after the other into the log of a run; what the log holds is not read again.

    Args:
        model: A next-token model.
        run: The run; its log grows.
        decoding: How samples are drawn.
        progress: Told after every block.
        first: Index of the first line of the log.
        label: Before the names of lines, where another model reads the works too.
    """

    def __init__(
        self,
        model: LanguageModel,
        run: RunDirectory,
        decoding: Decoding,
        progress: Progress | None = None,
        *,
        first: int = 0,
        label: str = "",
    ) -> None:
        self.model, self.run, self.decoding, self.progress = model, run, decoding, progress
        self.next = first
        """Index of the next line of the log."""
        self.label = label
        self._before = self._all = 0
        self._stretch: _Stretch | None = None

    def read(self, works: Sequence[WholeWork], *, exact: bool) -> list[Reading]:
        """Return what is known of the windows of every work."""
        self._before, self._all = 0, sum(work.windows for work in works)
        readings = []
        for work in works:
            readings.append(self._read_work(work, exact=exact))
            self._before += work.windows
            self._tell(0)
        return readings

    def _read_work(self, work: WholeWork, *, exact: bool) -> Reading:
        reading = Reading(
            np.full(work.windows, -np.inf),
            np.zeros(work.windows, np.bool_),
            ~work.known,  # an unknown token is never given back
            np.full(work.windows, -np.inf),
        )
        if self.model.reach is not None and self.model.reach <= work.options.prefix:
            self._windows(work, reading, np.flatnonzero(work.known), self._at_once)
        elif exact or not pass_pays(self.model, work):
            self._windows(work, reading, np.flatnonzero(work.known), self._by_heads)
        else:
            reading.passed = True
            likely, reading.guess, self.next = likely_windows(
                self.model, work, self.decoding, self.run, self.next, f"{self.label}pass"
            )
            self._windows(work, reading, np.flatnonzero(likely & work.known), self._whole)
            self._check(work, reading)
        return reading

    def _check(self, work: WholeWork, reading: Reading) -> None:
        """Read a sample of the windows passed over, and all of them where one of the sample should not have been."""
        left = np.flatnonzero(~reading.read)
        count = min(len(left), max(LEAST_CHECKED, -(-len(left) // CHECK)))
        drawn = np.random.default_rng([work.options.seed, work.number]).permutation(left)[:count]
        self._windows(work, reading, np.sort(drawn), self._by_heads)
        reading.checked = count
        reading.hits = int((reading.greedy[drawn] | (reading.levels[drawn] > 0)).sum())
        if reading.hits:
            self._windows(work, reading, np.flatnonzero(~reading.read), self._by_heads)

    def _windows(
        self,
        work: WholeWork,
        reading: Reading,
        places: Places,
        values: Callable[[WholeWork, Places], Values],
    ) -> None:
        """Read windows by blocks, as far as the log lacks them, and note what it holds then."""
        for first in range(0, len(places), BLOCK):
            block = places[first : first + BLOCK]
            if self.run.pending([range(self.next, self.next + 1)]):
                log_p, greedy = values(work, block)
                line = {
                    "index": self.next,
                    "measure": f"{self.label}windows",
                    "work": work.number,
                    "windows": block.tolist(),
                    "log_p": [p if math.isfinite(p) else None for p in log_p.tolist()],
                    "greedy": "".join("01"[flag] for flag in greedy.tolist()),
                }
                self.run.append([line])
            known = self.run.records[self.next]
            reading.log_p[block] = [-math.inf if p is None else p for p in known["log_p"]]
            reading.greedy[block] = [flag == "1" for flag in known["greedy"]]
            reading.read[block] = True
            self.next += 1
            self._tell(int(reading.read.sum()))

    def _tell(self, done: int) -> None:
        if self.progress is not None:
            self.progress(self._before + done, self._all)

    def _whole(self, work: WholeWork, places: Places) -> Values:
        """Read windows to their end."""
        return self._scored([work.window(int(place)) for place in places])

    def _by_heads(self, work: WholeWork, places: Places) -> Values:
        """Read the beginnings of all suffixes, and to their end those that may still reach a threshold or are greedy.

        A probability only falls with every token, so nothing is lost.
        """
        if work.options.suffix <= 2 * HEAD:
            return self._whole(work, places)
        log_p, greedy = self._scored([work.window(int(place), HEAD) for place in places])
        left = np.flatnonzero(greedy | (log_p >= LIMITS[0]))
        log_p, greedy = np.full(len(places), -np.inf), np.zeros(len(places), np.bool_)
        log_p[left], greedy[left] = self._whole(work, places[left])
        return log_p, greedy

    def _at_once(self, work: WholeWork, places: Places) -> Values:
        """Read a stretch of text once, of a model for which that is the same."""
        suffix = work.options.suffix
        first, stop = work.suffix_start(int(places[0])), work.suffix_start(int(places[-1])) + suffix
        if self._stretch is None or not self._stretch.holds(work, first, stop):
            end = max(stop, min(first + STRETCH, len(work.ids)))
            scores = self.model.score([work.cut(first - work.options.prefix, first, end)], self.decoding)
            self._stretch = _Stretch(work, first, end, scores)
        scores = self._stretch.scores
        starts = work.options.prefix + places * work.options.stride - self._stretch.first
        log_p = sliding_window_view(scores.log_prob, suffix)[starts].sum(axis=1)
        greedy: BoolArray = np.all(sliding_window_view(scores.rank == 0, suffix)[starts], axis=1)
        return log_p, greedy

    def _scored(self, windows: Sequence[Window]) -> Values:
        """Score windows, in halves where memory runs out."""
        found, _ = in_halves(lambda some: list(self.model.score(some, self.decoding)), windows)
        return values_of(found)


def values_of(scores: Sequence[TokenScores]) -> Values:
    """Return log p_z and the greedy verdict of windows that were scored one by one."""
    log_p = np.array([float(own.log_prob.sum()) for own in scores], np.float64)
    return log_p, np.array([bool((own.rank == 0).all()) for own in scores], np.bool_)
