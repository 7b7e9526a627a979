"""Exposure beyond the candidates that were compared, where their distribution allows it."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

from scipy.special import bdtrc, stdtrit

from memaudit.metrics.exposure import NOT_SKEW_NORMAL
from memaudit.runs.measured_lines import DoseLine
from memaudit.sections import Column, Table, Value
from memaudit.stats.rounding import significant

BY_CHANCE = 0.06
"""Share of skew-normal samples that the check of the fit rejects."""
SURELY_MORE = 0.01


def fitted_table(groups: Sequence[tuple[str, Mapping[int, Sequence[DoseLine]]]]) -> Table | None:
    """Return the fitted exposure by copies; None where every secret's whole space was compared.

    A fit that is rejected is not reported, and none is where more are rejected than expected by chance: those that
    passed then passed for want of candidates.

    Args:
        groups: Name of what was planted, and the records of its canaries by copies.
    """
    every = {r["document"]: r for _, doses in groups for records in doses.values() for r in records}
    if all(r["exact"] for r in every.values()):
        return None
    tested = [r for r in every.values() if r["fitted_bits"] is not None or r["not_fitted"] == NOT_SKEW_NORMAL]
    rejected = sum(r["fitted_bits"] is None for r in tested)
    distrusted = rejected > 0 and float(bdtrc(rejected - 1, len(tested), BY_CHANCE)) < SURELY_MORE
    general = (
        f"{rejected} of {len(tested)} sets of candidates are not skew-normal: none is reported" if distrusted else ""
    )
    rows = [_row(name, dose, records, general) for name, doses in groups for dose, records in doses.items()]
    columns = [
        Column("planted"),
        Column("copies", "number"),
        Column("canaries", "number"),
        Column("fit reported for", "number"),
        Column("mean fitted exposure in bits", "number"),
        Column("95%: from", "number"),
        Column("to", "number"),
        Column("not reported"),
    ]
    most = max(math.log2(r["space"]) for r in every.values())
    return Table(f"Exposure by a skew-normal fit to the candidates: {significant(most)} bits at most", columns, rows)


def _row(name: str, dose: int, records: Sequence[DoseLine], general: str) -> list[Value]:
    told = [] if general else [float(r["fitted_bits"]) for r in records if r["fitted_bits"] is not None]
    reasons = Counter(r["not_fitted"] for r in records if r["fitted_bits"] is None)
    remark = general or "; ".join(f"{count}: {reason}" for reason, count in sorted(reasons.items()))
    shown: list[Value] = [name, dose, len(records), len(told)]
    if not told:
        return [*shown, None, None, None, remark]
    mean = math.fsum(told) / len(told)
    if len(told) == 1:
        return [*shown, mean, None, None, remark]
    reach = float(stdtrit(len(told) - 1, 0.975)) * statistics.stdev(told) / math.sqrt(len(told))
    most = max(math.log2(r["space"]) for r in records)
    return [*shown, mean, max(mean - reach, 0.0), min(mean + reach, most), remark]
