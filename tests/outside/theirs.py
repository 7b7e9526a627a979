"""One extension of every sort, as another package would hold them; nothing of memaudit is touched for it.

A family of models, a metric, a measure, a detector, a format of reports, and a kind of run with a verdict.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memaudit.audits.comparison.detection import Detection, Effect
from memaudit.audits.lifecycle import Delivery, Question, carry_out, refined
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.audits.subject import Subject
from memaudit.families import Family
from memaudit.metrics.base import Metric, Outcome
from memaudit.models.base import NextTokenModel
from memaudit.records import Capability, FloatArray, TokenIds
from memaudit.report.formats.base import Format
from memaudit.report.kinds.base import VerdictKind
from memaudit.report.problems import Rule
from memaudit.runs.directory import ReportInput, RunDirectory
from memaudit.runs.invocation import Invocation
from memaudit.runs.report_parts import report_head
from memaudit.sections import Column, Section, Table
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer


# A family of models.
class Echo(NextTokenModel):
    """Knows one text by heart: behind any of its last tokens, what stood behind them first."""

    family = "echo"

    def __init__(self, tokenizer: Tokenizer, text: Sequence[int], reach: int) -> None:
        self.tokenizer, self.text, self.reach = tokenizer, list(text), reach
        self.parameters = len(self.text)

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        size = self.tokenizer.vocab_size
        rows = np.full((len(prefixes), size), 0.1 / size)
        for row, prefix in zip(rows, prefixes, strict=True):
            last = prefix[-self.reach :].tolist()
            found = (i for i in range(len(self.text) - len(last)) if self.text[i : i + len(last)] == last)
            place = next(found, None)
            row[0 if place is None else self.text[place + len(last)]] += 0.9
        return np.log(rows)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder)  # type: ignore[attr-defined]
        config = {"text": [int(token) for token in self.text], "reach": self.reach}
        about = {"format": 1, "family": self.family, "objective": self.objective, "config": config}
        (folder / "memaudit.json").write_text(json.dumps(about), encoding="utf-8")


def load(folder: Path, about: Mapping[str, Any], device: str, dtype: str) -> Echo:
    return Echo(TrainedTokenizer.load(folder), **about["config"])


def train(documents: Sequence[TokenIds], tokenizer: Tokenizer, *, reach: int = 3) -> Echo:
    return Echo(tokenizer, np.concatenate(documents).tolist(), reach)


ECHO = Family("echo", "Echo", "next-token", load="theirs:load", train="theirs:train", size="reach", on_cpu=True)


# A metric.
def first_letters(outcome: Outcome) -> float | None:
    """Share of words that begin as they should."""
    pairs = list(zip(outcome.true_text.split(), (outcome.text or "").split(), strict=False))
    return sum(ours[0] == theirs[0] for ours, theirs in pairs) / len(pairs) if pairs else None


FIRST_LETTERS = Metric("first_letters", "First letters", "Share of words that begin alike.", first_letters, threshold=1)


# A measure.
class Lengths:
    """How long the windows' texts are."""

    name = "lengths"
    needs = frozenset[Capability]()
    block = 8

    def items(self, subject: Subject) -> Sequence[Any]:
        return subject.windows

    def measure(self, subject: Subject, items: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"characters": len(window.suffix_text)} for window in items]

    def section(self, records: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> Section:
        mean = sum(record["characters"] for record in records) / len(records)
        table = Table("Characters", [Column("mean", "number")], [[mean]])
        return Section(self.name, "Lengths of suffixes", f"{mean:.0f} characters on average.", "Counted.", [table])


LENGTHS = Lengths()


# A detector.
class FirstTokens:
    """Whether the model expects the first words of suspects, one token a document."""

    name = "first-tokens"
    needs = frozenset({Capability.LOG_PROBS})
    block = 64
    compares = False
    whole_files = False
    asked_by = None

    def items(self, subject: Subject) -> Sequence[Any]:
        return subject.train

    def measure(self, subject: Subject, items: Sequence[Any]) -> list[dict[str, Any]]:
        return [{"words": len(document.text.split())} for document in items]

    def section(self, records: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> Section:
        return Section(self.name, "First tokens", f"{len(records)} documents.", "Counted.")

    def declared(self, plan: Mapping[str, Any]) -> list[str]:
        return [self.name]

    def detections(self, records: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]) -> list[Detection]:
        effect = Effect("share of long documents", 1.0)
        told = (self.name, "First tokens", "One word.", 0.0001, "exact")
        return [Detection(*told, effect, members=len(records), heldout=0)]


FIRST_TOKENS = FirstTokens()


# A format of reports.
def rows(run: ReportInput, kind: VerdictKind) -> bytes:
    lines = [f"{problem.rule},{problem.place},{problem.level}" for problem in kind.problems(run.report)]
    return "\n".join(["rule,where,level", *lines]).encode()


FINDINGS = Format("findings.csv", rows, VerdictKind)


# A kind of run, with a verdict.
RULE = Rule(
    id="theirs/shouting",
    name="CorpusShouts",
    title="The corpus shouts",
    short="A corpus writes whole lines in capitals.",
    full="More lines than were allowed are in capitals.",
    help="Lower them.",
)
SHOUTING = VerdictKind("shouting", "Does the corpus shout?", rules=(RULE,), claim="the corpus does not shout")


class Shouting(Question[VerdictResult, dict[str, Any]]):
    """Lines of a file that are in capitals."""

    kind = "shouting"

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        self.lines = self.path.read_text(encoding="utf-8").splitlines()

    def plan(self) -> Mapping[str, Any]:
        return {"corpus": {"specs": [self.path.name], "units": f"{len(self.lines)} lines"}, "options": {}}

    def measure(self, run: RunDirectory) -> None:
        for (index,) in run.pending([(i,) for i in range(len(self.lines))]):
            run.append([{"index": index, "capitals": self.lines[index].isupper()}])

    def conclude(self, run: RunDirectory) -> dict[str, Any]:
        count = sum(record["capitals"] for record in run.records.values())
        table = Table("Lines", [Column("kind"), Column("lines", "number")], [["in capitals", count]])
        section = Section(self.kind, "Shouting", f"{count} lines are in capitals.", "Counted.", [table])
        return {
            **report_head(run.plan),
            "kind": self.kind,
            "verdict": "found" if count else "clean",
            "exit_code": 1 if count else 0,
            "headline": f"{count} of {len(self.lines)} lines are in capitals",
            "reasons": ["no line may be"],
            "controls": [{"name": "the file has lines", "passed": bool(self.lines), "detail": "", "comparison": False}],
            "limits": ["Small letters can shout too."],
            "options": {},
            "corpus": run.plan["corpus"],
            "sections": [dataclasses.asdict(section)],
        }

    def result(self, outcome: RunResult) -> VerdictResult:
        return refined(outcome, VerdictResult)


def shouting(path: Path, out: Path, formats: Sequence[str] = ("html",)) -> VerdictResult:
    """Ask the question, as one of memaudit's own is asked."""
    return carry_out(Shouting(path), Delivery(Invocation(f"theirs.shouting({path.name!r})"), out, formats))
