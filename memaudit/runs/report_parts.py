"""What reports of several kinds begin with, and what they say of a verdict."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from memaudit.runs.parts import Control, Difference, Rate, SchemaVersion, Section
from memaudit.runs.plans import PlanHead

Verdict = Literal["found", "no-evidence", "inconclusive"]
"""Of a comparison that can show that a model knows a text, and never that it does not."""
ConfoundedVerdict = Literal["found", "no-evidence", "inconclusive", "confounded"]
"""The same where the sides may differ without the model: then no p-value is evidence."""
PolicyVerdict = Literal["found", "clean", "inconclusive"]
"""By a policy that says how much is tolerated."""


class Provenance(TypedDict):
    """Where a report comes from."""

    identity: str
    """SHA-256 of what the run is about."""
    command: str
    """What asks for the same run again."""
    set_elsewhere: NotRequired[list[str]]
    """Where the options that were not typed came from."""
    versions: dict[str, str]
    """Of memaudit, Python and the libraries that touch a number."""


class ReportHead(TypedDict):
    """What every report holds beside its kind."""

    schema_version: SchemaVersion
    complete: bool
    """Whether all items of the plan were measured."""
    provenance: Provenance


class Judged(TypedDict):
    """What a verdict rests on."""

    exit_code: int
    """0: nothing found, with enough evidence to say so; 1: found; 3: inconclusive or confounded."""
    headline: str
    """The answer in one sentence, with its numbers."""
    reasons: list[str]
    """Why the verdict is what it is."""
    controls: list[Control]
    limits: list[str]
    """What the run does not show."""


class Sections(TypedDict):
    """What measures have to say, as tables and charts."""

    sections: list[Section]


class Effect(TypedDict):
    """How large an effect is, with a 95% interval where there is one."""

    name: str
    """``AUC``, or the unit."""
    estimate: float | None
    low: float | None
    high: float | None


class Compared(TypedDict):
    """Rates of both sides and their difference."""

    train: Rate
    heldout: Rate
    difference: Difference | None
    """None where a side has no document."""


def report_head(plan: PlanHead, *, complete: bool = True) -> ReportHead:
    """Return what every report begins with.

    Args:
        plan: Of the run.
        complete: Whether all of its items were measured.
    """
    provenance: Provenance = {
        "identity": plan["identity"],
        "command": plan["command"],
        "versions": plan["versions"],
    }
    if "set_elsewhere" in plan:
        provenance["set_elsewhere"] = plan["set_elsewhere"]
    return {"schema_version": 1, "complete": complete, "provenance": provenance}
