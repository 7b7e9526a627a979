"""What a measure is given and what it must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from memaudit.models.base import LanguageModel
from memaudit.records import Capabilities, Decoding, Document, Window, WindowRecord
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Section
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.windows.windows import WindowOptions

if TYPE_CHECKING:
    from memaudit.audits.comparison.reference_models import ReferenceModels

Item = TypeVar("Item")
"""What a measure is taken of, one after the other: a window, a document, a prompt."""
Found = TypeVar("Found")
"""What it logs of an item: a TypedDict, ours in `memaudit.runs.measured_lines`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """All that may be asked in an audit."""

    model: LanguageModel
    windows: Sequence[Window]
    """The windows of the audit: members first, then held-out ones."""
    records: Sequence[WindowRecord]
    """What the audit found out about them, in the same order."""
    train: Sequence[Document]
    """The training documents of which windows were drawn, in the order of their windows."""
    heldout: Sequence[Document]
    index: CorpusIndex | None
    """An index of words of the training text, where there is one."""
    options: WindowOptions
    decoding: Decoding
    """How samples are drawn (temperature 1 by default); greedy measures do not look at it."""
    reference_models: ReferenceModels | None = None
    """References and null model, and the options of the membership detectors; None where there are none."""
    unmatched: tuple[Sequence[Document], Sequence[Document]] = ((), ())
    """Training and held-out documents that gave no window for want of a counterpart on the other side; read where a
    measure is `OfEveryDocument`."""


class Logged(Protocol[Item, Found]):
    """What is done item by item. It holds no state: the same subject gives the same items and records."""

    name: str
    needs: Capabilities
    """What it needs of a model; without that it is refused before anything is measured."""
    block: int
    """Items measured and logged together; part of the plan, so that a resumed run forms the same sums."""

    def items(self, subject: Subject) -> Sequence[Item]:
        """Return what is to be measured, one item a record.

        Asked once before the windows are measured, when ``subject.records`` is still empty, so that what is lacking
        is said at once; what that call returns is not used.

        Raises:
            InputError: The subject lacks what the measure needs beside the model (an index); say what to give.
        """

    def measure(self, subject: Subject, items: Sequence[Item]) -> list[Found]:
        """Return one record, of strict JSON values, for each item of a block."""


class Measure(Logged[Item, Found], Protocol[Item, Found]):
    """One measure: what is logged has a section of the report."""

    def section(self, records: Sequence[Found], plan: MeasuredPlan) -> Section:
        """Return what all records together say; pure, and the same for the same records.

        ``plan`` is the whole plan of the run, with more than the type names.
        """


@runtime_checkable
class OfWholeWindows(Protocol):
    """A measure of the continuations or log-probabilities in ``subject.records``: all are measured whole for it.

    A measure without this attribute finds them in a random sample of the records alone.
    """

    whole_windows: Literal[True]


@runtime_checkable
class OfEveryDocument(Protocol):
    """A measure of each document by itself: documents without a counterpart on the other side are measured too."""

    every_document: Literal[True]


AnyLogged = Logged[Any, Any]
AnyMeasure = Measure[Any, Any]
"""One of several: what it is taken of and what it logs, it alone knows."""
