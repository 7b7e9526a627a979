"""How the windows of whole works were read, as a section of the report."""

from __future__ import annotations

from collections.abc import Sequence

import memaudit.stats as stats
from memaudit.metrics.probability import THRESHOLDS
from memaudit.runs.options import WorkOptions
from memaudit.runs.work_report import WorkMeasured
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import percent, stated


def reading_section(works: Sequence[WorkMeasured], options: WorkOptions, tested: str) -> Section:
    """Return what can be had back of every work, how its windows were read, and how works were compared."""
    columns = [Column("Work"), Column("Tokens", "number"), Column("Greedy", "share")]
    columns += [Column(f"p >= {stated(threshold)}", "share") for threshold in THRESHOLDS]
    rows: list[list[Value]] = [
        [
            f"{work['name']} (control)" if work["control"] else work["name"],
            work["tokens"],
            *(reached["share"] for reached in work["reached"]),
        ]
        for work in works
    ]
    windows, read = sum(work["windows"] for work in works), sum(work["read"] for work in works)
    return Section(
        name="reading",
        title="What can be had back, of all tokens",
        summary=f"{windows:,} windows of {len(works):,} {'work' if len(works) == 1 else 'works'}; {read:,} were read by"
        " themselves.",
        method=f"A window is {options['prefix']} tokens and the {options['suffix']} behind them, every"
        f" {options['stride']} tokens. p_z is the probability that one sample after the prefix is the suffix: the"
        " product of its tokens' probabilities, without sampling. A token counts from the largest p_z of the windows"
        " that have it in their suffix (after Cooper et al. 2025). All tokens stand in the denominator."
        f" {tested}".rstrip(),
        tables=[Table("Share of all tokens that stand in the suffix of such a window", columns, rows)],
        notes=[note for work in works if (note := _note(work))],
    )


def _note(work: WorkMeasured) -> str:
    """Say what of a work cannot be covered, and what was passed over."""
    told = []
    if work["coverable"] < work["tokens"]:
        left = work["tokens"] - work["coverable"]
        told.append(f"{left:,} of {work['tokens']:,} tokens stand in no suffix, the first ones above all")
    if left := work["windows"] - work["read"]:
        upper = stats.upper_bound(work["check_hits"], work["checked"])
        bound = "" if upper is None else f", at most {percent(upper)} of such windows at 95% confidence"
        told.append(
            f"{left:,} windows were passed over; of {work['checked']:,} drawn from them {work['check_hits']:,} reach a"
            f" threshold{bound}"
        )
    return f"{work['name']}: {'; '.join(told)}." if told else ""
