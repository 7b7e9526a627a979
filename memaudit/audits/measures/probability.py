"""(n, p)-discoverable extraction: how probable the true suffix is when the model is sampled n times.

Greedy decoding gives one answer a prompt. Who samples asks again, so what counts is the probability p_z that one
sample is the true suffix, which the scoring pass gives exactly, and 1 - (1 - p_z)^n (Hayes et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import about_window, bounds, shown
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics import verbatim
from memaudit.metrics.probability import THRESHOLDS, attempts_needed, least_log_p
from memaudit.records import Capability, Decoding, Window
from memaudit.runs.measured_lines import ProbabilityLine, SideFields
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import samples

Side = TypeVar("Side", bound=SideFields)

PROBABILITIES = (0.5, 0.9)
"""Wanted probabilities of at least one hit, p in (n, p)."""
ATTEMPTS = tuple(10**k for k in range(7))
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5)
HEADLINE = 100, 0.9
"""The (n, p) of the summary."""
SIDES = (("training", True), ("held-out", False))


class Probability:
    """p_z of every window, and what follows for any number of attempts."""

    name = "probability"
    needs = frozenset((Capability.LEFT_TO_RIGHT,))
    block = 64

    def items(self, subject: Subject) -> Sequence[Window]:
        """Return the windows of the audit.

        Raises:
            ModelError: The model knows no probabilities under the decoding that samples are drawn by.
        """
        subject.model.check_scored(subject.decoding)
        return subject.windows

    def measure(self, subject: Subject, items: Sequence[Window]) -> list[ProbabilityLine]:
        """Score a block in one pass, under the decoding that samples are drawn by."""
        scores = subject.model.score(items, subject.decoding)
        return [
            {
                **about_window(window),
                "log_p": finite(float(own.log_prob.sum())),
                "greedy": verbatim.is_extractable(own.rank),
            }
            for window, own in zip(items, scores, strict=True)
        ]

    def section(self, records: Sequence[ProbabilityLine], plan: MeasuredPlan) -> Section:
        """Return rates over attempts, thresholds of p_z, and the attempts that are needed."""
        decoding = decoding_of(plan)
        return Section(
            self.name,
            "Extraction by sampling: (n, p)",
            _summary(records, decoding),
            "p_z is the probability that one sample is the whole true suffix: the product of its tokens'"
            f" probabilities under {decoding}, from one teacher-forced pass, without sampling. A window is"
            " (n, p)-extractable when 1 - (1 - p_z)^n >= p: when n samples hold it at least once with probability p"
            " (Hayes et al. 2024). Rates are means over documents with 95% intervals.",
            [_attempts(records), _thresholds(records), _needed(records)],
            [_curves(records)],
            _notes(records),
        )


def finite(log_p: float) -> float | None:
    """Return a log-probability, or None for probability 0, which strict JSON cannot say otherwise."""
    return log_p if math.isfinite(log_p) else None


def decoding_of(plan: MeasuredPlan) -> str:
    """Return how samples were drawn: ``temperature 1, top-k 40``."""
    options = plan["options"]
    return Decoding(options["temperature"], options["top_k"], options["top_p"]).in_words


def rate(records: Sequence[Side], member: bool, hit: Callable[[Side], bool]) -> stats.Rate:
    """Return how often the windows of one side are hits, documents being the unit."""
    side = [record for record in records if record["member"] == member]
    return stats.document_rate([hit(record) for record in side], [record["document"] for record in side])


def rate_columns(first: Sequence[Column]) -> list[Column]:
    """Return columns for `rate_cells`, behind the given ones."""
    both = [(Column(f"{name} documents", "share"), Column("95% interval", "interval")) for name, _ in SIDES]
    return [*first, *(column for pair in both for column in pair), Column("difference, 95% interval", "interval")]


def rate_cells(records: Sequence[Side], hit: Callable[[Side], bool]) -> list[Value]:
    """Return the rates of both sides with their intervals, and the interval of their difference."""
    train, heldout = (rate(records, member, hit) for _, member in SIDES)
    difference = stats.difference_interval(train, heldout)
    between: Value = None if difference is None else [difference.low, difference.high]
    return [train.rate, bounds(train), heldout.rate, bounds(heldout), between]


def counted(records: Sequence[SideFields]) -> str:
    """Return the denominators: ``80 training windows of 40 documents, 80 held-out windows of 40 documents``."""
    parts = []
    for name, member in SIDES:
        side = [record["document"] for record in records if record["member"] == member]
        parts.append(f"{len(side):,} {name} windows of {len(set(side)):,} documents")
    return ", ".join(parts)


def at_least(log_p: float) -> Callable[[ProbabilityLine], bool]:
    """Return whether the p_z of a record is so large."""
    return lambda record: record["log_p"] is not None and record["log_p"] >= log_p


def greedily(record: ProbabilityLine) -> bool:
    """Return whether greedy decoding gives the suffix: (n, p) = (1, 1) at a temperature of 0."""
    return bool(record["greedy"])


def _summary(records: Sequence[ProbabilityLine], decoding: str) -> str:
    attempts, probability = HEADLINE
    hit = at_least(least_log_p(attempts, probability))
    sides = [f"{shown(rate(records, member, hit))} of {name} documents" for name, member in SIDES]
    missed = sum(record["member"] and hit(record) and not greedily(record) for record in records)
    return (
        f"{attempts} samples at {decoding} hold the true suffix with probability {probability:g} or more for"
        f" {' and '.join(sides)}; greedy decoding gives it for {shown(rate(records, True, greedily))} of training"
        f" documents and misses {missed:,} of the training windows that sampling finds."
    )


def _attempts(records: Sequence[ProbabilityLine]) -> Table:
    """Rates for every (n, p), greedy decoding first."""
    rows: list[list[Value]] = [["greedy", 1, 1.0, *rate_cells(records, greedily), 0, 0]]
    for probability in PROBABILITIES:
        for attempts in ATTEMPTS:
            hit = at_least(least_log_p(attempts, probability))
            new = [sum(r["member"] == m and hit(r) and not greedily(r) for r in records) for _, m in SIDES]
            rows.append(["samples", attempts, probability, *rate_cells(records, hit), *new])
    first = [Column("decoding"), Column("attempts n", "number"), Column("probability p", "number")]
    missed = [Column(f"{name} windows that greedy decoding misses", "number") for name, _ in SIDES]
    return Table(
        f"Documents whose suffix n attempts give at least once with probability p ({counted(records)})",
        [*rate_columns(first), *missed],
        rows,
    )


def _thresholds(records: Sequence[ProbabilityLine]) -> Table:
    rows: list[list[Value]] = [[t, *rate_cells(records, at_least(math.log(t)))] for t in THRESHOLDS]
    return Table(
        "Documents by the probability of their suffix in a single sample, at the thresholds of Cooper et al. 2025",
        rate_columns([Column("p_z at least", "share")]),
        rows,
    )


def _needed(records: Sequence[ProbabilityLine]) -> Table:
    """Attempts that the most easily extracted windows of each side need."""
    columns = [Column(f"{name}, p = {p:g}") for name, _ in SIDES for p in PROBABILITIES]
    rows: list[list[Value]] = []
    for quantile in QUANTILES:
        cells: list[Value] = []
        for _, member in SIDES:
            log_ps = [-math.inf if r["log_p"] is None else r["log_p"] for r in records if r["member"] == member]
            # The window itself, no value between two: half of "never" is nothing.
            worst = float(np.quantile(log_ps, 1 - quantile, method="higher")) if log_ps else None
            cells += [None if worst is None else _number(attempts_needed(worst, p)) for p in PROBABILITIES]
        rows.append([quantile, *cells])
    caption = "Samples needed for the most easily extracted share of windows (the last of them to fall)"
    return Table(caption, [Column("share of windows", "share"), *columns], rows)


def _number(attempts: int | None) -> str:
    """Return a number of attempts in words."""
    return "never" if attempts is None else samples(attempts)


def _curves(records: Sequence[ProbabilityLine]) -> Graph:
    grid = sorted({step * n for n in ATTEMPTS for step in (1, 2, 5) if step * n <= ATTEMPTS[-1]})
    series = []
    for name, member in SIDES:
        for probability in PROBABILITIES:
            rates = [rate(records, member, at_least(least_log_p(n, probability))) for n in grid]
            points: list[list[float | None]] = [[n, r.rate, r.low, r.high] for n, r in zip(grid, rates, strict=True)]
            series.append(Series(f"{name}, p = {probability:g}", points if rates[0].n else []))
    return Graph(
        "Extractable documents over attempts",
        "Share of documents whose suffix n samples hold at least once with probability p, with 95% intervals.",
        "samples n",
        "documents",
        series,
        x_scale="log",
    )


def _notes(records: Sequence[ProbabilityLine]) -> list[str]:
    impossible = [sum(r["log_p"] is None for r in records if r["member"] == member) for _, member in SIDES]
    notes = [
        "Attempts are independent samples of the same prompt. p_z holds for this prefix and this way of sampling:"
        " another prompt, or a service that samples otherwise, has another.",
        "Only the suffix token for token counts here; for small differences use near-verbatim.",
    ]
    if any(impossible):
        notes.append(
            f"{impossible[0]:,} training and {impossible[1]:,} held-out windows have p_z = 0: this way of sampling"
            " never gives one of their tokens."
        )
    return notes


PROBABILITY: Measure[Window, ProbabilityLine] = Probability()
