"""Why a hit is a hit: recited from many copies, reconstructed by a rule, or recollected from few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Literal

import memaudit.stats as stats
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics.templates import template_of
from memaudit.records import Capability, WindowRecord
from memaudit.runs.measured_lines import TaxonomyLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value

RECITED = 6
"""Copies from which on a text counts as recited: more than five duplicates (Prashanth et al. 2024)."""
KINDS = ("recited", "reconstructed", "recollected", "copies unknown")
SIDES = (("training", True), ("held-out", False))
SHOWN = 10


class Taxonomy:
    """One record for every window, hit or not: rates need their denominator."""

    name = "taxonomy"
    needs = frozenset((Capability.CONTINUATIONS,))
    whole_windows: Literal[True] = True
    block = 256

    def items(self, subject: Subject) -> list[int]:
        """Return the places of all windows."""
        return list(range(len(subject.windows)))

    def measure(self, subject: Subject, items: Sequence[int]) -> list[TaxonomyLine]:
        """Return what is known of each window's copies, the rule it follows, and its kind if it is a hit."""
        rows: list[TaxonomyLine] = []
        for record in (subject.records[i] for i in items):
            copies, template = _copies(record), template_of(record.prefix_text, record.suffix_text)
            rows.append(
                {
                    "member": record.member,
                    "document": record.document,
                    "source": record.source,
                    "extractable": record.extractable,
                    "anywhere": _anywhere_in_corpus(record),
                    "copies": copies,
                    "template": template,
                    "kind": _kind(copies, template) if record.extractable else None,
                }
            )
        return rows

    def section(self, records: Sequence[TaxonomyLine], plan: MeasuredPlan) -> Section:
        """Return hits by kind, and the true continuation beside anything that occurs in the corpus."""
        sides = {name: [r for r in records if r["member"] == member] for name, member in SIDES}
        hits = [r for r in sides["training"] if r["extractable"]]
        counted = {kind: sum(r["kind"] == kind for r in hits) for kind in KINDS}
        parts = [f"{count:,} {kind}" for kind, count in counted.items() if count]
        return Section(
            name=self.name,
            title="Why it is reproduced",
            summary=f"Of {len(hits):,} training windows reproduced: {', '.join(parts)}"
            if hits
            else "No training window was reproduced: there is nothing to explain",
            method=(
                f"Recited: the suffix occurs at least {RECITED} times in the training text, as counted there or as the"
                " corpus states it, whichever is more. Reconstructed: fewer copies, and the suffix follows from"
                " its prefix by a rule that needs no memory (it repeats, counts on,"
                " or has lines of one shape, as tables and imports do). Recollected: few copies and no such rule. After"
                " Prashanth et al. 2024; their thresholds for tokens are read as words here."
            ),
            tables=[_kinds(sides), _anywhere(sides), _examples(hits)],
            notes=_notes(records, plan),
        )


def _copies(record: WindowRecord) -> int | None:
    """Return the copies of a suffix: counted after normalisation or as the corpus states them, the larger.

    Text that states its number of copies is in its file once. A training window that does not occur in the index
    was copied where the index does not reach: None, unless the corpus states it.
    """
    found = None if record.member and not record.copies_normalised else record.copies_normalised
    return max((count for count in (found, record.copies) if count is not None), default=None)


def _anywhere_in_corpus(record: WindowRecord) -> bool | None:
    """Return whether the continuation occurs in the training text, be it the true one or not; None if unknown."""
    if record.copies_normalised is None and record.elsewhere is None:
        return None
    if record.extractable:
        return record.member or bool(record.copies_normalised)
    return bool(record.elsewhere)


def _kind(copies: int | None, template: str | None) -> str:
    if copies is not None and copies >= RECITED:
        return "recited"
    if template is not None:
        return "reconstructed"
    return "copies unknown" if copies is None else "recollected"


def _kinds(sides: Mapping[str, Sequence[TaxonomyLine]]) -> Table:
    rows: list[list[Value]] = []
    for kind in KINDS:
        for name, side in sides.items():
            hits = [r for r in side if r["kind"] == kind]
            rate = _rate(side, [r["kind"] == kind for r in side])
            known = [r["copies"] for r in hits if r["copies"] is not None]
            rows.append([kind, name, *rate, median(known) if known else None])
    columns = [Column("Kind"), Column("Windows"), Column("Hits", "number"), Column("Of", "number")]
    columns += [Column("Rate", "share"), Column("95% interval", "interval"), Column("Median copies", "number")]
    return Table("Windows reproduced word for word, by what explains it", columns, rows)


def _anywhere(sides: Mapping[str, Sequence[TaxonomyLine]]) -> Table:
    rows: list[list[Value]] = []
    finds: dict[str, Callable[[TaxonomyLine], bool]] = {
        "the true continuation": lambda r: r["extractable"],
        "any text of the corpus": lambda r: bool(r["anywhere"]),
    }
    for label, hit in finds.items():
        for name, side in sides.items():
            known = [r for r in side if r["anywhere"] is not None]
            rows.append([label, name, *_rate(known, [hit(r) for r in known])])
    columns = [Column("The continuation is"), Column("Windows"), Column("Hits", "number"), Column("Of", "number")]
    columns += [Column("Rate", "share"), Column("95% interval", "interval")]
    return Table("The true continuation, or anything that occurs in the training text", columns, rows)


def _examples(hits: Sequence[TaxonomyLine]) -> Table:
    """Return the hits with the fewest copies that no rule explains: the ones that matter most."""
    rare = sorted(
        (r for r in hits if r["kind"] in ("recollected", "copies unknown")),
        key=lambda r: (r["copies"] is None, r["copies"] or 0, r["source"]),
    )
    rows: list[list[Value]] = [[r["document"], r["source"], r["kind"], r["copies"]] for r in rare[:SHOWN]]
    columns = [Column("Document"), Column("Source"), Column("Kind"), Column("Copies", "number")]
    return Table(f"The rarest hits ({min(len(rare), SHOWN):,} of {len(rare):,})", columns, rows)


def _rate(side: Sequence[TaxonomyLine], hits: Sequence[bool]) -> list[Value]:
    rate = stats.document_rate(hits, [r["document"] for r in side])
    interval: Value = None if rate.low is None or rate.high is None else [rate.low, rate.high]
    return [rate.hits, rate.n, rate.rate, interval]


def _notes(records: Sequence[TaxonomyLine], plan: MeasuredPlan) -> list[str]:
    notes = ["Reconstruction by rules that are not listed (translation tables, well-known lists) is not seen."]
    if not plan["copies"]["counted"]:
        notes.append(f"Copies were not counted: {plan['copies']['reason']}.")
    if not plan["options"]["fuzzy"]:
        notes.append("Continuations that are not the true ones were not decoded (--no-fuzzy): none is looked up.")
    if unknown := sum(r["extractable"] and r["copies"] is None for r in records):
        notes.append(f"Copies of {unknown:,} hits are not known; they may be recited.")
    return notes


TAXONOMY: Measure[int, TaxonomyLine] = Taxonomy()
