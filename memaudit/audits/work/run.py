"""How much of a whole work can be had back, where in it, and at what cost?

`work` reads top to bottom as the data flows: texts in order -> windows -> p_z and the greedy verdict of every window ->
shares of all tokens, parts, passages, holes, costs -> compared with control works -> run directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.model_description import describe_model
from memaudit.audits.needs import check_needs
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.audits.self_tests import check_round_trip, tested
from memaudit.audits.work.conclude import conclude
from memaudit.audits.work.exhibits import choose, record
from memaudit.audits.work.measured import measured
from memaudit.audits.work.near import drawn_windows, measure_near
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.reading import Progress, Reading, WindowReader
from memaudit.audits.work.shared import shared_control, shared_windows
from memaudit.audits.work.texts import WholeWork, read_works
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import GivenModel
from memaudit.models.remote.address import Endpoint, refuse_unused
from memaudit.models.start import with_start_token
from memaudit.records import SHOWN, Capability, Shown, Window, WindowRecord
from memaudit.report.disclosure import disclosed
from memaudit.runs import parts
from memaudit.runs.directory import ReportInput, RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.options import WorkOptions as StoredOptions
from memaudit.runs.plans import WorkPlan
from memaudit.runs.schema import as_record
from memaudit.runs.work_plan import WorkDescription, WorkSubject
from memaudit.runs.work_report import WorkReport
from memaudit.text.corpus.objects import Listed, TextSource, listed

TESTED = 200
"""Windows, over all works, whose text must be what their tokens say."""
NEEDS = frozenset((Capability.LEFT_TO_RIGHT,))


@dataclass(frozen=True, slots=True)
class WorkRun(VerdictResult[WorkReport]):
    """A finished audit of whole works and the run directory it lies in."""

    @property
    def works(self) -> str:
        """What identifies the works, whatever the tokens of the model."""
        return " ".join(work["sha256"] for work in self.report["works"])


def work(
    model: object,
    text: TextSource,
    heldout: TextSource = (),
    *,
    tokenizer: Any = None,
    out: str | Path | None = None,
    options: WorkOptions | None = None,
    name: str = "",
    invocation: Invocation | None = None,
    formats: Sequence[str] = ("html",),
    shown: Shown = SHOWN,
    progress: Progress | None = None,
    load: Callable[..., LanguageModel] | None = None,
    base: str | Path = "",
    endpoint: Endpoint | None = None,
    **fields: Any,
) -> WorkRun:
    """Ask how much of whole works a model gives back, where in them, and at what cost.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, the address of a server, a loaded model, or
            a model of ``transformers`` or ``peft`` in memory, which is left as it is (`memaudit.from_transformers`).
        text: The works in question: specs, or objects that hold text. Every file is one work, of JSON lines every
            record.
        heldout: Control works of the same kind, author and time that the model cannot have seen. Without one nothing
            is tested, and the verdict is inconclusive.
        tokenizer: Of a model in memory.
        out: Run directory; the same call resumes what is in it. By default ``runs/work-IDENTITY``.
        options: How to read and judge.
        name: How the report calls the model; by default the spec it was given as.
        invocation: What repeats the run; by default this call.
        formats: What to write beside report.json.
        shown: What of the texts may stand in these files.
        progress: Told after every block of windows.
        load: Loads the model from its spec; by default `memaudit.load_model`.
        base: The base model of an adapter's folder; by default the one that the adapter names.
        endpoint: How a model behind an address is reached.
        **fields: Single options by name (``stride=1``), over those in ``options``.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.work", work, locals())
    chosen = dataclasses.replace(options or WorkOptions(), **fields)
    specs = listed(text, "text"), listed(heldout, "heldout")
    refuse_unused(endpoint, [model])
    question = Work(
        GivenModel(model, name, tokenizer, str(base), load=load, endpoint=endpoint), specs, chosen, progress
    )
    return carry_out(question, Delivery(repeated, out, formats, shown))


