"""Exhibits are continued to their end: what the page will show and was given up once it could be no hit.

Only what is shown is finished, and only for that: no metric is computed of it, so that no choice of exhibits moves a
mean or a distribution.
"""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.audits.subject import Subject
from memaudit.models.decoding import before_end
from memaudit.models.sampling import continuation_text
from memaudit.records import Capabilities, Capability, WindowRecord
from memaudit.report.exhibits import EXHIBITS, choose
from memaudit.runs.measured_lines import FinishedLine


class Finished:
    """One line a window that was given up and is shown."""

    name = "exhibits"
    needs: Capabilities = frozenset((Capability.CONTINUATIONS,))
    block = 64

    def items(self, subject: Subject) -> list[WindowRecord]:
        """Return the records of these windows, each once, in their order."""
        galleries = choose(subject.records, subject.options.seed, **EXHIBITS)
        shown = {record.index: record for gallery in galleries for record in gallery.records}
        return [shown[index] for index in sorted(shown) if shown[index].given_up]

    def measure(self, subject: Subject, items: Sequence[WindowRecord]) -> list[FinishedLine]:
        """Return the whole continuations."""
        model, windows = subject.model, [subject.windows[record.index] for record in items]
        lines: list[FinishedLine] = []
        for record, window, ids in zip(items, windows, model.greedy_continuations(windows), strict=True):
            written = before_end(ids, model.end_ids, window.suffix)
            text = continuation_text(model.tokenizer, window.prefix, written)
            lines.append({"window": record.index, "continuation_text": text, "ended": len(written) < len(ids)})
        return lines


FINISHED = Finished()
