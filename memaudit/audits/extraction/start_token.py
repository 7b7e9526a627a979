"""What the model gives without its start token, beside what it gave as it was trained: the same windows, asked again.

The verdict rests on the model as it was trained. What the token does to it is shown window by window: the same metrics
of the same windows, and which of them are another verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

import memaudit.stats as stats
from memaudit.audits.bare_model import OfBareModel, frame_of
from memaudit.audits.documents import about_window, bounds
from memaudit.audits.extraction.means import known_of_all
from memaudit.audits.extraction.windows import measure
from memaudit.audits.subject import AnyMeasure, Subject
from memaudit.metrics import METRICS, PRIMARY
from memaudit.models.base import LanguageModel
from memaudit.models.start import with_start_token
from memaudit.records import Capabilities, Capability, WindowRecord
from memaudit.report.endpoint import VERBATIM, in_chat
from memaudit.report.wording import counted
from memaudit.runs.measured_lines import StartLine
from memaudit.runs.parts import ModelDescription
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import nats

START = "start-token"
OF_RECORDS = ("protocol", "infilling", "taxonomy")
"""Measures that rest on what the audit found of its windows as the model was trained; they are not taken twice."""
_METHOD = (
    "The same windows were given to the model a second time, as their ids alone, without {frame}, which stands before"
    " a text in training and not before the middle of one. The verdict rests on the first time."
)


class WithoutStart:
    """One line a window: which metrics make it a hit, with the start token and without."""

    name = START
    says_start = True
    needs: Capabilities = frozenset((Capability.CONTINUATIONS,))
    block = 64

    def __init__(self, bare: LanguageModel, *, fuzzy: bool) -> None:
        self.bare, self.fuzzy = bare, fuzzy

    def items(self, subject: Subject) -> range:
        """Return the places of all windows; none where the model has no start token."""
        return range(0 if self.bare is subject.model else len(subject.windows))

    def measure(self, subject: Subject, items: Sequence[int]) -> list[StartLine]:
        """Ask for the windows of a block, those of the sample to their ends."""
        found: dict[int, WindowRecord] = {}
        for whole in (True, False):
            places = [i for i in items if subject.records[i].sampled is whole]
            windows = [subject.windows[i] for i in places]
            found |= zip(places, measure(self.bare, windows, fuzzy=self.fuzzy, whole=whole), strict=True)
        names = [m.name for m in METRICS.values() if m.threshold is not None and known_of_all(subject.records, m.name)]
        return [
            {
                **about_window(subject.windows[i]),
                "with_start": _hits(subject.records[i], names),
                "without": _hits(found[i], names),
                "log_prob_with_start": subject.records[i].log_prob,
                "log_prob": found[i].log_prob,
            }
            for i in items
        ]

    def section(self, records: Sequence[StartLine], plan: MeasuredPlan) -> Section:
        """Return every rate both ways, and how many windows are another verdict."""
        frame = frame_of(plan["model"])
        title = "With the start token and without"
        if not records:
            said = "The model has no start token: both ways of asking are one."
            return Section(self.name, title, said, "No window was asked for twice.")
        changed = [r for r in records if r["with_start"][PRIMARY] != r["without"][PRIMARY]]
        return Section(
            self.name,
            title,
            _summary(records, changed, frame),
            _METHOD.format(frame=frame),
            [_rates(records, plan["model"]), *_listed(changed)],
            notes=[*_apart(records), *_once(plan)],
        )


def asked_twice(measures: Sequence[AnyMeasure], model: LanguageModel, *, fuzzy: bool) -> list[AnyMeasure]:
    """Return measures of the model without its start token: of the windows, and what else was asked for.

    Raises:
        ModelError: The model puts one before a text in any case.
    """
    bare = with_start_token(model, "none")
    others = [OfBareModel(each, bare) for each in measures if bare is not model and each.name not in OF_RECORDS]
    return [WithoutStart(bare, fuzzy=fuzzy), *others]


def _hits(record: WindowRecord, names: Sequence[str]) -> dict[str, bool]:
    return {name: bool(METRICS[name].hit(record.value(name))) for name in names}


def _rates(records: Sequence[StartLine], model: ModelDescription) -> Table:
    rows: list[list[Value]] = []
    for name in records[0]["without"]:
        for side, member in (("training", True), ("held-out", False)):
            own = [r for r in records if r["member"] is member]
            documents = [r["document"] for r in own]
            ways = [[r["with_start"][name] for r in own], [r["without"][name] for r in own]]
            cells: list[Value] = []
            for hits in ways:
                rate = stats.document_rate(hits, documents)
                cells += [rate.hits, rate.rate, bounds(rate)]
            differ = sum(a != b for a, b in zip(*ways, strict=True))
            label = VERBATIM if name == PRIMARY and in_chat(model) else METRICS[name].label
            rows.append([label, side, len(own), *cells, differ])
    columns = [Column("Metric"), Column("Windows"), Column("Of", "number")]
    for way in ("With", "Without"):
        columns += [Column(f"{way}: hits", "number"), Column("Documents", "share"), Column("95% interval", "interval")]
    return Table(
        "Every rate, with the start token and without", [*columns, Column("Windows that differ", "number")], rows
    )


def _listed(changed: Sequence[StartLine], most: int = 10) -> list[Table]:
    columns = [Column("Source"), Column("From token", "number"), Column("With the start token"), Column("Without")]
    said = {True: "verbatim", False: "not"}
    rows: list[list[Value]] = [
        [r["source"], r["start"], said[r["with_start"][PRIMARY]], said[r["without"][PRIMARY]]] for r in changed[:most]
    ]
    return [Table("Windows whose verdict differs, the first of them", columns, rows)] if rows else []


def _summary(records: Sequence[StartLine], changed: Sequence[StartLine], frame: str) -> str:
    told = []
    for side, member in (("training", True), ("held-out", False)):
        own = [r for r in records if r["member"] is member]
        if own:
            pair = [sum(r[way][PRIMARY] for r in own) for way in ("without", "with_start")]
            told.append(f"{pair[0]:,} of {len(own):,} {side} windows are verbatim without {frame}, {pair[1]:,} with it")
    differ = f"{len(changed):,} of {counted(len(records), 'window')} {'differs' if len(changed) == 1 else 'differ'}"
    return f"{'; '.join(told)}: {differ}."


def _apart(records: Sequence[StartLine]) -> list[str]:
    pairs = [(r["log_prob_with_start"], r["log_prob"]) for r in records]
    apart = [abs(a - b) for a, b in pairs if a is not None and b is not None]
    if not apart:
        return []
    return [f"The log-probabilities of suffixes lie up to {nats(max(apart))} nats apart."]


def _once(plan: MeasuredPlan) -> list[str]:
    names = [each for each in plan["options"]["measures"] if each in OF_RECORDS] if "options" in plan else []
    return [f"Taken as the model was trained alone: {', '.join(names)}."] if names else []
