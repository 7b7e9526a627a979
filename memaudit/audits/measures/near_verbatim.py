"""Near-verbatim extraction: a lower bound of the probability that a sample is the suffix but for a few edits.

Asked of a seeded sample of windows of both sides, and of every window whose greedy continuation was a near
miss. The rates are those of the sample alone; the near misses were picked for their outcome and stand apart.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from memaudit.audits.documents import about_window, shown
from memaudit.audits.measures.probability import (
    SIDES,
    counted,
    decoding_of,
    finite,
    rate,
    rate_cells,
    rate_columns,
)
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics import METRICS
from memaudit.metrics.probability import THRESHOLDS
from memaudit.models.beam import Near, near_texts
from memaudit.records import Capability, Window, WindowRecord
from memaudit.runs.measured_lines import NearVerbatimLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent

EDITS = 5
BEAMS = 16
BRANCHES = 4
SAMPLE = 40
"""Windows a side that the rates are of."""
SHOWN = (THRESHOLDS[0], THRESHOLDS[2])
"""Thresholds of the bound that are drawn."""


class Item(NamedTuple):
    """A window, and whether it was drawn (else it is a near miss of greedy decoding)."""

    window: Window
    sampled: bool


class NearVerbatim:
    """Probability of the true suffix within 0 to `EDITS` edits, bounded from below."""

    name = "near-verbatim"
    needs = frozenset((Capability.DISTRIBUTIONS,))
    block = 8

    def items(self, subject: Subject) -> list[Item]:
        """Return `SAMPLE` windows a side, drawn by the seed, then all other near misses."""
        drawn: list[int] = []
        for _, member in SIDES:
            side = [i for i, window in enumerate(subject.windows) if window.member == member]
            drawn += sorted(sorted(side, key=lambda i: _draw(subject.options.seed, subject.windows[i]))[:SAMPLE])
        near = [record.index for record in subject.records if _is_near_miss(record)]
        missed = [i for i in near if i not in drawn]
        return [Item(subject.windows[i], i not in missed) for i in drawn + missed]

    def measure(self, subject: Subject, items: Sequence[Item]) -> list[NearVerbatimLine]:
        """Search near all suffixes of a block together."""
        found: list[Near] = []
        for _, group in groupby(items, key=lambda item: len(item.window.suffix)):
            windows = [item.window for item in group]
            found += near_texts(subject.model, windows, subject.decoding, edits=EDITS, beams=BEAMS, branches=BRANCHES)
        return [
            {
                **about_window(item.window),
                "sampled": item.sampled,
                "log_bounds": [finite(near.log_bound(edits)) for edits in range(EDITS + 1)],
                "found": len(near.texts),
            }
            for item, near in zip(items, found, strict=True)
        ]

    def section(self, records: Sequence[NearVerbatimLine], plan: MeasuredPlan) -> Section:
        """Return the bound for every number of edits: of the sample, and of the near misses."""
        sample = [record for record in records if record["sampled"]]
        missed = [record for record in records if not record["sampled"]]
        return Section(
            self.name,
            "Near-verbatim extraction by sampling",
            _summary(sample),
            f"A beam search of {BEAMS} beams under {decoding_of(plan)} that keeps only beginnings which can still end"
            f" within {EDITS} token edits (Levenshtein) of the true suffix. The probabilities of the different texts"
            " of the suffix's length that it finds within so many edits add up to a lower bound of the probability"
            " that a sample lies within them; for 0 edits it is p_z itself (after Cooper et al. 2026).",
            [_by_edits(sample), *([_near_misses(missed)] if missed else [])],
            [_graph(sample)],
            [
                "A lower bound: texts that the search did not find are not counted, so a small gain from edits may be"
                " the search's and not the model's.",
                f"Rates are of up to {SAMPLE} windows a side drawn by the seed, whatever came of them;"
                f" {len(missed):,} other near misses of greedy decoding were searched too and are in no rate.",
                *_short(plan["options"]["suffix"]),
            ],
        )


def _short(suffix: int) -> list[str]:
    """Return a note where edits are enough to write any text."""
    if suffix > EDITS:
        return []
    return [f"A suffix has {suffix} tokens: any text is within as many edits, so these say nothing about memorization."]


def _draw(seed: int, window: Window) -> bytes:
    """Return the place of a window in the draw, which depends on the seed and the window alone."""
    name = f"{seed}\0{window.document}\0{window.start}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(name).digest()


def _is_near_miss(record: WindowRecord) -> bool:
    return not record.extractable and METRICS["edit_similarity"].hit(record.edit_similarity) is True


def _bound(record: NearVerbatimLine, edits: int) -> float:
    value = record["log_bounds"][edits]
    return 0.0 if value is None else math.exp(min(0.0, value))


def _within(edits: int, threshold: float) -> Callable[[NearVerbatimLine], bool]:
    return lambda record: _bound(record, edits) >= threshold


def _summary(sample: Sequence[NearVerbatimLine]) -> str:
    least = THRESHOLDS[0]
    parts = [
        f"{shown(rate(sample, member, _within(EDITS, least)))} of {name} documents"
        f" (verbatim {shown(rate(sample, member, _within(0, least)))})"
        for name, member in SIDES
    ]
    return (
        f"One sample is within {EDITS} token edits of the true suffix with probability {percent(least)} or more"
        f" for {' and '.join(parts)}."
    )


def _by_edits(sample: Sequence[NearVerbatimLine]) -> Table:
    rows: list[list[Value]] = []
    for threshold in SHOWN:
        for edits in range(EDITS + 1):
            means = [_mean([_bound(r, edits) for r in sample if r["member"] == member]) for _, member in SIDES]
            rows.append([threshold, edits, *rate_cells(sample, _within(edits, threshold)), *means])
    columns = [Column(f"mean bound, {name} windows", "share") for name, _ in SIDES]
    return Table(
        f"Documents with a probability of at least so much to be sampled within so many edits ({counted(sample)})",
        [*rate_columns([Column("probability at least", "share"), Column("edits", "number")]), *columns],
        rows,
    )


def _near_misses(missed: Sequence[NearVerbatimLine]) -> Table:
    rows: list[list[Value]] = [
        [record["source"], *(_bound(record, edits) for edits in range(EDITS + 1))] for record in missed
    ]
    columns = [Column(f"within {edits} edits" if edits else "verbatim (p_z)", "share") for edits in range(EDITS + 1)]
    return Table(
        "Near misses of greedy decoding: lower bounds of the probability", [Column("window of"), *columns], rows
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _graph(sample: Sequence[NearVerbatimLine]) -> Graph:
    series = []
    for name, member in SIDES:
        for threshold in SHOWN:
            rates = [rate(sample, member, _within(e, threshold)) for e in range(EDITS + 1)]
            points: list[list[float | None]] = [[e, r.rate, r.low, r.high] for e, r in enumerate(rates)]
            series.append(Series(f"{name}, at least {percent(threshold)}", points if rates[0].n else []))
    return Graph(
        "Extractable documents over edits",
        "Share of documents whose suffix is sampled within so many token edits with at least this probability"
        " (lower bound), with 95% intervals.",
        "token edits allowed",
        "documents",
        series,
    )


NEAR_VERBATIM: Measure[Item, NearVerbatimLine] = NearVerbatim()
