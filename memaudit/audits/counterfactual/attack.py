"""Can one tell which of the models saw a document? Online LiRA, for which these trainings are what it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from memaudit.metrics.lira import MIN_MODELS, OWN_VARIANCE, Attack, attack, online_lira
from memaudit.records import FloatArray
from memaudit.runs.log_lines import CounterfactualLine
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import auc_with

RATES = (0.01, 0.001)
METHOD = (
    "Every model is attacked in turn, the others being its shadow models (Carlini et al. 2022, the online attack): the"
    " score of a document, its mean log p per token, under a normal distribution of the shadow models that saw it,"
    " against one of those that did not. {variance} AUC and true positive rates are over all pairs of a model and a"
    " document; intervals by the Bayesian bootstrap of texts. Beside it the score alone, which uses no other model."
)


def attack_section(
    member: NDArray[np.bool_], texts: NDArray[np.int64], records: Sequence[CounterfactualLine], seed: int
) -> Section | None:
    """Return the section; None where too few models saw a document, or too few others.

    Args:
        member: Which model saw which document, shape [models, documents].
        texts: Number of the text of each document.
        records: One a model, with ``log_prob``: mean log p per token of every document.
        seed: Fixes the resamples.
    """
    if min(seen := int(member[:, 0].sum()), len(member) - seen) < MIN_MODELS:
        return None
    known = [record["log_prob"] for record in records if "log_prob" in record]
    if len(known) < len(records):  # of a run that an older version began
        return None
    scores: FloatArray = np.array(known, np.float64)
    tried = {"Online LiRA": online_lira(scores, member), "Log p per token alone": scores}
    found = {name: attack(values, member, texts, seed, rates=RATES) for name, values in tried.items()}
    ours, alone = found.values()
    own = len(member) > OWN_VARIANCE
    variance = (
        "Every document has variances of its own." if own else "With few models one variance serves all documents."
    )
    return Section(
        name="lira",
        title="Which models saw it?",
        summary=f"Online LiRA separates the models that saw a document from others with an AUC of {_shown(ours)}; the"
        f" score alone with {_shown(alone)}.",
        method=METHOD.format(variance=variance),
        tables=[_table(found)],
        notes=[
            "A true positive rate is reported only where ten pairs may pass at its false positive rate.",
            "Shadow models that saw a copy of a document count as models that did not see it: the AUC is then lower.",
        ],
    )


def _shown(found: Attack) -> str:
    return auc_with(found.auc, found.low, found.high)


def _table(found: Mapping[str, Attack]) -> Table:
    columns = [Column("Score"), Column("AUC", "number"), Column("95%: from", "number"), Column("to", "number")]
    for rate in RATES:
        columns += [Column(f"Found at {100 * rate:g}% of false alarms", "share"), Column("95% interval", "interval")]
    rows: list[list[Value]] = []
    for name, each in found.items():
        row: list[Value] = [name, each.auc, each.low, each.high]
        for rate in RATES:
            told = each.tpr[rate]
            row += [None, None] if told is None else [told[0], [told[1], told[2]]]
        rows.append(row)
    return Table("Separating the models that saw a document from those that did not", columns, rows)
