"""Has the model seen the test? The model itself is asked, where no corpus can be read.

`membership` reads top to bottom as the data flows: suspects and held-out items -> references and null model -> the
detectors, one log line a document -> tests, controls and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.detectors.base import Detector
from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import primary
from memaudit.audits.logged import check_measures, describe_measures, take_all
from memaudit.audits.membership.conclude import conclude
from memaudit.audits.membership.sides import Side, read_sides
from memaudit.audits.model_description import describe_model
from memaudit.audits.needs import needs_of
from memaudit.audits.result import VerdictResult
from memaudit.audits.self_tests import check_batches, check_precision, check_round_trip
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.load import load_model
from memaudit.plugins import Registry
from memaudit.records import GREEDY, Document, Window
from memaudit.report.formats import writers
from memaudit.runs.directory import RunDirectory, identity, run_folder
from memaudit.runs.files import strict_json
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.provenance import versions
from memaudit.text.windows.windows import WindowOptions

DETECTORS = Registry(
    "memaudit.detector",
    {
        "membership": "memaudit.audits.detectors.membership:MEMBERSHIP",
        "order": "memaudit.audits.detectors.order:ORDER",
        "overlap": "memaudit.audits.detectors.overlap:OVERLAP",
        "guided": "memaudit.audits.detectors.guided:GUIDED",
    },
)
"""Every detector by its name; other packages declare theirs as entry points."""
COMPARING = ("membership", "overlap")
"""Detectors that test suspects against held-out text."""
TESTED_TOKENS = 64
"""Tokens of a document that the self-test reads."""

Progress = Callable[[int, int], None]
"""Called with (documents done, documents in all) of the detector at hand."""


@dataclass(frozen=True, slots=True)
class MembershipRun(VerdictResult):
    """A finished run and the run directory it lies in."""


@reads_files
def membership(
    benchmark: str | Sequence[str],
    model: str | Path | LanguageModel,
    *,
    heldout: str | Sequence[str] = (),
    out: str | Path | None = None,
    options: MembershipOptions | None = None,
    name: str = "",
    formats: Sequence[str] = ("html",),
    progress: Progress | None = None,
    load: Callable[[str], LanguageModel] = load_model,
    invocation: Invocation | None = None,
    **fields: Any,
) -> MembershipRun:
    """Ask a model whether it has seen the items of a benchmark.

    Args:
        benchmark: Files of items, the suspects.
        model: A model folder, a Hugging Face id, ``python:module:factory``, or a loaded model.
        heldout: Files of items of the same kind that the model cannot have seen. Without them only the order of the
            benchmark's files and the guided instruction can be tested.
        out: Run directory; the same call resumes what stands in it. By default ``runs/membership-IDENTITY``.
        options: What to measure, and what to conclude from it.
        name: How the report calls the model; by default the spec it was given as.
        formats: What to write beside report.json.
        progress: Told after every block.
        load: Loads the model and its references from their specs.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``references=("train",)``), over those in ``options``.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.membership", membership, locals())
    chosen_writers = writers(formats, "membership")
    chosen = dataclasses.replace(options or MembershipOptions(), **_as_tuples(fields))
    name = name or (str(model) if isinstance(model, str | Path) else model.family)
    loaded = load(str(model)) if isinstance(model, str | Path) else model
    sides = read_sides(_listed(benchmark), _listed(heldout), chosen)
    detectors = _detectors(chosen, loaded, bool(sides[1].documents))
    reference_models = ReferenceModels(loaded, sides[0].documents, sides[1].documents, chosen, load)
    asked = [(detector, _subject(detector, loaded, sides[0], reference_models)) for detector in detectors]
    for detector, subject in asked:
        check_measures([detector], subject)
    plan = _plan(loaded, name, sides, reference_models, detectors, repeated)
    folder = run_folder(out, "membership", plan)
    with RunDirectory.open(folder, plan) as run:
        reference_models.prepare(folder)
        started = perf_counter()
        records = take_all(asked, run, 0, progress)
        run.times["detectors"] = perf_counter() - started
        report = conclude(run.plan, detectors, records)
        run.finish(report)
        files = [write(folder) for write in chosen_writers]
    notices = [run.notice, *(side.notice for side in sides)]
    return MembershipRun(folder, report, files, "; ".join(filter(None, notices)))


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _as_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _detectors(options: MembershipOptions, model: LanguageModel, compared: bool) -> list[Detector]:
    """Return the detectors that were named, or else all that this model and these sides allow; first the control C1.

    Raises:
        InputError: A detector that is named needs what there is not, or none is left.
    """
    for name in options.detectors:
        if name in COMPARING and not compared:
            raise InputError(f"the detector '{name}' compares the benchmark with held-out text", "give --heldout SPEC")
    allowed = {
        "membership": compared and needs_of(DETECTORS.resolve("membership")) <= model.capabilities,
        "order": needs_of(DETECTORS.resolve("order")) <= model.capabilities,
        "overlap": compared,
        "guided": bool(options.guided),
    }
    names = list(dict.fromkeys(options.detectors)) or [name for name, fits in allowed.items() if fits]
    if not names:
        raise InputError(
            f"without held-out text there is nothing to test a {model.objective} model by",
            "give items that it cannot have seen: --heldout SPEC",
        )
    found = [DETECTORS.resolve(name) for name in names]
    return [BLIND_BASELINE, *found] if compared and set(COMPARING) & set(names) else found


def _subject(detector: Detector, model: LanguageModel, suspects: Side, reference_models: ReferenceModels) -> Subject:
    """Return what a detector is asked about: the order test needs a file as it is, copies included."""
    members = suspects.everything if detector.name == "order" else reference_models.members
    return Subject(model, (), (), members, reference_models.heldout, None, WindowOptions(), GREEDY, reference_models)


def _plan(
    model: LanguageModel,
    name: str,
    sides: tuple[Side, Side],
    reference_models: ReferenceModels,
    detectors: Sequence[Detector],
    invocation: Invocation,
) -> dict[str, Any]:
    windows = _windows(model, [*reference_models.members, *reference_models.heldout])
    batches, behaviour = check_batches(model, windows)
    body = {
        "schema_version": 1,
        "kind": "membership",
        "model": describe_model(model, name) | {"self_test": behaviour},
        "benchmark": sides[0].summary,
        "heldout": sides[1].summary | {"compared": len(reference_models.heldout)},
        "membership": reference_models.describe(),
        "measures": describe_measures(detectors),
        "versions": versions(),
    }
    declared = [name for detector in detectors for name in detector.declared(body)]
    if not declared:
        raise InputError("none of the detectors applies", "name a data set with --guided, or give --heldout SPEC")
    body |= {"declared": declared, "primary": next((n for n in (primary(body),) if n in declared), declared[0])}
    controls = [check_round_trip(model, windows), batches, *check_precision(model, windows)]
    shown = {"controls": [dataclasses.asdict(control) for control in controls]} | invocation.in_plan()
    plan: dict[str, Any] = json.loads(strict_json(body | shown | {"identity": identity(body)}))
    return plan


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
