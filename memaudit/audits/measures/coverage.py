"""How much of each document is extractable at all: coverage by windows at stride 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.documents import (
    Member,
    about,
    bounds,
    by_copies,
    by_domain,
    encoded,
    in_order,
    mean_share,
    median,
    members,
    shown,
    sides,
    ties,
    worst,
)
from memaudit.audits.measures.covering import LIKELY, Covered, cover_documents
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics.surface import runs_of
from memaudit.records import Capability
from memaudit.report.wording import counted
from memaudit.runs.measured_lines import CoverageLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent, stated

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
LISTED = 10
KEPT = 3
"""Covered passages, and stretches that nothing covers, that are kept of a document: the longest."""
METHOD = (
    "A window is {prefix} tokens of a document and the {suffix} behind them, at every place; it is extractable if"
    " greedy decoding of the first gives the second. The coverage of a document is the share of all its tokens that lie"
    " in the suffix of an extractable window (after Cooper et al. 2025, who slide windows over whole books); its first"
    " {prefix} tokens lie in no suffix. A document is read to its end. Every covered token was verified with the true"
    " prefix of its window. "
)
EXACT = "Every window was tested."
SHORTCUT = (
    f"Not every window was tested: only those of which at least {stated(LIKELY)} of the tokens follow greedily in"
    " windows that lie suffix to suffix, and none for tokens that are covered already or that a neighbouring window got"
    " wrong. So coverage is a lower bound; an n-gram model that looks back no farther than the prefix is exact."
)


class Asked(NamedTuple):
    """A document that is covered."""

    item: Member
    matched: bool
    """Whether windows of it were drawn, since the other side has one of its domain and length."""


class Coverage:
    """Coverage by extractable windows; see `METHOD`.

    Args:
        exact: Ask for every window, 20 times as slow or more.
    """

    needs = frozenset((Capability.LEFT_TO_RIGHT,))
    block = 8
    every_document: Literal[True] = True

    def __init__(self, *, exact: bool = False) -> None:
        self.exact = exact
        self.name = "coverage-exact" if exact else "coverage"

    def items(self, subject: Subject) -> Sequence[Asked]:
        """Return the documents of both sides, then those without a counterpart on the other."""
        drawn = [Asked(item, matched=True) for item in members(subject)]
        sides = zip((True, False), subject.unmatched, strict=True)
        return drawn + [Asked(Member(side, document), matched=False) for side, some in sides for document in some]

    def measure(self, subject: Subject, items: Sequence[Asked]) -> list[CoverageLine]:
        """Cover each document."""
        texts = [ids for _, ids, _ in encoded(subject, [asked.item for asked in items])]
        options = subject.options
        covered = cover_documents(subject.model, texts, options.prefix, options.suffix, exact=self.exact)
        return [_line(asked, cover, options.prefix) for asked, cover in zip(items, covered, strict=True)]

    def section(self, records: Sequence[CoverageLine], plan: MeasuredPlan) -> Section:
        """Return the coverage of both sides, by domain and by copies."""
        options = plan.get("options", {})
        lengths = {"prefix": options.get("prefix", 50), "suffix": options.get("suffix", 50)}
        both = sides(records)
        whole = self.exact or all(r["windows_asked"] == r["windows"] for r in records)
        groups = both | _matched(records) | by_copies(records)
        tables = [_rates("Coverage of documents", groups), _rates("By domain", by_domain(records)), _most(records)]
        every = ", every one tested" if self.exact else ""
        return Section(
            name=self.name,
            title=f"Coverage of documents by extractable windows{every}",
            summary=_summary(both),
            method=METHOD.format(**lengths) + (EXACT if whole else SHORTCUT),
            tables=[table for table in [*tables, *_stretches(records)] if table.rows],
            graphs=[_graph(groups)] if any(_shares(group) for group in groups.values()) else [],
            notes=_notes(records, lengths["prefix"] + lengths["suffix"]),
        )


def _line(asked: Asked, cover: Covered, prefix: int) -> CoverageLine:
    passages = longest_stretches(cover.tokens, KEPT)
    open_ones = ~cover.tokens
    open_ones[:prefix] = False  # these lie in no suffix, whatever the model knows
    return {
        **about(asked.item),
        "matched": asked.matched,
        "tokens": len(cover.tokens),
        "coverable": cover.coverable,
        "covered": int(cover.tokens.sum()),
        "coverage": cover.share,
        "longest_span": passages[0][1] if passages else 0,
        "longest_span_start": passages[0][0] if passages else None,
        "passages": passages,
        "holes": longest_stretches(open_ones, KEPT) if cover.coverable else [],
        "windows": cover.windows,
        "windows_asked": cover.asked,
        "control": cover.control,
        "control_hits": cover.control_hits,
    }


def longest_stretches(marked: NDArray[np.bool_], most: int) -> list[list[int]]:
    """Return [first token, tokens] of the longest runs, the longest first and equally long ones in order."""
    longest = sorted(runs_of(marked), key=lambda run: run[0] - run[1])[:most]
    return [[first, stop - first] for first, stop in longest]


def _matched(records: Sequence[CoverageLine]) -> dict[str, list[CoverageLine]]:
    """Return the documents of both sides that have a counterpart, by name; none where all have one."""
    if all(r["matched"] for r in records):
        return {}
    return {
        f"{name} with a counterpart on the other side": [r for r in side if r["matched"]]
        for name, side in sides(records).items()
    }


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
    columns = [Column("Coverage", "share"), Column("Tokens covered", "number"), Column("Tokens", "number")]
    columns += [Column("Longest passage", "number"), Column("From token", "number"), Column("Side"), Column("Source")]
    rows: list[list[Value]] = []
    for side in sides(records).values():
        for r in worst(side, _coverage, LISTED):
            cells: list[Value] = [r["coverage"], r["covered"], r["tokens"], r["longest_span"], r["longest_span_start"]]
            rows.append([*cells, _side(r), r["source"]])
    return Table("Documents with the largest coverage", columns, rows)


def _stretches(records: Sequence[CoverageLine]) -> list[Table]:
    """Return the longest passages of all documents, and the longest holes of training documents with a passage."""
    known = [r for r in records if r["member"] and r["covered"]]
    passages = [(r, span) for r in records for span in r["passages"]]
    holes = [(r, hole) for r in known for hole in r["holes"]]
    return [
        _places("Longest passages that are covered", passages),
        _places("Longest stretches of these training documents that nothing covers", holes),
    ]


def _places(caption: str, found: Sequence[tuple[CoverageLine, list[int]]]) -> Table:
    columns = [Column("Tokens", "number"), Column("From token", "number"), Column("Side"), Column("Source")]
    ranked = sorted(found, key=lambda pair: (-pair[1][1], in_order(pair[0]["source"]), pair[1][0]))
    rows: list[list[Value]] = [[tokens, first, _side(r), r["source"]] for r, (first, tokens) in ranked[:LISTED]]
    return Table(caption, columns, rows)


def _coverage(record: CoverageLine) -> float | None:
    return record["coverage"]


def _side(record: CoverageLine) -> str:
    return "train" if record["member"] else "held-out"


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
        x_share=True,
    )


def _summary(groups: Mapping[str, Sequence[CoverageLine]]) -> str:
    train, heldout = (_shares(group) for group in groups.values())
    if not train or not heldout:
        return "Coverage could not be compared: a side has no document with a whole window."
    most = [r["coverable"] / r["tokens"] for group in groups.values() for r in group if r["coverage"] is not None]
    return (
        f"Extractable windows cover {shown(mean_share(train))} of all tokens of a training document (mean of"
        f" {len(train):,}) and {shown(mean_share(heldout))} of a held-out one (mean of {len(heldout):,}); at most"
        f" {percent(sum(most) / len(most))} can be covered, for the first tokens of a document are always the prompt's."
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
    for side in sides(records).values():
        notes += ties(side, _coverage, LISTED, lambda share: f"a coverage of {percent(share)}")
    short = sum(r["coverage"] is None for r in records)
    if short:
        notes.append(f"{short:,} of {len(records):,} documents are shorter than {window} tokens and have no coverage.")
    apart = sum(not r["matched"] for r in records)
    if apart:
        notes.append(
            f"{counted(apart, 'document has', 'documents have')} no counterpart of their domain and length on the other"
            " side, so that the verdict rests on no window of theirs; they are covered like the others."
        )
    return notes


COVERAGE: Measure[Asked, CoverageLine] = Coverage()
EXACT_COVERAGE: Measure[Asked, CoverageLine] = Coverage(exact=True)
