"""Measures beyond the verbatim verdict: one file each, asked for by name with ``memaudit audit --measure``.

A measure lists its items, measures them block by block (each record is logged as soon as it is done, so
that a killed run goes on), and turns the records into a `memaudit.sections.Section`, purely.
"""

from __future__ import annotations

from memaudit.audits.subject import Measure, Subject
from memaudit.errors import InputError
from memaudit.plugins import Registry

__all__ = ["MEASURES", "Measure", "Subject", "measures"]

MEASURES = Registry(
    "memaudit.measure",
    {
        "surface": "memaudit.audits.measures.surface:SURFACE",
        "coverage": "memaudit.audits.measures.coverage:COVERAGE",
        "probability": "memaudit.audits.measures.probability:PROBABILITY",
        "near-verbatim": "memaudit.audits.measures.near_verbatim:NEAR_VERBATIM",
        "use": "memaudit.audits.measures.use:USE",
        "infilling": "memaudit.audits.measures.infilling:INFILLING",
        "dose": "memaudit.audits.measures.dose:DOSE",
        "cloze": "memaudit.audits.measures.cloze:CLOZE",
        "taxonomy": "memaudit.audits.measures.taxonomy:TAXONOMY",
        "protocol": "memaudit.audits.measures.protocol:PROTOCOL",
    },
)
"""Every measure by its name; other packages declare theirs as entry points."""


def measures(names: list[str]) -> list[Measure]:
    """Return the measures of these names, in this order.

    Raises:
        InputError: There is no such measure, or one is named twice.
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(f"measure {twice[0]} is asked for twice")
    return [MEASURES.resolve(name) for name in names]
