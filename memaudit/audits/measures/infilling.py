"""Infilling: what a masked model puts back where tokens of a window are masked, training text beside held-out text."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.documents import bounds, mean_share, shown
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics import fuzzy
from memaudit.metrics.likelihood import perplexity, perplexity_ratio
from memaudit.records import Capability, TokenIds, Window
from memaudit.runs.measured_lines import Fill, InfillingLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent, significant

if TYPE_CHECKING:
    from memaudit.models.masked import FillOrder

    Rates = Mapping[tuple[float, FillOrder], list[stats.Rate]]

ORDERS: tuple[FillOrder, ...] = ("left-to-right", "confident", "one-shot")
SHARES = (0.15, 0.3, 0.5, 1.0)
"""Of the suffix's tokens that are masked; 0.15 is what BERT was trained with (Devlin et al. 2019)."""
SIDES = (("Training", True), ("Held-out", False))


class Filler(Protocol):
    """A model that can fill in texts; see `memaudit.models.masked.MaskedTransformer.fill`."""

    def fill(
        self, texts: Sequence[TokenIds], masked_positions: Sequence[NDArray[np.intp]], order: FillOrder
    ) -> list[TokenIds]:
        """Return the texts with those positions masked and filled."""


class Infilling:
    """Masks shares of every suffix, fills them in three orders and compares with the true tokens."""

    name = "infilling"
    needs = frozenset(
        (
            Capability.INFILLING,
            Capability.LOG_PROBS,
        )
    )
    whole_windows: Literal[True] = True
    block = 16

    def items(self, subject: Subject) -> list[int]:
        """Return the places of all windows."""
        return list(range(len(subject.windows)))

    def measure(self, subject: Subject, items: Sequence[int]) -> list[InfillingLine]:
        """Return, for each window, how much of what was masked each order recovers."""
        spans = {order: _filled_suffixes(subject, items, order) for order in ORDERS}
        records: list[InfillingLine] = []
        for i in items:
            window, log_prob = subject.windows[i], subject.records[i].log_prob
            places = masked_places(window, subject.options.seed)
            fills = [
                _compared(window.suffix, spans[order][share, i], places[share], share, order)
                for share in SHARES
                for order in ORDERS
            ]
            records.append(
                {
                    "member": window.member,
                    "document": window.document,
                    "source": window.source,
                    "domain": window.domain,
                    "copies": window.copies,
                    "mean_log_prob": None if log_prob is None else log_prob / len(window.suffix),
                    "fills": fills,
                }
            )
        return records

    def section(self, records: Sequence[InfillingLine], plan: MeasuredPlan) -> Section:
        """Return recovery by share and order, training text beside held-out text, and the pseudo-perplexities."""
        exact = {
            key: _rates(records, *key, lambda fill: float(fill["exact"])) for key in itertools.product(SHARES, ORDERS)
        }
        train, heldout = exact[1.0, "confident"]
        perplexities, ratio = _perplexities(records)
        return Section(
            name=self.name,
            title="Infilling",
            summary=(
                f"With the whole suffix masked and the most confident token filled in first, {shown(train)} of the"
                f" training windows are recovered exactly, and {shown(heldout)} of the held-out ones; {ratio}"
            ),
            method=(
                f"Of every window's suffix of {plan['options']['suffix']} tokens, {_listed(SHARES)} are masked (one at"
                " least), at places drawn by the seed and the document, a smaller share within a larger one, and filled"
                " with the most probable tokens: from left to right and most confident first, each fill read by the"
                " next (Ghazvininejad et al. 2019, one token a pass), or all from one pass. The prefix is given, and"
                " what was not masked; nothing after the suffix. Exact: every masked token is right. Rates are means"
                " over documents with 95% Clopper-Pearson intervals, differences with Newcombe's."
                " Pseudo-perplexity is exp(-mean ln p(token | all others)) (Salazar et al. 2020)."
            ),
            tables=[
                _table("Windows recovered exactly", exact),
                _table(
                    "Masked tokens that are right",
                    {key: _rates(records, *key, lambda fill: fill["right"]) for key in exact},
                ),
                _table(
                    "Edit similarity of the suffix, its unmasked tokens included",
                    {key: _rates(records, *key, lambda fill: fill["edit_similarity"]) for key in exact},
                ),
                perplexities,
            ],
            graphs=[_graph(exact)],
            notes=_notes(records),
        )


def masked_places(window: Window, seed: int) -> dict[float, NDArray[np.intp]]:
    """Return which tokens of the suffix are masked at each share: at least one, drawn by seed, document and place.

    The places of a smaller share are among those of a larger one, so that shares differ in nothing else.
    """
    key = f"{seed}\0infilling\0{window.document}\0{window.start}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    drawn = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(window.suffix))
    return {share: np.sort(drawn[: max(1, round(share * len(drawn)))]) for share in SHARES}


