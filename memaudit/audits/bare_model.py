"""Measures of a model that is asked without its start token, beside those of the model as it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.logged import section_of
from memaudit.audits.needs import needs_of
from memaudit.audits.subject import AnyMeasure, Subject
from memaudit.models.base import LanguageModel
from memaudit.runs.parts import ModelDescription
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Section

SUFFIX = "-without-start"
"""Of the name of a measure that is taken of the model without its start token too."""


class OfBareModel:
    """A measure that is taken of the model without its start token."""

    says_start = True

    def __init__(self, measured: AnyMeasure, bare: LanguageModel, references: ReferenceModels | None = None) -> None:
        self._measured, self._bare, self._references = measured, bare, references
        self.name, self.block, self.needs = f"{measured.name}{SUFFIX}", measured.block, needs_of(measured)

    def items(self, subject: Subject) -> Sequence[Any]:
        """Return what the measure is taken of."""
        return self._measured.items(self._asked(subject))

    def measure(self, subject: Subject, items: Sequence[Any]) -> list[Any]:
        """Measure a block."""
        return self._measured.measure(self._asked(subject), items)

    def section(self, records: Sequence[Any], plan: MeasuredPlan) -> Section:
        """Return what the measure says, of the model that it was taken of."""
        section = section_of(self._measured, records, {**plan, "model": without_frame(plan["model"])})
        return replace(section, name=self.name, title=f"{section.title}, without the start token")

    def _asked(self, subject: Subject) -> Subject:
        return replace(subject, model=self._bare, reference_models=self._references or subject.reference_models)


def frame_of(model: ModelDescription) -> str:
    """Return what is put around a text, in words."""
    before, behind = model.get("frame_text", ("", ""))
    return f"{before} and {behind}" if before and behind else before or behind or "a start token"


def without_frame(model: ModelDescription) -> ModelDescription:
    """Return the description of a model as it is where it is asked without its frame."""
    bare: ModelDescription = {**model, "start_token": None, "frame": ([], [])}
    if "frame_text" in bare:
        bare["omitted"] = bare.pop("frame_text")
    return bare
