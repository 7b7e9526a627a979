"""The report of counterfactual memorization: its mean, its distribution, its worst documents, and what copies do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import memaudit.stats as stats
from memaudit.audits.counterfactual.attack import attack_section
from memaudit.metrics.counterfactual import Counterfactual, counterfactual, mean_interval, smallest_p
from memaudit.records import FloatArray
from memaudit.runs import parts
from memaudit.runs.log_lines import CounterfactualLine
from memaudit.runs.options import CounterfactualOptions
from memaudit.runs.plans import CounterfactualPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.reports import CounterfactualDocument, CounterfactualReport, DescribedDocument
from memaudit.runs.schema import as_record
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import correlation, p_value, percent, points, points_between

LISTED = 20
MAX_GROUPS = 6
THRESHOLDS = tuple(i / 20 for i in range(21))
METHOD = (
    "{models} models ({family}, size {size}) were each trained on a random part of the corpus, so that {seen} of them"
    " saw any one document. The score of a document is the share of its tokens, the first one left out, that are the"
    " model's most probable given the true text before them. Counterfactual memorization is the mean score by models"
    " that saw the document minus the mean by those that did not (Zhang et al. 2021). p: share of all ways to choose"
    " the models that saw it with at least this difference; the smallest possible is {least}."
)


def conclude(
    plan: CounterfactualPlan,
    documents: Sequence[DescribedDocument],
    member: NDArray[np.bool_],
    records: Sequence[CounterfactualLine],
) -> CounterfactualReport:
    """Return the report of a finished run: the same plan and records give the same report.

    Args:
        plan: As `memaudit.audits.counterfactual.run` makes it.
        documents: What is known of each document.
        member: Which model saw which document, shape [models, documents].
        records: One a model, in order.
    """
    tokens = np.array([d["tokens"] for d in documents], np.float64)
    found = counterfactual(
        np.array([r["greedy"] for r in records], np.float64) / tokens, member, plan["options"]["seed"]
    )
    section = make_section(plan["options"], documents, found, int(member[:, 0].sum()), plan["corpus"]["too_short"])
    texts = np.array([d["text"] for d in documents])
    attacked = attack_section(member, texts, records, plan["options"]["seed"])
    return {
        **report_head(plan),
        "kind": "counterfactual",
        "exit_code": 0,
        "headline": section.summary,
        "options": plan["options"],
        "corpus": plan["corpus"],
        "models": [{"index": r["index"], "parameters": r["parameters"], "loss": r["loss"]} for r in records],
        "documents": [_known(document, found, i) for i, document in enumerate(documents)],
        "sections": [as_record(each, parts.Section) for each in (section, attacked) if each],
    }


def _known(document: DescribedDocument, found: Counterfactual, place: int) -> CounterfactualDocument:
    return {
        **document,
        "memorization": _defined(found.memorization[place]),
        "inside": _defined(found.inside[place]),
        "outside": _defined(found.outside[place]),
        "error": _defined(found.error[place]),
        "p_value": _defined(found.p_value[place]),
    }


def make_section(
    options: CounterfactualOptions,
    documents: Sequence[DescribedDocument],
    found: Counterfactual,
    seen: int,
    too_short: int,
) -> Section:
    """Return tables and charts: ``seen`` is the number of models that saw any one document."""
    copies, texts = (np.array([d[name] for d in documents]) for name in ("copies", "text"))
    groups = _groups(copies)
    notes = [
        "Intervals are about documents, not about trainings: other models, and another random assignment of"
        " documents to models, would give other means; no interval covers that.",
        "The tokenizer and the number of steps are those of the corpus and of a part of it: a model that is trained on"
        " all of it may know a document better than these do.",
        "A document with other copies in the corpus is also seen by models that never saw this one: its"
        " counterfactual memorization is low, however well it is known.",
    ]
    if too_short:
        notes.append(f"{too_short:,} documents of a single token were left out.")
    least = smallest_p(options["models"], seen)
    return Section(
        name="counterfactual",
        title="Counterfactual memorization",
        summary=_summary(found, copies, texts, options["seed"]),
        method=METHOD.format(
            models=options["models"], family=options["family"], size=options["size"], seen=seen, least=p_value(least)
        ),
        tables=[_by_copies(groups, found, texts, options["seed"]), _worst(documents, found)],
        graphs=_graphs(groups, found, texts),
        notes=notes,
    )


def _summary(found: Counterfactual, copies: NDArray[np.int64], texts: NDArray[np.int64], seed: int) -> str:
    low, high = mean_interval(found.memorization, seed, texts)
    mean, inside, outside = (float(v.mean()) for v in (found.memorization, found.inside, found.outside))
    rank = _spearman(found.memorization, copies, texts)
    relation = "" if rank is None else f" Its rank correlation with the copies of a text is {correlation(rank)}."
    return (
        f"Models that saw a document predict {percent(inside)} of its tokens, models that did not"
        f" {percent(outside)}: counterfactual memorization {points(mean)} points"
        f" {points_between(low, high)} over {len(copies):,} documents of {len(set(texts.tolist())):,} texts.{relation}"
    )


def _spearman(memorization: FloatArray, copies: NDArray[np.int64], texts: NDArray[np.int64]) -> float | None:
    """Return the rank correlation of a text's mean memorization with its copies; None where one does not vary."""
    _, first, place, sizes = np.unique(texts, return_index=True, return_inverse=True, return_counts=True)
    means, counts = np.bincount(place, memorization) / sizes, copies[first]
    if not np.ptp(means) or not np.ptp(counts):
        return None
    return float(spearmanr(means, counts).statistic)


