"""Measures in a run: their items follow the windows in the log, their sections follow from the log alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from memaudit.audits.needs import check_needs, needs_of
from memaudit.audits.subject import AnyLogged, AnyMeasure, Subject
from memaudit.records import Document
from memaudit.report.wording import asked_with
from memaudit.runs.directory import RunDirectory
from memaudit.runs.parts import BlindBaseline, MeasureDescription, Section
from memaudit.runs.plans import MeasuredPlan
from memaudit.runs.schema import as_record
from memaudit.sections import Section as Said

Progress = Callable[[int, int], None]
"""Called with (items done, items in all) of the measure at hand."""


def sections_of(measures: Sequence[AnyMeasure], taken: Mapping[str, Sequence[Any]], run: RunDirectory) -> list[Section]:
    """Return the sections of the report.

    Args:
        measures: In the order of the report.
        taken: What `take_all` returned.
        run: Of them.
    """
    plan = measured_plan(run.plan, blind_of(taken))
    return [as_record(section_of(measure, taken[measure.name], plan), Section) for measure in measures]


def section_of(measure: AnyMeasure, records: Sequence[Any], plan: MeasuredPlan) -> Said:
    """Return the section of a measure, whose method says what the model is given before a text, if it asks a model.

    One with a true attribute ``says_start`` says it itself.
    """
    section = measure.section(records, plan)
    if not needs_of(measure) or getattr(measure, "says_start", False):
        return section
    return dataclasses.replace(section, method=" ".join(filter(None, (section.method, asked_with(plan["model"])))))


def measured_plan(plan: Mapping[str, object], blind: BlindBaseline | None) -> MeasuredPlan:
    """Return the whole plan of a run as measures and detectors read it, and what text alone says."""
    return cast("MeasuredPlan", {**plan, "blind": blind})


def blind_of(taken: Mapping[str, Sequence[Mapping[str, Any]]]) -> BlindBaseline | None:
    """Return what text alone says (control C1), which other measures need beside the plan; None if not asked."""
    found: BlindBaseline | None = next((record["blind"] for record in taken.get("text", ())), None)
    return found


def take_all(
    asked: Sequence[tuple[AnyLogged, Subject]], run: RunDirectory, first: int, progress: Progress | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Take measures one after the other, log each block as soon as it is done, and return all records by measure.

    Args:
        asked: Each measure and what it is taken of.
        run: Its log may hold some of them.
        first: Index of the first record in the log.
        progress: Told after every block.
    """
    taken = {}
    for measure, subject in asked:
        items = measure.items(subject)
        places = range(first, first + len(items))
        blocks = [places[at : at + measure.block] for at in range(0, len(items), measure.block)]
        for block in run.pending(blocks):
            records = measure.measure(subject, [items[place - first] for place in block])
            run.append([{**r, "index": i, "measure": measure.name} for i, r in zip(block, records, strict=True)])
            if progress:
                progress(block.stop - first, len(items))
        taken[measure.name] = [run.records[place] for place in places]
        first = places.stop
    return taken


def check_measures(measures: Sequence[AnyMeasure], subject: Subject) -> None:
    """Let every measure say what model and subject lack before hours are spent on the windows.

    Args:
        measures: To be taken.
        subject: With its windows and no records of them yet.

    Raises:
        InputError: A measure needs what the model does not give, or from `Measure.items`.
    """
    for measure in measures:
        check_needs(f"the measure '{measure.name}'", needs_of(measure), subject.model)
        measure.items(subject)


def asked_documents(corpus: Iterable[Document], names: Iterable[str]) -> list[Document]:
    """Return the documents with these ids, each once, in the order of their names."""
    wanted = dict.fromkeys(names)
    found = {document.id: document for document in corpus if document.id in wanted} if wanted else {}
    return [found[name] for name in wanted if name in found]


def describe_measures(measures: Sequence[AnyMeasure]) -> list[MeasureDescription]:
    """Return what a plan says of measures."""
    return [{"name": measure.name, "block": measure.block} for measure in measures]
