"""What an extraction audit is about: model, text, windows and options, fixed before anything is measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import cast

from memaudit.audits.extraction.controls import check_dates, check_matching
from memaudit.audits.extraction.inputs import AuditInputs
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.logged import describe_measures
from memaudit.audits.model_description import describe_model
from memaudit.audits.self_tests import check_ids, check_round_trip, tested
from memaudit.audits.subject import AnyMeasure
from memaudit.metrics import declared
from memaudit.models.base import LanguageModel
from memaudit.runs import parts
from memaudit.runs.options import AuditOptions as StoredOptions
from memaudit.runs.plans import (
    BaseDescription,
    ExtractionSubject,
    MembershipDesign,
    Overlap,
    SetAside,
    WindowsDescription,
)
from memaudit.runs.schema import as_record
from memaudit.text.windows.windows import WindowSet

BLOCK = 64
"""Windows scored, logged and made durable together. Part of the plan: a resumed run forms the same sums."""
SAMPLE = 64
"""Windows a side that are scored and continued whole: the standard error of a mean over them is an eighth of the
standard deviation of its values."""


def plan_of(
    model: LanguageModel,
    name: str,
    inputs: AuditInputs,
    options: AuditOptions,
    measures: Sequence[AnyMeasure],
    *,
    membership: MembershipDesign | None = None,
    base: BaseDescription | None = None,
    recital: parts.RecitalDescription | None = None,
) -> ExtractionSubject:
    """Return what an audit is about.

    Args:
        model: It scores three windows for the self-test.
        name: How reports call it.
        inputs: The windows and the text behind them.
        options: Of the audit.
        measures: Taken after the windows.
        membership: What the scores of whole documents are compared by, if they are.
        base: The base model that is given the same windows, if one is.
        recital: Text that the model is known to recite, if some was named.
    """
    drawn = inputs.drawn
    found = tested(model, drawn.windows)
    round_trip = check_ids if inputs.corpora is None else check_round_trip
    controls = [round_trip(model, drawn.windows), *found.first, check_matching(drawn)]
    controls += [*check_dates(drawn), *found.later]
    compared = options.membership
    told = options if compared is None else dataclasses.replace(options, membership=compared.told())
    about: ExtractionSubject = {
        "model": {**describe_model(model, name), "self_test": found.behaviour},
        "train": inputs.sides[0],
        "heldout": inputs.sides[1],
        "options": _options(told),
        "windows": _describe_windows(drawn),
        "copies": inputs.copies,
        "measures": describe_measures(measures),
        "block_size": BLOCK,
        "sample_size": SAMPLE,
        "controls": [as_record(control, parts.Control) for control in controls],
    }
    if inputs.chat is not None:
        about["chat"] = inputs.chat
    if others := declared():
        about["metrics"] = others
    if base is not None:
        about["base"] = base
    if recital is not None:
        about["recital"] = recital
    if membership is not None:
        about["membership"] = membership
    return about


def _options(options: AuditOptions) -> StoredOptions:
    """Return the options as a plan holds them; what only some audits have is left out of the others."""
    stored = as_record(options, StoredOptions)
    if (compared := stored["membership"]) is not None:  # the options of the audit say it
        compared.pop("start_token", None)
    absent = {name for name in ("train_field", "heldout_field", "chat_template") if stored.get(name) is None}
    absent |= {"start_token"} if options.start_token == "as-trained" else set()
    return cast("StoredOptions", {name: value for name, value in stored.items() if name not in absent})


def _describe_windows(drawn: WindowSet) -> WindowsDescription:
    digest = hashlib.sha256()
    for window in drawn.windows:
        digest.update(f"{window.member}\0{window.document}\0{window.start}\0".encode("utf-8", "surrogatepass"))
        digest.update(window.prefix.tobytes() + window.suffix.tobytes())
    train, heldout = ([w for w in drawn.windows if w.member == member] for member in (True, False))
    return {
        "train": len(train),
        "heldout": len(heldout),
        "train_documents": len({w.document for w in train}),
        "heldout_documents": len({w.document for w in heldout}),
        "matching": drawn.matching,
        "set_aside": [as_record(entry, SetAside) for entry in drawn.set_aside],
        "overlaps": [as_record(overlap, Overlap) for overlap in drawn.overlaps],
        "sha256": digest.hexdigest(),
    }
