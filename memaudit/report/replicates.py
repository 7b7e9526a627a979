"""Runs that differ in the seed of the training alone: what another training would give, documents and seeds varying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from memaudit.errors import InputError
from memaudit.metrics.trainings import FEWEST, OverTrainings, auc_over_trainings, rate_over_trainings
from memaudit.records import FloatArray, WindowRecord
from memaudit.report import wording
from memaudit.runs.directory import ReportInput
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.parts import ModelDescription
from memaudit.sections import Column, Table, Value
from memaudit.stats import document_means, rounding

CAPTION = (
    "Trainings that differ in their seed alone: the mean over seeds, with the 95% interval of a mean over all seeds and"
    " all documents of this kind"
)


def replicate_table(runs: Sequence[ReportInput[ExtractionReport]], *, declared: bool = False) -> Table | None:
    """Return rates and AUC over the replicates among runs over the same windows; None where there are none.

    Replicates are models of one family and size that say to have been trained on the same text in the same way with
    another seed, `FEWEST` of them at least.

    Args:
        runs: Extraction audits over the same windows.
        declared: Whether models of one family and size are replicates because the user says so, where their folders
            say nothing of their training.

    Raises:
        InputError: Declared, and there are not enough, one model stands twice, or its folder says otherwise.
    """
    groups: dict[tuple[Any, ...], list[ReportInput[ExtractionReport]]] = {}
    for run in runs:
        key = _kind(run.report["model"], declared)
        if key is not None:
            groups.setdefault(key, []).append(run)
    if declared:
        for group in groups.values():
            _check([run.report["model"] for run in group])
    found = [distinct for group in groups.values() if len(distinct := _distinct(group)) >= FEWEST]
    if declared and not found:
        raise InputError(f"--replicates: no {FEWEST} of these models are of one family and size", "leave it out")
    rows = [row for group in found for row in _rows(group)]
    return Table(CAPTION, _columns(), rows) if rows else None


def _kind(model: ModelDescription, declared: bool) -> tuple[Any, ...] | None:
    """Return what replicates have in common; None for a model of which that is not known."""
    common = model["family"], model["objective"], model["parameters"]
    if declared:
        return common
    training = model.get("training")
    return training and (*common, training["corpus"], training["recipe"])


def _check(models: Sequence[ModelDescription]) -> None:
    """Refuse what cannot be replicates, whatever was declared."""
    names = f"{models[0]['name']} and {models[-1]['name']}"
    if len({model["sha256"] for model in models}) < len(models):
        raise InputError(f"--replicates: one of the {models[0]['family']} models is given twice", "give each run once")
    told = [model["training"] for model in models if model.get("training")]
    corpora, recipes = {training["corpus"] for training in told}, {training["recipe"] for training in told}
    for different, words in ((corpora, "other text"), (recipes, "other settings")):
        if len(different) > 1:
            raise InputError(f"--replicates: {names} or one between them was trained with {words}", "leave it out")


def _distinct(group: Sequence[ReportInput[ExtractionReport]]) -> list[ReportInput[ExtractionReport]]:
    """Return one run of every model; the same weights twice, or the same seed, are no other training."""
    kept: dict[Any, ReportInput[ExtractionReport]] = {}
    for run in group:
        model = run.report["model"]
        seed = model["training"]["seed"] if model.get("training") else None
        kept.setdefault(model["sha256"] if seed is None else seed, run)
    return list({run.report["model"]["sha256"]: run for run in kept.values()}.values())


def _columns() -> list[Column]:
    shares = [
        Column("Mean", "share"),
        Column("95% interval", "interval"),
        Column("SD of seeds, points", "number"),
    ]
    return [Column("Of"), Column("Seeds", "number"), *shares, Column("Least", "share"), Column("Most", "share")]


def _rows(group: Sequence[ReportInput[ExtractionReport]]) -> list[list[Value]]:
    model = group[0].report["model"]
    name = f"{wording.family(model['family'])}, {rounding.number(model['parameters'])}"
    sides = [[[r for r in run.records if r.member == member] for run in group] for member in (True, False)]
    rates = [
        (f"{name}: {words}", _rate(side)) for words, side in zip(("training text", "held-out text"), sides, strict=True)
    ]
    found = [*rates, (f"{name}: AUC of the loss", _auc(*sides))]
    return [_row(words, over) for words, over in found if over is not None]


def _row(words: str, over: OverTrainings) -> list[Value]:
    shown: list[Value] = [over.mean, [over.low, over.high], 100 * over.between, over.least, over.most]
    return [words, over.trainings, *shown]


def _rate(side: Sequence[Sequence[WindowRecord]]) -> OverTrainings | None:
    if not side[0]:
        return None
    hits = [document_means([float(r.extractable) for r in one], [r.document for r in one]) for one in side]
    return rate_over_trainings(hits, len(side[0]))


def _auc(members: Sequence[Sequence[WindowRecord]], heldout: Sequence[Sequence[WindowRecord]]) -> OverTrainings | None:
    """Return the AUC of the mean log-probability of a document's windows; None where one has none.

    Of the windows that every training scored: those of the random sample, which is the same for all.
    """
    sides = [_log_probs(side) for side in (members, heldout)]
    return None if sides[0] is None or sides[1] is None else auc_over_trainings(sides[0], sides[1])


def _log_probs(side: Sequence[Sequence[WindowRecord]]) -> FloatArray | None:
    scored = [at for at in range(len(side[0])) if all(one[at].sampled for one in side)]
    kept = [[one[at] for at in scored] for one in side]
    if not scored or any(r.log_prob is None or not np.isfinite(r.log_prob) for one in kept for r in one):
        return None
    return np.array([document_means([r.log_prob or 0.0 for r in one], [r.document for r in one]) for one in kept])
