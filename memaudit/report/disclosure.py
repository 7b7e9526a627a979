"""What of a run's texts leaves it: everything, excerpts with addresses masked, or hashes and lengths alone.

Renderers get a report that holds no more than may be shown. What that is, the kind of the run decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaudit.records import Shown
from memaudit.report.kinds import kind_of
from memaudit.runs.directory import ReportInput

REJECTING = ("train", "heldout", "benchmark", "corpus")
"""Texts of a run, some of whose records may be rejected."""

Report = dict[str, Any]


def disclosed(run: ReportInput, shown: Shown) -> ReportInput:
    """Return a run of which only what may be shown can be rendered.

    Raises:
        RunError: If the run is of a kind that is not known.
    """
    return kind_of(run.report).disclosed(run, shown)


def without_reasons(report: Mapping[str, Any]) -> Report:
    """Return a report that names rejected records by their place alone: why they were rejected may quote them."""
    sides = [(name, report[name]) for name in REJECTING if "first_rejected" in report.get(name, {})]
    places = {entry: entry.partition(": ")[0] for _, side in sides for entry in side["first_rejected"]}
    changed = {name: {**side, "first_rejected": [places[e] for e in side["first_rejected"]]} for name, side in sides}
    reasons = list(report.get("reasons", ()))
    for entry in sorted(places, key=len, reverse=True):
        reasons = [reason.replace(entry, places[entry]) for reason in reasons]
    return {**report, **changed, **({"reasons": reasons} if "reasons" in report else {})}
