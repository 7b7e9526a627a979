"""Has the model seen the test? The model itself is asked, where no corpus can be read.

`membership` reads top to bottom as the data flows: suspects and held-out items -> references and null model -> the
detectors, one log line a document -> tests, controls and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.bare_model import OfBareModel
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import ReferenceModels, check_reference_corpus
from memaudit.audits.detectors import DETECTORS
from memaudit.audits.detectors.base import AnyDetector
from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import primary
from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.logged import check_measures, describe_measures, measured_plan, take_all
from memaudit.audits.membership.conclude import conclude
from memaudit.audits.membership.sides import Side, read_sides
from memaudit.audits.model_description import describe_model
from memaudit.audits.needs import needs_of
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.audits.self_tests import check_round_trip, tested
from memaudit.audits.subject import AnyMeasure, Subject
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import GivenModel
from memaudit.models.remote.address import Endpoint, refuse_unused
from memaudit.models.start import with_start_token
from memaudit.records import GREEDY, Document, Window
from memaudit.runs import parts
from memaudit.runs.directory import RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.plans import MembershipPlan, MembershipSubject
from memaudit.runs.reports import MembershipReport
from memaudit.runs.schema import as_record
from memaudit.text.corpus.objects import Listed, listed
from memaudit.text.windows.windows import WindowOptions

TESTED_TOKENS = 64
"""Tokens of a document that the self-test reads."""

Progress = Callable[[int, int], None]
"""Called with (documents done, documents in all) of the detector at hand."""


@dataclass(frozen=True, slots=True)
class MembershipRun(VerdictResult[MembershipReport]):
    """A finished run and the run directory it lies in."""


def membership(
    benchmark: str | Sequence[str],
    model: object,
    *,
    tokenizer: Any = None,
    heldout: str | Sequence[str] = (),
    out: str | Path | None = None,
    options: MembershipOptions | None = None,
    name: str = "",
    formats: Sequence[str] = ("html",),
    progress: Progress | None = None,
    load: Callable[..., LanguageModel] | None = None,
    base: str | Path = "",
    endpoint: Endpoint | None = None,
    invocation: Invocation | None = None,
    **fields: Any,
) -> MembershipRun:
    """Ask a model whether it has seen the items of a benchmark.

    Args:
        benchmark: Files of items, the suspects.
        model: A model folder, a Hugging Face id, ``python:module:factory``, the address of a server, a loaded model, or
            a model of ``transformers`` or ``peft`` in memory, which is left as it is (`memaudit.from_transformers`).
        tokenizer: Of a model in memory.
        heldout: Files of items of the same kind that the model cannot have seen. Without them only the order of the
            benchmark's files and the guided instruction can be tested.
        out: Run directory; the same call resumes what is in it. By default ``runs/membership-IDENTITY``.
        options: What to measure, and what to conclude from it.
        name: How the report calls the model; by default the spec it was given as.
        formats: What to write beside report.json.
        progress: Told after every block.
        load: Loads the model and its references from their specs; by default `memaudit.load_model`.
        base: The base model of an adapter's folder; by default the one that the adapter names.
        endpoint: How a model behind an address is reached, and references that are addresses too.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``references=("train",)``), over those in ``options``.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.membership", membership, locals())
    chosen = dataclasses.replace(options or MembershipOptions(), **_as_tuples(fields))
    sides = listed(benchmark, "benchmark"), listed(heldout, "heldout")
    refuse_unused(endpoint, [model, *chosen.references])
    question = Membership(
        GivenModel(model, name, tokenizer, str(base), load=load, endpoint=endpoint), sides, chosen, progress
    )
    return carry_out(question, Delivery(repeated, out, formats))


