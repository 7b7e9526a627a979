"""Does naming the data set help? Guided against general instruction (Golchin & Surdeanu 2023)."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.comparison.detection import Detection, Effect
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.base import Detector
from memaudit.audits.document_scores import readable
from memaudit.audits.documents import Member, about
from memaudit.audits.subject import Subject
from memaudit.findings import Control
from memaudit.metrics.fuzzy import rouge_l_text, words
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.sampling import continuation_text
from memaudit.records import Capability, TokenIds
from memaudit.runs.measured_lines import GuidedLine
from memaudit.runs.plans import MeasuredPlan, MembershipDesign
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats import rounding

LONGEST = 64
"""Tokens of the rest of a document that an answer is compared with, and tokens of an answer, at most."""
UNNAMED = (
    "Below is the beginning of a text. Write what comes next, up to the end of the text.\n\n"
    "Beginning: {beginning}\n\nWhat comes next:"
)
NAMED = (
    "Below is the beginning of a text from the {split} split of the data set {name}. Write what comes next, word for"
    " word as it stands in the {split} split of {name}.\n\n"
    "Beginning: {beginning}\n\nWhat comes next:"
)
TESTED = "sign-flip test of {count:,} pairs of answers"
CONTROL = "held-out text with the same instructions"
SIDES = (("suspects", True), ("held-out", False))
_SPACE = re.compile(r"\s")


class GuidedDetector:
    """Asks for the rest of every document twice: once the instruction names the data set, once it does not."""

    name = "guided"
    needs = frozenset((Capability.WRITING,))
    block = 16
    compares = False
    whole_files = False
    asked_by = "guided"

    def items(self, subject: Subject) -> list[Member]:
        """Return the documents of both sides, suspects first; none where no data set is named."""
        if not _options(subject).guided:
            return []
        sides = (True, subject.train), (False, subject.heldout)
        return [Member(side, document) for side, documents in sides for document in documents]

    def measure(self, subject: Subject, items: Sequence[Member]) -> list[GuidedLine]:
        """Return ROUGE-L of both answers for each document of a block; None where it could not be asked."""
        model, options = subject.model, _options(subject)
        encodings = model.tokenizer.encode_batch([item.document.text for item in items])
        cut = [_cut(i.document.text, e.ends, options) for i, e in zip(items, encodings, strict=True)]
        prompts = [model.tokenizer.encode_batch(instructions(begun, options)) for begun, _ in cut]
        limit = readable(model)
        room = [limit is None or max(len(p) for p in pair) + LONGEST <= limit for pair in prompts]
        asked = [i for i, (begun, rest) in enumerate(cut) if begun and words(rest) and room[i]]
        answers = iter(_answers(model, [prompt.ids for i in asked for prompt in prompts[i]]))
        records: list[GuidedLine] = []
        for i, item in enumerate(items):
            guided, general = (
                rouge_l_text(cut[i][1], next(answers)) or 0.0 if i in asked else None for _ in (NAMED, UNNAMED)
            )
            records.append({**about(item), "room": room[i], "guided": guided, "general": general})
        return records

    def declared(self, plan: MeasuredPlan) -> list[str]:
        """Return the one detection where a data set is named."""
        return [self.name] if plan["membership"]["guided"] else []

    def detections(self, records: Sequence[GuidedLine], plan: MeasuredPlan) -> list[Detection]:
        """Test whether naming the data set brings answers closer to the suspects' own text."""
        if not self.declared(plan):
            return []
        gains, seed = _gains(records, True), plan["membership"]["seed"]
        p_value = stats.sign_flip_test(gains, seed=seed)
        asked = sum(record["member"] for record in records)
        return [
            Detection(
                name=self.name,
                label="guided instruction",
                definition="ROUGE-L of the answer with the rest of the document, when the instruction names data set"
                " and split, minus the same when it does not (Golchin & Surdeanu 2023)",
                p_value=p_value,
                reason=TESTED.format(count=len(gains)) if gains else _why_none(records),
                effect=_effect(gains),
                members=len(gains),
                heldout=len(_gains(records, False)),
                undefined=asked - len(gains),
                effect_size=_paired_d(gains),
                controls=[_control(_gains(records, False), plan["membership"])],
            )
        ]

    def section(self, records: Sequence[GuidedLine], plan: MeasuredPlan) -> Section:
        """Return both answers' ROUGE-L by side and what the test says."""
        title = "Guided instruction"
        method = (
            "The model is prompted twice to complete a document from its first part: once the instruction names the"
            " data set and the split, once it does not. Greedy answers are compared with the true rest by ROUGE-L of"
            f" words, of at most {LONGEST} tokens each. The two answers for a document are a pair: their signs are"
            " flipped (Golchin & Surdeanu 2023 resample each by itself). General: "
            f"{_one_line(UNNAMED)!r} Guided: {_one_line(NAMED)!r}"
        )
        found = self.detections(records, plan)
        if not found:
            return Section(self.name, title, "Not run: no data set was named", method)
        [detection] = found
        options, p = plan["membership"], detection.p_value
        named = f"the {options['guided_split']} split of {options['guided']}"
        summary = f"No test: {detection.reason}"
        if p is not None and detection.effect.estimate is not None:
            gain = rounding.gain(detection.effect.estimate)
            summary = f"Naming {named} changes ROUGE-L with the suspects' rest by {gain} ({rounding.p_equals(p)})"
        return Section(self.name, title, summary, method, [_table(records)] if records else [], notes=_notes(records))


