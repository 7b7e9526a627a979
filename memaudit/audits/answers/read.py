"""Records of answers: read strictly, attempts at one prompt joined, each side its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from memaudit.audits.answers.fields import AnswerFields, label_in, member_in, outputs_in, text_in
from memaudit.audits.answers.harness import as_answer, is_harness_log
from memaudit.audits.benchmark.items import benchmark_sources, open_records
from memaudit.errors import InputError
from memaudit.runs.parts import FileDigest, Summary
from memaudit.text.corpus.objects import Listed, specs_of
from memaudit.text.corpus.rows import RecordError, located
from memaudit.text.corpus.tally import note_rejected

OF_HARNESS = AnswerFields("prompt", "target", "output", "id")
BOTH_SAY = "each record says itself which side it is of, and held-out answers were given too"


@dataclass(slots=True)
class Answered:
    """One prompt, its true text, and what was answered."""

    prompt: str
    target: str
    outputs: list[str]
    """One an attempt, in the order read."""
    document: str
    source: str
    """``file:line`` of the first attempt."""
    member: bool
    domain: str | None = None


@dataclass(slots=True)
class Side:
    """What was read of training or of held-out text."""

    prompts: list[Answered] = field(default_factory=list)
    files: list[FileDigest] = field(default_factory=list)
    specs: list[str] = field(default_factory=list)
    empty: int = 0
    """Records whose true text is blank: nothing can be reproduced."""
    rejected: int = 0
    first_rejected: list[str] = field(default_factory=list)
    filtered: int = 0
    """Lines of a sample log that repeat an item for another filter."""

    def summary(self, skip_bad: bool) -> Summary:
        """Return what a plan says of this side."""
        domains: dict[str, int] = {}
        for each in self.prompts:
            if each.domain is not None:
                domains[each.domain] = domains.get(each.domain, 0) + 1
        count = len(self.prompts)
        summary: Summary = {
            "specs": self.specs,
            "files": self.files,
            "documents": len({each.document for each in self.prompts}),
            "empty": self.empty,
            "units": f"{count:,} prompts with their answers" if count else "no answers were given",
            "domains": domains,
        }
        if skip_bad:
            summary |= {"rejected": self.rejected, "first_rejected": self.first_rejected}
        return summary


def read_answers(
    answers: Listed, heldout: Listed, fields: AnswerFields, *, skip_bad: bool, max_expand: int | None
) -> tuple[Side, Side, dict[str, str]]:
    """Read the answers to training text and to held-out text.

    Args:
        answers: Files or objects; where records say which side they are of, those of both sides.
        heldout: Answers to held-out text, where they have files of their own.
        fields: Names of the fields.
        skip_bad: Count records that cannot be used instead of raising at the first.
        max_expand: Bytes that one compressed file may give.

    Returns:
        Both sides, and the fields that were read.

    Raises:
        InputError: A record cannot be used (``file:line``), fields cannot be told, or there is no answer at all.
    """
    theirs = Side(specs=specs_of(heldout))
    both = _Reading(fields, Side(specs=specs_of(answers)), theirs, skip_bad, max_expand, sides=not heldout)
    both.read(answers)
    other = _Reading(fields, theirs, theirs, skip_bad, max_expand, sides=False)
    other.read(heldout, member=False)
    ours = both.ours
    if not (ours.prompts or theirs.prompts):
        raise InputError(f"no answers in {', '.join(specs_of(answers))}", f"{ours.empty:,} without a true text")
    if not heldout and theirs.prompts:
        theirs.specs, theirs.files = ours.specs, ours.files
    return ours, theirs, both.used


class _Reading:
    """What was read so far of one list of files."""

    def __init__(
        self, fields: AnswerFields, ours: Side, theirs: Side, skip_bad: bool, max_expand: int | None, *, sides: bool
    ) -> None:
        self.asked, self.ours, self.theirs = fields, ours, theirs
        self.skip_bad, self.max_expand, self.sides = skip_bad, max_expand, sides
        self.used: dict[str, str] = {}
        self._known: dict[tuple[Any, ...], Answered] = {}
        self._several = False

    def read(self, given: Listed, member: bool = True) -> None:
        """Read all files."""
        sources = benchmark_sources(given) if given else []
        self._several = len(sources) > 1
        for source in sources:
            stream, rows = open_records(source, self.max_expand)
            self._read_rows(stream.name, rows, member)
            self.ours.files.append(FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes))

    def _read_rows(self, name: str, rows: Iterator[Any], member: bool) -> None:
        fields: AnswerFields | None = None
        first_filter: Any = None
        for place, row in rows:
            if row is None:
                continue
            try:
                if isinstance(row, RecordError):
                    raise row
                log = is_harness_log(row) and not (self.asked.target or self.asked.output)
                if fields is None:
                    fields, first_filter = self._settled(row, name, log), row.get("filter")
                    self.used |= {part: used for part, used in dataclasses.asdict(fields).items() if used}
                if log and row.get("filter") != first_filter:
                    self.ours.filtered += 1
                    continue
                self._add(as_answer(row) if log else row, fields, name, located(name, place), member)
            except RecordError as problem:
                note_rejected(self.ours.first_rejected, located(name, place), problem, self.skip_bad)
                self.ours.rejected += 1

    def _settled(self, row: Mapping[str, Any], name: str, log: bool) -> AnswerFields:
        fields = OF_HARNESS if log else self.asked.settled(list(row), name)
        if fields.member and not self.sides:
            if self.asked.member:
                raise InputError(f"{name}: {BOTH_SAY}", "leave out --member-field or --heldout-answers")
            fields = dataclasses.replace(fields, member="")
        return fields

    def _add(self, row: Mapping[str, Any], fields: AnswerFields, name: str, source: str, member: bool) -> None:
        said = member_in(row, fields.member)
        side = self.theirs if said is False else self.ours
        target = text_in(row, fields.target, "true text")
        prompt = text_in(row, fields.prompt, "prompt") if fields.prompt else ""
        outputs, label = outputs_in(row, fields.output), label_in(row, fields.id)
        document, domain = label_in(row, fields.document), label_in(row, fields.domain)
        if not target.strip():
            side.empty += 1
            return
        member = member if said is None else said
        key = self._key(name, label, member, prompt, target)
        known = self._known.get(key) if key else None
        if known is not None:
            if (known.prompt, known.target) != (prompt, target):
                raise InputError(
                    f'{source}: id "{label}" also stands at {known.source}, with another prompt or true text',
                    "attempts at one prompt share all three; --document-field names what several prompts belong to",
                )
            known.outputs += outputs
            return
        unit = document or label or source
        if unit != source and self._several:
            unit = f"{name}#{unit}"
        answered = Answered(prompt, target, list(outputs), unit, source, member, domain)
        side.prompts.append(answered)
        if key:
            self._known[key] = answered

    def _key(self, name: str, label: str | None, member: bool, prompt: str, target: str) -> tuple[Any, ...] | None:
        """Return what attempts at one prompt have in common; None where nothing tells them from other prompts."""
        if label is not None:
            return name, member, label
        return (name, member, prompt, target) if prompt else None
