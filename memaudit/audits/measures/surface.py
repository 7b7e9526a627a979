"""How much context it takes: verdicts for every prefix and suffix length of a document, from one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.document_scores import readable, score_documents
from memaudit.audits.documents import (
    Member,
    about,
    bounds,
    by_copies,
    encoded,
    median,
    members,
    shown,
    sides,
    ties,
    worst,
)
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics.growth import CONTEXT, fit_slope, growth_table
from memaudit.metrics.surface import NOT_ASKED, extractable_surface, longest_greedy_run
from memaudit.metrics.verbatim import extraction_strength
from memaudit.records import Capability
from memaudit.runs.measured_lines import SurfaceLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import count

MAX_TOKENS = 512
"""Tokens of a document that are read, from its start: a little more than the longest of `CONTEXTS`. The prompt of a
cell is all of the document before it, so nothing can be read with a sliding context here."""
CONTEXTS = (1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 400, 450)
SUFFIXES = (10, 25, 50, 100, 200)
LISTED = 10
SEED = 0
"""Of the resamples that intervals of slopes rest on."""
METHOD = (
    "Growing context: each document is read once from its start, at most {most} tokens of it; the prompt of length c"
    " is its first c tokens, and a document is memorized at (c, k) if greedy decoding of this prompt gives its next k"
    " tokens (Carlini et al. 2022, definition 3.1, for every c and k). Greedy decoding has the context of the pass"
    " until it first differs, so run lengths of correct tokens decide all cells exactly. Extraction strength: 1 - c / n"
    " for the smallest c from which on all n tokens follow; 0 if not even the last does (Carlini et al. 2021)."
    " The rate is the share of documents, with 95% intervals over documents."
)


class Surface:
    """Verdicts against context and suffix length; see `METHOD`."""

    name = "surface"
    needs = frozenset((Capability.LEFT_TO_RIGHT,))
    block = 32

    def items(self, subject: Subject) -> Sequence[Member]:
        """Return the documents of both sides."""
        return members(subject)

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[SurfaceLine]:
        """Read each document once."""
        most = min(MAX_TOKENS, readable(subject.model) or MAX_TOKENS)
        known = list(encoded(subject, items, most))
        scores = score_documents(subject.model, [ids for _, ids, _ in known])
        records: list[SurfaceLine] = []
        for (item, ids, length), score in zip(known, scores, strict=True):
            # An unknown token stands for many texts: none of them is given back.
            ranks = np.where(ids == subject.model.tokenizer.unknown_id, NOT_ASKED, score.rank).astype(np.int32)
            run = longest_greedy_run(ranks)
            records.append(
                {
                    **about(item),
                    "tokens": len(ids),
                    "left_out": length - len(ids),
                    "hits": np.packbits(ranks == 0).tobytes().hex(),
                    "extraction_strength": extraction_strength(ranks),
                    "longest_run": run.length,
                    "longest_run_start": run.start if run.length else None,
                }
            )
        return records

    def section(self, records: Sequence[SurfaceLine], plan: MeasuredPlan) -> Section:
        """Return the rates of both sides against context and suffix length."""
        options = plan.get("options", {})
        prefix, suffix = options.get("prefix", 50), options.get("suffix", 50)
        longest = max((r["tokens"] for r in records), default=0)
        contexts = [c for c in sorted({*CONTEXTS, prefix} - {0}) if c + suffix <= longest]
        suffixes = [s for s in sorted({*SUFFIXES, suffix}) if s < longest]
        groups = {
            name: _Group(rows, contexts, suffixes) for name, rows in (sides(records) | by_copies(records)).items()
        }
        both = {name: groups[name] for name in sides(records)}
        tables = [
            _by_context(groups, contexts, suffix),
            *_growth(both, contexts, suffix),
            *(_by_both(name, group, contexts, suffixes) for name, group in both.items()),
            _whole_documents(both),
            _longest(records),
        ]
        return Section(
            name=self.name,
            title="Memorized against context length",
            summary=_summary(both, contexts, prefix, suffix),
            method=METHOD.format(most=MAX_TOKENS),
            tables=[table for table in tables if table.rows],
            graphs=[_graph(groups, contexts, suffix)] if contexts else [],
            notes=_notes(records),
        )


class _Group:
    """Documents with their verdicts, shape [documents, contexts, suffixes]."""

    def __init__(self, records: Sequence[SurfaceLine], contexts: Sequence[int], suffixes: Sequence[int]) -> None:
        self.records = records
        self.suffixes = suffixes
        self.contexts = contexts
        surfaces = [extractable_surface(_ranks(r), contexts, suffixes) for r in records]
        self.verdicts = np.array(surfaces, np.int8).reshape(len(records), len(contexts), len(suffixes))

    def rate(self, context: int, suffix: int) -> stats.Rate:
        """Return the rate among the documents that are long enough."""
        verdicts = self.verdicts[:, self.contexts.index(context), self.suffixes.index(suffix)]
        asked = np.flatnonzero(verdicts >= 0).tolist()
        return stats.document_rate((verdicts[asked] == 1).tolist(), [self.records[i]["document"] for i in asked])


def _ranks(record: SurfaceLine) -> NDArray[np.int32]:
    """Return 0 for every greedy token and 1 for every other."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["hits"]), np.uint8), count=record["tokens"])
    return 1 - bits.astype(np.int32)


