"""Rejected records in a report whose texts are withheld: where they stand, and not why, which may quote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

REJECTING = ("train", "heldout", "benchmark", "corpus")
"""Texts of a run, some of whose records may be rejected."""

Report = TypeVar("Report", bound=Mapping[str, Any])


def without_reasons(report: Report) -> Report:
    """Return a report that names rejected records by their place alone: why they were rejected may quote them."""
    sides = [(name, report[name]) for name in REJECTING if "first_rejected" in report.get(name, {})]
    places = {entry: entry.partition(": ")[0] for _, side in sides for entry in side["first_rejected"]}
    changed = {name: {**side, "first_rejected": [places[e] for e in side["first_rejected"]]} for name, side in sides}
    reasons = list(report.get("reasons", ()))
    for entry in sorted(places, key=len, reverse=True):
        reasons = [reason.replace(entry, places[entry]) for reason in reasons]
    safe = {**report, **changed, **({"reasons": reasons} if "reasons" in report else {})}
    return cast("Report", safe)  # the same fields, whichever of them a kind has
