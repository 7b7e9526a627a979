"""What an extraction audit is about: model, text, windows and options, fixed before anything is measured."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.audits.extraction.controls import check_dates, check_matching
from memaudit.audits.extraction.inputs import AuditInputs
from memaudit.audits.logged import describe_measures
from memaudit.audits.model_description import describe_model
from memaudit.audits.self_tests import check_batches, check_ids, check_precision, check_round_trip
from memaudit.audits.subject import Measure
from memaudit.metrics import declared
from memaudit.models.base import LanguageModel
from memaudit.text.windows.windows import WindowOptions, WindowSet

BLOCK = 64
"""Windows scored, logged and made durable together. Part of the plan: a resumed run forms the same sums."""


def plan_of(
    model: LanguageModel,
    name: str,
    inputs: AuditInputs,
    options: WindowOptions,
    measures: Sequence[Measure],
    *,
    membership: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what an audit is about.

    Args:
        model: It scores three windows for the self-test.
        name: How reports call it.
        inputs: The windows and the text behind them.
        options: Of the audit.
        measures: Taken after the windows.
        membership: What the scores of whole documents are compared by, if they are.
    """
    drawn = inputs.drawn
    batches, behaviour = check_batches(model, drawn.windows)
    round_trip = check_ids if inputs.corpora is None else check_round_trip
    controls = [round_trip(model, drawn.windows), batches, check_matching(drawn)]
    controls += [*check_dates(drawn), *check_precision(model, drawn.windows)]
    return {
        "model": describe_model(model, name) | {"self_test": behaviour},
        "train": inputs.sides[0],
        "heldout": inputs.sides[1],
        "options": dataclasses.asdict(options),
        "windows": _describe_windows(drawn),
        "copies": inputs.copies,
        "measures": describe_measures(measures),
        **({"metrics": others} if (others := declared()) else {}),
        **({} if membership is None else {"membership": membership}),
        "block_size": BLOCK,
        "controls": [dataclasses.asdict(control) for control in controls],
    }


def _describe_windows(drawn: WindowSet) -> Mapping[str, Any]:
    digest = hashlib.sha256()
    for window in drawn.windows:
        digest.update(f"{window.member}\0{window.document}\0{window.start}\0".encode("utf-8", "surrogatepass"))
        digest.update(window.prefix.tobytes() + window.suffix.tobytes())
    sides = {name: [w for w in drawn.windows if w.member == member] for name, member in _SIDES}
    return {
        **{name: len(windows) for name, windows in sides.items()},
        **{f"{name}_documents": len({w.document for w in windows}) for name, windows in sides.items()},
        "matching": drawn.matching,
        "set_aside": [dataclasses.asdict(entry) for entry in drawn.set_aside],
        "overlaps": [dataclasses.asdict(overlap) for overlap in drawn.overlaps],
        "sha256": digest.hexdigest(),
    }


_SIDES = (("train", True), ("heldout", False))
