"""How much of a work does a model write by itself, from its first words?

`reconstruct` reads top to bottom as the data flows: works -> the first tokens of each are given -> the model writes on,
a line of the log a piece -> output and work are matched -> run directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.model_description import describe_model
from memaudit.audits.needs import check_needs
from memaudit.audits.reconstruction.conclude import conclude
from memaudit.audits.reconstruction.options import ReconstructionOptions
from memaudit.audits.reconstruction.procedure import Ask, Course, Probe
from memaudit.audits.reconstruction.texts import Work, read_works
from memaudit.audits.reconstruction.writer import Written, writer_of
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.audits.self_tests import check_round_trip, tested
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import GivenModel
from memaudit.models.remote.address import Endpoint, refuse_unused
from memaudit.models.start import with_start_token
from memaudit.records import SHOWN, Capability, Shown, Window
from memaudit.report.disclosure import disclosed
from memaudit.runs import parts
from memaudit.runs.directory import ReportInput, RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.plans import ReconstructionPlan
from memaudit.runs.reconstruction import PlannedWork, ReconstructionSubject
from memaudit.runs.reconstruction import ReconstructionOptions as StoredOptions
from memaudit.runs.reconstruction_report import ReconstructionReport
from memaudit.runs.schema import as_record
from memaudit.text.corpus.objects import Listed, TextSource, listed

TESTED_TOKENS = 64
"""Tokens of a work that the self-test reads."""
NEEDS = frozenset((Capability.WRITING,))
Progress = Callable[[int, int], None]
"""Called with (tokens written, tokens that are written at most) of the work at hand."""


@dataclass(frozen=True, slots=True)
class ReconstructionRun(VerdictResult[ReconstructionReport]):
    """A finished reconstruction and the run directory it lies in."""


def reconstruct(
    model: object,
    text: TextSource,
    heldout: TextSource = (),
    *,
    tokenizer: Any = None,
    out: str | Path | None = None,
    options: ReconstructionOptions | None = None,
    name: str = "",
    invocation: Invocation | None = None,
    formats: Sequence[str] = ("html",),
    shown: Shown = SHOWN,
    progress: Progress | None = None,
    load: Callable[..., LanguageModel] | None = None,
    base: str | Path = "",
    endpoint: Endpoint | None = None,
    **fields: Any,
) -> ReconstructionRun:
    """Let a model write works on from their first tokens, and measure how much of them it writes.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, the address of a server, a loaded model, or
            a model of ``transformers`` or ``peft`` in memory, which is left as it is (`memaudit.from_transformers`).
        text: The works in question: specs, or objects that hold text. Every file is one work, of JSON lines every
            record.
        heldout: Works of the same kind that the model cannot have seen: the same is asked of them.
        tokenizer: Of a model in memory.
        out: Run directory; the same call resumes what is in it. By default ``runs/reconstruction-IDENTITY``.
        options: How to ask.
        name: How the report calls the model; by default the spec it was given as.
        invocation: What repeats the run; by default this call.
        formats: What to write beside report.json.
        shown: What of the texts may stand in these files.
        progress: Told after every piece.
        load: Loads the model from its spec; by default `memaudit.load_model`.
        base: The base model of an adapter's folder; by default the one that the adapter names.
        endpoint: How a model behind an address is reached.
        **fields: Single options by name (``reseeds=3``), over those in ``options``.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.reconstruct", reconstruct, locals())
    chosen = dataclasses.replace(options or ReconstructionOptions(), **fields)
    specs = listed(text, "text"), listed(heldout, "heldout")
    refuse_unused(endpoint, [model])
    question = Reconstruction(
        GivenModel(model, name, tokenizer, str(base), load=load, endpoint=endpoint), specs, chosen, progress
    )
    return carry_out(question, Delivery(repeated, out, formats, shown))


