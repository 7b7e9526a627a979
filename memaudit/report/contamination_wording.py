"""How the findings of a contamination check are put into words, wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.report.wording import counted, percent

MATCHES = {"raw": "raw copy", "normalised": "normalised copy", "edited": "edited copy"}
"""How the text of an item and of a document agree."""


def worst_first(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return contaminated items, those most like their documents first."""
    return sorted(findings, key=lambda f: (-f["score"], -f["coverage"], f["number"]))


def and_others(finding: Mapping[str, Any]) -> str:
    """Return how many documents hold the text of an item beside the first, as the end of a phrase."""
    others = len(finding["evidence"]) - 1 + int(finding["more_documents"])
    return f" and {counted(others, 'more document')}" if others else ""


def policy_words(policy: Mapping[str, Any]) -> str:
    """Return how many contaminated items a policy tolerates."""
    limits = []
    if policy["max_items"] is not None:
        limits.append(f"at most {counted(policy['max_items'], 'item')}" if policy["max_items"] else "no item")
    if policy["max_rate"] is not None:
        limits.append(f"at most {percent(policy['max_rate'])} of the judged items")
    return " and ".join(limits) or "any number of items"


def spared_words(report: Mapping[str, Any]) -> str:
    """Return how many items most published rules flag and ours does not; empty where there is none."""
    return f"{counted(report['spared_count'], 'item')} that most published rules flag" if report["spared"] else ""
