"""What a plan says of a model: its identity, and how it was trained where it says so itself."""

from __future__ import annotations

import hashlib
import re
from typing import cast

from memaudit.models.base import LanguageModel
from memaudit.runs.inputs import current
from memaudit.runs.parts import DescribedModel, EndpointDescription, FileDigest, Training
from memaudit.runs.steps import step_of_name

_DIGEST = re.compile("[0-9a-f]{64}")
_OF_ONE_TRAINING = ("corpus", "seed", "tokens", "loss", "heldout", "heldout_measure")
"""What a training says of itself beside how it was asked for."""


def describe_model(model: LanguageModel, name: str) -> DescribedModel:
    """Return what a plan says of a model, whose files are among the inputs of the run from now on."""
    if model.inputs is not None:
        current().include(model.inputs)
    described: DescribedModel = {
        "name": name,
        "family": model.family,
        "objective": model.objective,
        "parameters": model.parameters if model.endpoint is None else None,
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
        "files": [FileDigest(path=f["path"], sha256=f["sha256"], bytes=f["bytes"]) for f in model.files],
        "ignored": list(model.ignored),
    }
    decode = model.tokenizer.decode
    if any(model.frame):
        described["frame_text"] = decode(model.frame[0]), decode(model.frame[1])
    if model.as_trained is not None:
        before, behind = model.as_trained.frame
        described["omitted"] = decode(before), decode(behind)
    if model.commits:
        described["commits"] = [{"id": name, "commit": commit} for name, commit in model.commits]
    step = step_of_name(name)
    if step is not None or model.step is not None:
        described["step"] = step if step is not None else model.step or 0
    if model.placement:
        described["placement"] = model.placement
    if model.lacks:
        described["lacks"] = [str(capability) for capability in model.lacks]
    if model.endpoint is not None:
        checks = [control.name for control in model.checks]
        described["endpoint"] = cast("EndpointDescription", {**model.endpoint, "checks": checks})
    if training := _describe_training(model):
        described["training"] = training
    return described


def _describe_training(model: LanguageModel) -> Training | None:
    """Return what the folder of a model trained here says of its training; None where it does not say enough.

    Models of one family and size with the same text and recipe, and another seed, are replicates of one another. It is
    what the folder says: no verdict rests on it.
    """
    told = getattr(model, "training", None)
    if not isinstance(told, dict):
        return None
    corpus, seed = told.get("corpus"), told.get("seed")
    if not (isinstance(corpus, str) and _DIGEST.fullmatch(corpus) and type(seed) is int):
        return None
    settings = sorted((name, value) for name, value in told.items() if name not in _OF_ONE_TRAINING)
    shape = [file["sha256"] for file in model.files if file["path"] == "config.json"] or getattr(model, "config", None)
    # A folder may hold anything, NaN too, which JSON has no word for.
    recipe = repr((model.family, model.objective, shape, settings)).encode("utf-8", "backslashreplace")
    return {"corpus": corpus, "recipe": hashlib.sha256(recipe).hexdigest(), "seed": seed}
