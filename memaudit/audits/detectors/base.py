"""What a detector must do beside what every measure does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from memaudit.audits.comparison.detection import Detection
from memaudit.audits.subject import Found, Item, Measure
from memaudit.runs.plans import MeasuredPlan


class Detector(Measure[Item, Found], Protocol[Item, Found]):
    """A measure whose records answer whether the model has seen the suspects."""

    compares: bool
    """Whether it tests suspects against held-out text."""
    whole_files: bool
    """Whether it reads the benchmark's files as they are: copies included, in their order."""

    @property
    def asked_by(self) -> str | None:
        """The option that asks for it; None of one that is taken wherever the model gives what it needs.

        One that another package declares is taken by its name alone: what is installed changes no verdict.
        """

    def declared(self, plan: MeasuredPlan) -> list[str]:
        """Return the names of the detections that it makes under this plan, fixed before anything is measured."""

    def detections(self, records: Sequence[Found], plan: MeasuredPlan) -> list[Detection]:
        """Return what the records say; pure, and one detection for each declared name."""


AnyDetector = Detector[Any, Any]
"""One of several: what it is asked about and what it logs, it alone knows."""
