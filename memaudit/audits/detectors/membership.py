"""Scores of whole documents, suspects against held-out ones: loss, zlib, Min-K%, Min-K%++, and beside references."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memaudit.audits.comparison.detection import Detection, Sides, compare
from memaudit.audits.comparison.nulls import KIND_NULL, OF_TEXT
from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.comparison.scores import score_texts
from memaudit.audits.detectors.base import Detector
from memaudit.audits.detectors.membership_section import section_of
from memaudit.audits.documents import Member
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.families import counts
from memaudit.metrics.likelihood import (
    MIN_REFERENCES,
    calibrated_difference,
    loss_score,
    min_k,
    min_k_plus_plus,
    offline_lira,
    reference_ratio,
    zlib_score,
)
from memaudit.records import Capabilities, Capability, FloatArray, TokenScores, capabilities_in, not_given
from memaudit.runs.measured_lines import MembershipLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Section

Scores = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Score:
    """One score as reports explain it."""

    label: str
    definition: str
    needs: Capabilities = frozenset((Capability.LOG_PROBS,))


SCORES = {
    "loss": Score("Loss", "mean log p of the document's tokens (Yeom et al. 2018, section 3)"),
    "zlib": Score(
        "Zlib",
        "mean log p of the tokens / bytes of the text as zlib compresses it (Carlini et al. 2021, section 6.1)",
    ),
    "min-k": Score("Min-K%", "mean log p of the least probable 20% of the tokens (Shi et al. 2024, section 3)"),
    "min-k++": Score(
        "Min-K%++",
        "mean of the lowest 20% of (log p - its expectation) / its deviation under the model (Zhang et al. 2024,"
        " section 4)",
        frozenset((Capability.LOG_PROBS, Capability.MOMENTS)),
    ),
    "reference": Score(
        "Reference",
        "mean of log p of the document by the references / log p by the model (Carlini et al. 2021, section 6.1)",
    ),
    "calibration": Score(
        "Difficulty calibration",
        "(log p of the document - mean of log p by the references) / tokens (Watson et al. 2022); with few references"
        " also the order of offline LiRA, whose deviation is then one for all documents (Carlini et al. 2022)",
    ),
    "lira": Score(
        "LiRA, offline",
        "the same difference in standard deviations of the document's references (Carlini et al. 2022, section IV-C;"
        " the statistic, log p per token, is ours)",
    ),
}
"""Every score by the name of its detection."""
BY_REFERENCE = ("reference", "calibration", "lira")


def primary(plan: MeasuredPlan) -> str:
    """Return the detection that is named primary before anything is measured.

    Beside a reference where there is one: the strongest move for every family, by its ratio. Else Min-K%, and for
    n-grams, which know a seen document as a whole, the loss.
    """
    if plan["membership"]["references"]:
        return "reference"
    return "loss" if counts(plan["model"]["family"]) else "min-k"


class Membership:
    """One record a document."""

    name = "membership"
    needs = frozenset((Capability.LOG_PROBS,))
    block = 64
    compares = True
    whole_files = False
    asked_by = None

    def items(self, subject: Subject) -> list[Member]:
        """Return the suspects, then the held-out documents that no reference was trained on.

        Raises:
            InputError: Nothing was said about membership, or one side has no document.
        """
        reference_models = _peers(subject)
        for name, side in (("suspects", reference_models.members), ("held-out documents", reference_models.heldout)):
            if not side:
                raise InputError(f"there are no {name} to compare", "membership is a comparison of two sides")
        sides = (True, reference_models.members), (False, reference_models.heldout)
        return [Member(member, document) for member, side in sides for document in side]

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[MembershipLine]:
        """Return the scores of documents by the model, and by the models that never saw them."""
        return _scored(subject, items)

    def declared(self, plan: MeasuredPlan) -> list[str]:
        """Return the scores that there will be: those beside references only where there are enough of them."""
        references = len(plan["membership"]["references"])
        left_out = BY_REFERENCE if not references else BY_REFERENCE[2:] if references < MIN_REFERENCES else ()
        gives = capabilities_in(plan["model"])
        return [name for name, score in SCORES.items() if name not in left_out and score.needs <= gives]

    def detections(self, records: Sequence[MembershipLine], plan: MeasuredPlan) -> list[Detection]:
        """Test suspects against held-out documents by every declared score."""
        nulls = _nulls(records)
        return [
            compare(
                records,
                [record["scores"][name] for record in records],
                {
                    null: [record["null"].get(null, {}).get(_asked(null, name)) for record in records]
                    for null in nulls
                    if any(_asked(null, name) in record["null"].get(null, {}) for record in records)
                },
                name=name,
                label=SCORES[name].label,
                definition=SCORES[name].definition,
                plan=plan,
            )
            for name in self.declared(plan)
        ]

    def section(self, records: Sequence[MembershipLine], plan: MeasuredPlan) -> Section:
        """Return all detections beside their controls, and the ROC curve of the primary one."""
        name = primary(plan)
        curves = {"the model": Sides.of(records, [record["scores"][name] for record in records])}
        for null in _nulls(records):
            values = [record["null"].get(null, {}).get(_asked(null, name)) for record in records]
            curves[null] = Sides.of(records, values)
        section = section_of(self.detections(records, plan), name, curves, records, plan)
        gives = capabilities_in(plan["model"])
        lacking = ((score.label, not_given(score.needs, gives)) for score in SCORES.values())
        unmeasured = [f"{label} is not measured: {lack}." for label, lack in lacking if lack]
        return dataclasses.replace(section, notes=[*section.notes, *unmeasured])


def _nulls(records: Sequence[MembershipLine]) -> list[str]:
    """Return the names of the null models, in an order that does not depend on which records come from a log."""
    return sorted({name for record in records for name in record["null"]})


def _asked(null: str, score: str) -> str:
    """Return the score of a null model that one of the model is held against: whose text it is, the loss says best."""
    return "loss" if null in OF_TEXT else score


def _peers(subject: Subject) -> ReferenceModels:
    if subject.reference_models is None:
        raise InputError("membership is tested beside models that never saw the documents", "give --membership")
    return subject.reference_models


def _scored(subject: Subject, items: Sequence[Member]) -> list[MembershipLine]:
    """Return a record for every document."""
    reference_models = _peers(subject)
    options, model, references = reference_models.options, subject.model, reference_models.references()
    encodings = model.tokenizer.encode_batch([item.document.text for item in items])
    texts = [encoding.ids[: options.tokens] for encoding in encodings]
    spans = [
        item.document.text[: int(encoding.ends[len(ids) - 1])] if len(ids) else ""
        for item, encoding, ids in zip(items, encodings, texts, strict=True)
    ]
    ours = score_texts(model, texts, None, options.masks, options.seed)
    # A reference has a tokenizer of its own and reads the same text, however many tokens it makes of it.
    theirs = [
        score_texts(r.model, [e.ids for e in r.model.tokenizer.encode_batch(spans)], None, options.masks, options.seed)
        for r in references
    ]
    nulls = [
        {
            name: score_texts(null, [ids], None)[0]
            for name, null in reference_models.nulls(item.member, item.document.id).items()
        }
        for item, ids in zip(items, texts, strict=True)
    ]
    records: list[MembershipLine] = []
    for i, (item, ids) in enumerate(zip(items, texts, strict=True)):
        beside = [scores[i] for scores in theirs]
        null = {name: _scores(scores, spans[i], beside) for name, scores in nulls[i].items()}
        if (kind := reference_models.kind(item.member, item.document.id)) is not None:
            null[KIND_NULL] = {"loss": kind}
        for number, reference in enumerate(references):
            others = beside[:number] + beside[number + 1 :]
            null[reference.name] = _scores(beside[number], spans[i], others)
        records.append(
            {
                "member": item.member,
                "document": item.document.id,
                "source": item.document.source,
                "domain": item.document.domain,
                "tokens": len(ids),
                "scores": _scores(ours[i], spans[i], beside),
                "null": null,
            }
        )
    return records


def _scores(tokens: TokenScores, text: str, references: Sequence[TokenScores]) -> Scores:
    """Return every score of a document; those beside references only where there are enough of them.

    Moments that a model does not give are not numbers, and their score is left out.
    """
    log_probs: FloatArray = tokens.log_prob
    found: Scores = {
        "loss": loss_score(log_probs),
        "zlib": zlib_score(log_probs, text),
        "min-k": min_k(log_probs),
    }
    if not np.isnan(tokens.mean).any():
        found["min-k++"] = min_k_plus_plus(log_probs, tokens.mean, tokens.std)
    others = [reference.log_prob for reference in references]
    if others:
        found["reference"] = reference_ratio(log_probs, others)
        found["calibration"] = calibrated_difference(log_probs, others)
    if len(others) >= MIN_REFERENCES:
        found["lira"] = offline_lira(log_probs, others)
    return found


MEMBERSHIP: Detector[Member, MembershipLine] = Membership()
