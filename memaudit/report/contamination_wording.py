"""How the findings of a contamination check are put into words, wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.report.wording import counted
from memaudit.runs.contamination_report import ContaminationReport, ItemFinding
from memaudit.runs.options import ItemPolicy
from memaudit.stats.rounding import percent

MATCHES = {"raw": "raw copy", "normalised": "normalised copy", "edited": "edited copy"}
"""How the text of an item and of a document agree."""


def worst_first(findings: Sequence[ItemFinding]) -> list[ItemFinding]:
    """Return contaminated items, those most like their documents first."""
    return sorted(findings, key=lambda f: (-f["score"], -f["coverage"], f["number"]))


def and_others(finding: ItemFinding) -> str:
    """Return how many documents hold the text of an item beside the first, as the end of a phrase."""
    others = len(finding["evidence"]) - 1 + int(finding["more_documents"])
    return f" and {counted(others, 'more document')}" if others else ""


def policy_words(policy: ItemPolicy) -> str:
    """Return how many contaminated items a policy tolerates."""
    limits = []
    if policy["max_items"] is not None:
        limits.append(f"at most {counted(policy['max_items'], 'item')}" if policy["max_items"] else "no item")
    if policy["max_rate"] is not None:
        limits.append(f"at most {percent(policy['max_rate'])} of the judged items")
    return " and ".join(limits) or "any number of items"


def spared_words(report: ContaminationReport) -> str:
    """Return how many items most published rules flag and ours does not; empty where there is none."""
    return f"{counted(report['spared_count'], 'item')} that most published rules flag" if report["spared"] else ""
