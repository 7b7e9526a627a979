"""Means of graded metrics over the windows of each side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from memaudit.metrics import METRICS
from memaudit.metrics.base import Metric, Outcome
from memaudit.records import Capability, WindowRecord, not_given
from memaudit.runs import parts
from memaudit.runs.extraction_report import MetricMean

Records = Sequence[WindowRecord]


def known_of_all(records: Records, name: str) -> bool:
    """Whether it is known of every window if a metric makes it a hit: a rate over some would not be the rate of all."""
    return all(record.value(name) is not None or record.given_up for record in records)


def means(records: Records, model: parts.ModelDescription) -> list[MetricMean]:
    """Average the graded values a side; likelihood is in bits, so that models of any vocabulary compare.

    What other models of its objective give and this one does not stands there with the reason, and no value.
    """
    lacks = frozenset(map(Capability, model.get("lacks", ())))
    unmeasured = {name: not_given(metric.needs & lacks, frozenset()) for name, metric in METRICS.items()}
    sampled = [record for record in records if record.sampled]
    shown = [
        metric
        for name, metric in METRICS.items()
        if metric.averaged and (metric.of == "likelihood" or unmeasured[name] or known_of_all(sampled, name))
    ]
    return [
        _mean_of(metric, records if metric.of == "match" else sampled, unmeasured[metric.name], len(records))
        for metric in shown
    ]


def _mean_of(metric: Metric, records: Records, unmeasured: str, windows: int) -> MetricMean:
    found: MetricMean = {
        "metric": metric.name,
        "label": metric.label,
        "unit": metric.unit,
        "train": mean(_value(metric), (r for r in records if r.member)),
        "heldout": mean(_value(metric), (r for r in records if not r.member)),
    }
    if unmeasured:
        found["reason"] = f"not measured: {unmeasured}"
    elif len(records) < windows:
        found["sampled"] = True
    return found


def _value(metric: Metric) -> Callable[[WindowRecord], float | None]:
    """Return how the value of a metric is had of a record: that of a likelihood follows from what it holds."""
    return _likelihood_of(metric) if metric.of == "likelihood" else lambda record: record.value(metric.name)


def _likelihood_of(metric: Metric) -> Callable[[WindowRecord], float | None]:
    """Return how a metric of likelihood is computed of a record."""

    def value(record: WindowRecord) -> float | None:
        suffix = np.array(record.suffix_ids, np.int32)
        return metric.compute(Outcome(suffix, record.suffix_text, record.matched, None, record.log_prob))

    return value


def mean(value: Callable[[WindowRecord], float | None], records: Iterable[WindowRecord]) -> float | None:
    """Return the mean, or None where one value is undefined: an average over the rest would flatter."""
    values = [value(record) for record in records]
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if values and len(defined) == len(values) else None