def _groups(copies: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the places of the documents by their copies, at most `MAX_GROUPS` groups, the fewest copies alone."""
    values = np.unique(copies)
    rest = np.array_split(values[1:], min(MAX_GROUPS - 1, len(values) - 1)) if len(values) > 1 else []
    groups = {}
    for part in (values[:1], *rest):
        low, high = int(part[0]), int(part[-1])
        name = "1 copy" if high == 1 else f"{low:,} copies" if low == high else f"{low:,} to {high:,} copies"
        groups[name] = np.flatnonzero((copies >= low) & (copies <= high))
    return groups


def _by_copies(
    groups: Mapping[str, NDArray[np.int64]], found: Counterfactual, texts: NDArray[np.int64], seed: int
) -> Table:
    columns = [Column("Documents with"), Column("Documents", "number"), Column("Texts", "number")]
    columns += [Column("Seen", "share")]
    columns += [Column("Not seen", "share"), Column("Memorization", "share"), Column("95% interval", "interval")]
    columns += [Column("p at most .05", "share")]
    rows: list[list[Value]] = []
    for name, places in groups.items():
        memorization = found.memorization[places]
        distinct = len(set(texts[places].tolist()))
        interval = list(mean_interval(memorization, seed, texts[places])) if distinct > 1 else None
        seen, unseen = float(found.inside[places].mean()), float(found.outside[places].mean())
        small = float((found.p_value[places] <= 0.05).mean())
        rows.append([name, len(places), distinct, seen, unseen, float(memorization.mean()), interval, small])
    return Table("Share of tokens predicted by models that saw a document and by others, by its copies", columns, rows)


def _worst(documents: Sequence[DescribedDocument], found: Counterfactual) -> Table:
    columns = [Column("Memorization", "share"), Column("Standard error, points", "number"), Column("Seen", "share")]
    columns += [Column("Not seen", "share"), Column("p", "number"), Column("Copies", "number"), Column("Source")]
    order = np.lexsort((np.arange(len(documents)), -found.memorization))[:LISTED]
    rows: list[list[Value]] = []
    for i in order:
        error = _defined(found.error[i])
        shown: list[Value] = [float(found.memorization[i]), None if error is None else 100 * error]
        shown += [float(found.inside[i]), float(found.outside[i]), float(found.p_value[i])]
        rows.append([*shown, documents[i]["copies"], documents[i]["source"]])
    return Table("The most memorised documents", columns, rows)


def _graphs(groups: Mapping[str, NDArray[np.int64]], found: Counterfactual, texts: NDArray[np.int64]) -> list[Graph]:
    series = []
    for name, places in groups.items():
        points: list[list[float | None]] = []
        labels = [str(number) for number in texts[places]]
        for threshold in THRESHOLDS:
            rate = stats.document_rate(found.memorization[places] >= threshold, labels)
            points.append([threshold, rate.rate, rate.low, rate.high])
        series.append(Series(name, points))
    return [
        Graph(
            title="Distribution of counterfactual memorization",
            description="Share of the documents whose counterfactual memorization is at least x, by their copies."
            " Bands are 95% intervals over texts.",
            x="Counterfactual memorization, at least",
            y="Documents",
            series=series,
            x_share=True,
        )
    ]


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
