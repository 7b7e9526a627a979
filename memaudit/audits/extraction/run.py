"""Does the model continue its training text verbatim, more than text it never saw?

`audit` reads top to bottom as the data flows: text -> windows -> one scoring pass and the continuations
that are needed -> their copies in the training text -> one log line a window -> evidence and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import MEMBERSHIP
from memaudit.audits.extraction.conclude import conclude
from memaudit.audits.extraction.conversations import are_conversations, check_asked, without_start
from memaudit.audits.extraction.inputs import Pair, Sources, prepare_inputs, read_sources
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.plan import plan_of
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.sampling import blocks_of, sample_of, writes
from memaudit.audits.extraction.windows import measure_windows
from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.logged import check_measures, measure_all
from memaudit.audits.measures import measures
from memaudit.audits.result import RunResult
from memaudit.audits.subject import AnyMeasure, OfWholeWindows
from memaudit.models.base import LanguageModel
from memaudit.models.load import load_model
from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.report.disclosure import disclosed
from memaudit.report.extraction_disclosure import without_texts
from memaudit.runs.directory import PARQUET, ReportInput, RunDirectory
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.parquet import write_parquet
from memaudit.runs.plans import ExtractionPlan, ExtractionSubject

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


def audit(
    model: str | Path | LanguageModel,
    train: str | Sequence[str] = (),
    heldout: str | Sequence[str] = (),
    *,
    windows: Pair | None = None,
    heldout_windows: Pair | None = None,
    index: str | Path | None = None,
    out: str | Path | None = None,
    options: AuditOptions | None = None,
    name: str = "",
    invocation: Invocation | None = None,
    formats: Sequence[str] = ("html",),
    shown: Shown = SHOWN,
    progress: Progress | None = None,
    load: Callable[[str], LanguageModel] | None = None,
    **fields: Any,
) -> Audit:
    """Audit a model for verbatim and fuzzy memorization of its training text.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, or a loaded model.
        train: Specs of text the model was trained on. Of conversations, every reply is tested after all that stands
            before it, rendered by the model's chat template.
        heldout: Specs of text of the same kind that it never saw.
        windows: Instead of both: ``.npy`` files of prefixes and suffixes of training text, as token ids.
        heldout_windows: The same of text that it never saw.
        index: Folder of an index of words of all text the model was trained on, to count copies in; by default
            one of ``train`` is made in memory.
        out: Run directory; the same call resumes what is in it. By default ``runs/MODEL-IDENTITY``.
        options: What to measure.
        name: How the report calls the model; by default the spec it was given as.
        invocation: What repeats the run; by default this call.
        formats: What to write beside report.json and records.parquet: ``html``, ``junit``, ``md``.
        shown: What of the texts may stand in these files. The log of the run keeps them: it resumes from there.
        progress: Told after every block.
        load: Loads the model from its spec, once all text is known to be readable; by default `memaudit.load_model`.
        **fields: Single options by name (``limit=200``), over those in ``options``.

    Returns:
        The finished audit: verdict, report, records, and where they lie.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.audit", audit, locals())
    chosen = dataclasses.replace(options or AuditOptions(), **fields)
    sources = Sources((train, heldout), (windows, heldout_windows), index)
    question = Extraction(model, name, sources, chosen, load or load_model, progress)
    return carry_out(question, Delivery(repeated, out, formats, shown))


class Extraction(Question[Audit, ExtractionReport]):
    """Windows of training and of held-out text, and what else is measured of the documents they come from."""

    kind = "extraction"

    def __init__(
        self,
        model: str | Path | LanguageModel,
        name: str,
        sources: Sources,
        options: AuditOptions,
        load: Callable[[str], LanguageModel],
        progress: Progress | None,
    ) -> None:
        compared: list[AnyMeasure] = [BLIND_BASELINE, MEMBERSHIP] if options.membership else []
        self.measures = [*measures(list(options.measures)), *compared]
        exhaustive = options.exhaustive or any(isinstance(measure, OfWholeWindows) for measure in self.measures)
        self.options = dataclasses.replace(options, exhaustive=exhaustive)
        self.spec, self.name, self.sources = model, name, sources
        self.load, self.progress = load, progress

    def prepare(self) -> None:
        """Read the text to its end, load the model, draw the windows, and let every measure say what it lacks."""
        corpora = read_sources(self.sources, self.options)
        if corpora is not None and are_conversations(corpora):
            check_asked(self.measures, self.options)
        named = isinstance(self.spec, str | Path)
        self.model = self.load(str(self.spec)) if isinstance(self.spec, str | Path) else self.spec
        self.name = self.name or (str(self.spec) if named else self.model.family)
        self.inputs, self.options = prepare_inputs(self.model, self.sources, corpora, self.options)
        self.model = self.model if self.inputs.starts else without_start(self.model)
        self.training = self.inputs.training_index(needed=True) if self.measures else None
        self.subject = self.inputs.subject(self.model, self.training, self.options) if self.measures else None
        if self.subject is not None:
            check_measures(self.measures, self.subject)

    @property
    def references(self) -> ReferenceModels | None:
        """What the scores of whole documents are compared by, if they are."""
        return None if self.subject is None else self.subject.reference_models

    def plan(self) -> ExtractionSubject:
        """Return model, text, windows and options, with the self-tests of the model."""
        compared = None if self.references is None else self.references.describe()
        return plan_of(self.model, self.name, self.inputs, self.options, self.measures, membership=compared)

    @property
    def folder_name(self) -> str:
        """The family of the model; an external one may call itself ``../../etc``."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.model.family)[:40]

    def measure(self, run: RunDirectory) -> None:
        """Measure the windows that the log lacks, then what else is asked of their documents."""
        if self.references is not None:
            self.references.prepare(run.folder)
        started, windows = perf_counter(), self.inputs.drawn.windows
        sample = sample_of(windows, self.options, writes=writes(self.model.capabilities, self.options.fuzzy))
        lacking = bool(run.pending(blocks_of(len(windows), sample)))
        training = self.training or self.inputs.training_index(needed=lacking)
        measure_windows(self.model, windows, run, self.options.fuzzy, sample, training, self.progress)
        run.times["windows"] = perf_counter() - started
        self.records = [WindowRecord(**run.records[i]) for i in range(len(windows))]
        whole = None if self.subject is None else dataclasses.replace(self.subject, records=self.records)
        self.sections = [] if whole is None else measure_all(self.measures, whole, run, self.progress)

    def conclude(self, run: RunDirectory) -> ExtractionReport:
        """Compare the sides and decide."""
        return conclude(run.plan_as(ExtractionPlan), self.records, self.sections)

    def derive(self, run: RunDirectory, shown: Shown) -> None:
        """Write one row a window, with no more text than may be shown."""
        write_parquet(self.records if shown.text else without_texts(self.records), run.folder / PARQUET)

    def disclosed(self, report: ExtractionReport, shown: Shown) -> ExtractionReport:
        """Return the report with no more text than may be shown; it is data, in which nothing is masked."""
        return disclosed(ReportInput(report, self.records), Shown(shown.text, personal=True)).report

    def result(self, outcome: RunResult[ExtractionReport]) -> Audit:
        """Return the outcome with one record a window."""
        return refined(outcome, Audit, records=self.records)
