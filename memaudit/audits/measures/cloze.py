"""Name cloze: does the model give back the one name of a passage? Training text beside held-out text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import Member, about, bounds, mean_share, shown, sides, ties, worst
from memaudit.audits.measures.infilling import Filler
from memaudit.audits.needs import check_needs
from memaudit.audits.subject import Measure, Subject
from memaudit.errors import InputError
from memaudit.metrics.cloze import PASSAGE_WORDS, NamePassage, begins_with_name, name_passages
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, TokenIds, Window, capabilities_in
from memaudit.runs.measured_lines import ClozeLine
from memaudit.runs.plans import MeasuredPlan
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import count, p_equals

MAX_PASSAGES = 8
"""Passages of one document that are asked, evenly over it: a book must not take the whole run."""
MAX_SHOWN = 15
"""Documents listed in the table of those that the model knows best."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A passage as ids of the model: the name is ``ids[first:stop]``."""

    ids: TokenIds
    first: int
    stop: int
    name: str


class Cloze:
    """Takes the name out of every passage that has just one, and asks for it."""

    name = "cloze"
    needs = frozenset((Capability.CONTINUATIONS,))
    block = 16

    def items(self, subject: Subject) -> list[Member]:
        """Return the documents of both sides, training documents first.

        Raises:
            InputError: There is no document, or the model neither writes nor fills in.
        """
        both = (True, subject.train), (False, subject.heldout)
        found = [Member(side, document) for side, documents in both for document in documents]
        if not found:
            raise InputError("there are no documents, only windows", "give the training text with --train")
        if Capability.WRITING not in subject.model.capabilities:
            check_needs("the measure 'cloze'", frozenset((Capability.INFILLING,)), subject.model)
        return found

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[ClozeLine]:
        """Return, for each document, the names that were asked for and which came back."""
        passages = [_drawn(name_passages(item.document.text)) for item in items]
        asked = [_questions(subject.model, some) for some in passages]
        questions = [question for some in asked for question in some if question is not None]
        right = iter(_right(subject.model, questions))
        records: list[ClozeLine] = []
        for item, some in zip(items, asked, strict=True):
            names = [question.name for question in some if question is not None]
            answers = [bool(next(right)) for _ in names]
            records.append({**about(item), "names": names, "right": answers, "unreadable": len(some) - len(names)})
        return records

    def section(self, records: Sequence[ClozeLine], plan: MeasuredPlan) -> Section:
        """Return how many names come back on either side, and whether it is more on the training side."""
        groups = sides(records)
        rates = [_rate(group) for group in groups.values()]
        p_value = _p_value(list(groups.values()), plan)
        tested = (
            ""
            if p_value is None
            else f"; {p_equals(p_value)} under the hypothesis that training documents are no better known"
        )
        masked = Capability.WRITING not in capabilities_in(plan["model"])
        read = (
            "a masked model reads both sides of the name, fills as many masks as it has tokens, the most confident"
            " first, and must fill all of them right"
            if masked
            else "a next-token model reads what precedes the name in the passage, nothing after it, and its greedy"
            " continuation must begin with the name"
        )
        return Section(
            name=self.name,
            title="Name cloze",
            summary=f"Of masked names, {shown(rates[0])} are recovered in training documents, and {shown(rates[1])} in"
            f" held-out ones{tested}",
            method=(
                f"Documents are cut into passages of whole sentences, {PASSAGE_WORDS} words or more; those with"
                " exactly one proper name are used (Chang et al. 2023), at most"
                f" {MAX_PASSAGES} a document. A name is a capitalised word inside a sentence that the document never"
                f" writes in lower case; no model is used to find it. The name is taken out: {read}. Rates are means"
                " over documents with 95% Clopper-Pearson intervals; the test permutes documents, one-sided."
            ),
            tables=[_table(groups, rates), _known(records)],
            notes=_notes(records, masked),
        )


def _drawn(passages: Sequence[NamePassage]) -> list[NamePassage]:
    """Return at most `MAX_PASSAGES` of a document's passages, evenly over it."""
    places = np.linspace(0, len(passages) - 1, min(MAX_PASSAGES, len(passages))).round().astype(int)
    return [passages[place] for place in places]


def _questions(model: LanguageModel, passages: Sequence[NamePassage]) -> list[Question | None]:
    """Return the passages as ids; None where the name does not stand in tokens of its own, or has no room."""
    encodings = model.tokenizer.encode_batch([passage.text for passage in passages])
    questions: list[Question | None] = []
    for passage, encoding in zip(passages, encodings, strict=True):
        named = np.flatnonzero((encoding.starts < passage.end) & (encoding.ends > passage.start))
        if not len(named):
            questions.append(None)
            continue
        first, stop = int(named[0]), int(named[-1]) + 1
        covered = passage.text[encoding.starts[first] : encoding.ends[stop - 1]]
        ids = encoding.ids
        fits = covered.strip() == passage.name and first > 0 and stop < len(ids)
        question = Question(ids, first, stop, passage.name)
        questions.append(_in_room(question, model) if fits and not _unknown(ids[first:stop], model) else None)
    return questions


