"""Measures beyond the verbatim verdict: one file each, asked for by name with ``memaudit audit --measure``.

A measure lists its items, measures them block by block (each record is logged as soon as it is done, so
that a killed run goes on), and turns the records into a `memaudit.sections.Section`, purely; see
`memaudit.audits.subject.Measure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memaudit.audits.measures.names import MEASURES
from memaudit.errors import InputError

if TYPE_CHECKING:
    from memaudit.audits.subject import AnyMeasure

__all__ = ["MEASURES", "measures"]


def measures(names: list[str]) -> list[AnyMeasure]:
    """Return the measures of these names, in this order.

    Raises:
        InputError: There is no such measure, or one is named twice.
    """
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(f"measure {twice[0]} is asked for twice")
    return [MEASURES.resolve(name) for name in names]
