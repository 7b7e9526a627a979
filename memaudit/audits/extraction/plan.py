"""What an extraction audit is about: model, text, windows and options, fixed before anything is measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.audits.extraction.controls import check_dates, check_matching
from memaudit.audits.extraction.inputs import Asked
from memaudit.audits.logged import describe_measures
from memaudit.audits.model_description import describe_model
from memaudit.audits.self_tests import check_batches, check_ids, check_precision, check_round_trip
from memaudit.audits.subject import Measure
from memaudit.models.base import LanguageModel
from memaudit.runs.directory import identity
from memaudit.runs.files import strict_json
from memaudit.runs.invocation import Invocation
from memaudit.runs.provenance import versions
from memaudit.text.windows.windows import WindowOptions, WindowSet

BLOCK = 64
"""Windows scored, logged and made durable together. Part of the plan: a resumed run forms the same sums."""


def make_plan(
    model: LanguageModel,
    name: str,
    asked: Asked,
    options: WindowOptions,
    measures: Sequence[Measure],
    invocation: Invocation,
    *,
    membership: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the plan of an audit, with its identity.

    Args:
        model: It scores three windows for the self-test.
        name: How reports call it.
        asked: The windows and the text behind them.
        options: Of the audit.
        measures: Taken after the windows.
        invocation: What repeats the run.
        membership: What the scores of whole documents are compared by, if they are.
    """
    drawn = asked.drawn
    batches, behaviour = check_batches(model, drawn.windows)
    body = {
        "schema_version": 1,
        "kind": "extraction",
        "model": describe_model(model, name) | {"self_test": behaviour},
        "train": asked.sides[0],
        "heldout": asked.sides[1],
        "options": dataclasses.asdict(options),
        "windows": _describe_windows(drawn),
        "copies": asked.copies,
        "measures": describe_measures(measures),
        **({} if membership is None else {"membership": membership}),
        "block_size": BLOCK,
        "versions": versions(),
    }
    round_trip = check_ids if asked.corpora is None else check_round_trip
    controls = [round_trip(model, drawn.windows), batches, check_matching(drawn)]
    controls += [*check_dates(drawn), *check_precision(model, drawn.windows)]
    shown = {"controls": [dataclasses.asdict(control) for control in controls]} | invocation.in_plan()
    plan: dict[str, Any] = json.loads(strict_json(body | shown | {"identity": identity(body)}))
    return plan


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
