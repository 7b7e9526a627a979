"""Has the model seen the set in this order? Exchangeability of documents (Oren et al. 2023), tested exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import stdtrit

from memaudit.audits.comparison.detection import Detection, Effect
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.base import Detector
from memaudit.audits.detectors.order_totals import (
    ALL_ORDERS,
    SEPARATORS,
    SHARD,
    has_boundaries,
    likeness,
    room,
    shard_totals,
    trimmed,
    whole_totals,
)
from memaudit.audits.subject import Subject
from memaudit.findings import Control
from memaudit.metrics.order import canonical_rank, order_totals, random_orders, rank_sum_p, sampled_p, student_t
from memaudit.records import Capability, Document, FloatArray, TokenIds
from memaudit.runs.measured_lines import OrderLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import p_equals, significant
from memaudit.text.corpus.rows import split_place

FEWEST = 5
"""Documents below which nothing is concluded: four have 24 orders."""
CHUNK = 100
"""Consecutive documents that are shuffled among each other, at most: the cost is this times the documents."""
MAX_SHARDS = 256
"""Shards that are read, at most: each costs 48 texts."""
TEXT_LEVEL = 0.01
"""Level of the control: one file in a hundred that was shuffled fails it."""
SKIPPED: Final = "skipped"
WHOLE: Final = "whole"
SHARDED: Final = "shard"
TEXT: Final = "text"
LABEL = "order of the file"


@dataclass(frozen=True, slots=True)
class Piece:
    """Documents that stand next to each other in a file, to be put in other orders; or why there are none."""

    kind: Literal["skipped", "whole", "shard", "text"]
    number: int
    """Among those of its kind: with the run's seed it fixes the orders."""
    documents: Sequence[Document]
    given: int
    """Documents of the suspects in all."""
    reason: str = ""


class Order:
    """Compares the order of the file with others; no held-out text is needed.

    Where the model looks back a few tokens only (n-grams), chunks of documents in random orders, all at once; else
    shards of four documents in all their orders. The words of neighbours are put to the same test: the control.
    """

    name = "order"
    needs = frozenset((Capability.LEFT_TO_RIGHT,))
    block = 1
    compares = False
    whole_files = True
    asked_by = None

    """A chunk is thousands of windows, a shard 48 texts: each is saved, and shown, as soon as it is done."""

    def items(self, subject: Subject) -> list[Piece]:
        """Return chunks or shards for the model and chunks for the control; one item that says why, if none can be."""
        runs = _runs(subject.train)
        given = len(subject.train)
        if reason := _obstacle(subject, runs):
            return [Piece(SKIPPED, 0, (), given, reason)]
        chunks = [chunk for run in runs for chunk in _cut(run, math.ceil(len(run) / CHUNK))]
        shards = [run[at : at + SHARD] for run in runs for at in range(0, len(run) - SHARD + 1, SHARD)]
        whole = has_boundaries(subject.model)
        asked = chunks if whole else shards[:MAX_SHARDS]
        pieces = [Piece(WHOLE if whole else SHARDED, i, documents, given) for i, documents in enumerate(asked)]
        return [*pieces, *(Piece(TEXT, i, documents, given) for i, documents in enumerate(chunks))]

    def measure(self, subject: Subject, items: Sequence[Piece]) -> list[OrderLine]:
        """Return the total of the canonical order and those of others, in nats (control: in likeness)."""
        options = _options(subject)
        shards = [piece for piece in items if piece.kind == SHARDED]
        totals = iter(_shards(subject, shards, options))
        records: list[OrderLine] = []
        for piece in items:
            found: OrderLine = {"type": piece.kind, "documents": len(piece.documents), "given": piece.given}
            if piece.kind == SKIPPED:
                records.append({**found, "reason": piece.reason})
                continue
            canonical, *others = next(totals) if piece.kind == SHARDED else _chunk(subject, piece, options)
            records.append({**found, "canonical": round(canonical, 4), "others": [round(other, 4) for other in others]})
        return records

    def declared(self, plan: MeasuredPlan) -> list[str]:  # noqa: ARG002
        """Return the one detection."""
        return [self.name]

    def detections(self, records: Sequence[OrderLine], plan: MeasuredPlan) -> list[Detection]:  # noqa: ARG002
        """Return the exact test, and whether the text alone has an order."""
        asked = _asked(records)
        text = [record for record in records if record["type"] == TEXT]
        p_value, reason = _test(records)
        documents = sum(record["documents"] for record in asked)
        return [
            Detection(
                name=self.name,
                label=LABEL,
                definition="T = log p of the documents one after the other; its place among other orders of the same"
                " documents (Oren et al. 2023, as an exact permutation test)",
                p_value=p_value,
                reason=reason,
                effect=_effect(asked),
                members=documents,
                heldout=0,
                undefined=records[0]["given"] - documents if records else 0,
                controls=[_control(text)] if text else [],
            )
        ]

    def section(self, records: Sequence[OrderLine], plan: MeasuredPlan) -> Section:
        """Return the test, the t-test over shards that others use, and the control."""
        [detection] = self.detections(records, plan)
        asked, p = _asked(records), detection.p_value
        separators = " or ".join(repr(separator) for separator in SEPARATORS)
        summary = f"No test: {detection.reason}"
        if p is not None and detection.effect.estimate is not None:
            summary = (
                f"The order of the file against others, {detection.members:,} documents: {p_equals(p)},"
                f" {significant(detection.effect.estimate, sign=True)} nats a document over the mean order"
            )
        return Section(
            self.name,
            "Order of the documents",
            summary,
            "Documents of a set that was shuffled before it was written are as likely in any order, unless the model"
            " has read them in this one. T is their log-probability one after the other, with"
            f" {separators} between them, whichever makes T larger. Where the model looks back a few tokens only"
            f" (n-grams), up to {CHUNK} neighbours are shuffled among each other, all at once:"
            " p = (1 + random orders with at least this T) / (1 + random orders); a document shorter than the reach"
            f" is read after the one before it alone. Else shards of {SHARD} consecutive documents are read in all"
            f" {len(ALL_ORDERS)} orders, of long ones the beginning and the end; the ranks of the file's orders are"
            " added up, and p is exact by convolution. Ties count against. Student's t over shards is what Oren et al."
            " (2023) report, here with n - 1 degrees of freedom in the deviation; it is shown for comparison.",
            [_table(detection, asked, [r for r in records if r["type"] == TEXT])] if asked else [],
            notes=_notes(records, asked),
        )