def _unknown(ids: TokenIds, model: LanguageModel) -> bool:
    """Return whether a name has a token that stands for any text outside the vocabulary: it cannot be given back."""
    return model.tokenizer.unknown_id is not None and bool((ids == model.tokenizer.unknown_id).any())


def _in_room(question: Question, model: LanguageModel) -> Question | None:
    """Return the question cut to what the model can read around the name, or None where there is no room."""
    # Two places for the tokens that a model may put around a text.
    room = None if model.context_length is None else model.context_length - 2
    if room is None or len(question.ids) <= room:
        return question
    length = question.stop - question.first
    if length + 2 > room:
        return None
    masked = Capability.WRITING not in model.capabilities
    before = min(question.first, (room - length) // 2 if masked else room - length - 1)
    start = question.first - before
    return Question(question.ids[start : start + room], before, before + length, question.name)


def _right(model: LanguageModel, questions: Sequence[Question]) -> list[bool]:
    """Return which names come back."""
    if not questions:
        return []
    if Capability.WRITING not in model.capabilities:
        texts = [question.ids for question in questions]
        places = [np.arange(question.first, question.stop) for question in questions]
        filled = cast(Filler, model).fill(texts, places, "confident")
        return [bool((text == q.ids).all()) for text, q in zip(filled, questions, strict=True)]
    # One token more than the name has: it must end there, and "Ann" is not right where "Anna" goes on.
    windows = [Window(q.ids[: q.first], q.ids[q.first : q.stop + 1]) for q in questions]
    continued = model.greedy_continuations(windows)
    decode = model.tokenizer.decode
    return [
        begins_with_name(decode(ids), decode(question.ids[question.first : question.stop]).strip())
        for ids, question in zip(continued, questions, strict=True)
    ]


def _asked(records: Sequence[ClozeLine]) -> Iterator[tuple[ClozeLine, float]]:
    """Yield the documents that were asked for a name, each with the share that came back."""
    return ((record, sum(record["right"]) / len(record["right"])) for record in records if record["right"])


def _rate(records: Sequence[ClozeLine]) -> stats.Rate:
    return mean_share([share for _, share in _asked(records)])


def _p_value(groups: Sequence[Sequence[ClozeLine]], plan: MeasuredPlan) -> float | None:
    values = [[share for _, share in _asked(group)] for group in groups]
    if not all(values):
        return None
    asked = [[len(record["right"]) for record, _ in _asked(group)] for group in groups]
    return stats.permutation_test(*values, seed=plan["options"]["seed"], windows=(asked[0], asked[1]))[0]


def _table(groups: Mapping[str, Sequence[ClozeLine]], rates: Sequence[stats.Rate]) -> Table:
    columns = [Column("Text"), Column("Documents", "number"), Column("Names", "number"), Column("Recovered", "share")]
    columns += [Column("95% interval", "interval"), Column("Always the commonest name", "share")]
    rows: list[list[Value]] = []
    for (name, group), rate in zip(groups.items(), rates, strict=True):
        names = Counter(each for record in group for each in record["names"])
        guess = max(names.values()) / names.total() if names else None
        rows.append([name, rate.n, names.total(), rate.rate, bounds(rate), guess])
    gap = stats.difference_interval(rates[0], rates[1])
    if gap is not None:
        rows.append(["Difference", None, None, gap.estimate, [gap.low, gap.high], None])
    return Table("Names recovered", columns, rows)


def _recovered(record: ClozeLine) -> float:
    return sum(record["right"])


def _known(records: Sequence[ClozeLine]) -> Table:
    known = worst(records, _recovered, MAX_SHOWN)
    columns = [Column("Document"), Column("Text"), Column("Recovered", "number"), Column("Masked", "number")]
    rows: list[list[Value]] = [
        [
            record["source"],
            "training" if record["member"] else "held-out",
            sum(record["right"]),
            len(record["right"]),
            ", ".join(dict.fromkeys(n for n, right in zip(record["names"], record["right"], strict=True) if right)),
        ]
        for record in known
    ]
    return Table("Documents with the most recovered names", [*columns, Column("Names")], rows)


def _notes(records: Sequence[ClozeLine], masked: bool) -> list[str]:
    notes = [
        "A name is also recovered where it is the commonest one, or where the passage gives it away: held-out text"
        " measures that, if it has names of the same kind."
    ]
    if not masked:
        notes.append("What follows a name is not read, so these rates are lower than those of published clozes.")
    notes += ties(records, _recovered, MAX_SHOWN, lambda names: f"{count(names)} recovered names")
    silent = sum(not record["names"] and not record["unreadable"] for record in records)
    if silent:
        notes.append(f"{silent:,} documents have no passage with exactly one name and are not counted.")
    if unreadable := sum(record["unreadable"] for record in records):
        notes.append(f"{unreadable:,} passages were skipped: the name has no tokens of its own, or lies at an edge.")
    if not all(any(r["right"] for r in records if r["member"] == side) for side in (True, False)):
        notes.append("One side has no name to mask: there is nothing to compare.")
    return notes


CLOZE: Measure[Member, ClozeLine] = Cloze()