def instructions(beginning: str, options: MembershipOptions) -> list[str]:
    """Return the guided instruction for one document, then the general one; braces in a text stand for themselves."""
    named = {"name": options.guided, "split": options.guided_split, "beginning": beginning}
    return [template.format(**named) for template in (NAMED, UNNAMED)]


def _cut(text: str, ends: NDArray[np.int32], options: MembershipOptions) -> tuple[str, str]:
    """Return the beginning that the model is given and what should follow, both without space around them.

    Cut between words where there is a space behind the share of characters asked for, else between characters. Of the
    document the first ``options.tokens`` tokens count, of what follows the first `LONGEST` are compared with.
    """
    whole = text[: int(ends[: options.tokens][-1])] if len(ends) else ""
    place = round(options.overlap_prefix * len(whole))
    space = _SPACE.search(whole, place)
    if space and whole[space.end() :].strip():
        place = space.start()
    before = int(np.searchsorted(ends, place, side="right"))
    last = ends[before : before + LONGEST]
    return whole[:place].strip(), whole[place : int(last[-1])].strip() if len(last) else ""


def _answers(model: LanguageModel, prompts: Sequence[TokenIds]) -> list[str]:
    """Return the greedy answers in words, up to the end that the model sets."""
    written = [before_end(ids, model.end_ids) for ids in model.continuations(prompts, LONGEST)]
    return [continuation_text(model.tokenizer, *each) for each in zip(prompts, written, strict=True)]


def _options(subject: Subject) -> MembershipOptions:
    return MembershipOptions() if subject.reference_models is None else subject.reference_models.options


def _gains(records: Sequence[GuidedLine], member: bool) -> list[float]:
    """Return by how much the guided answer is closer, one value a document of this side that was asked for."""
    return [guided - general for guided, general in _answered(records, member)]


def _answered(records: Sequence[GuidedLine], member: bool) -> list[tuple[float, float]]:
    """Return ROUGE-L of the guided and of the general answer, a document of this side that was asked for."""
    both = ((record["guided"], record["general"]) for record in records if record["member"] is member)
    return [(guided, general) for guided, general in both if guided is not None and general is not None]


def _why_none(records: Sequence[GuidedLine]) -> str:
    suspects = [record for record in records if record["member"]]
    if suspects and not any(record["room"] for record in suspects):
        return "no suspect fits into the model's context with the instruction and an answer"
    return "no suspect has text to complete"


def _effect(gains: Sequence[float]) -> Effect:
    name = "ROUGE-L gained"
    if len(gains) < 2:
        return Effect(name, gains[0] if gains else None)
    mean, half = statistics.fmean(gains), 1.96 * statistics.stdev(gains) / len(gains) ** 0.5
    return Effect(name, mean, max(-1.0, mean - half), min(1.0, mean + half))


def _paired_d(gains: Sequence[float]) -> float | None:
    """Return Cohen's d of pairs: mean difference over its standard deviation; None where that is 0 or undefined."""
    spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
    return statistics.fmean(gains) / spread if spread > 0 else None


def _control(gains: Sequence[float], options: MembershipDesign) -> Control:
    """Return whether naming the data set leaves text that is not in it alone."""
    p = stats.sign_flip_test(gains, seed=options["seed"])
    if p is None:
        return Control(CONTROL, None, "no held-out document was prompted")
    gained = f"ROUGE-L gained {rounding.gain(statistics.fmean(gains))}, {rounding.p_equals(p)}"
    detail = f"{gained}, must be above {options['alpha']:g}"
    return Control(CONTROL, p > options["alpha"], detail)


def _table(records: Sequence[GuidedLine]) -> Table:
    rows: list[list[Value]] = []
    for name, member in SIDES:
        side = _answered(records, member)
        gains = _gains(records, member)
        effect = _effect(gains)
        means: list[Value] = [statistics.fmean(pair[way] for pair in side) if side else None for way in (0, 1)]
        interval: Value = None if effect.low is None or effect.high is None else [effect.low, effect.high]
        closer, farther = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        rows.append([name, len(side), *means, effect.estimate, interval, closer, farther])
    columns = [
        Column("Documents"),
        Column("Prompted", "number"),
        Column("Guided", "share"),
        Column("General", "share"),
    ]
    columns += [Column("Difference", "share"), Column("95% interval", "interval")]
    columns += [Column("Guided closer", "number"), Column("General closer", "number")]
    return Table("ROUGE-L of the answers with the true rest (means over documents)", columns, rows)


def _notes(records: Sequence[GuidedLine]) -> list[str]:
    notes = ["Only a model that follows instructions answers; for any other a null result here is uninformative."]
    if crowded := sum(not record["room"] for record in records):
        notes.append(f"{crowded:,} documents do not fit into the model's context with an answer: they were skipped.")
    if short := sum(record["room"] and record["guided"] is None for record in records):
        notes.append(f"{short:,} documents are too short to be cut in two: they were skipped.")
    return notes


def _one_line(template: str) -> str:
    return " ".join(template.split())


GUIDED: Detector[Member, GuidedLine] = GuidedDetector()
