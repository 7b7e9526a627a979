"""Intervals, permutation tests, multiplicity and power, with the document as the unit. Undefined values are None."""

from memaudit.stats.permutation import (
    fewest_documents,
    holm,
    midranks,
    rank_test,
    sign_flip_test,
    smallest_p,
)
from memaudit.stats.power import documents_needed, power_sentence
from memaudit.stats.rates import (
    Difference,
    Interval,
    Rate,
    clopper_pearson,
    difference_interval,
    document_means,
    document_rate,
    document_windows,
    lower_bound,
    paired_difference,
    upper_bound,
)
from memaudit.stats.two_sides import permutation_test

__all__ = [
    "Difference",
    "Interval",
    "Rate",
    "clopper_pearson",
    "difference_interval",
    "document_means",
    "document_rate",
    "document_windows",
    "documents_needed",
    "fewest_documents",
    "holm",
    "lower_bound",
    "midranks",
    "paired_difference",
    "permutation_test",
    "power_sentence",
    "rank_test",
    "sign_flip_test",
    "smallest_p",
    "upper_bound",
]
