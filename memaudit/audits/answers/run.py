"""Answers that somebody else produced, through the same audit: windows and continuations are given, not asked for.

An API or an engine wrote the outputs; here they are compared with the true texts, training text beside text that the
model never saw, with the metrics, statistics, verdict and report of any audit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.audits.answers.fields import AnswerFields
from memaudit.audits.answers.read import Side, read_answers
from memaudit.audits.answers.table import AnswerTable, attempts_of, digest_of, words_of_answers
from memaudit.audits.answers.whole import cut_within, whole_answers
from memaudit.audits.answers.windows import chosen_windows
from memaudit.audits.answers.words import WORDS
from memaudit.audits.extraction.copies import Measured, plan_copies
from memaudit.audits.extraction.inputs import AuditInputs, Sources
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import Extraction, Progress
from memaudit.audits.lifecycle import Delivery, carry_out
from memaudit.audits.self_tests import check_round_trip
from memaudit.errors import InputError, one_line
from memaudit.models.loading.load import GivenModel
from memaudit.records import SHOWN, Shown
from memaudit.runs import parts
from memaudit.runs.directory import RunDirectory
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.plans import AnswersDescription, CopiesDescription, ExtractionSubject
from memaudit.runs.schema import as_record
from memaudit.stats.rounding import percent
from memaudit.text.corpus.objects import Listed, TextSource, listed
from memaudit.text.corpus.read import read_corpus
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.index.manifest import load_tokenizer

ALL = 10**9
"""Prompts a side, where nobody asked for fewer: comparing them costs next to nothing."""
_FIELDS = {f"{field.name}_field": field.name for field in dataclasses.fields(AnswerFields)}


def audit_answers(
    answers: TextSource,
    heldout_answers: TextSource = (),
    *,
    train: TextSource = (),
    index: str | Path | None = None,
    tokenizer: str | Path | None = None,
    out: str | Path | None = None,
    options: AuditOptions | None = None,
    name: str = "",
    invocation: Invocation | None = None,
    formats: Sequence[str] = ("html",),
    shown: Shown = SHOWN,
    progress: Progress | None = None,
    **fields: Any,
) -> Audit:
    """Audit outputs that somebody else produced for verbatim and fuzzy memorization: no model is asked.

    Args:
        answers: Files or objects with a prompt, its true text and the output, or a list of outputs, one an attempt:
            JSON lines, JSON, CSV, Parquet, or a sample log of lm-evaluation-harness. A field ``member`` says which
            records are of training text, where both sides are in one file.
        heldout_answers: Answers to prompts of text that the model never saw.
        train: Training text, to count copies of true texts and of other outputs in; or else
        index: Folder of an index of words of it.
        tokenizer: Folder of a model whose tokens are compared; by default words.
        out: Run directory; the same call resumes what is in it. By default ``runs/answers-IDENTITY``.
        options: The policy, the seed, most prompts a side (all by default), and how ``train`` is read.
        name: How the report calls the model; by default the first file.
        invocation: What repeats the run; by default this call.
        formats: What to write beside report.json and records.parquet.
        shown: What of the texts may stand in these files.
        progress: Told after every block.
        **fields: Names of fields (``prompt_field``, ``target_field``, ``output_field``, ``id_field``,
            ``document_field``, ``domain_field``, ``member_field``), and single options by name.

    Returns:
        The finished audit. Without answers to held-out text its verdict is *inconclusive*.

    Raises:
        MemauditError: Bad input, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.audit_answers", audit_answers, locals())
    named = {_FIELDS[key]: value for key, value in fields.items() if key in _FIELDS}
    others = {key: value for key, value in fields.items() if key not in _FIELDS}
    chosen = dataclasses.replace(options or AuditOptions(limit=ALL), **others)
    sides = listed(answers, "answers"), listed(heldout_answers, "heldout_answers")
    given = Answers(*sides, AnswerFields(**named), listed(train, "train"), index, tokenizer)
    return carry_out(AnswerAudit(given, name, chosen, progress), Delivery(repeated, out, formats, shown))


@dataclass(frozen=True, slots=True)
class Answers:
    """What was given in place of a model."""

    answers: Listed
    heldout: Listed
    fields: AnswerFields
    train: Listed
    index: str | Path | None
    tokenizer: str | Path | None