def _by_context(groups: Mapping[str, _Group], contexts: Sequence[int], suffix: int) -> Table:
    rows: list[list[Value]] = []
    for context in contexts:
        for name, group in groups.items():
            rate = group.rate(context, suffix)
            rows.append([context, name, rate.hits, rate.n, rate.rate, bounds(rate)])
    columns = [Column("Context", "number"), Column("Documents of"), Column("Memorized", "number")]
    columns += [Column("Documents", "number"), Column("Share", "share"), Column("95% interval", "interval")]
    return Table(f"Documents whose next {suffix} tokens follow from their first c tokens", columns, rows)


def _growth(groups: Mapping[str, _Group], contexts: Sequence[int], suffix: int) -> list[Table]:
    """Return the slope over the context of either side; a slope needs two contexts that documents reach."""
    fitted = []
    for name, group in groups.items():
        verdicts = group.verdicts[:, :, group.suffixes.index(suffix)] if contexts else np.empty((0, 0), np.int8)
        documents, places = np.nonzero(verdicts >= 0)
        reached, at = np.unique(places, return_inverse=True)
        names = [group.records[i]["document"] for i in documents.tolist()]
        hits = verdicts[documents, places] == 1
        fitted.append(fit_slope(name, [contexts[place] for place in reached], at, names, hits, SEED))
    return [growth_table(CONTEXT, found)] if (found := [slope for slope in fitted if slope]) else []


def _by_both(name: str, group: _Group, contexts: Sequence[int], suffixes: Sequence[int]) -> Table:
    rows: list[list[Value]] = [
        [context, *(group.rate(context, suffix).rate for suffix in suffixes)] for context in contexts
    ]
    columns = [Column("Context", "number"), *(Column(f"{suffix} tokens", "share") for suffix in suffixes)]
    return Table(f"{name}: share memorized by context (rows) and suffix length (columns)", columns, rows)


def _whole_documents(groups: Mapping[str, _Group]) -> Table:
    rows: list[list[Value]] = []
    for name, group in groups.items():
        strengths = [r["extraction_strength"] for r in group.records if r["extraction_strength"] is not None]
        runs = [r["longest_run"] for r in group.records]
        mean = sum(strengths) / len(strengths) if strengths else None
        rows.append([name, len(strengths), mean, median(strengths), median(runs), max(runs, default=None)])
    columns = [Column("Documents of"), Column("Documents", "number"), Column("Mean extraction strength", "share")]
    columns += [Column("Median extraction strength", "share")]
    columns += [Column("Median longest run", "number"), Column("Longest run", "number")]
    return Table("Extraction strength, and longest verbatim run anywhere in a document, in tokens", columns, rows)


def _run(record: SurfaceLine) -> float:
    return record["longest_run"]


def _longest(records: Sequence[SurfaceLine]) -> Table:
    columns = [Column("Longest run", "number"), Column("From token", "number"), Column("Side"), Column("Source")]
    rows: list[list[Value]] = [
        [r["longest_run"], r["longest_run_start"], "train" if r["member"] else "held-out", r["source"]]
        for side in sides(records).values()
        for r in worst(side, _run, LISTED)
    ]
    return Table("Documents with the longest verbatim runs", columns, rows)


def _graph(groups: Mapping[str, _Group], contexts: Sequence[int], suffix: int) -> Graph:
    series = []
    for name, group in groups.items():
        rates = [(context, group.rate(context, suffix)) for context in contexts]
        series.append(Series(name, [[float(c), r.rate, r.low, r.high] for c, r in rates if r.rate is not None]))
    return Graph(
        title=f"Memorized documents by length of the prompt (next {suffix} tokens)",
        description="Share of documents whose next tokens follow greedily from the document's start up to c tokens.",
        x="Context: tokens of the document's start",
        y="Documents memorized",
        series=series,
        x_scale="log",
    )


def _summary(groups: Mapping[str, _Group], contexts: Sequence[int], prefix: int, suffix: int) -> str:
    reached = [c for c in contexts if all(group.rate(c, suffix).n for group in groups.values())]
    if not reached:
        return f"No context length could be compared: no side has documents of more than {suffix} tokens on both sides."
    context = max((c for c in reached if c <= max(prefix, 1)), default=reached[0])
    train, heldout = (group.rate(context, suffix) for group in groups.values())
    last = reached[-1]
    sides = " and ".join(shown(group.rate(last, suffix)) for group in groups.values())
    more = "" if last == context else f" With {last} tokens it is {sides}."
    return (
        f"From the first {context} tokens of a document, greedy decoding gives the next {suffix} for {shown(train)} of"
        f" {train.n:,} training documents and {shown(heldout)} of {heldout.n:,} held-out ones.{more}"
    )


def _notes(records: Sequence[SurfaceLine]) -> list[str]:
    notes = [
        "Growing context is not the measure of windows of fixed length: here a prompt begins where its document does.",
        "A cell counts the documents that have that many tokens; those of different cells are not all the same.",
    ]
    for side in sides(records).values():
        notes += ties(side, _run, LISTED, lambda run: f"a longest run of {count(run)} tokens")
    cut = sum(r["left_out"] > 0 for r in records)
    if cut:
        notes.append(f"{cut:,} of {len(records):,} documents are longer than was read: the rest of them was left out.")
    empty = sum(r["tokens"] == 0 for r in records)
    if empty:
        notes.append(f"{empty:,} of {len(records):,} documents have no token.")
    return notes


SURFACE: Measure[Member, SurfaceLine] = Surface()