def _options(subject: Subject) -> MembershipOptions:
    return MembershipOptions() if subject.reference_models is None else subject.reference_models.options


def _runs(documents: Sequence[Document]) -> list[list[Document]]:
    """Return the documents file by file, in the order of their lines, empty ones left out."""
    files: dict[str, list[tuple[int, Document]]] = {}
    for document in documents:
        file, line = split_place(document.source)
        numbered = bool(file) and line.isdecimal()
        if document.text.strip():
            files.setdefault(file if numbered else "", []).append((int(line) if numbered else 0, document))
    return [[document for _, document in sorted(run, key=lambda pair: pair[0])] for run in files.values()]


def _obstacle(subject: Subject, runs: Sequence[Sequence[Document]]) -> str:
    """Return why the order cannot be tested, or nothing."""
    model = subject.model
    smallest = 2 if has_boundaries(model) else SHARD
    usable = sum(len(run) for run in runs if len(run) >= smallest)
    if usable < FEWEST:
        return f"{usable} documents are adjacent in a file; comparing orders takes at least {FEWEST}"
    if len({document.text for run in runs for document in run}) == 1:
        return "all documents are equal, and so are all their orders"
    if not has_boundaries(model) and room(model, _options(subject).order_tokens) < 2:
        return f"the model reads {model.context_length} tokens, too few for {SHARD} documents"
    return ""


def _cut(run: Sequence[Document], parts: int) -> Iterable[Sequence[Document]]:
    """Return a run in parts that differ by one document at most; a single document has no order."""
    edges = [round(len(run) * i / parts) for i in range(parts + 1)]
    return [run[a:b] for a, b in itertools.pairwise(edges) if b - a > 1]


def _encoded(subject: Subject, documents: Sequence[Document]) -> list[TokenIds]:
    encodings = subject.model.tokenizer.encode_batch([document.text.strip() for document in documents])
    return [encoding.ids for encoding in encodings]


def _chunk(subject: Subject, piece: Piece, options: MembershipOptions) -> list[float]:
    """Return the total of the canonical order, then those of random ones, by the model or by words alone."""
    rng = np.random.default_rng([options.seed, piece.number])
    count = len(piece.documents)
    orders = np.vstack([np.arange(count), random_orders(count, options.order_permutations, rng)])
    if piece.kind == TEXT:
        texts = [document.text for document in piece.documents]
        totals = order_totals(np.zeros(count), likeness(texts), orders)
    else:
        totals = whole_totals(subject.model, _encoded(subject, piece.documents), orders)
    return [float(total) for total in totals]


def _shards(subject: Subject, pieces: Sequence[Piece], options: MembershipOptions) -> list[list[float]]:
    """Return the totals of all orders of every shard."""
    if not pieces:
        return []
    tokens = room(subject.model, options.order_tokens)
    texts = _encoded(subject, [document for piece in pieces for document in piece.documents])
    cut = [trimmed(text, tokens) for text in texts]
    totals: list[list[float]] = shard_totals(
        subject.model, [cut[at : at + SHARD] for at in range(0, len(cut), SHARD)]
    ).tolist()
    return totals


