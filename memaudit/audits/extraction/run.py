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
from memaudit.audits.extraction.base_control import base_lines, compare_with_base, describe_base, measure_base
from memaudit.audits.extraction.conclude import conclude
from memaudit.audits.extraction.conversations import are_conversations, check_asked
from memaudit.audits.extraction.finished import FINISHED
from memaudit.audits.extraction.inputs import Pair, Sources, prepare_inputs, read_sources
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.plan import plan_of
from memaudit.audits.extraction.recital import Recital, recital_lines
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.sampling import blocks_of, sample_of, writes
from memaudit.audits.extraction.start_token import asked_twice
from memaudit.audits.extraction.windows import measure_windows
from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.logged import check_measures, sections_of, take_all
from memaudit.audits.measures import measures
from memaudit.audits.measures.unprompted import UNPROMPTED
from memaudit.audits.result import RunResult
from memaudit.audits.subject import AnyLogged, AnyMeasure, OfEveryDocument, OfWholeWindows
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import GivenModel, load_model
from memaudit.models.remote.address import Endpoint, refuse_unused
from memaudit.models.start import with_start_token
from memaudit.records import SHOWN, Capability, Shown, StartToken, Window, WindowRecord
from memaudit.report.disclosure import disclosed
from memaudit.report.endpoint import in_chat
from memaudit.report.extraction_disclosure import without_texts
from memaudit.runs.directory import PARQUET, ReportInput, RunDirectory
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.measured_lines import BaseLine
from memaudit.runs.parquet import write_parquet
from memaudit.runs.plans import ExtractionPlan, ExtractionSubject
from memaudit.text.corpus.objects import TextSource

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