class Reconstruction(Question[ReconstructionRun, ReconstructionReport]):
    """Works that a model is let to write."""

    kind = "reconstruction"

    def __init__(
        self,
        given: GivenModel,
        specs: tuple[Listed, Listed],
        options: ReconstructionOptions,
        progress: Progress | None = None,
    ) -> None:
        self.given, self.specs, self.options, self.progress = given, specs, options, progress

    def prepare(self) -> None:
        """Load the model, read the works, and refuse what cannot be asked."""
        if not self.specs[0]:
            raise InputError("no work given", "name one with --text FILE")
        self.model = with_start_token(self.given.loaded(), self.options.start_token)
        self.name = self.given.called(self.model)
        check_needs("a reconstruction", NEEDS, self.model)
        self.writer = writer_of(self.model, self.options.decoding, self.options.context)
        self.piece = min(self.writer.piece, self.options.patience)
        self.works, self.texts, self.heldout = read_works(*self.specs, self.model.tokenizer, self.options.text_field)
        for work in self.works:
            if work.tokens <= self.options.seed_tokens or not len(work.words):
                raise InputError(
                    f"{work.source}: {work.tokens:,} tokens, of which {self.options.seed_tokens:,} would be given",
                    "give a longer work, or fewer tokens with --seed-tokens",
                )

    def plan(self) -> ReconstructionSubject:
        """Return model, works and options, with the self-tests of the model."""
        windows = [_beginning(work, self.model) for work in self.works]
        found = tested(self.model, windows)
        controls = [check_round_trip(self.model, windows), *found.first, *found.later]
        return {
            "model": {**describe_model(self.model, self.name), "self_test": found.behaviour},
            "texts": self.texts,
            "heldout": self.heldout,
            "works": [_described(work) for work in self.works],
            "options": as_record(self.options, StoredOptions),
            "piece": self.piece,
            "controls": [as_record(control, parts.Control) for control in controls],
        }

    @property
    def models(self) -> list[LanguageModel]:
        """The model."""
        return [self.model]

    def measure(self, run: RunDirectory) -> None:
        """Take from the log what was written, and let the model write what it lacks."""
        started = perf_counter()
        self.courses, index = [], 0
        for number, work in enumerate(self.works):
            course = Course(work, self.options, self.piece)
            while (ask := course.next()) is not None:
                if index not in run.records:
                    run.append([self._line(index, number, course, ask)])
                line = run.records[index]
                probe = None if line["probe"] is None else Probe(**line["probe"])
                course.take([_written(row) for row in line["rows"]], probe)
                index += 1
                if self.progress is not None:
                    self.progress(course.written, course.limit)
            self.courses.append(course)
        run.times["writing"] = perf_counter() - started

    def _line(self, index: int, number: int, course: Course, ask: Ask) -> dict[str, Any]:
        """Return what the log holds of the next piece."""
        rows = self.writer.write(ask.begun, ask.tokens, ask.attempts)
        probe = course.choose(rows) if course.stretches[-1].probe is None else None
        return {
            "index": index,
            "work": number,
            "stretch": len(course.stretches) - 1,
            "rows": [
                {"text": row.text, "tokens": row.tokens, "ended": row.ended}
                | ({} if row.seen is None else {"seen": row.seen})
                for row in rows
            ],
            "probe": None if probe is None else dataclasses.asdict(probe),
        }

    def conclude(self, run: RunDirectory) -> ReconstructionReport:
        """Match what was written with the works."""
        return conclude(run.plan_as(ReconstructionPlan), self.courses)

    def disclosed(self, report: ReconstructionReport, shown: Shown) -> ReconstructionReport:
        """Return the report without texts where they are not shown; masked are they only where people read them."""
        return disclosed(ReportInput(report, ()), Shown(shown.text, personal=True)).report

    def notices(self) -> Iterator[str]:
        """Yield that nothing stands beside the recall."""
        if not self.specs[1]:
            yield "no control work (--heldout FILE): the same procedure on a work that the model cannot have seen"

    def result(self, outcome: RunResult[ReconstructionReport]) -> ReconstructionRun:
        """Return the outcome with its verdict."""
        return refined(outcome, ReconstructionRun)


def _written(row: dict[str, Any]) -> Written:
    return Written(row["text"], row["tokens"], row["ended"], row.get("seen"))


def _described(work: Work) -> PlannedWork:
    return {
        "name": work.name,
        "source": work.source,
        "control": work.control,
        "sha256": work.sha256,
        "tokens": work.tokens,
        "words": len(work.words),
        "lines": work.lines,
    }


def _beginning(work: Work, model: LanguageModel) -> Window:
    """Return the beginning of a work that the self-test reads."""
    most = TESTED_TOKENS if model.context_length is None else max(2, min(TESTED_TOKENS, model.context_length - 2))
    ids = work.encoding.ids[:most]
    cut, end = work.cut(range(1)), work.cut(range(1, len(ids)))
    return Window(ids[:1], ids[1:], prefix_text=cut, suffix_text=end)
