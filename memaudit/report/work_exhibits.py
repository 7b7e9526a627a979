"""Exhibits of whole works: the longest passages, a random sample, and what comes nearest in the control works."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import replace

from memaudit.records import WindowRecord
from memaudit.report.covered import Covered, level_of, runs
from memaudit.report.exhibits import Exhibit, Exhibited, Gallery, Standing, exhibit, labelled
from memaudit.report.wording import counted, sampled, word_range
from memaudit.runs.directory import ReportInput
from memaudit.runs.work_report import Passage, WorkMeasured, WorkReport
from memaudit.stats.rounding import stated

NEAR = 1e-9
"""Nats by which equal probabilities may differ."""


def work_galleries(run: ReportInput[WorkReport]) -> list[Gallery]:
    """Return the galleries of a run over whole works.

    Args:
        run: Its records are the windows that were chosen to be shown, in order; of the works asked about those are
            ``sampled`` that chance drew, and the others are passages.
    """
    report, places = run.report, _Places(run)

    def made(record: WindowRecord, standing: Standing) -> Exhibit:
        side = "the work" if record.member else "control work"
        log_p = -math.inf if record.log_prob is None else record.log_prob
        return replace(exhibit(record, standing, log_p, run.shown), side=side, where=places.where(record))

    members = [record for record in run.records if record.member]
    passages = [made(record, places.by_length(record)) for record in members if not record.sampled]
    drawn = [made(record, places.by_probability(record)) for record in members if record.sampled]
    near = [made(record, places.by_probability(record)) for record in run.records if not record.member]
    at, seed = stated(report["options"]["threshold"]), report["options"]["seed"]
    asked, controls = places.windows
    found = [
        (
            "The longest passages",
            f"{len(passages):,} of {counted(len(places.lengths), 'passage')} that can be had back at p >= {at}, the"
            " longest first, each by its most probable window.",
            passages,
        ),
        (
            "A random sample",
            f"{len(drawn):,} of {counted(asked, 'window')}, drawn by seed {seed}: what is typical, good or bad.",
            drawn,
        ),
        (
            "The nearest of the control works",
            f"{len(near):,} of {counted(controls, 'window')} of works that the model cannot have seen: what similarity"
            " looks like without memorization.",
            near,
        ),
    ]
    return labelled(Gallery(title, rule, exhibits) for title, rule, exhibits in found)


def exhibited(run: ReportInput[WorkReport]) -> Exhibited:
    """Return what exhibits of whole works have in common, on paper."""
    options = run.report["options"]
    return Exhibited(
        work_galleries(run),
        f"Given {options['prefix']} tokens of the work, how probable are those that follow?",
        {work["name"]: work["sha256"] for work in run.report["works"]},
        f"p is that of a sample at {sampled(options)}; the continuation shown is the greedy one",
    )


class _Places:
    """Where the windows of a run stand: in their works, and among all windows of their side."""

    def __init__(self, run: ReportInput[WorkReport]) -> None:
        report = run.report
        self._works = {work["name"]: work for work in report["works"]}
        self._least = report["thresholds"][0] if report["thresholds"] else 1.0
        sides: tuple[list[float], list[float]] = ([], [])
        for line in run.measured:
            if line["measure"] == "windows":
                known = [log_p for log_p in line["log_p"] if log_p is not None]
                sides[report["works"][line["work"]]["control"]].extend(known)
        self._sides = [sorted(side) for side in sides]
        self.windows = [_windows(report["works"], control=control) for control in (False, True)]
        level = level_of(report["thresholds"], report["options"]["threshold"])
        asked = [work for work in report["works"] if not work["control"]]
        self.lengths = [
            passage.tokens for work in asked for passage in runs(Covered(work, report["options"]).at_least(level))
        ]
        """Tokens of every passage of the works asked about."""

    def by_length(self, record: WindowRecord) -> Standing:
        """Return the place of a passage among all, the longest first."""
        passage = self._passage(record)
        length = passage["tokens"] if passage else len(record.suffix_ids)
        longer = sum(other > length for other in self.lengths)
        equal = self.lengths.count(length)
        return Standing(longer + 1, len(self.lengths), max(0, equal - 1), "passage", "the longest first")

    def by_probability(self, record: WindowRecord) -> Standing:
        """Return the place of a window among all of its side, the most probable first."""
        side, asked = self._sides[not record.member], self.windows[not record.member]
        log_p = -math.inf if record.log_prob is None else record.log_prob
        if log_p < math.log(self._least):  # of those no more is known
            above = len(side) - bisect.bisect_left(side, math.log(self._least))
            told = f"below p >= {stated(self._least)}, as {asked - above:,} of {counted(asked, 'window')} are"
            return Standing(above + 1, asked, told=told)
        better = len(side) - bisect.bisect_right(side, log_p + NEAR)
        equal = len(side) - better - bisect.bisect_left(side, log_p - NEAR)
        return Standing(better + 1, asked, max(0, equal - 1), order="the most probable first")

    def where(self, record: WindowRecord) -> str:
        """Return the part in which the suffix begins, how far into it, and among which words where these are known."""
        work, first = self._works.get(record.document), record.start + len(record.prefix_ids)
        if work is None or not work["parts"]:
            return ""
        part = next((part for part in reversed(work["parts"]) if part["token"] <= first), work["parts"][0])
        said = [f"{part['title']}, token {first - part['token'] + 1:,} of {part['tokens']:,}"]
        if not record.sampled and (passage := self._passage(record)):
            said.append(f"in a passage of {counted(passage['tokens'], 'token')}{_words(passage)}")
        return " · ".join(said)

    def _passage(self, record: WindowRecord) -> Passage | None:
        """Return the listed passage of its work that holds the suffix of a window."""
        work, first = self._works.get(record.document), record.start + len(record.prefix_ids)
        listed = work["longest"] if work and record.member else []
        return next((found for found in listed if found["token"] <= first < found["token"] + found["tokens"]), None)


def _words(passage: Passage) -> str:
    """Return among which words of its work a passage stands, where words are known."""
    return "" if passage["word"] is None else f", words {word_range(passage)} of the work"


def _windows(works: Sequence[WorkMeasured], *, control: bool) -> int:
    return sum(work["windows"] for work in works if work["control"] == control)