def audit(
    model: object,
    train: TextSource = (),
    heldout: TextSource = (),
    *,
    tokenizer: Any = None,
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
    load: Callable[..., LanguageModel] | None = None,
    base: str | Path = "",
    base_control: bool = True,
    endpoint: Endpoint | None = None,
    **fields: Any,
) -> Audit:
    """Audit a model for verbatim and fuzzy memorization of its training text.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, the address of a server, a loaded model, or
            a model of ``transformers`` or ``peft`` in memory, which is left as it is (`memaudit.from_transformers`).
        train: Text the model was trained on: specs, or objects that hold it (`memaudit.read_corpus`). Of conversations,
            every reply is tested after all that stands before it, rendered by the model's chat template.
        heldout: Text of the same kind that it never saw.
        tokenizer: Of a model in memory.
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
        base: The base model of an adapter's folder; by default the one that the adapter names.
        base_control: Whether an adapter's base model is given the same windows, as a control.
        endpoint: How a model behind an address is reached, and references that are addresses too.
        **fields: Single options by name (``limit=200``), over those in ``options``.

    Returns:
        The finished audit: verdict, report, records, and where they lie.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.audit", audit, locals())
    chosen = dataclasses.replace(options or AuditOptions(), **fields)
    sources = Sources((train, heldout), (windows, heldout_windows), index)
    refuse_unused(endpoint, [model, *(chosen.membership.references if chosen.membership else ())])
    given = GivenModel(model, name, tokenizer, str(base), base_control, load, endpoint)
    question = Extraction(given, sources, chosen, progress)
    return carry_out(question, Delivery(repeated, out, formats, shown))


class Extraction(Question[Audit, ExtractionReport]):
    """Windows of training and of held-out text, and what else is measured of the documents they come from."""

    kind = "extraction"
    recital: Recital | None = None
    """Text that the model is known to recite."""

    def __init__(
        self,
        given: GivenModel,
        sources: Sources,
        options: AuditOptions,
        progress: Progress | None,
    ) -> None:
        compared: list[AnyMeasure] = [BLIND_BASELINE, MEMBERSHIP] if options.membership else []
        self.measures = [*measures(list(options.measures)), *compared]
        exhaustive = options.exhaustive or any(isinstance(measure, OfWholeWindows) for measure in self.measures)
        self.options = dataclasses.replace(options, exhaustive=exhaustive)
        self.given, self.sources, self.progress = given, sources, progress

    def prepare(self) -> None:
        """Read the text to its end, load the model, draw the windows, and let every measure say what it lacks."""
        corpora = read_sources(self.sources, self.options)
        if corpora is not None and are_conversations(corpora):
            check_asked(self.measures, self.options)
        self.model = self.given.loaded()
        self.name = self.given.called(self.model)
        self._ask(self.options.start_token)
        self.inputs, self.options = prepare_inputs(self.model, self.sources, corpora, self.options)
        if not self.inputs.starts and not in_chat({"endpoint": self.model.endpoint}):
            self._ask("none")  # its chat template does not write a start token either
        if self.model.recital:
            self.recital = Recital(self.model.recital, self.model, self.options)
        asked, asked_for = bool(self.measures), [each for each in self.measures if each.name in self.options.measures]
        self.training = self.inputs.training_index(needed=True) if asked else None
        if self._samples:
            self.measures = [*self.measures, UNPROMPTED]
        every = any(isinstance(each, OfEveryDocument) for each in self.measures)
        load = load_model if self.given.endpoint is None else self.given.load_beside
        self.subject = self.inputs.subject(
            self.model, self.training, self.options, documents=asked, unmatched=every, load=load
        )
        if self.options.start_token == "both":
            self.measures += asked_twice(asked_for, self.model, fuzzy=self.options.fuzzy)
        check_measures(self.measures, self.subject)

    def _ask(self, choice: StartToken) -> None:
        """Let the model, and its base model, be asked with a start token or without."""
        self.model = with_start_token(self.model, choice)
        self.base = self.model.base if self.given.base_control else None

    @property
    def _samples(self) -> bool:
        """Whether samples of what the model writes by itself are taken: it must write, and be looked up somewhere."""
        writes = Capability.WRITING in self.model.capabilities
        return self.options.unprompted and writes and self.inputs.copies["counted"]

    @property
    def references(self) -> ReferenceModels | None:
        """What the scores of whole documents are compared by, if they are."""
        return self.subject.reference_models

    def plan(self) -> ExtractionSubject:
        """Return model, text, windows and options, with the self-tests of the model."""
        compared = None if self.references is None else self.references.describe()
        base = None if self.base is None else describe_base(self.base)
        about = self.model, self.name, self.inputs, self.options, self.measures
        recital = None if self.recital is None else self.recital.describe()
        return plan_of(*about, membership=compared, base=base, recital=recital)

    @property
    def folder_name(self) -> str:
        """The family of the model; an external one may call itself ``../../etc``."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.model.family)[:40]

    @property
    def models(self) -> list[LanguageModel]:
        """The model, and references that were named."""
        return [self.model, *(() if self.references is None else self.references.given)]

    def measure(self, run: RunDirectory) -> None:
        """Measure the windows that the log lacks, then what else is asked of their documents."""
        if self.references is not None:
            self.references.prepare(run.folder)
        started, windows = perf_counter(), self.inputs.drawn.windows
        lines = self._base_lines(windows, run)
        first = len(windows) + len(lines or ())
        if self.recital is not None:
            take_all([(self.recital, self.subject)], run, first)
        self.recited = recital_lines(run, first, self.recital)
        first += len(self.recited)
        sample = sample_of(windows, self.options, writes=writes(self.model.capabilities, self.options.fuzzy))
        lacking = bool(run.pending([*blocks_of(len(windows), sample), *self._sampled(first)]))
        training = self.training or self.inputs.training_index(needed=lacking)
        measure_windows(self.model, windows, run, self.options.fuzzy, sample, training, self.progress)
        run.times["windows"] = perf_counter() - started
        self.records = [WindowRecord.of_line(run.records[i]) for i in range(len(windows))]
        whole = dataclasses.replace(self.subject, records=self.records, index=training)
        # Exhibits come last: what was measured stays where it stands in the log.
        logged: list[AnyLogged] = [*self.measures, FINISHED]
        taken = take_all([(each, whole) for each in logged], run, first, self.progress)
        self.sections = sections_of(self.measures, taken, run)
        self.compared = None if lines is None else compare_with_base(self.records, lines, self.options.seed)

    def _sampled(self, first: int) -> list[range]:
        """Return where the log holds samples of what the model writes by itself, if these are the first measure."""
        return [range(first, first + len(UNPROMPTED.items(self.subject)))] if self.measures == [UNPROMPTED] else []

    def _base_lines(self, windows: Sequence[Window], run: RunDirectory) -> list[BaseLine] | None:
        """Measure the base model first, where there is one, so that its weights need not be held any longer."""
        if self.base is None:
            return None
        measure_base(self.base, windows, run)
        if isinstance(self.given.model, str | Path):  # else the caller may ask again
            self.base = self.model.base = None
        return base_lines(len(windows), run)

    def conclude(self, run: RunDirectory) -> ExtractionReport:
        """Compare the sides and decide."""
        return conclude(run.plan_as(ExtractionPlan), self.records, self.sections, self.compared, self.recited)

    def derive(self, run: RunDirectory, shown: Shown) -> None:
        """Write one row a window, with no more text than may be shown."""
        write_parquet(self.records if shown.text else without_texts(self.records), run.folder / PARQUET)

    def disclosed(self, report: ExtractionReport, shown: Shown) -> ExtractionReport:
        """Return the report with no more text than may be shown; it is data, in which nothing is masked."""
        return disclosed(ReportInput(report, self.records), Shown(shown.text, personal=True)).report

    def finished(self, report: ExtractionReport, run: RunDirectory) -> ReportInput[ExtractionReport]:
        """Return report, one record a window, and what further measures logged behind them."""
        return ReportInput(report, self.records, [run.records[i] for i in range(len(self.records), len(run.records))])

    def result(self, outcome: RunResult[ExtractionReport]) -> Audit:
        """Return the outcome with one record a window."""
        return refined(outcome, Audit, records=self.records)