def _asked(records: Sequence[OrderLine]) -> list[OrderLine]:
    return [record for record in records if record["type"] in (WHOLE, SHARDED)]


def _test(records: Sequence[OrderLine]) -> tuple[float | None, str]:
    """Return the p-value and which test gave it, or None and why there is none."""
    asked = _asked(records)
    if not asked:
        return None, next((record["reason"] for record in records if record["type"] == SKIPPED), "nothing was scored")
    if asked[0]["type"] == WHOLE:
        return _permuted(asked), f"permutation test, {len(asked[0]['others']):,} random orders of the whole set"
    ranks = [canonical_rank(record["canonical"], record["others"]) for record in asked]
    return rank_sum_p(ranks, len(ALL_ORDERS)), f"exact sum of {len(ranks):,} ranks among {len(ALL_ORDERS)} orders"


def _permuted(records: Sequence[OrderLine]) -> float:
    """Return the p-value of chunks whose orders are drawn independently and added up."""
    others: FloatArray = np.sum([record["others"] for record in records], axis=0)
    return sampled_p(math.fsum(record["canonical"] for record in records), others)


def _differences(records: Sequence[OrderLine]) -> FloatArray:
    """Return the canonical total of every chunk or shard less the mean of its other orders."""
    return np.array([record["canonical"] - np.mean(record["others"]) for record in records])


def _effect(asked: Sequence[OrderLine]) -> Effect:
    """Return nats a document over the mean order, with Student's interval over shards."""
    name = "nats a document over the mean order"
    if not asked:
        return Effect(name, None)
    differences = _differences(asked)
    mean = float(differences.sum()) / sum(record["documents"] for record in asked)
    if asked[0]["type"] == WHOLE or len(asked) < 2:
        return Effect(name, mean)
    error = float(differences.std(ddof=1)) / math.sqrt(len(asked)) / SHARD
    margin = float(stdtrit(len(asked) - 1, 0.975)) * error
    return Effect(name, mean, mean - margin, mean + margin)


def _control(text: Sequence[OrderLine]) -> Control:
    """Return whether neighbours are no more alike than in other orders: else no order was as likely as this one."""
    p = _permuted(text)
    return Control(
        "order of the text alone (C1)",
        p > TEXT_LEVEL,
        f"neighbours share words: {p_equals(p)} without any model, must be above {TEXT_LEVEL}",
    )


def _table(detection: Detection, asked: Sequence[OrderLine], text: Sequence[OrderLine]) -> Table:
    effect = detection.effect
    whole = asked[0]["type"] == WHOLE
    nats: list[Value] = [effect.estimate, effect.low, effect.high]
    rows: list[list[Value]] = [
        [f"{LABEL}: {detection.reason}", detection.members, len(asked), detection.p_value, *nats],
    ]
    student = None if whole else student_t(_differences(asked))
    if student:
        rows.append(
            [f"Student's t over shards, t = {significant(student.t)}", detection.members, len(asked), student.p_value]
        )
        rows[-1] += nats
    if text:
        documents = sum(record["documents"] for record in text)
        rows.append(["control: words of neighbours, no model", documents, len(text), _permuted(text), None, None, None])
    columns = [
        Column("test"),
        Column("documents", "number"),
        Column("chunks" if whole else "shards", "number"),
        Column("p", "number"),
        Column("nats a document over the mean order", "number"),
        Column("95%: from", "number"),
        Column("to", "number"),
    ]
    return Table("The order of the file against other orders", columns, rows)


def _notes(records: Sequence[OrderLine], asked: Sequence[OrderLine]) -> list[str]:
    notes = [
        "Blind to copies that were shuffled or scattered before training, and to few copies in a neural model:"
        " no preference for this order never means that the text is unseen.",
        "It holds for a set that was shuffled before it was written. One sorted by topic or source has an order of its"
        " own, which the control sees where neighbours share words.",
        "Documents are joined by line breaks: markup between them in training (JSON) is not read with them.",
    ]
    given = records[0]["given"] if records else 0
    read = sum(record["documents"] for record in asked)
    if asked and read < given:
        whole = asked[0]["type"] == WHOLE
        why = (
            "empty, or alone in their file" if whole else f"empty, beyond the last full shard of {SHARD} in their file"
        )
        capped = "" if whole or len(asked) < MAX_SHARDS else f", or beyond the first {MAX_SHARDS} shards"
        notes.append(f"{given - read:,} of {given:,} documents were left out of the orders: {why}{capped}.")
    return notes


ORDER: Detector[Piece, OrderLine] = Order()
