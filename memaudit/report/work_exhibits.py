"""Exhibits of whole works: their most probable windows, a random sample, and the best of the control works."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from memaudit.records import WindowRecord
from memaudit.report.exhibits import Exhibit, Exhibited, Gallery, Standing, exhibit, labelled
from memaudit.report.wording import counted
from memaudit.runs.directory import ReportInput
from memaudit.runs.work_report import WorkMeasured, WorkReport

MOST = 60
"""Exhibits of a gallery."""
NEAR = 1e-9
"""Nats by which equal probabilities may differ."""


def work_galleries(run: ReportInput[WorkReport]) -> list[Gallery]:
    """Return the galleries of a run over whole works.

    Args:
        run: Its records are the windows that were chosen to be shown; of the works asked about those are ``sampled``
            that chance drew.
    """
    probabilities = _Probabilities(run)
    works = {work["name"]: work for work in run.report["works"]}

    def made(record: WindowRecord) -> Exhibit:
        standing, log_p = probabilities.standing(record), probabilities.of(record)
        side = "the work" if record.member else "control work"
        where = _where(works.get(record.document), record)
        return replace(exhibit(record, standing, log_p, run.shown), side=side, where=where)

    asked = sum(work["windows"] for work in run.report["works"] if not work["control"])
    controls = sum(work["windows"] for work in run.report["works"] if work["control"])
    members = [record for record in run.records if record.member]
    drawn = [record for record in members if record.sampled]
    best = probabilities.ordered(record for record in members if not record.sampled)[:MOST]
    near = probabilities.ordered(record for record in run.records if not record.member)[:MOST]
    seed = run.report["options"]["seed"]
    chosen = [
        ("The most probable", f"{counted(len(best), 'window')} of {asked:,}: the most probable of every part.", best),
        (
            "A random sample",
            f"{counted(len(drawn), 'window')} of {asked:,}, drawn by seed {seed}: what is typical, good or bad.",
            drawn[:MOST],
        ),
        (
            "The most probable of the control works",
            f"{counted(len(near), 'window')} of {controls:,} of works that the model cannot have seen:"
            " what similarity looks like without memorization.",
            near,
        ),
    ]
    return labelled(Gallery(title, rule, [made(r) for r in records]) for title, rule, records in chosen if records)


def exhibited(run: ReportInput[WorkReport]) -> Exhibited:
    """Return what exhibits of whole works have in common, on paper."""
    options = run.report["options"]
    return Exhibited(
        work_galleries(run),
        f"Given {options['prefix']} tokens of the work, how probable are its next {options['suffix']}?",
        {work["name"]: work["sha256"] for work in run.report["works"]},
        f"p of samples at {sampling(run.report)}; the continuation shown is the greedy one",
        "the most probable first",
    )


def sampling(report: WorkReport) -> str:
    """Return how samples are drawn, in words."""
    options = report["options"]
    parts = [f"temperature {options['temperature']:g}"]
    parts += [f"top-k {options['top_k']}"] if options["top_k"] is not None else []
    parts += [f"top-p {options['top_p']:g}"] if options["top_p"] is not None else []
    return ", ".join(parts)


def _where(work: WorkMeasured | None, record: WindowRecord) -> str:
    """Return the part in which the suffix begins, and how far into it."""
    token = record.start + len(record.prefix_ids)
    if work is None or not work["parts"]:
        return ""
    part = next((part for part in reversed(work["parts"]) if part["token"] <= token), work["parts"][0])
    return f"{part['title']}, token {token - part['token'] + 1:,} of {part['tokens']:,}"


class _Probabilities:
    """Of the windows of a run, as its log has them."""

    def __init__(self, run: ReportInput[WorkReport]) -> None:
        works = run.report["works"]
        self._stride = run.report["options"]["stride"]
        self._numbers = {work["name"]: number for number, work in enumerate(works)}
        self._known: dict[tuple[int, int], float] = {}
        for line in run.measured:
            if line["measure"] == "windows":
                self._known |= _logged(line)
        self._sizes = [
            sum(work["windows"] for work in works if work["control"] == control) for control in (False, True)
        ]
        sides: tuple[list[float], list[float]] = ([], [])
        for (number, _), log_p in self._known.items():
            sides[works[number]["control"]].append(log_p)
        self._sides = [sorted(side) for side in sides]

    def of(self, record: WindowRecord) -> float | None:
        """Return the natural log of p_z of a window; None where it is not known."""
        number = self._numbers.get(record.document, -1)
        return self._known.get((number, record.start // self._stride), record.log_prob)

    def standing(self, record: WindowRecord) -> Standing:
        """Return the place of a window among all of its side, the most probable first."""
        log_p, side = self.of(record), self._sides[not record.member]
        if log_p is None or not side:
            return Standing(1, 1)
        better = len(side) - bisect.bisect_right(side, log_p + NEAR)
        equal = len(side) - better - bisect.bisect_left(side, log_p - NEAR)
        return Standing(better + 1, self._sizes[not record.member], max(0, equal - 1))

    def ordered(self, records: Iterable[WindowRecord]) -> list[WindowRecord]:
        """Return windows, the most probable first."""
        return sorted(records, key=lambda record: (-_value(self.of(record)), record.index))


def _value(log_p: float | None) -> float:
    return -math.inf if log_p is None else log_p


def _logged(line: Mapping[str, Any]) -> dict[tuple[int, int], float]:
    log_p: Sequence[float | None] = line["log_p"]
    return {
        (line["work"], window): -math.inf if value is None else value
        for window, value in zip(line["windows"], log_p, strict=True)
    }
