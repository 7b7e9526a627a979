"""What an extraction audit is about: model, text, windows and options, fixed before anything is measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.audit.extraction.asked import Asked
from memaudit.audit.extraction.controls import (
    check_batches,
    check_dates,
    check_ids,
    check_matching,
    check_precision,
    check_round_trip,
)
from memaudit.audit.measures.base import Measure
from memaudit.audit.measures.logged import describe_measures
from memaudit.files import strict_json
from memaudit.inputs import current
from memaudit.invocation import Invocation
from memaudit.models.base import LanguageModel
from memaudit.provenance import versions
from memaudit.runs import identity
from memaudit.text.windows import WindowOptions, WindowSet

_DIGEST = re.compile("[0-9a-f]{64}")
_OF_ONE_TRAINING = ("corpus", "seed", "tokens", "loss", "heldout", "heldout_measure")
"""What a training says of itself beside how it was asked for."""
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


def describe_model(model: LanguageModel, name: str) -> dict[str, Any]:
    """Return what a plan says of a model, whose files are among the inputs of the run from now on."""
    if model.inputs is not None:
        current().include(model.inputs)
    return {
        "name": name,
        "family": model.family,
        "objective": model.objective,
        "parameters": model.parameters,
        "context_length": model.context_length,
        "sha256": model.sha256,
        "tokenizer_sha256": model.tokenizer.sha256,
        "vocabulary": model.tokenizer.vocab_size,
        "device": model.device,
        "dtype": model.dtype,
        "attention": model.attention,
        "start_token": model.tokenizer.bos_id,
        "missing_start": model.missing_start,
        "end_tokens": sorted(model.end_ids),
        "frame": model.frame,
        "notes": list(model.notes),
        "files": [dict(file) for file in model.files],
        "ignored": list(model.ignored),
        **_describe_training(model),
    }


def _describe_training(model: LanguageModel) -> dict[str, Any]:
    """Return what the folder of a model trained here says of its training; nothing where it does not say enough.

    Models of one family and size with the same text and recipe, and another seed, are replicates of one another. It is
    what the folder says: no verdict rests on it.
    """
    told = getattr(model, "training", None)
    if not isinstance(told, dict):
        return {}
    corpus, seed = told.get("corpus"), told.get("seed")
    if not (isinstance(corpus, str) and _DIGEST.fullmatch(corpus) and type(seed) is int):
        return {}
    settings = sorted((name, value) for name, value in told.items() if name not in _OF_ONE_TRAINING)
    shape = [file["sha256"] for file in model.files if file["path"] == "config.json"] or getattr(model, "config", None)
    # A folder may hold anything, NaN too, which JSON has no word for.
    recipe = repr((model.family, model.objective, shape, settings)).encode("utf-8", "backslashreplace")
    return {"training": {"corpus": corpus, "recipe": hashlib.sha256(recipe).hexdigest(), "seed": seed}}


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
