"""What is shown of whole works: the longest passages, a random sample, and what comes nearest in the control works.

A passage is shown by its most probable window: what is shown has the length, and the p_z, that the verdict counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from memaudit.audits.extraction.windows import measure
from memaudit.audits.work.measured import coverage
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.reading import Places, Reading
from memaudit.audits.work.texts import WholeWork
from memaudit.metrics.probability import THRESHOLDS
from memaudit.metrics.surface import runs_of
from memaudit.models.base import LanguageModel
from memaudit.models.memory import in_halves
from memaudit.records import Decoding, Window, WindowRecord

PASSAGES, DRAWN, NEAREST = 12, 8, 4
"""Most passages, windows of the sample, and windows of control works."""
ASKED = 64
"""Windows of control works among which the nearest are looked for, where nothing is known of any."""

Chosen = list[tuple[Window, bool]]
"""Windows to be shown, and whether the seed drew them."""


def choose(
    model: LanguageModel, works: Sequence[WholeWork], readings: Sequence[Reading], options: WorkOptions
) -> Chosen:
    """Return what is shown: passages longest first, the sample in order, the nearest of the control works.

    Args:
        model: It is asked for windows of control works.
        works: Those in question, then the control works.
        readings: Their windows.
        options: With the threshold of passages, and the seed.
    """
    pairs = list(zip(works, readings, strict=True))
    asked = [pair for pair in pairs if not pair[0].control]
    controls = [pair for pair in pairs if pair[0].control]
    generator = np.random.default_rng(options.seed)
    passages = [(work.window(place, texts=True), False) for work, place in _of_longest_passages(asked, options)]
    drawn = np.sort(generator.permutation(sum(work.windows for work, _ in asked))[:DRAWN])
    sample = [(window, True) for window in _windows_at(asked, drawn)]
    return [*passages, *sample, *((window, False) for window in _nearest(model, controls, options))]


def _of_longest_passages(
    asked: Sequence[tuple[WholeWork, Reading]], options: WorkOptions
) -> list[tuple[WholeWork, int]]:
    """Return the most probable window of each of the longest passages, the longest first."""
    level = THRESHOLDS.index(options.threshold)
    found = [
        (work, reading, *run) for work, reading in asked for run in runs_of(coverage(work, reading.levels > level))
    ]
    found.sort(key=lambda passage: passage[2] - passage[3])
    best = []
    for work, reading, first, stop in found[:PASSAGES]:
        suffixes = work.suffix_start(0) + options.stride * np.arange(work.windows)
        low, high = np.searchsorted(suffixes, [first, stop - options.suffix + 1])
        best.append((work, int(low + np.argmax(reading.log_p[low:high]))))
    return best


def _nearest(model: LanguageModel, controls: Sequence[tuple[WholeWork, Reading]], options: WorkOptions) -> list[Window]:
    """Return the windows of control works with the largest p_z, as far as a pass or a sample tells."""
    if not any(work.windows for work, _ in controls):
        return []
    known = np.concatenate([np.maximum(reading.log_p, reading.guess) for _, reading in controls])
    likely = np.argsort(-known, kind="stable")[:ASKED]
    if not np.isfinite(known[likely]).any():
        likely = np.random.default_rng([options.seed, 1]).permutation(len(known))[:ASKED]
    windows = _windows_at(controls, likely)
    sums = [float(own.log_prob.sum()) for own in model.score(windows, options.decoding)]
    best = np.argsort(-np.array(sums), kind="stable")[:NEAREST]
    return [windows[number] for number in best.tolist()]


def _windows_at(pairs: Sequence[tuple[WholeWork, Reading]], places: Places) -> list[Window]:
    """Return windows with their texts, by their places among all windows of some works."""
    firsts = np.cumsum([0, *(work.windows for work, _ in pairs)])
    owners = np.searchsorted(firsts, places, side="right") - 1
    return [
        pairs[owner][0].window(int(place - firsts[owner]), texts=True)
        for owner, place in zip(owners.tolist(), places.tolist(), strict=True)
    ]


def record(model: LanguageModel, chosen: Chosen, decoding: Decoding, first: int) -> list[WindowRecord]:
    """Return what the model makes of the windows, numbered from ``first`` on.

    Args:
        model: It continues all of them.
        chosen: The windows, and which of them were drawn.
        decoding: How samples are drawn; log p is that of such a sample.
        first: Index of the first line of the log.
    """
    windows = [window for window, _ in chosen]
    records, _ = in_halves(lambda some: measure(model, some), windows)
    scores, _ = in_halves(lambda some: list(model.score(some, decoding)), windows)
    sums = [float(own.log_prob.sum()) for own in scores]
    return [
        dataclasses.replace(found, index=first + place, sampled=drawn, log_prob=log_p if np.isfinite(log_p) else None)
        for place, (found, log_p, (_, drawn)) in enumerate(zip(records, sums, chosen, strict=True))
    ]
