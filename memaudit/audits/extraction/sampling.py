"""What is measured of every window, and what of a random sample alone.

Whether a window is a hit is known of every one. That takes few tokens: a continuation ends where no metric can reach
its threshold any more, whatever would follow. Means, distributions, likelihoods and how often the model ends a text
need whole windows; they are taken from a random sample of either side.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.plan import BLOCK, SAMPLE
from memaudit.metrics import METRICS
from memaudit.metrics.base import Metric
from memaudit.models.decoding import Settled
from memaudit.records import AnyIds, Capabilities, Capability, Window


def sample_of(windows: Sequence[Window], options: AuditOptions, *, writes: bool) -> frozenset[int]:
    """Return the places of the windows that are measured whole: `SAMPLE` of each side, drawn by the seed, or all.

    Args:
        windows: All of the run.
        options: Of the audit.
        writes: Whether windows that are not verbatim are continued: see `writes`.
    """
    if options.exhaustive or any(_needs_all(metric, writes) for metric in METRICS.values()):
        return frozenset(range(len(windows)))
    random = np.random.default_rng(options.seed)
    sides = [[i for i, window in enumerate(windows) if window.member is member] for member in (True, False)]
    return frozenset(int(i) for side in sides for i in random.permutation(side)[:SAMPLE])


def writes(gives: Capabilities, fuzzy: bool) -> bool:
    """Whether windows that are not verbatim are continued: for fuzzy metrics, or since nothing else shows a hit.

    Args:
        gives: What the model can give.
        fuzzy: Whether fuzzy metrics are measured.
    """
    return fuzzy or Capability.LEFT_TO_RIGHT not in gives


def _needs_all(metric: Metric, writes: bool) -> bool:
    """Whether no window can be told a hit, or none, before it is measured whole."""
    untold = metric.of == "ranks" or (metric.of == "writing" and writes)
    return metric.threshold is not None and metric.ceiling is None and untold


def blocks_of(count: int, sample: Collection[int]) -> list[list[int]]:
    """Return the blocks in which so many windows are measured and logged, those of the sample first.

    A block is measured in one way, so that batches stay full.
    """
    groups = sorted(sample), [i for i in range(count) if i not in sample]
    return [group[first : first + BLOCK] for group in groups for first in range(0, len(group), BLOCK)]


def settled_by(ends: Collection[int]) -> Settled:
    """Return what says that a continuation need not go on: the model ended the text, or no metric can be a hit.

    Args:
        ends: Its end tokens.
    """
    metrics = [metric for metric in METRICS.values() if metric.ceiling is not None and metric.threshold is not None]

    def settled(suffix: AnyIds, begun: AnyIds) -> bool:
        return int(begun[-1]) in ends or not any(metric.may_hit(suffix, begun) for metric in metrics)

    return settled
