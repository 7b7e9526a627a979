"""Control C1 as a record of a run: do the sides differ by their text, without any model?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaudit.audits.comparison.blind_baseline import FOLDS, blind_baseline
from memaudit.audits.comparison.detection import Detection, blind_control
from memaudit.audits.comparison.nulls import CONFOUNDED
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.base import Detector
from memaudit.audits.needs import NOTHING
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.likelihood import unigram_entropy
from memaudit.records import Document
from memaudit.runs.measured_lines import TextLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value
from memaudit.text.tokenize import Tokenizer


class TextAlone:
    """One record; it detects nothing, and decides whether detectors of documents are admissible."""

    name = "text"
    needs = NOTHING
    block = 1
    compares = True
    whole_files = False
    asked_by = None

    def items(self, subject: Subject) -> list[str]:
        """Return the one item.

        Raises:
            InputError: Nothing was said about membership.
        """
        if subject.reference_models is None:
            raise InputError("the text of two sides is compared for detectors of membership", "give --membership")
        return [self.name]

    def measure(self, subject: Subject, items: Sequence[str]) -> list[TextLine]:
        """Return what the scored part of the documents says: the blind baseline, and unigram entropies in nats."""
        reference_models = subject.reference_models
        assert reference_models is not None, "items are asked for first"
        record = self.compared(
            reference_models.members, reference_models.heldout, subject.model.tokenizer, reference_models.options
        )
        return [record for _ in items]

    def compared(
        self,
        members: Sequence[Document],
        heldout: Sequence[Document],
        tokenizer: Tokenizer,
        options: MembershipOptions,
    ) -> TextLine:
        """Return the record of two sides, of their first tokens."""
        texts, entropies = [], []
        for documents in (members, heldout):
            encodings = tokenizer.encode_batch([document.text for document in documents])
            cut = [e.ends[: options.tokens] for e in encodings]
            texts.append([d.text[: int(ends[-1])] if len(ends) else "" for d, ends in zip(documents, cut, strict=True)])
            ids = np.concatenate([np.empty(0, np.int32), *(e.ids[: options.tokens] for e in encodings)])
            entropies.append(unigram_entropy(ids) if len(ids) else None)
        blind = blind_baseline(texts[0], texts[1], options.seed).as_record()
        return {"blind": blind, "unigram": {"members": entropies[0], "heldout": entropies[1]}}

    def declared(self, plan: MeasuredPlan) -> list[str]:  # noqa: ARG002
        """Return no detection."""
        return []

    def detections(self, records: Sequence[TextLine], plan: MeasuredPlan) -> list[Detection]:  # noqa: ARG002
        """Return none."""
        return []

    def section(self, records: Sequence[TextLine], plan: MeasuredPlan) -> Section:  # noqa: ARG002
        """Return how well each kind of features separates the sides."""
        [record] = records
        blind = record["blind"]
        control = blind_control(blind)
        rows: list[list[Value]] = [
            [kind["name"], kind["auc"]["estimate"], [kind["auc"]["low"], kind["auc"]["high"]]]
            for kind in blind["features"]
        ]
        rows += [[name, None, None] for name in blind["left_out"]]
        tables = (
            [Table("AUC of text alone", [Column("Features"), Column("AUC", "share"), _INTERVAL], rows)] if rows else []
        )
        words = ", ".join(repr(word) for word in blind["words"])
        notes = [f"Words with the largest weights for either side: {words}."] if words else []
        notes += [f"No AUC of {name}: {why}." for name, why in blind["left_out"].items()]
        outcome = {True: "do not distinguish the sides", False: "distinguish the sides", None: "were not compared"}
        return Section(
            self.name,
            "Text alone",
            f"Without any model, the texts {outcome[control.passed]}: {control.detail}",
            "Logistic regressions on the words of the scored text (present or not), its length, digits and years, and"
            f" characters, each tested on the fifth of the documents that it was not fitted on, {FOLDS} times (Das,"
            " Zhang & Tramer 2024; Meeus et al. 2024). Where the lower 95% limit of an AUC lies above"
            f" {CONFOUNDED}, every model that knows the language, the topic or the year distinguishes the sides as"
            " well, and no score is evidence that it has seen anything.",
            tables,
            notes=notes,
        )


_INTERVAL = Column("95% interval", "interval")
BLIND_BASELINE: Detector[str, TextLine] = TextAlone()