class Membership(Question[MembershipRun, MembershipReport]):
    """Scores of a model for suspects and for text that it cannot have seen, by every detector that applies."""

    kind = "membership"

    def __init__(
        self,
        given: GivenModel,
        sides: tuple[Listed, Listed],
        options: MembershipOptions,
        progress: Progress | None,
    ) -> None:
        self.given, self.specs, self.options, self.progress = given, sides, options, progress

    def prepare(self) -> None:
        """Read both sides, load the model, and let every detector say what it lacks."""
        check_reference_corpus(self.options)
        self.sides = read_sides(*self.specs, self.options)
        self.model = with_start_token(self.given.loaded(), self.options.start_token)
        self.name = self.given.called(self.model)
        suspects, heldout = (side.documents for side in self.sides)
        self.detectors = _detectors(self.options, self.model, bool(heldout))
        self.references = ReferenceModels(self.model, suspects, heldout, self.options, self.given.load_beside)
        self.subjects = [
            (detector, _subject(detector, self.model, self.sides[0], self.references)) for detector in self.detectors
        ]
        self.beside = self._without_start() if self.options.start_token == "both" else []
        for measure, subject in [*self.subjects, *self.beside]:
            check_measures([measure], subject)

    def _without_start(self) -> list[tuple[AnyMeasure, Subject]]:
        """Return the detectors once more, of the model without its start token; they decide nothing."""
        bare = with_start_token(self.model, "none")
        if bare is self.model:
            return []
        references = self.references.beside(bare)
        return [(OfBareModel(d, bare, references), subject) for d, subject in self.subjects if needs_of(d)]

    def plan(self) -> MembershipSubject:
        """Return model, sides, references and detectors, with the family of tests that they declare."""
        windows = _windows(self.model, [*self.references.members, *self.references.heldout])
        found = tested(self.model, windows)
        controls = [check_round_trip(self.model, windows), *found.first, *found.later]
        about: MembershipSubject = {
            "model": {**describe_model(self.model, self.name), "self_test": found.behaviour},
            "benchmark": self.sides[0].summary,
            "heldout": {**self.sides[1].summary, "compared": len(self.references.heldout)},
            "membership": self.references.describe(),
            "measures": describe_measures([measure for measure, _ in [*self.subjects, *self.beside]]),
            "controls": [as_record(control, parts.Control) for control in controls],
            "declared": [],
            "primary": "",
        }
        planned = measured_plan(about, None)
        declared = [name for detector in self.detectors for name in detector.declared(planned)]
        if not declared:
            raise InputError("none of the detectors applies", "name a data set with --guided, or give --heldout SPEC")
        first = next((name for name in (primary(planned),) if name in declared), declared[0])
        return {**about, "declared": declared, "primary": first}

    @property
    def models(self) -> list[LanguageModel]:
        """The model, and references that were named."""
        return [self.model, *self.references.given]

    def measure(self, run: RunDirectory) -> None:
        """Train the references that are lacking, and take what the log lacks of every detector."""
        self.references.prepare(run.folder)
        started = perf_counter()
        self.records = take_all([*self.subjects, *self.beside], run, 0, self.progress)
        run.times["detectors"] = perf_counter() - started

    def conclude(self, run: RunDirectory) -> MembershipReport:
        """Test, control, adjust and decide."""
        beside = [measure for measure, _ in self.beside]
        return conclude(run.plan_as(MembershipPlan), self.detectors, self.records, beside)

    def notices(self) -> Iterator[str]:
        """Yield what was noticed about either side."""
        yield from (side.notice for side in self.sides)

    def result(self, outcome: RunResult[MembershipReport]) -> MembershipRun:
        """Return the outcome with its verdict."""
        return refined(outcome, MembershipRun)


def _as_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _detectors(options: MembershipOptions, model: LanguageModel, compared: bool) -> list[AnyDetector]:
    """Return the detectors that were named, or else all that this model and these sides allow; first the control C1.

    Raises:
        InputError: A detector that is named needs what there is not, or none is left.
    """
    named = [DETECTORS.resolve(name) for name in dict.fromkeys(options.detectors)]
    for detector in named:
        if detector.compares and not compared:
            problem = f"the detector '{detector.name}' compares the benchmark with held-out text"
            raise InputError(problem, "give --heldout SPEC")
    ours = map(DETECTORS.resolve, DETECTORS.builtin)
    found = named or [d for d in ours if _taken(d, model, options) and (compared or not d.compares)]
    if not found:
        raise InputError(
            f"without held-out text there is nothing to test a {model.objective} model by",
            "give items that it cannot have seen: --heldout SPEC",
        )
    return [BLIND_BASELINE, *found] if any(detector.compares for detector in found) else found


def _taken(detector: AnyDetector, model: LanguageModel, options: MembershipOptions) -> bool:
    """Whether a detector of ours is taken where none was named."""
    if detector.asked_by is not None:
        return bool(getattr(options, detector.asked_by))
    return needs_of(detector) <= model.capabilities


def _subject(detector: AnyDetector, model: LanguageModel, suspects: Side, references: ReferenceModels) -> Subject:
    """Return what a detector is asked about: the order test needs a file as it is, copies included."""
    members = suspects.everything if detector.whole_files else references.members
    return Subject(model, (), (), members, references.heldout, None, WindowOptions(), GREEDY, references)


def _windows(model: LanguageModel, documents: Sequence[Document]) -> list[Window]:
    """Return the beginnings of all documents that the self-test can read: of the first token nothing may be asked."""
    windows = []
    encodings = model.tokenizer.encode_batch([document.text for document in documents])
    most = TESTED_TOKENS if model.context_length is None else max(2, min(TESTED_TOKENS, model.context_length - 2))
    for document, encoding in zip(documents, encodings, strict=True):
        ids = encoding.ids[:most]
        if len(ids) > 1:
            cut, end = int(encoding.starts[1]), int(encoding.ends[len(ids) - 1])
            text = document.text
            windows.append(Window(ids[:1], ids[1:], prefix_text=text[:cut], suffix_text=text[cut:end]))
    if not windows:
        raise InputError("no item has two tokens", "give items with text")
    return windows