def _filled_suffixes(subject: Subject, items: Sequence[int], order: FillOrder) -> dict[tuple[float, int], TokenIds]:
    """Return what the suffix of each window is filled to, by share and window, in as few batches as can be."""
    filled: dict[tuple[float, int], TokenIds] = {}
    texts, places = {}, []
    for i in items:
        window, continued = subject.windows[i], subject.records[i].continuation_ids
        for share, masked in masked_places(window, subject.options.seed).items():
            if share == 1 and order == "left-to-right" and continued is not None:
                filled[share, i] = np.array(continued, np.int32)  # a masked model's continuation is just that
            else:
                texts[share, i] = np.concatenate([window.prefix, window.suffix])
                places.append(len(window.prefix) + masked)
    answers = cast(Filler, subject.model).fill(list(texts.values()), places, order)
    return filled | {
        (s, i): text[len(subject.windows[i].prefix) :] for (s, i), text in zip(texts, answers, strict=True)
    }


def _compared(true: TokenIds, filled: TokenIds, places: NDArray[np.intp], share: float, order: FillOrder) -> Fill:
    similarity = fuzzy.edit_similarity(true, filled)
    assert similarity is not None, "a suffix has a token"
    right = int((true[places] == filled[places]).sum())
    return {
        "share": share,
        "order": order,
        "masked": len(places),
        "right": right / len(places),
        "exact": right == len(places),
        "edit_similarity": similarity,
    }


def _rates(
    records: Sequence[InfillingLine], share: float, order: FillOrder, value: Callable[[Fill], float]
) -> list[stats.Rate]:
    """Return the mean of a value in [0, 1] over the documents of both sides, training first."""
    rates = []
    for _, member in SIDES:
        side = [record for record in records if record["member"] == member]
        values = [value(fill) for r in side for fill in r["fills"] if (fill["share"], fill["order"]) == (share, order)]
        rates.append(mean_share(stats.document_means(values, [r["document"] for r in side]).tolist()))
    return rates


def _table(caption: str, rates: Rates) -> Table:
    train, heldout = next(iter(rates.values()))
    sides = [c for name, _ in SIDES for c in (Column(name, "share"), Column("95% interval", "interval"))]
    columns = [Column("Masked", "share"), Column("Order"), *sides]
    rows: list[list[Value]] = []
    for (share, order), (known, unknown) in rates.items():
        gap = stats.difference_interval(known, unknown)
        found: list[Value] = [None, None] if gap is None else [gap.estimate, [gap.low, gap.high]]
        rows.append([share, order, known.rate, bounds(known), unknown.rate, bounds(unknown), *found])
    return Table(
        f"{caption}: means of {train.documents:,} training and {heldout.documents:,} held-out documents",
        [*columns, Column("Difference", "share"), Column("95% interval", "interval")],
        rows,
    )


def _graph(rates: Rates) -> Graph:
    return Graph(
        title="Exact recovery against the share that is masked",
        description="Share of windows all of whose masked tokens are right, by order of filling and side.",
        x="Share of the suffix masked",
        y="Recovered exactly",
        series=[
            Series(
                f"{name}, {order}",
                [[share, (r := rates[share, order][side]).rate, r.low, r.high] for share in SHARES],
            )
            for side, (name, _) in enumerate(SIDES)
            for order in ORDERS
        ],
        x_share=True,
    )


def _perplexities(records: Sequence[InfillingLine]) -> tuple[Table, str]:
    """Return the table of pseudo-perplexities, and their ratio in words."""
    means = []
    for _, member in SIDES:
        side = [r for r in records if r["member"] == member]
        values = [-math.inf if r["mean_log_prob"] is None else r["mean_log_prob"] for r in side]
        means.append(stats.document_means(values, [r["document"] for r in side]))
    found = perplexity_ratio(means[0], means[1])
    rows: list[list[Value]] = [
        [name, len(side), _finite(perplexity(side)), None] for (name, _), side in zip(SIDES, means, strict=True)
    ]
    interval = None if found is None else f"{significant(found.low)} to {significant(found.high)}"
    rows.append(["Held-out / training", None, None if found is None else _finite(found.estimate), interval])
    words = (
        "the ratio of their pseudo-perplexities is undefined"
        if found is None
        else f"held-out text has {significant(found.estimate)} times the pseudo-perplexity of training text"
        f" [{significant(found.low)}, {significant(found.high)}]"
    )
    columns = [Column("Text"), Column("Documents", "number"), Column("Pseudo-perplexity", "number")]
    return Table("Pseudo-perplexity of the suffixes", [*columns, Column("95% interval")], rows), words


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _listed(shares: Sequence[float]) -> str:
    *most, last = (percent(share) for share in shares)
    return f"{', '.join(most)} and {last}"


def _notes(records: Sequence[InfillingLine]) -> list[str]:
    notes = []
    if not all(any(r["member"] == member for r in records) for _, member in SIDES):
        notes.append("One side has no windows: its rates, the differences and the ratio are undefined.")
    if impossible := sum(r["mean_log_prob"] is None for r in records):
        notes.append(f"{impossible:,} windows have probability 0: their side's pseudo-perplexity is undefined.")
    return notes


INFILLING: Measure[int, InfillingLine] = Infilling()
