"""Metrics of a continuation, by name: ours, and those that other packages declare (`memaudit.metrics.base`).

The names of ours are the fields of `memaudit.records.WindowRecord` where it carries the value.
"""

from __future__ import annotations

from memaudit.metrics.base import Metric
from memaudit.plugins import Registry, Resolved

PRIMARY = "extractable"
"""The one metric that decides a verdict, named before anything is measured."""

REGISTRY = Registry(
    "memaudit.metric",
    {
        "extractable": "memaudit.metrics.verbatim:EXTRACTABLE",
        "matched": "memaudit.metrics.verbatim:MATCHED",
        "extraction_strength": "memaudit.metrics.verbatim:EXTRACTION_STRENGTH",
        "longest_common": "memaudit.metrics.verbatim:LONGEST_COMMON",
        "edit_similarity": "memaudit.metrics.fuzzy:EDIT_SIMILARITY",
        "edit_similarity_text": "memaudit.metrics.fuzzy:EDIT_SIMILARITY_TEXT",
        "rouge_l": "memaudit.metrics.fuzzy:ROUGE_L",
        "rouge_l_text": "memaudit.metrics.fuzzy:ROUGE_L_TEXT",
        "bleu": "memaudit.metrics.fuzzy:BLEU",
        "bits_per_byte": "memaudit.metrics.likelihood:BITS_PER_BYTE",
    },
)
METRICS: Resolved[Metric] = Resolved(REGISTRY)
"""In the order of reports: ours, then others by name."""


def declared() -> list[str]:
    """Return the names of metrics that other packages declare."""
    return [name for name in METRICS if name not in REGISTRY.builtin]