class AnswerAudit(Extraction):
    """An audit whose windows and continuations are read, each true text as long as it is."""

    def __init__(self, given: Answers, name: str, options: AuditOptions, progress: Progress | None) -> None:
        sources = Sources((given.train, ()), (None, None), given.index)
        super().__init__(GivenModel(None, name), sources, options, progress)
        self.name, self.answers = name, given

    def prepare(self) -> None:
        """Read the answers, cut them into tokens, and choose the prompts."""
        given, options = self.answers, self.options
        if not given.answers:
            raise InputError("no answers", "give --answers FILE")
        *sides, used = read_answers(
            given.answers, given.heldout, given.fields, skip_bad=options.skip_bad, max_expand=options.max_expand
        )
        self.sides: tuple[Side, Side] = sides[0], sides[1]
        counts = [len(each.outputs) for side in self.sides for each in side.prompts]
        few, most = min(counts), max(counts)
        tokenizer = words_of_answers(self.sides, few) if given.tokenizer is None else _tokenizer(given.tokenizer)
        train, heldout = ([attempts_of(each, tokenizer, few) for each in side.prompts] for side in self.sides)
        self.kept, drawn = chosen_windows(
            train, heldout, limit=options.limit, seed=options.seed, allow_overlap=options.allow_overlap
        )
        about: AnswersDescription = {
            "fields": used,
            "attempts": few,
            "most": most,
            "tokens": WORDS if given.tokenizer is None else f"tokens of {given.tokenizer}",
        }
        copies, index = self._copies(about)
        self.about = about
        summaries = self.sides[0].summary(options.skip_bad), self.sides[1].summary(options.skip_bad)
        self.inputs = AuditInputs(drawn, summaries, None, copies, index)
        self.model = AnswerTable(tokenizer, self.kept, digest_of(self.sides), _notes(about))
        self.name = self.name or self.sides[0].specs[0]
        prefix, suffix = (max(len(getattr(each.window, part)) for each in self.kept) for part in ("prefix", "suffix"))
        self.options = dataclasses.replace(options, exhaustive=True, fuzzy=True, prefix=prefix, suffix=suffix)
        self.base, self.training = None, None
        self.subject = self.inputs.subject(self.model, None, self.options, documents=False)

    def _copies(self, about: AnswersDescription) -> tuple[CopiesDescription, CorpusIndex | None]:
        """Return where copies are counted, and the index of it; the training text is told in ``about``."""
        options, given = self.options, self.answers
        if given.index is not None and given.train:
            raise InputError("an index and training text to count copies in", "leave out --index or --train")
        if not given.train:
            index = self.sources.open_index()
            reason = "no training text was given, and no index of it" if options.copies else "not requested"
            copies: CopiesDescription = {"counted": False, "reason": reason, "index": None}
            return (copies if index is None else plan_copies(options.copies, index, 0, [])), index
        corpus = read_corpus(
            given.train,
            text_field=options.text_field,
            split=options.split,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )
        corpus.check()
        documents = Measured(corpus)
        index = CorpusIndex.of_documents(documents) if options.copies else None
        about["searched"] = corpus.summary()
        return plan_copies(options.copies, None, documents.characters, about["searched"]["specs"]), index

    def plan(self) -> ExtractionSubject:
        """Return the plan of any audit, with what was given in place of a model, which is text and not token ids."""
        about = super().plan()
        tested = as_record(check_round_trip(self.model, self.inputs.drawn.windows), parts.Control)
        controls = [tested if control["name"] == tested["name"] else control for control in about["controls"]]
        return {**about, "controls": controls, "answers": self.about}

    def measure(self, run: RunDirectory) -> None:
        """Compare the windows that the log lacks, then whole answers; say of each how many attempts gave it."""
        super().measure(run)
        self.records = [
            dataclasses.replace(record, others={**(record.others or {}), **_counts(each.verbatim, len(each.texts))})
            for record, each in zip(self.records, self.kept, strict=True)
        ]
        self.sections = [as_record(whole_answers(self.kept, self.options.seed), parts.Section)]

    def conclude(self, run: RunDirectory) -> ExtractionReport:
        """Compare the sides and decide; the headline says what was compared."""
        report = super().conclude(run)
        report["answers"], report["first_window"] = self.about, None
        report["headline"] = self._headline(report)
        return report

    def _headline(self, report: ExtractionReport) -> str:
        primary = next(estimate for estimate in report["estimates"] if estimate["primary"])
        sides = [("training", primary["train"])]
        if report["windows"]["heldout"]:
            sides.append(("held-out", primary["heldout"]))
        told = " and ".join(f"{_counted(rate)} {name} prompts" for name, rate in sides)
        of = f", in one of {self.about['attempts']} attempts at least" if self.about["attempts"] > 1 else ""
        return f"{one_line(self.name, 80)} answers {told} with the true text, word for word{of}"

    def notices(self) -> Any:
        """Yield what was passed over."""
        filtered = sum(side.filtered for side in self.sides)
        if filtered:
            yield f"{filtered:,} lines of sample logs repeat an item for another filter: not counted again"
        if self.about["most"] > self.about["attempts"]:
            yield f"of up to {self.about['most']:,} attempts a prompt, the first {self.about['attempts']:,} count"
        if told := cut_within(self.kept):
            yield told


def _tokenizer(folder: str | Path) -> Any:
    return load_tokenizer(Path(folder))


def _counts(verbatim: int, attempts: int) -> Mapping[str, float | None]:
    return {"attempts": attempts, "attempts_verbatim": verbatim}


def _counted(rate: parts.Rate) -> str:
    share = rate["rate"] if rate["n"] == rate["documents"] else None
    return f"{rate['hits']:,} of {rate['n']:,}" + ("" if share is None else f" ({percent(share)})")


def _notes(about: AnswersDescription) -> list[str]:
    """Return what a reader should know of how answers were compared."""
    notes = [
        f"What is compared are {about['tokens']}; of an output as many as the true text has, what follows is not read",
        "White space before an output and around its true text was left out, and CR LF is one line end; quotation"
        " marks, code fences, repeated prompts and introductions were not, so that an output which begins with one is"
        " no hit",
    ]
    if about["attempts"] > 1:
        notes.append(
            f"Every prompt of either side has {about['attempts']:,} attempts: the one most like the true text counts,"
            " by the edit similarity of its tokens, and a prompt is a hit if any attempt is"
        )
    if "prompt" not in about["fields"]:
        notes.append("No prompts were given: whether they give the true text away is not known")
    return notes
