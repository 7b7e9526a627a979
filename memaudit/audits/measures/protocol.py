"""The protocol of the training data extraction benchmark: guesses in order of confidence, recall at 100 errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import bounds
from memaudit.audits.subject import Measure, Subject
from memaudit.metrics.ranking import recall_at_errors
from memaudit.records import Capability, TokenIds, Window
from memaudit.runs.measured_lines import ProtocolLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent

ERRORS = (1, 10, 100, 1000)
"""At which recall is taken; 100 is the benchmark's own number."""


class Protocol:
    """One greedy guess a window, ordered by its mean loss."""

    name = "protocol"
    needs = frozenset(
        (
            Capability.CONTINUATIONS,
            Capability.LEFT_TO_RIGHT,
        )
    )
    whole_windows: Literal[True] = True
    block = 64

    def items(self, subject: Subject) -> list[int]:
        """Return the places of all windows."""
        return list(range(len(subject.windows)))

    def measure(self, subject: Subject, items: Sequence[int]) -> list[ProtocolLine]:
        """Return each guess's loss and whether it is the true suffix."""
        windows = [subject.windows[i] for i in items]
        guesses = self._guesses(subject, items)
        scores = subject.model.score([Window(w.prefix, g) for w, g in zip(windows, guesses, strict=True)])
        return [
            {
                "member": window.member,
                "document": window.document,
                "correct": bool(np.array_equal(guess, window.suffix)),
                "loss": -float(score.log_prob.mean()),
            }
            for window, guess, score in zip(windows, guesses, scores, strict=True)
        ]

    def section(self, records: Sequence[ProtocolLine], plan: MeasuredPlan) -> Section:
        """Return exact match and recall at a number of errors, training windows beside held-out ones."""
        sides = {"training": [r for r in records if r["member"]], "held-out": [r for r in records if not r["member"]]}
        rates = {
            name: stats.document_rate([r["correct"] for r in side], [r["document"] for r in side])
            for name, side in sides.items()
        }
        recalls = _recalls(sides["training"], ERRORS)
        right, null = rates["training"], rates["held-out"]
        beside = f"; of the held-out ones {null.hits:,} of {null.n:,}" if null.n else ""
        return Section(
            name=self.name,
            title="Training data extraction benchmark",
            summary=(
                f"{right.hits:,} of {right.n:,} guesses are the true suffix ({percent(right.rate or 0.0)});"
                f" recall at 100 errors {percent(recalls[ERRORS.index(100)])}{beside}"
            ),
            method=(
                f"One guess a window of {plan['options']['prefix']} + {plan['options']['suffix']} tokens, the greedy"
                " continuation; guesses in order of their mean loss under the model. Recall at e errors is the share"
                " of all windows guessed right when the e-th wrong guess is made (lm-extraction-benchmark, 2023:"
                " 50 + 50 tokens of the Pile, GPT-Neo 1.3B)."
            ),
            tables=[_exact(rates), _recall_table(recalls)],
            graphs=_graphs(sides["training"]),
            notes=[] if sides["held-out"] else ["No held-out windows were given: the rate has no null beside it."],
        )

    @staticmethod
    def _guesses(subject: Subject, items: Sequence[int]) -> list[TokenIds]:
        """Return the greedy continuations, end tokens or not; those that the audit does not know asked for now."""
        known: dict[int, TokenIds] = {}
        for i in items:
            record = subject.records[i]
            if record.continuation_ids is not None and len(record.continuation_ids) == len(record.suffix_ids):
                known[i] = np.array(record.continuation_ids, np.int32)
        missing = [i for i in items if i not in known]
        if missing:
            texts = subject.model.greedy_continuations([subject.windows[i] for i in missing])
            known |= zip(missing, texts, strict=True)
        return [known[i] for i in items]


def _recalls(records: Sequence[ProtocolLine], errors: Sequence[int]) -> list[float]:
    return recall_at_errors([r["loss"] for r in records], [r["correct"] for r in records], errors)


def _exact(rates: Mapping[str, stats.Rate]) -> Table:
    columns = [Column("Windows"), Column("Right", "number"), Column("Of", "number"), Column("Rate", "share")]
    rows: list[list[Value]] = [[name, r.hits, r.n, r.rate, bounds(r)] for name, r in rates.items()]
    caption = "Guesses that are the true suffix, token for token"
    return Table(caption, [*columns, Column("95% interval", "interval")], rows)


def _recall_table(recalls: Sequence[float]) -> Table:
    columns = [Column("Errors", "number"), Column("Recall", "share")]
    rows: list[list[Value]] = [[errors, recall] for errors, recall in zip(ERRORS, recalls, strict=True)]
    return Table("Recall of the training windows when so many errors are made", columns, rows)


def _graphs(records: Sequence[ProtocolLine]) -> list[Graph]:
    """Return recall at every doubling of the errors, up to all guesses; nothing where no guess is wrong."""
    wrong = sum(not r["correct"] for r in records)
    errors = sorted({*(2**k for k in range(wrong.bit_length())), wrong + 1})
    if not wrong:
        return []
    pairs = zip(errors, _recalls(records, errors), strict=True)
    points: list[list[float | None]] = [[float(count), recall, None, None] for count, recall in pairs]
    description = "Share of the training windows guessed right, when guesses are taken in order of their loss."
    series = [Series("Training windows", points)]
    return [Graph("Recall against errors", description, "Errors", "Recall", series, x_scale="log")]


PROTOCOL: Measure[int, ProtocolLine] = Protocol()