class Work(Question[WorkRun, WorkReport]):
    """Every window of whole works, in order."""

    kind = "work"

    def __init__(
        self, given: GivenModel, specs: tuple[Listed, Listed], options: WorkOptions, progress: Progress | None
    ) -> None:
        self.given, self.specs, self.options, self.progress = given, specs, options, progress
        self.bare: list[Reading] = []
        """What is known of the windows without a start token, where both ways are asked for."""

    def prepare(self) -> None:
        """Load the model, read the works, and refuse what cannot be asked."""
        if not self.specs[0]:
            raise InputError("no work given", "name one with --text FILE")
        self.model = with_start_token(self.given.loaded(), self.options.start_token)
        self.name = self.given.called(self.model)
        check_needs("a whole work", NEEDS, self.model)
        if self.options.near_verbatim:
            check_needs("--near-verbatim", frozenset((Capability.DISTRIBUTIONS,)), self.model)
        self.model.check_scored(self.options.decoding)
        self.works, self.texts, self.heldout = read_works(*self.specs, self.model.tokenizer, self.options)
        self.shared = shared_windows(self.works)

    def plan(self) -> WorkSubject:
        """Return model, works and options, with the self-tests of the model."""
        windows = _tested(self.works)
        found = tested(self.model, windows)
        controls = [check_round_trip(self.model, windows), *found.first, *found.later]
        controls.append(shared_control(self.works, self.shared))
        return {
            "model": {**describe_model(self.model, self.name), "self_test": found.behaviour},
            "options": as_record(self.options, StoredOptions),
            "texts": self.texts,
            "heldout": self.heldout,
            "works": [_describe(work) for work in self.works],
            "controls": [as_record(control, parts.Control) for control in controls],
        }

    @property
    def models(self) -> list[LanguageModel]:
        """The model."""
        return [self.model]

    def measure(self, run: RunDirectory) -> None:
        """Read the windows that the log lacks."""
        started = perf_counter()
        reader = WindowReader(self.model, run, self.options.decoding, self.progress)
        self.readings = reader.read(self.works, exact=self.options.exact)
        if self.options.start_token == "both" and any(self.model.frame):
            bare = with_start_token(self.model, "none")
            reader = WindowReader(bare, run, self.options.decoding, self.progress, first=reader.next, label="bare-")
            self.bare = reader.read(self.works, exact=self.options.exact)
        run.times["windows"] = perf_counter() - started
        windows = drawn_windows(self.works, self.options)
        self.near = measure_near(self.model, windows, self.options, run, reader.next)
        self.records = self._shown(run, reader.next + len(windows))

    def _shown(self, run: RunDirectory, first: int) -> list[WindowRecord]:
        """Continue the windows that are shown, unless the log holds them."""
        chosen = choose(self.model, self.works, self.readings, self.options)
        places = range(first, first + len(chosen))
        if run.pending([places]):
            run.append([found.line() for found in record(self.model, chosen, self.options.decoding, first)])
        return [WindowRecord.of_line(run.records[place]) for place in places]

    def conclude(self, run: RunDirectory) -> WorkReport:
        """Measure every work, compare and decide."""
        report = conclude(run.plan_as(WorkPlan), self.works, self.readings, self.shared, self.near)
        if self.bare:
            pairs = zip(self.works, self.bare, strict=True)
            report["without_start"] = [measured(*pair, self.options.threshold) for pair in pairs]
        return report

    def disclosed(self, report: WorkReport, shown: Shown) -> WorkReport:
        """Return the report with no more text than may be shown; it is data, in which nothing is masked."""
        return disclosed(ReportInput(report, self.records), Shown(shown.text, personal=True)).report

    def finished(self, report: WorkReport, run: RunDirectory) -> ReportInput[WorkReport]:
        """Return the report, the windows that are shown, and what was logged of all of them."""
        return ReportInput(report, self.records, [line for line in run.records.values() if "measure" in line])

    def result(self, outcome: RunResult[WorkReport]) -> WorkRun:
        """Return the outcome with its verdict."""
        return refined(outcome, WorkRun)


def _describe(work: WholeWork) -> WorkDescription:
    return {
        "name": work.name,
        "source": work.document.source,
        "control": work.control,
        "sha256": work.sha256,
        "tokens": len(work.ids),
        "windows": work.windows,
        "parts": len(work.headings),
    }


def _tested(works: Sequence[WholeWork]) -> list[Window]:
    """Return windows from all over the works for the self-tests of the model.

    Raises:
        InputError: No work holds a window.
    """
    found = []
    for work in works:
        count = min(work.windows, max(1, TESTED // len(works)))
        places = np.linspace(0, work.windows - 1, count).astype(int).tolist()
        found += [work.window(place, texts=True) for place in places]
    if not found:
        longest = max((len(work.ids) for work in works), default=0)
        window = f"{works[0].options.window:,} tokens of a window" if works else "a window"
        raise InputError(f"no work holds the {window}: the longest has {longest:,}", "use a shorter --prefix, --suffix")
    return found
