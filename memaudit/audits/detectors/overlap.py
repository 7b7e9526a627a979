"""Does the model complete benchmark items? N-gram accuracy and continuations, suspects beside held-out documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import memaudit.stats as stats
from memaudit.audits.comparison.detection import Detection, compare
from memaudit.audits.comparison.nulls import NULL_NAME
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.base import Detector
from memaudit.audits.document_scores import readable
from memaudit.audits.documents import Member, about, bounds, mean_share, shown, ties, worst
from memaudit.audits.subject import Subject
from memaudit.metrics.overlap import GRAM, STARTS, gram_starts, overlap
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, TokenIds, Window
from memaudit.runs.measured_lines import Completion, OverlapAnswer, OverlapLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.runs.schema import as_record
from memaudit.sections import Column, Graph, Section, Series, Table, Value
from memaudit.stats.rounding import percent

Read = Callable[[OverlapAnswer], float | None]
Find = Callable[[OverlapLine], float | None]

NAME = "ngram-accuracy"
MAX_CONTINUED = 64
"""Tokens that a document is continued by, at most."""
MAX_LISTED = 10
SIDES = (("suspects", True), ("held-out", False))
LABEL = "n-gram accuracy"
DEFINITION = (
    f"share of {STARTS} places of a document, the first behind 2 tokens and the last {GRAM} before the end, where"
    f" greedy decoding of all preceding text gives the next {GRAM} tokens exactly (Xu et al. 2024)"
)


class OverlapDetector:
    """Asks for n-grams all over a document, and for the rest of it behind its first part."""

    name = "overlap"
    needs = frozenset((Capability.CONTINUATIONS,))
    block = 64
    compares = True
    whole_files = False
    asked_by = None

    def items(self, subject: Subject) -> list[Member]:
        """Return the documents of both sides, suspects first."""
        sides = (True, subject.train), (False, subject.heldout)
        return [Member(side, document) for side, documents in sides for document in documents]

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[OverlapLine]:
        """Return what the model gives of each document of a block, and what the null model gives."""
        options, most = _options(subject), _room(subject)
        encodings = subject.model.tokenizer.encode_batch([item.document.text for item in items])
        texts = [encoding.ids[:most] for encoding in encodings]
        nulls = _null_answers(subject, items, texts, options.overlap_prefix)
        answers = ask(subject.model, texts, options.overlap_prefix)
        return [
            {**about(item), "tokens": len(encoding), "read": len(text), **answer, "null": null}
            for item, encoding, text, answer, null in zip(items, encodings, texts, answers, nulls, strict=True)
        ]

    def declared(self, plan: MeasuredPlan) -> list[str]:  # noqa: ARG002
        """Return the one detection: how well documents are continued is shown and not tested."""
        return [NAME]

    def detections(self, records: Sequence[OverlapLine], plan: MeasuredPlan) -> list[Detection]:
        """Test n-gram accuracy of suspects against held-out documents."""
        names = dict.fromkeys(name for record in records for name in record["null"])
        return [
            compare(
                records,
                [record["accuracy"] for record in records],
                {name: [_of_null(name, _accuracy)(record) for record in records] for name in names},
                name=NAME,
                label=LABEL,
                definition=DEFINITION,
                plan=plan,
            )
        ]

    def section(self, records: Sequence[OverlapLine], plan: MeasuredPlan) -> Section:
        """Return n-gram accuracy and overlap of continuations by side, beside the null model."""
        share = plan["membership"]["overlap_prefix"]
        ours, theirs = (mean_share(_values(records, member, _accuracy)) for _, member in SIDES)
        return Section(
            self.name,
            "Continuation overlap",
            f"Of the {GRAM}-grams probed, the model gives {shown(ours)} of the suspects' exactly, and"
            f" {shown(theirs)} of the held-out documents'",
            f"N-gram accuracy: {DEFINITION}. Continuation: the first {percent(share)} of a document's tokens are"
            f" given and greedily continued by as many as follow, at most {MAX_CONTINUED}; compared on token ids with"
            " what does follow. A masked model fills masks from left to right, with nothing behind them. The null model"
            " never saw the document. Means over documents with 95% Clopper-Pearson intervals (conservative for"
            " shares), differences with Newcombe's; only n-gram accuracy is tested.",
            [_table(records), *_listing(records)],
            [_graph(records)] if records else [],
            _notes(records),
        )


def ask(model: LanguageModel, texts: Sequence[TokenIds], prefix: float) -> list[OverlapAnswer]:
    """Return n-gram accuracy and completion of every text, each None where the text is too short for it.

    Args:
        model: Of any family.
        texts: Token ids, none longer than the model reads at once.
        prefix: Share of a text that its continuation is asked behind.
    """
    starts = [gram_starts(len(text)) for text in texts]
    grams = [Window(text[:s], text[s : s + GRAM]) for text, own in zip(texts, starts, strict=True) for s in own]
    given = iter(_exact(model, grams))
    hits = [[next(given) for _ in own] for own in starts]
    cuts = [min(max(1, round(prefix * len(text))), len(text) - 1) for text in texts]
    rests = [Window(t[:cut], t[cut : cut + MAX_CONTINUED]) for t, cut in zip(texts, cuts, strict=True) if cut > 0]
    continued = iter(zip(rests, model.greedy_continuations(rests), strict=True))
    found: list[OverlapAnswer] = []
    for cut, own in zip(cuts, hits, strict=True):
        completion = None
        if cut > 0:
            window, continuation = next(continued)
            values = overlap(window.suffix, continuation)
            completion = None if values is None else as_record(values, Completion)
        found.append({"accuracy": sum(own) / len(own) if own else None, "starts": len(own), "completion": completion})
    return found


def _exact(model: LanguageModel, windows: Sequence[Window]) -> list[bool]:
    """Return which suffixes greedy decoding gives whole."""
    if not windows:
        return []
    matched = model.screen(windows)
    return [bool(count == len(w.suffix)) for w, count in zip(windows, matched, strict=True)]


def _null_answers(
    subject: Subject, items: Sequence[Member], texts: Sequence[TokenIds], prefix: float
) -> list[dict[str, OverlapAnswer]]:
    """Return the answers of the null model that never saw each document, by its name; nothing where there is none."""
    if subject.reference_models is None:
        return [{} for _ in items]
    models = [subject.reference_models.null(item.member, item.document.id) for item in items]
    return [
        {NULL_NAME: answer} for model, text in zip(models, texts, strict=True) for answer in ask(model, [text], prefix)
    ]


def _options(subject: Subject) -> MembershipOptions:
    return MembershipOptions() if subject.reference_models is None else subject.reference_models.options


def _room(subject: Subject) -> int:
    """Return how many tokens of a document are asked about: what one pass holds, of a masked model with its ends."""
    most, model = _options(subject).tokens, subject.model
    limit = readable(model)
    return most if limit is None else max(0, min(most, limit))


def _accuracy(record: OverlapAnswer) -> float | None:
    return record["accuracy"]


def _completion(value: Callable[[Completion], float]) -> Read:
    """Return how to read a value of the completion, where there is one."""
    return lambda answer: None if answer["completion"] is None else float(value(answer["completion"]))


def _of_null(name: str, read: Read) -> Find:
    """Return how to read from a null model's answer what ``read`` reads from the model's."""
    return lambda record: read(record["null"][name]) if name in record["null"] else None


def _values(records: Sequence[OverlapLine], member: bool, find: Find) -> list[float]:
    found = (find(record) for record in records if record["member"] is member)
    return [value for value in found if value is not None]


def _table(records: Sequence[OverlapLine]) -> Table:
    reads = {
        f"{GRAM}-grams given exactly": _accuracy,
        "Continuation: verbatim from its first token": _completion(lambda c: c["matched"] / c["compared"]),
        "Continuation: longest run in common": _completion(lambda c: c["longest"] / c["compared"]),
        "Continuation: edit similarity": _completion(lambda c: c["edit_similarity"]),
        "Continuation: ROUGE-L": _completion(lambda c: c["rouge_l"]),
    }
    asked: list[tuple[str, str, Find]] = [("model", label, read) for label, read in reads.items()]
    names = dict.fromkeys(name for record in records for name in record["null"])
    asked += [(name, label, _of_null(name, read)) for name in names for label, read in reads.items()]
    rows: list[list[Value]] = []
    for model, label, find in asked:
        ours, theirs = (mean_share(_values(records, member, find)) for _, member in SIDES)
        gap = stats.difference_interval(ours, theirs)
        difference: list[Value] = [None, None] if gap is None else [gap.estimate, [gap.low, gap.high]]
        rows.append([model, label, ours.n, ours.rate, bounds(ours), theirs.n, theirs.rate, bounds(theirs), *difference])
    sides = [
        [Column(f"{name}: documents", "number"), Column("mean", "share"), Column("95% interval", "interval")]
        for name, _ in SIDES
    ]
    columns = [Column("Model"), Column("Value"), *sides[0], *sides[1]]
    columns += [Column("Difference", "share"), Column("95% interval", "interval")]
    return Table("What the model reproduces of documents from their beginnings (means over documents)", columns, rows)


def _listing(records: Sequence[OverlapLine]) -> list[Table]:
    """Return the suspects that are given best, if any is given at all."""
    listed = worst([r for r in records if r["member"]], _accuracy, MAX_LISTED)
    longest, rouge = _completion(lambda c: c["longest"]), _completion(lambda c: c["rouge_l"])
    rows: list[list[Value]] = [[r["source"], r["accuracy"], longest(r), rouge(r)] for r in listed]
    columns = [Column("Document"), Column(f"{GRAM}-grams given", "share")]
    columns += [Column("Longest run (tokens)", "number"), Column("ROUGE-L", "share")]
    return [Table(f"Suspects of which most {GRAM}-grams are given", columns, rows)] if rows else []


def _graph(records: Sequence[OverlapLine]) -> Graph:
    series = []
    for name, member in SIDES:
        values = _values(records, member, _accuracy)
        points: list[list[float | None]] = []
        for step in range(STARTS + 1):
            least = step / STARTS
            rate = stats.document_rate([v >= least for v in values], [str(i) for i in range(len(values))])
            points.append([least, rate.rate, rate.low, rate.high])
        if values:
            series.append(Series(name, points))
    return Graph(
        "Documents by n-gram accuracy",
        f"Share of documents of which at least this share of {GRAM}-grams is given exactly, with 95% intervals.",
        f"{GRAM}-grams given, at least",
        "Documents",
        series,
        x_share=True,
    )


def _notes(records: Sequence[OverlapLine]) -> list[str]:
    notes = ["A model that saw a paraphrase of a text, or memorized it only in part, need not reproduce it."]
    if short := sum(record["accuracy"] is None for record in records):
        notes.append(f"{short:,} documents have fewer than {GRAM + 2} tokens: no {GRAM}-gram was probed.")
    suspects = [r for r in records if r["member"]]
    notes += ties(suspects, _accuracy, MAX_LISTED, lambda share: f"{percent(share)} of their {GRAM}-grams given")
    if cut := sum(record["read"] < record["tokens"] for record in records):
        notes.append(f"Of {cut:,} documents only the beginning was probed: as much as one pass reads.")
    return notes


OVERLAP: Detector[Member, OverlapLine] = OverlapDetector()
