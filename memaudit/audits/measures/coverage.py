"""How much of each document is extractable at all: coverage by windows at stride 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import (
    Member,
    about,
    bounds,
    by_copies,
    by_domain,
    encoded,
    mean_share,
    median,
    members,
    shown,
    sides,
    worst,
)
from memaudit.audits.measures.covering import LIKELY, cover_documents
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics.surface import longest_greedy_run
from memaudit.records import Capability
from memaudit.runs.measured_lines import CoverageLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent, stated

MAX_TOKENS = 10_000
"""Tokens of a document that are searched, from its start."""
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
LISTED = 10
METHOD = (
    "A window is {prefix} tokens of a document and the {suffix} behind them, at every place; it is extractable if"
    " greedy decoding of the first gives the second. The coverage of a document is the share of its tokens that lie in"
    " the suffix of an extractable window, of all that lie in the suffix of any (after Cooper et al. 2025, who slide"
    " windows over whole books). Every covered token was verified with the true prefix of its window. "
)
EXACT = "Every window was tested."
SHORTCUT = (
    f"Not every window was tested: only those of which at least {stated(LIKELY)} of the tokens follow greedily in"
    " windows that lie suffix to suffix, and none for tokens that are covered already or that a neighbouring window got"
    " wrong. So coverage is a lower bound; an n-gram model that looks back no farther than the prefix is exact."
)


class Coverage:
    """Coverage by extractable windows; see `METHOD`.

    Args:
        exact: Ask for every window, 20 times as slow or more.
    """

    name = "coverage"
    needs = frozenset((Capability.LEFT_TO_RIGHT,))
    block = 16

    def __init__(self, *, exact: bool = False) -> None:
        self.exact = exact

    def items(self, subject: Subject) -> Sequence[Member]:
        """Return the documents of both sides."""
        return members(subject)

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[CoverageLine]:
        """Cover each document."""
        known = list(encoded(subject, items, MAX_TOKENS))
        options = subject.options
        texts = [ids for _, ids, _ in known]
        covered = cover_documents(subject.model, texts, options.prefix, options.suffix, exact=self.exact)
        records: list[CoverageLine] = []
        for (item, ids, length), cover in zip(known, covered, strict=True):
            span = longest_greedy_run((~cover.tokens).astype(np.int32))
            records.append(
                {
                    **about(item),
                    "tokens": len(ids),
                    "left_out": length - len(ids),
                    "coverable": cover.coverable,
                    "covered": int(cover.tokens.sum()),
                    "coverage": cover.share,
                    "longest_span": span.length,
                    "longest_span_start": span.start if span.length else None,
                    "windows": cover.windows,
                    "windows_asked": cover.asked,
                    "control": cover.control,
                    "control_hits": cover.control_hits,
                }
            )
        return records

    def section(self, records: Sequence[CoverageLine], plan: MeasuredPlan) -> Section:
        """Return the coverage of both sides, by domain and by copies."""
        options = plan.get("options", {})
        lengths = {"prefix": options.get("prefix", 50), "suffix": options.get("suffix", 50)}
        both = sides(records)
        whole = self.exact or all(r["windows_asked"] == r["windows"] for r in records)
        groups = both | by_copies(records)
        tables = [_rates("Coverage of documents", groups), _rates("By domain", by_domain(records)), _most(records)]
        return Section(
            name=self.name,
            title="Coverage of documents by extractable windows",
            summary=_summary(both),
            method=METHOD.format(**lengths) + (EXACT if whole else SHORTCUT),
            tables=[table for table in tables if table.rows],
            graphs=[_graph(groups)] if any(_shares(group) for group in groups.values()) else [],
            notes=_notes(records, lengths["prefix"] + lengths["suffix"]),
        )


def _shares(records: Sequence[CoverageLine]) -> list[float]:
    return [r["coverage"] for r in records if r["coverage"] is not None]


def _rates(caption: str, groups: Mapping[str, Sequence[CoverageLine]]) -> Table:
    rows: list[list[Value]] = []
    for name, group in groups.items():
        shares = _shares(group)
        mean, touched = mean_share(shares), stats.clopper_pearson(sum(s > 0 for s in shares), len(shares))
        any_share = sum(s > 0 for s in shares) / len(shares) if shares else None
        rows.append([name, len(shares), mean.rate, bounds(mean), median(shares), max(shares, default=None)])
        rows[-1] += [any_share, None if touched is None else [touched.low, touched.high]]
    columns = [Column("Documents of"), Column("Documents", "number"), Column("Mean coverage", "share")]
    columns += [Column("95% interval", "interval"), Column("Median", "share"), Column("Largest", "share")]
    columns += [Column("Documents with any", "share"), Column("95% interval", "interval")]
    return Table(caption, columns, rows)


def _most(records: Sequence[CoverageLine]) -> Table:
    columns = [Column("Coverage", "share"), Column("Tokens covered", "number"), Column("Longest span", "number")]
    columns += [Column("From token", "number"), Column("Side"), Column("Source")]
    rows: list[list[Value]] = []
    for side in sides(records).values():
        for r in worst(side, lambda r: r["coverage"], LISTED):
            name = "train" if r["member"] else "held-out"
            rows.append([r["coverage"], r["covered"], r["longest_span"], r["longest_span_start"], name, r["source"]])
    return Table("Documents with the largest coverage", columns, rows)


def _graph(groups: Mapping[str, Sequence[CoverageLine]]) -> Graph:
    series = []
    for name, group in groups.items():
        shares = _shares(group)
        points: list[list[float | None]] = []
        for least in SHARES if shares else ():
            count = sum(share >= least for share in shares)
            interval = stats.clopper_pearson(count, len(shares))
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            points.append([least, count / len(shares), low, high])
        if points:
            series.append(Series(name, points))
    return Graph(
        title="Documents by their coverage",
        description="Share of documents of which at least this share of the tokens is extractable.",
        x="Coverage of at least",
        y="Documents",
        series=series,
    )


def _summary(groups: Mapping[str, Sequence[CoverageLine]]) -> str:
    train, heldout = (_shares(group) for group in groups.values())
    if not train or not heldout:
        return "Coverage could not be compared: a side has no document with a whole window."
    return (
        f"Extractable windows cover {shown(mean_share(train))} of the tokens of a training document (mean of"
        f" {len(train):,}) and {shown(mean_share(heldout))} of a held-out one (mean of {len(heldout):,})."
    )


def _notes(records: Sequence[CoverageLine], window: int) -> list[str]:
    notes = []
    windows, asked = sum(r["windows"] for r in records), sum(r["windows_asked"] for r in records)
    notes.append(f"{asked:,} of {windows:,} windows were tested.")
    control, hits = sum(r["control"] for r in records), sum(r["control_hits"] for r in records)
    upper = stats.upper_bound(hits, control)
    if upper is not None:
        notes.append(
            f"Control: of {control:,} windows drawn from those that were passed over, {hits:,} were extractable"
            f" (at most {percent(upper)} of them at 95% confidence)."
        )
    short = sum(r["coverage"] is None for r in records)
    if short:
        notes.append(f"{short:,} of {len(records):,} documents are shorter than {window} tokens and have no coverage.")
    cut = sum(r["left_out"] > 0 for r in records)
    if cut:
        notes.append(
            f"{cut:,} of {len(records):,} documents have more than {MAX_TOKENS:,} tokens: only these were read."
        )
    return notes


COVERAGE: Measure[Member, CoverageLine] = Coverage()
